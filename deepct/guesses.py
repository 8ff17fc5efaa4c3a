"""First guesses in closed form: eight colour maps from one palette to another, none of which is always the best.

Where the reference is the very scene in another look, matching histograms is nearly perfect; where it is another scene,
that is the worst, and a mere shift of means may be all that can be known. All maps leave a photo alone that is its own
reference.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from deepct.color import denormalize_lab, normalize_lab, normalized_to_rgb, rgb_to_normalized
from deepct.drift import drift_maps
from deepct.highres import apply_affine
from deepct.monge import count_moments, monge_maps
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
2001), ``monge`` mean and covariance (Pitié and Kokaram 2007, see :mod:`deepct.monge`). ``registered`` is that after the
turn of all hues that brings the palettes together best. ``common`` brings the colours together that both palettes have
(:mod:`deepct.drift`). ``curves`` matches the histograms of sRGB's channels, ``three steps`` does so before and after a
``monge`` (Hahne and Aggoun, *PlenoptiCam v1.0*, 2021).
"""

FACTS = 6 * len(GUESSES)
"""How many numbers say how well the guesses do."""

_KNOTS = 64
_LEAST_SPREAD = 1e-4  # variance, normalised Lab, as in the Monge map
_MOST_GAIN = 4.0
_TURNS = 24
_FEW = 128  # colours of a palette by which a turn is judged, and
_MORE = 256  # by which a guess is
_LEAST_STEP = 1e-4  # between quantiles
_LEAST = 0.1  # delta E that tells anything
_TURN_COST = 0.2  # delta E that half of a half turn must save


class Curves(NamedTuple):
    """Histogram matching of each channel by itself, as a broken line through quantiles.

    Attributes:
        x: (R, 3, K) quantiles of the palettes.
        y: (R, 3, K) those that they take.
    """

    x: Tensor
    y: Tensor

    @classmethod
    def between(cls, source: Tensor, reference: Tensor) -> "Curves":
        """Those that take (R, 3, N) palettes to others, in any colour space."""
        size = source.shape[-1]
        knots = ((torch.arange(_KNOTS, device=source.device) + 0.5) / _KNOTS * size).long()
        return cls(*(palette.sort(-1).values[..., knots].contiguous() for palette in (source, reference)))

    def __call__(self, colors: Tensor) -> Tensor:
        """Map (R, 3, P); beyond the outermost quantiles, distances to them are kept."""
        after = torch.searchsorted(self.x, colors.contiguous()).clamp_(1, _KNOTS - 1)
        x0, x1, y0, y1 = (knots.gather(-1, at) for knots in self for at in (after - 1, after))
        way = ((colors - x0) / (x1 - x0).clamp(min=_LEAST_STEP)).clamp(0, 1)
        beyond = colors - colors.maximum(self.x[..., :1]).minimum(self.x[..., -1:])
        return torch.lerp(y0, y1, way) + beyond


class ThreeSteps(NamedTuple):
    """Curves, an affine map, and curves again.

    Attributes:
        first: in sRGB.
        middle: (R, 3, 4), in normalised Lab.
        last: in sRGB.
    """

    first: Curves
    middle: Tensor
    last: Curves

    @classmethod
    def between(cls, source: Tensor, reference: Tensor) -> "ThreeSteps":
        """Those that take (R, 3, N) palettes in normalised Lab to others."""
        rgb, wanted = _to_rgb(source), _to_rgb(reference)
        first = Curves.between(rgb, wanted)
        matched = _to_lab(first(rgb))
        middle = _monge(matched, reference)
        return cls(first, middle, Curves.between(_to_rgb(_apply(middle, matched)), wanted))

    def __call__(self, colors: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, 3, P) normalised Lab: by the first step alone, and by all three."""
        matched = _to_lab(self.first(_to_rgb(colors)).clamp(0, 1))
        return matched, _to_lab(self.last(_to_rgb(_apply(self.middle, matched))).clamp(0, 1))


class Guesses(NamedTuple):
    """The maps of R pairs of palettes.

    Attributes:
        affine: (R, 3, 4) in normalised Lab: ``reinhard``, ``monge``, ``registered`` and ``common``.
        turn: (R,) the turn of hues in the last, radians.
        misfits: (R, 24) how far the palettes are apart after each turn, delta E.
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
        registered, turn, misfits = _register(source, reference)
        return cls(
            (_reinhard(source, reference), _monge(source, reference), registered, drift_maps(source, reference)),
            turn,
            misfits,
            ThreeSteps.between(_apply(registered, source), reference),
            ThreeSteps.between(source, reference),
        )

    def __call__(self, colors: Tensor) -> Tensor:
        """(R, 3, P) normalised Lab to what each map makes of them, (R, 8, 3, P)."""
        affine = [_apply(model, colors) for model in self.affine]
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


