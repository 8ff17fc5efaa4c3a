"""Bringing together the colours that two palettes have in common.

Two photos that show some of the same things rarely show as much of each, so neither their means nor their histograms
should be made equal. What both show should be made equal, and the other colours should follow.
"""

import torch
from torch import Tensor

from deepct.color import normalize_lab
from deepct.highres import corners, map_by_corners
from deepct.palette import in_units, sliced_distance, thin

_COLORS = 128  # of a palette that are looked at
_MORE = 256  # by which the distance is known
_STEPS = 10
_FROM, _TO = 0.04, 0.015  # a colour's reach at first and at last, hundreds of delta E
_BACK = 0.5  # how much the source's colours seek the reference's, where those seek theirs
_RIDGE = (0.002, 0.002, 0.002, 0.0001)  # on contrasts, and on the shift
_CHROMA = 0.75  # a and b count for less than L, as in CIEDE2000
_NEAR = 0.5  # delta E between palettes at which half of a map is believed
_TINY = 1e-9


def drift_maps(source: Tensor, reference: Tensor) -> Tensor:
    """The affine maps that bring common colours together.

    By coherent point drift (Myronenko and Song, *Point Set Registration: Coherent Point Drift*, PAMI 2010) from where
    the colours are, but that the reach shrinks by a fixed schedule and that the colours of both palettes seek each
    other. The maps fade to nothing between palettes that are nearly alike.

    Args:
        source: (R, 3, N) palettes in normalised Lab.
        reference: (R, 3, N).

    Returns:
        (R, 3, 4) float32 in normalised Lab: weights of the source's L, a, b, then the offset. No gradient.
    """
    colors, wanted = (_scale(thin(palette, _COLORS)) for palette in (source, reference))
    points = torch.cat((colors, torch.ones_like(colors[..., :1])), dim=-1)
    start, ridge = torch.eye(4, 3, device=source.device), torch.tensor(_RIDGE, device=source.device).diag()
    model = start.expand(len(source), -1, -1)
    goals = torch.cat((wanted, torch.ones_like(wanted[..., :1])), dim=-1)
    for step in range(_STEPS):
        reach = _FROM * (_TO / _FROM) ** (step / (_STEPS - 1))
        moved = points @ model
        gaps = moved.square().sum(2, keepdim=True) + wanted.square().sum(2).unsqueeze(1) - 2 * moved @ wanted.mT
        near = gaps.div_(-2 * reach**2).exp_()
        # Each goal shares itself out among the colours that are near it, and each colour seeks the goals near it.
        sought = near @ (goals / (near.sum(1).unsqueeze(2) + _TINY))
        seeking = near @ goals
        target = sought + _BACK * seeking / (seeking[..., 3:] + _TINY)
        total = target[..., 3:].sum(1, keepdim=True) + _TINY
        normal = (points * target[..., 3:] / total).mT @ points
        model = torch.linalg.solve(normal + ridge, points.mT @ target[..., :3] / total + ridge @ start)
    distance = sliced_distance(thin(source, _MORE), thin(reference, _MORE)).view(-1, 1, 1)
    return torch.lerp(torch.eye(3, 4, device=source.device), _unscale(model), distance / (distance + _NEAR))


def _scale(palette: Tensor) -> Tensor:
    """(R, 3, N) normalised Lab to (R, N, 3) hundreds of delta E about mid-grey."""
    lightness, a, b = in_units(palette).unbind(1)
    return torch.stack((lightness - 50, _CHROMA * a, _CHROMA * b), dim=-1) / 100


def _unscale(model: Tensor) -> Tensor:
    """(R, 4, 3) affine maps of scaled colours to (R, 3, 4) of normalised Lab, by where they take four colours."""
    scaled = _scale(corners(model.device).expand(len(model), -1, -1))
    lightness, a, b = (100 * torch.cat((scaled, torch.ones_like(scaled[..., :1])), dim=-1) @ model).unbind(-1)
    mapped = torch.stack((lightness + 50, a / _CHROMA, b / _CHROMA), dim=1)
    return map_by_corners(normalize_lab(mapped.unsqueeze(-1)).squeeze(-1))
