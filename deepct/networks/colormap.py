"""The network that maps colours: the same map at every pixel, so it keeps content by construction and fits a LUT.

HEN encodes the palettes' joint histograms. CTN is a perceptron that sees one colour: what each first guess in closed
form makes of it (:mod:`deepct.guesses.maps`), and how common all these are in source and reference. Steered by the
codes, it weighs the guesses and adds a change of its own, which fades to nothing as the reference's colours near the
source's: a photo that is its own reference, mirrored or not, is left alone.
"""

from collections.abc import Hashable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepct.color import blend_into, normalized_to_rgb, rgb_to_normalized
from deepct.errors import ConfigError
from deepct.guesses.maps import FACTS, GUESSES, PairGuesses
from deepct.highres import fit_color_models, recolor_photo
from deepct.histogram import LabelMatches
from deepct.lattice import LATTICE_SIZE, lattice_colors, look_up, recolor_by_lattice
from deepct.networks.base import Study, TransferNetwork, working_copy
from deepct.networks.config import NetworkConfig
from deepct.networks.encoder import HistogramEncoder
from deepct.output import TransferOutput
from deepct.palette import look_up_shares, pair_palettes
from deepct.semantics import Semantics, region_shares

_DEPTH = 3
_PART = 4096  # colours mapped at once
_REACH = 0.5  # normalised Lab: the unit of CTN's own change
_FAR = 1.0  # delta E between palettes at which half of that change is taken
_FIRST = GUESSES.index("monge")