def _to_rgb(palette: Tensor) -> Tensor:
    return normalized_to_rgb(palette.unsqueeze(-1)).squeeze(-1).clamp(0, 1)


def _to_lab(palette: Tensor) -> Tensor:
    return rgb_to_normalized(palette.unsqueeze(-1)).squeeze(-1)


def _apply(model: Tensor, palette: Tensor) -> Tensor:
    return apply_affine(model.unsqueeze(-1), palette)


def _monge(source: Tensor, reference: Tensor) -> Tensor:
    return monge_maps(*(count_moments(palette.unsqueeze(-1)) for palette in (source, reference)))


def _reinhard(source: Tensor, reference: Tensor) -> Tensor:
    spread = [palette.var(-1, correction=0) + _LEAST_SPREAD for palette in (source, reference)]
    gains = (spread[1] / spread[0]).sqrt().clamp(1 / _MOST_GAIN, _MOST_GAIN)
    offset = reference.mean(-1) - gains * source.mean(-1)
    return torch.cat((torch.diag_embed(gains), offset.unsqueeze(-1)), dim=-1)


def _register(source: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The affine map that leaves least distance, of all turns about the grey axis with their Monge maps."""
    angles = torch.arange(_TURNS, device=source.device) * (2 * torch.pi / _TURNS)
    turns = _turns(angles)
    moments, wanted = (count_moments(palette.unsqueeze(-1)) for palette in (source, reference))
    maps = _chain(turns, monge_maps(_turn_moments(turns, moments).flatten(0, 1), wanted.repeat_interleave(_TURNS, 0)))
    few, theirs = thin(source, _FEW), thin(reference, _FEW)
    mapped = _apply(maps, few.repeat_interleave(_TURNS, 0)).unflatten(0, (-1, _TURNS))
    misfits = sliced_distance(mapped, theirs.unsqueeze(1))
    best = (misfits + _TURN_COST * (1 - angles.cos())).argmin(1)
    return maps.unflatten(0, (-1, _TURNS))[torch.arange(len(best)), best], angles[best], misfits


def _turns(angles: Tensor) -> Tensor:
    """(T, 3, 4) affine maps of normalised Lab that turn it about the grey axis."""
    corners = torch.cat((torch.zeros(3, 1), torch.eye(3)), dim=1).to(angles.device)
    lightness, a, b = denormalize_lab(corners.unsqueeze(-1)).squeeze(-1).expand(len(angles), -1, -1).unbind(1)
    cos, sin = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
    turned = torch.stack((lightness, cos * a - sin * b, sin * a + cos * b), dim=1)
    origin, *axes = normalize_lab(turned.unsqueeze(-1)).unbind(2)
    return torch.cat((*(axis - origin for axis in axes), origin), dim=-1)


def _turn_moments(turns: Tensor, moments: Tensor) -> Tensor:
    """(R, T, 3, 4): the moments of palettes, (R, 3, 4), after each of (T, 3, 4) affine maps."""
    ones = torch.cat((moments[..., 3], torch.ones_like(moments[:, :1, 3])), dim=1)
    homogeneous = torch.cat((moments, ones.unsqueeze(1)), dim=1).unsqueeze(1)
    turned = turns @ homogeneous
    return torch.cat((turned @ turns.mT, turned[..., 3:]), dim=-1)


def _chain(first: Tensor, second: Tensor) -> Tensor:
    """(R T, 3, 4): (T, 3, 4) affine maps, each followed by its own of (R T, 3, 4)."""
    first = first.repeat(len(second) // len(first), 1, 1)
    weights = second[..., :3]
    return torch.cat((weights @ first[..., :3], weights @ first[..., 3:] + second[..., 3:]), dim=-1)
