"""First guesses in closed form: eight colour maps from one palette to another, none of which is always the best.

Where the reference is the very scene in another look, matching histograms is nearly perfect; where it is another scene,
that is the worst, and a mere shift of means may be all that can be known. All maps leave a photo alone that is its own
reference.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from deepct.guesses.curves import ThreeSteps
from deepct.guesses.drift import drift_maps
from deepct.guesses.turn import turn_maps
from deepct.highres import apply_map
from deepct.monge import match_moments
from deepct.palette import PairPalettes, in_units, joint_histograms, sliced_distance, smooth_shares, thin

GUESSES = (
    "identity",
    "reinhard",
    "monge",
    "registered",
    "common",
    "registered, three steps",
    "curves",
    "three steps",
)
"""The maps, in order.

``reinhard`` matches mean and deviation of each channel of Lab (Reinhard et al., *Color Transfer between Images*,
2001), ``monge`` mean and covariance (:mod:`deepct.monge`). ``registered`` is that after the turn of all hues
that brings the palettes together best. ``common`` brings the colours together that both palettes have
(:mod:`deepct.guesses.drift`). ``curves`` matches the histograms of sRGB's channels, ``three steps`` does so before and
after a ``monge`` (Hahne and Aggoun, *PlenoptiCam v1.0*, 2021).
"""

FACTS = 6 * len(GUESSES)
"""How many numbers say how well the guesses do."""

_LEAST_SPREAD = 1e-4  # variance, normalised Lab, as in the Monge map
_MOST_GAIN = 4.0
_MORE, _FEW = 256, 128  # colours of a palette by which a guess is judged: as wholes, and one by one
_LEAST = 0.1  # delta E that tells anything


class Guesses(NamedTuple):
    """The maps of R pairs of palettes.

    Attributes:
        affine: (R, 3, 4) in normalised Lab: ``reinhard``, ``monge``, ``registered`` and ``common``.
        turn: (R,) the turn of hues in the last, radians.
        misfits: (R, TURNS) how far the palettes are apart after each turn, delta E.
        turned: the three steps after ``registered``.
        steps: the three steps.
    """

    affine: tuple[Tensor, Tensor, Tensor, Tensor]
    turn: Tensor
    misfits: Tensor
    turned: ThreeSteps
    steps: ThreeSteps

    @classmethod
    def between(cls, source: Tensor, reference: Tensor) -> "Guesses":
        """Those from (R, 3, N) palettes in normalised Lab to others. No gradient."""
        registered, turn, misfits = turn_maps(source, reference)
        return cls(
            (_reinhard(source, reference), match_moments(source, reference), registered, drift_maps(source, reference)),
            turn,
            misfits,
            ThreeSteps.between(apply_map(registered, source), reference),
            ThreeSteps.between(source, reference),
        )

    def __call__(self, colors: Tensor) -> Tensor:
        """(R, 3, P) normalised Lab to what each map makes of them, (R, 8, 3, P)."""
        affine = [apply_map(model, colors) for model in self.affine]
        return torch.stack((colors, *affine, self.turned(affine[2])[1], *self.steps(colors)), dim=1)

    def judge(self, source: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """How well the guesses do.

        Args:
            source: (R, 3, N) the palettes that they were made for, in normalised Lab.
            reference: (R, 3, N).

        Returns:
            (R, FACTS): how far each leaves the source from the reference, as wholes and from colour to nearest colour
            either way, how far it moves L, a and b, and what was found of turns, in logarithms of delta E; and (R,) the
            distance between source and reference, delta E.
        """
        few, wanted = thin(source, _MORE), thin(reference, _MORE)
        guessed = self(few)
        left = sliced_distance(guessed, wanted.unsqueeze(1))
        moved = (in_units(guessed[:, 1:]) - in_units(few).unsqueeze(1)).abs().mean(-1).flatten(1)
        least, unturned = (misfit.clamp(min=_LEAST).log() for misfit in (self.misfits.amin(1), self.misfits[:, 0]))
        gaps = torch.cdist(in_units(thin(guessed, _FEW)).mT, in_units(thin(wanted, _FEW)).mT.unsqueeze(1))
        nearest = [gaps.amin(dim).mean(-1) for dim in (2, 3)]
        turns = torch.stack((self.turn.cos(), least, unturned), dim=1)
        return torch.cat((*((gap + _LEAST).log() for gap in (left, *nearest)), moved.log1p(), turns), dim=1), left[:, 0]


class PairGuesses(NamedTuple):
    """What a network that maps colours knows of a batch of pairs.

    Attributes:
        guesses: the maps of the R pairs of palettes.
        facts: (R, FACTS) how well they do.
        distance: (R,) between the palettes, delta E.
        source: (R, l_bins, 64, 64) the source palettes' joint histograms.
        reference: (R, l_bins, 64, 64) the reference palettes'.
        shares: the same two, smoothed.
        rows: (B, H, W) int64: which of the R each pixel of the source belongs to; None: each to its whole photo's.
    """

    guesses: Guesses
    facts: Tensor
    distance: Tensor
    source: Tensor
    reference: Tensor
    shares: tuple[Tensor, Tensor]
    rows: Tensor | None

    @classmethod
    def between(cls, palettes: PairPalettes, l_bins: int) -> "PairGuesses":
        """Study pairs of palettes. No gradient."""
        with torch.no_grad(), torch.autocast(palettes.source.device.type, enabled=False):
            guesses = Guesses.between(palettes.source, palettes.reference)
            facts, distance = guesses.judge(palettes.source, palettes.reference)
            ours, theirs = (joint_histograms(palette, l_bins) for palette in palettes[:2])
            shares = smooth_shares(ours), smooth_shares(theirs)
            return cls(guesses, facts, distance, ours, theirs, shares, palettes.rows)


def _reinhard(source: Tensor, reference: Tensor) -> Tensor:
    spread = [palette.var(-1, correction=0) + _LEAST_SPREAD for palette in (source, reference)]
    gains = (spread[1] / spread[0]).sqrt().clamp(1 / _MOST_GAIN, _MOST_GAIN)
    offset = reference.mean(-1) - gains * source.mean(-1)
    return torch.cat((torch.diag_embed(gains), offset.unsqueeze(-1)), dim=-1)
