"""Photos of any size: colours decided on a small copy, applied to every pixel of the full photo.

What the network makes of the small copy is described by *colour models*: at each of its pixels the affine map from
source to result colours that fits best in a window around it. A model tells the two sides of an edge apart by their
colours, not by their places, so the models vary smoothly and can be enlarged; the full photo's own pixels then go
through them. Detail is therefore the source's own.

This is the guided filter with a colour guide (He, Sun and Tang, *Guided Image Filtering*, PAMI 2013), its coefficients
computed small as in the *Fast Guided Filter* (He and Sun, 2015). One thing differs: it filters the *change* of
colour, so that where a window is flat the source's grain passes unchanged, where theirs would smooth it away.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.color import blend_into, codes_to_rgb, normalized_to_rgb, rgb_to_normalized

RADIUS = 2
"""Half the side of a model's window, px of the small copy."""

EPSILON = 3e-4
"""Variance, in normalised Lab, below which a window counts as flat."""

_BAND = 1 << 17  # pixels in flight at once, some 200 bytes each


def fit_color_models(source: Tensor, result: Tensor, radius: int = RADIUS, epsilon: float = EPSILON) -> Tensor:
    """The affine colour map around each pixel of a small picture.

    Args:
        source: (B, 3, h, w) normalised Lab.
        result: (B, 3, h, w) normalised Lab, what the source became.
        radius: half the window's side, px.
        epsilon: ridge on the window's covariance, which pulls flat windows toward a mere offset.

    Returns:
        (B, 3, 4, h, w) float32: rows are L, a, b of the result; columns are the weights of the source's L, a, b, then
        the offset. Differentiable.
    """
    models = _fit(source, result.float() - source.float(), radius, epsilon)
    return models + torch.eye(3, 4, device=models.device)[:, :, None, None]


def guided_filter(guide: Tensor, planes: Tensor, radius: int, epsilon: float = EPSILON) -> Tensor:
    """Smooth planes but at the edges of a photo (He, Sun and Tang 2013).

    Args:
        guide: (B, 3, H, W) normalised Lab.
        planes: (B, K, H, W), anything that belongs to its pixels.
        radius: half the window's side, px.
        epsilon: variance of the guide below which a window counts as flat.

    Returns:
        (B, K, H, W) float32. The sum over planes stays what it was.
    """
    with torch.autocast(guide.device.type, enabled=False):
        return apply_affine(_fit(guide, planes, radius, epsilon), guide.float())


def _fit(guide: Tensor, planes: Tensor, radius: int, epsilon: float) -> Tensor:
    """(B, K, 4, H, W): the affine map from guide (B, 3, H, W) to planes (B, K, H, W) around each pixel."""
    with torch.autocast(guide.device.type, enabled=False):
        x, y = guide.float(), planes.float()
        mean_x, mean_y = _window_mean(x, radius), _window_mean(y, radius)
        covariance = _window_mean(x[:, :, None] * x[:, None], radius) - mean_x[:, :, None] * mean_x[:, None]
        cross = _window_mean(y[:, :, None] * x[:, None], radius) - mean_y[:, :, None] * mean_x[:, None]
        weights = _solve(covariance, cross, epsilon)
        offset = mean_y - (weights * mean_x[:, None]).sum(2)
        return _window_mean(torch.cat((weights, offset.unsqueeze(2)), dim=2), radius)


def _window_mean(planes: Tensor, radius: int) -> Tensor:
    """Mean over square windows of (B, ..., h, w), cut off at the borders."""
    side = 2 * radius + 1
    flat = planes.flatten(1, -3)
    rows = F.avg_pool2d(flat, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), stride=1, padding=(0, radius), count_include_pad=False).view_as(planes)


def _solve(covariance: Tensor, cross: Tensor, epsilon: float) -> Tensor:
    """(B, K, 3, h, w) cross (covariance + epsilon I)^-1 at every pixel, by L D L^T, which is stable in float32."""
    (c00, c01, c02), (_, c11, c12), (_, _, c22) = (row.unbind(1) for row in covariance.unbind(1))
    d0 = c00 + epsilon
    l10, l20 = c01 / d0, c02 / d0
    d1 = c11 + epsilon - l10 * c01
    l21 = (c12 - l20 * c01) / d1
    d2 = c22 + epsilon - l20 * c02 - l21 * l21 * d1
    y0, y1, y2 = cross.unbind(2)
    y1 = y1 - l10.unsqueeze(1) * y0
    y2 = y2 - l20.unsqueeze(1) * y0 - l21.unsqueeze(1) * y1
    z2 = y2 / d2.unsqueeze(1)
    z1 = y1 / d1.unsqueeze(1) - l21.unsqueeze(1) * z2
    z0 = y0 / d0.unsqueeze(1) - l10.unsqueeze(1) * z1 - l20.unsqueeze(1) * z2
    return torch.stack((z0, z1, z2), dim=2)


