"""Turning hues until two palettes fit: where only a hue shift, as the report's, lies between source and reference."""

import torch
from torch import Tensor

from deepct.color import normalize_lab
from deepct.highres import apply_map, corners, map_by_corners
from deepct.monge import count_moments, monge_maps
from deepct.palette import in_units, sliced_distance, thin

TURNS = 24
"""Turns that are tried, 15 degrees apart; the Monge map that follows makes up for less."""

_FEW = 128  # colours of a palette by which a turn is judged
_COST = 0.2  # delta E that half of a half turn must save


def turn_maps(source: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of all turns about the grey axis, each with its Monge map, the one that leaves least distance.

    Args:
        source: (R, 3, N) palettes in normalised Lab.
        reference: (R, 3, N).

    Returns:
        (R, 3, 4) float32 affine maps of normalised Lab; (R,) their turns, radians; and (R, TURNS) the distance that
        each turn leaves, delta E. No gradient.
    """
    angles = torch.arange(TURNS, device=source.device) * (2 * torch.pi / TURNS)
    turns = _turns(angles)
    moments, wanted = (count_moments(palette.unsqueeze(-1)) for palette in (source, reference))
    maps = _chain(turns, monge_maps(_turn_moments(turns, moments).flatten(0, 1), wanted.repeat_interleave(TURNS, 0)))
    few, theirs = thin(source, _FEW), thin(reference, _FEW)
    mapped = apply_map(maps, few.repeat_interleave(TURNS, 0)).unflatten(0, (-1, TURNS))
    misfits = sliced_distance(mapped, theirs.unsqueeze(1))
    best = (misfits + _COST * (1 - angles.cos())).argmin(1)
    return maps.unflatten(0, (-1, TURNS))[torch.arange(len(best), device=best.device), best], angles[best], misfits


def _turns(angles: Tensor) -> Tensor:
    """(T, 3, 4) affine maps of normalised Lab that turn it about the grey axis."""
    lightness, a, b = in_units(corners(angles.device).expand(len(angles), -1, -1)).unbind(1)
    cos, sin = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
    turned = torch.stack((lightness, cos * a - sin * b, sin * a + cos * b), dim=1)
    return map_by_corners(normalize_lab(turned.unsqueeze(-1)).squeeze(-1))


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