class SteeredLinear(nn.Module):
    """A linear layer whose outputs are scaled and shifted as a code says (Perez et al., *FiLM*, 2018).

    Args:
        channels: of the input.
        width: of the output.
        code_size: of the code.
    """

    def __init__(self, channels: int, width: int, code_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.steer = nn.Linear(code_size, 2 * width)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """(R, P, channels) and (R, code_size) to (R, P, width)."""
        gain, shift = self.steer(code).unsqueeze(1).chunk(2, dim=-1)
        return torch.addcmul(shift, self.linear(x), 1 + gain)


class ColorMap(nn.Module):
    """CTN as a map of colours.

    Args:
        codes: channels of e_s and e_t together.
        width: channels.
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        guesses, hidden = len(GUESSES), 2 * width
        self.judge = nn.Sequential(nn.Linear(codes + FACTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        seen = 3 * guesses + guesses + 1
        self.layers = nn.ModuleList(SteeredLinear(width if i else seen, width, hidden) for i in range(_DEPTH))
        self.leave = SteeredLinear(width, guesses + 3, hidden)
        # At first it favours one guess, whatever it sees, and changes nothing of it.
        for linear in (self.leave.linear, self.leave.steer):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        with torch.no_grad():
            self.leave.linear.bias[_FIRST] = 1

    def forward(self, colors: Tensor, shares: Tensor, codes: Tensor, facts: Tensor, distance: Tensor) -> Tensor:
        """Map colours.

        Args:
            colors: (R, G, 3, P) normalised Lab, what each guess makes of them; the first are the colours themselves.
            shares: (R, G + 1, P) how common they are.
            codes: (R, codes) e_s and e_t.
            facts: (R, facts) how well each guess does.
            distance: (R,) between the palettes, delta E.

        Returns:
            (R, 3, P) normalised Lab.
        """
        code = self.judge(torch.cat((codes, facts), dim=1))
        x = torch.cat((colors.flatten(1, 2), shares), dim=1).mT
        for layer in self.layers:
            x = F.leaky_relu(layer(x, code), 0.1)
        weights, change = self.leave(x, code).mT.split((colors.shape[1], 3), dim=1)
        blend = (weights.softmax(1).unsqueeze(2) * colors).sum(1)
        return blend + change * (_REACH * distance / (distance + _FAR)).view(-1, 1, 1)


class ColorMapNetwork(TransferNetwork):
    """Map the colours of a source as those of a reference ask.

    Args:
        config: the network's shape.
    """

    ctn: ColorMap

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if min(config.map_width, config.code_size, config.l_bins) < 1 or config.histogram_width < 3:
            raise ConfigError(
                "a map's network.map_width, code_size and l_bins must be 1 or more and its histogram_width 3 or more, "
                f"got {config.map_width}, {config.code_size}, {config.l_bins} and {config.histogram_width}"
            )
        self.config = replace(config, scales=False)
        most = config.histogram_width
        widths = (most // 3, most // 2, most * 2 // 3, most, most, most, most)
        self.hen = HistogramEncoder(config.l_bins, widths, config.code_size, config.ab_bins)
        self.ctn = ColorMap(2 * config.code_size, config.map_width)

    @property
    def sight(self) -> Hashable:
        """The histogram bins along L."""
        return PairGuesses, self.config.l_bins

    def study(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        matches: LabelMatches | None = None,
    ) -> PairGuesses:
        """Draw the pairs' palettes and guess maps between them."""
        palettes = pair_palettes(source, reference, source_labels, reference_labels, matches)
        return PairGuesses.between(palettes, self.config.l_bins)

    def transfer(self, source: Tensor, study: Study, scales: bool = True) -> TransferOutput:
        """:meth:`forward` with guesses that are made already; there are no decoder's pictures.

        With label maps it takes memory for as many pixels in each region as the largest one has.
        """
        assert isinstance(study, PairGuesses)
        if study.rows is None:
            image = self.map(study, source.flatten(2)).view_as(source)
        else:
            colors, places = _sort_by_row(source, study.rows, len(study.source))
            mapped = self.map(study, colors)
            flat = mapped.new_empty(len(source) * source[0, 0].numel(), 3)
            known = places >= 0
            flat = flat.index_put((places[known],), mapped.mT[known])
            image = flat.view(len(source), *source.shape[-2:], 3).permute(0, 3, 1, 2)
        return TransferOutput(image, ())

    def map(self, study: PairGuesses, colors: Tensor) -> Tensor:
        """Map (R, 3, P) colours in normalised Lab, each of the R as its own pair asks."""
        return self._map_coded(study, self._encode(study), colors)

    def _encode(self, study: PairGuesses) -> Tensor:
        """(R, codes) e_s and e_t."""
        return torch.cat(self.hen(torch.cat((study.source, study.reference))).chunk(2), dim=1)

    def _map_coded(self, study: PairGuesses, codes: Tensor, colors: Tensor) -> Tensor:
        with torch.autocast(colors.device.type, enabled=False), torch.no_grad():
            guessed = study.guesses(colors.float())
            ours, theirs = study.shares
            shares = torch.cat((look_up_shares(ours, guessed[:, :1]), look_up_shares(theirs, guessed)), dim=1)
        return self.ctn(guessed, shares, codes, study.facts, study.distance).float()

    def lattice(self, source: Tensor, reference: Tensor, colors: Tensor, working_size: int | None = None) -> Tensor:
        """See :meth:`TransferNetwork.lattice`."""
        source, reference = (working_copy(photo, None, working_size)[0] for photo in (source, reference))
        return self._map_rgb(self.study(source, reference), colors)[0].T

    def _map_rgb(self, study: PairGuesses, colors: Tensor) -> Tensor:
        """(N, 3) sRGB to (R, 3, N) sRGB in [0, 1]."""
        points = rgb_to_normalized(colors.T.unsqueeze(-1)).squeeze(-1)
        codes = self._encode(study)
        # In parts, for there may be many labels.
        parts = points.expand(len(study.source), -1, -1).split(_PART, dim=-1)
        mapped = torch.cat([self._map_coded(study, codes, part) for part in parts], dim=-1)
        return normalized_to_rgb(mapped.unsqueeze(-1)).squeeze(-1).clamp(0, 1)

    def _recolor(self, source: Tensor, working: Tensor, study: Study, semantics: Semantics, strength: float) -> Tensor:
        assert isinstance(study, PairGuesses)
        colors = lattice_colors(LATTICE_SIZE, source.device)
        tables = self._map_rgb(study, colors).unflatten(-1, (LATTICE_SIZE,) * 3)
        if study.rows is None:
            return recolor_by_lattice(tables, source, strength)
        shares = region_shares(study.rows, len(tables), working, semantics)
        rgb = normalized_to_rgb(working).clamp(0, 1)
        result = torch.zeros_like(rgb)
        for table, share in zip(tables, shares.unbind(1), strict=True):
            result += share.unsqueeze(1) * look_up(table.expand(len(rgb), -1, -1, -1, -1), rgb)
        if working.shape == source.shape:
            return blend_into(source, result, strength)
        return recolor_photo(fit_color_models(working, rgb_to_normalized(result)), source, strength)


def _sort_by_row(source: Tensor, rows: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """The colours of (B, 3, H, W) by their rows, (total, 3, P), and which pixels these are, -1 where filled up."""
    flat, counts = rows.flatten(), rows.flatten().bincount(minlength=total).unsqueeze(1)
    steps = torch.arange(int(counts.max()), device=rows.device)
    places = (counts.cumsum(0) - counts + steps).clamp(max=len(flat) - 1)
    places = flat.argsort()[places]
    colors = source.permute(0, 2, 3, 1).reshape(-1, 3)[places].mT
    return colors, torch.where(steps < counts, places, -1)