def apply_color_models(models: Tensor, source: Tensor) -> Tensor:
    """Send every pixel through the models around it, enlarged bilinearly.

    Args:
        models: (B, 3, 4, h, w), from :func:`fit_color_models`.
        source: (B, 3, H, W) normalised Lab.

    Returns:
        (B, 3, H, W) normalised Lab, float32. Differentiable.
    """
    with torch.autocast(source.device.type, enabled=False):
        full = F.interpolate(models.flatten(1, 2), source.shape[-2:], mode="bilinear", align_corners=False)
        return apply_affine(full.unflatten(1, (3, 4)), source.float())


def recolor_photo(models: Tensor, photo: Tensor, strength: float = 1.0) -> Tensor:
    """The same for a photo of any size, in bands: memory beyond the photo and its result is bounded.

    Args:
        models: (B, 3, 4, h, w).
        photo: (B, 3, H, W) uint8 or uint16 sRGB.
        strength: see :func:`deepct.color.blend_into`.

    Returns:
        (B, 3, H, W) sRGB of the photo's type.
    """
    height = photo.shape[-2]
    return recolor_in_bands(
        photo,
        lambda rgb, top: normalized_to_rgb(_apply_to_band(models, rgb_to_normalized(rgb), top, height)),
        strength,
    )


def recolor_in_bands(photo: Tensor, recolor: Callable[[Tensor, int], Tensor], strength: float) -> Tensor:
    """Recolour photos part by part.

    Args:
        photo: (B, 3, H, W) uint8 or uint16 sRGB.
        recolor: from (B, 3, rows, W) sRGB in [0, 1] that begin at some row, and that row, to sRGB, which is clipped.
        strength: see :func:`deepct.color.blend_into`.

    Returns:
        (B, 3, H, W) sRGB of the photo's type.
    """
    result = torch.empty_like(photo)
    for rows in _bands(photo):
        band = photo[..., rows, :]
        result[..., rows, :] = blend_into(band, recolor(codes_to_rgb(band), rows.start), strength)
    return result


def _bands(photo: Tensor) -> list[slice]:
    height, width = photo.shape[-2:]
    step = max(1, _BAND // (len(photo) * width))
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _apply_to_band(models: Tensor, band: Tensor, top: int, height: int) -> Tensor:
    """The same for (B, 3, rows, W) that begin at row ``top`` of a photo of this height."""
    above, below, down = _between(models.shape[-2], height, top, top + band.shape[-2], band.device)
    left, right, across = _between(models.shape[-1], band.shape[-1], 0, band.shape[-1], band.device)
    scale = models.shape[-2] / height
    first, last = max(0, int(top * scale) - 1), int((top + band.shape[-2]) * scale) + 1
    nearby = models[..., first : last + 1, :]
    wide = torch.lerp(nearby.index_select(-1, left), nearby.index_select(-1, right), across)
    upper, lower = wide.index_select(-2, above - first), wide.index_select(-2, below - first)
    return apply_affine(torch.lerp(upper, lower, down.unsqueeze(1)), band)


def apply_affine(models: Tensor, source: Tensor) -> Tensor:
    """(B, K, 4, H, W) models, one for each pixel or (B, K, 4, 1, 1) one for all, and (B, 3, H, W) to (B, K, H, W)."""
    weights, offset = models[:, :, :3], models[:, :, 3]
    x0, x1, x2 = source.unsqueeze(2).unbind(1)
    return offset.addcmul(weights[:, :, 0], x0).addcmul(weights[:, :, 1], x1).addcmul(weights[:, :, 2], x2)


def apply_map(model: Tensor, colors: Tensor) -> Tensor:
    """(R, 3, 4) models and (R, 3, P) colours to (R, 3, P): the same map for each of them."""
    return apply_affine(model.unsqueeze(-1), colors)


def corners(device: torch.device) -> Tensor:
    """(3, 4) the colours that tell an affine map: the origin and the three unit vectors."""
    return torch.cat((torch.zeros(3, 1), torch.eye(3)), dim=1).to(device)


def map_by_corners(mapped: Tensor) -> Tensor:
    """(R, 3, 4) affine maps, weights and then the offset, from where they take the :func:`corners`, (R, 3, 4)."""
    origin = mapped[..., :1]
    return torch.cat((mapped[..., 1:] - origin, origin), dim=-1)


def _between(low: int, full: int, start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The two of ``low`` samples on either side of elements start to stop - 1 of ``full``, and how far between."""
    place = ((torch.arange(start, stop, device=device) + 0.5) * (low / full) - 0.5).clamp(0, low - 1)
    before = place.floor()
    return before.long(), place.ceil().long(), place - before


def shrink_photo(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) uint8 or uint16 sRGB to (B, 3, *size) float32 sRGB in [0, 1] by averaging areas, in bands."""
    if tuple(photo.shape[-2:]) == size:
        return codes_to_rgb(photo)
    narrow = [F.adaptive_avg_pool2d(codes_to_rgb(photo[..., rows, :]), (None, size[1])) for rows in _bands(photo)]
    return F.adaptive_avg_pool2d(torch.cat(narrow, dim=-2), size)
