"""Matching histograms: of each channel by itself, and in three steps."""

from typing import NamedTuple

import torch
from torch import Tensor

from deepct.color import normalized_to_rgb, rgb_to_normalized
from deepct.highres import apply_map
from deepct.monge import match_moments

_KNOTS = 64
_LEAST_STEP = 1e-4  # between quantiles


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
        middle = match_moments(matched, reference)
        return cls(first, middle, Curves.between(_to_rgb(apply_map(middle, matched)), wanted))

    def __call__(self, colors: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, 3, P) normalised Lab: by the first step alone, and by all three."""
        matched = _to_lab(self.first(_to_rgb(colors)).clamp(0, 1))
        return matched, _to_lab(self.last(_to_rgb(apply_map(self.middle, matched))).clamp(0, 1))


def _to_rgb(palette: Tensor) -> Tensor:
    return normalized_to_rgb(palette.unsqueeze(-1)).squeeze(-1).clamp(0, 1)


def _to_lab(palette: Tensor) -> Tensor:
    return rgb_to_normalized(palette.unsqueeze(-1)).squeeze(-1)
