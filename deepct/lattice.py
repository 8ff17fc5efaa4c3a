"""Colour maps sampled on a lattice of the sRGB cube, and applied to photos of any size by interpolation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.highres import recolor_in_bands

LATTICE_SIZE = 33
"""Points along each axis by default: what photo and video editors commonly take."""


def lattice_colors(size: int, device: torch.device) -> Tensor:
    """(size^3, 3) sRGB in [0, 1]: the colours of the points, red slowest."""
    axis = torch.linspace(0, 1, size, device=device)
    return torch.cartesian_prod(axis, axis, axis)


def look_up(tables: Tensor, rgb: Tensor) -> Tensor:
    """Map colours by trilinear interpolation.

    Args:
        tables: (B, 3, S, S, S), what becomes of the points; axes red, green, blue.
        rgb: (B, 3, H, W) sRGB in [0, 1].

    Returns:
        (B, 3, H, W) float32.
    """
    places = rgb.flip(1).permute(0, 2, 3, 1).unsqueeze(1) * 2 - 1
    return F.grid_sample(tables, places, align_corners=True, padding_mode="border").squeeze(2)


def recolor_by_lattice(tables: Tensor, photo: Tensor, strength: float = 1.0) -> Tensor:
    """Recolour photos in bands: memory beyond the photo and its result is bounded.

    Args:
        tables: (B, 3, S, S, S).
        photo: (B, 3, H, W) uint8 or uint16 sRGB.
        strength: see :func:`deepct.color.blend_into`.

    Returns:
        (B, 3, H, W) sRGB of the photo's type.
    """
    return recolor_in_bands(photo, lambda rgb, _: look_up(tables, rgb), strength)
