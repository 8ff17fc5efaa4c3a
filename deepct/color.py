"""Colour spaces of the method, as differentiable functions on tensors of shape (..., 3, H, W).

Three representations travel through deepct:

* **sRGB**, gamma-encoded, in [0, 1];
* **Lab**: CIELAB under D65 (2 degree observer), L in [0, 100], a and b in CIE units;
* **normalised Lab**: L, a and b scaled to [-1, 1] by the bounds that the sRGB gamut reaches. It is what the networks
  read and write, and what the losses compare.

Sources: IEC 61966-2-1 (sRGB), CIE 15 (Lab), CIE 142 (the colour difference). The a and b bounds are
those of Lee et al. 2020.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Linear sRGB to XYZ, already divided by the D65 white point, so that white maps to (1, 1, 1).
_Matrix = Sequence[Sequence[float]]
_RGB_TO_XYZ: _Matrix = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)
_XYZ_TO_RGB: _Matrix = torch.linalg.inv(torch.tensor(_RGB_TO_XYZ, dtype=torch.float64)).tolist()
_EPSILON = 0.008856  # below it, CIELAB's cube root gives way to a straight line
_SLOPE = 7.787
_OFFSET = 16.0 / 116.0

_A_MIN, _A_RANGE = -86.1830, 184.4161
_B_MIN, _B_RANGE = -107.8573, 202.3354


def _mix(matrix: _Matrix, planes: Tensor) -> Tensor:
    """Multiply every pixel by a 3 x 3 matrix; written out, because autocast would halve a matrix product's bits."""
    x, y, z = planes.unbind(-3)
    return torch.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix], dim=-3)


def _check_planes(planes: Tensor) -> None:
    if planes.ndim < 3 or planes.shape[-3] != 3:
        raise ValueError(f"expected planes of shape (..., 3, H, W), got {tuple(planes.shape)}")
    if not planes.is_floating_point():
        raise ValueError(f"expected floating point planes, got {planes.dtype}; see uint8_to_rgb")


def uint8_to_rgb(image: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 in [0, 255] to float32 sRGB in [0, 1]."""
    return image.to(torch.float32) / 255.0


def rgb_to_uint8(rgb: Tensor) -> Tensor:
    """SRGB in [0, 1] to uint8 in [0, 255], rounded; values outside the range are clipped."""
    return (rgb.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def codes_to_rgb(codes: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 or uint16 codes to float32 sRGB in [0, 1]."""
    return codes.to(torch.float32) / torch.iinfo(codes.dtype).max


def rgb_to_codes(rgb: Tensor, kind: torch.dtype) -> Tensor:
    """SRGB in [0, 1] to codes, uint8 or uint16, rounded; values outside the range are clipped."""
    return (rgb.clamp(0.0, 1.0) * torch.iinfo(kind).max).round().to(kind)


def blend_into(photo: Tensor, result: Tensor, strength: float) -> Tensor:
    """A photo on its way to a result.

    The way is straight in sRGB: nothing on it leaves the gamut, it is what editors do by a layer's opacity, and a LUT,
    which is interpolated in sRGB too, holds it exactly. Only what is returned is rounded.

    Args:
        photo: (..., 3, H, W) uint8 or uint16 sRGB.
        result: (..., 3, H, W) float sRGB in [0, 1]; values outside the range are clipped.
        strength: 0 gives the photo bit for bit, 1 the result.

    Returns:
        (..., 3, H, W) sRGB of the photo's type.
    """
    if strength == 1:
        return rgb_to_codes(result, photo.dtype)
    return rgb_to_codes(torch.lerp(codes_to_rgb(photo), result.clamp(0.0, 1.0), strength), photo.dtype)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """SRGB to CIELAB.

    Args:
        rgb: (..., 3, H, W), float, gamma-encoded sRGB in [0, 1].

    Returns:
        Tensor of the same shape: L in [0, 100], a in about [-86, 98], b in about [-108, 94]. Gradients are finite
        everywhere, black and white included.

    Raises:
        ValueError: the shape has no three planes, or the type is not floating point.
    """
    _check_planes(rgb)
    # Both branches of a `where` are differentiated: clamping keeps the unused one finite.
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(_RGB_TO_XYZ, linear)
    f = torch.where(xyz > _EPSILON, xyz.clamp(min=_EPSILON) ** (1.0 / 3.0), _SLOPE * xyz + _OFFSET)
    fx, fy, fz = f.unbind(-3)
    return torch.stack((116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)), dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIELAB to sRGB, the inverse of :func:`rgb_to_lab`.

    Args:
        lab: (..., 3, H, W), float.

    Returns:
        sRGB of the same shape. Colours outside the sRGB gamut leave [0, 1] and are *not* clipped here.

    Raises:
        ValueError: the shape has no three planes, or the type is not floating point.
    """
    _check_planes(lab)
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16.0) / 116.0
    f = torch.stack((fy + a / 500.0, fy, fy - b / 200.0), dim=-3)
    xyz = torch.where(f > _EPSILON ** (1.0 / 3.0), f**3, (f - _OFFSET) / _SLOPE)
    linear = _mix(_XYZ_TO_RGB, xyz)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1.0 / 2.4) - 0.055, linear * 12.92)


def normalize_lab(lab: Tensor) -> Tensor:
    """CIELAB to normalised Lab: each of L, a, b in [-1, 1] for colours of the sRGB gamut."""
    _check_planes(lab)
    lightness, a, b = lab.unbind(-3)
    return torch.stack(
        (
            lightness / 50.0 - 1.0,
            2.0 * (a - _A_MIN) / _A_RANGE - 1.0,
            2.0 * (b - _B_MIN) / _B_RANGE - 1.0,
        ),
        dim=-3,
    )


def denormalize_lab(normalized: Tensor) -> Tensor:
    """Normalised Lab to CIELAB, the inverse of :func:`normalize_lab`."""
    _check_planes(normalized)
    lightness, a, b = normalized.unbind(-3)
    return torch.stack(
        (
            50.0 * (lightness + 1.0),
            (a + 1.0) / 2.0 * _A_RANGE + _A_MIN,
            (b + 1.0) / 2.0 * _B_RANGE + _B_MIN,
        ),
        dim=-3,
    )


def delta_e_2000(a: Tensor, b: Tensor) -> Tensor:
    """CIEDE2000 colour difference of two pictures, pixel by pixel (Sharma, Wu and Dalal 2005).

    Args:
        a: (..., 3, H, W) normalised Lab, float32 or wider.
        b: likewise.

    Returns:
        (..., H, W), 0 or more.

    Raises:
        ValueError: the shape has no three planes, or the type is not floating point.
    """
    (light_a, *ab_a), (light_b, *ab_b) = (denormalize_lab(lab).unbind(-3) for lab in (a, b))
    bend = 0.5 - 0.5 * _chroma_share((torch.hypot(*ab_a) + torch.hypot(*ab_b)) / 2)
    reds = [(1 + bend) * red for red in (ab_a[0], ab_b[0])]
    chromas = [torch.hypot(red, ab[1]) for red, ab in zip(reds, (ab_a, ab_b), strict=True)]
    # Where a colour is grey its hue is the other's: it has no say.
    hues = [torch.atan2(ab[1], red) for red, ab in zip(reds, (ab_a, ab_b), strict=True)]
    coloured = chromas[0] * chromas[1] > 0
    turn = torch.remainder(hues[1] - hues[0] + torch.pi, 2 * torch.pi) - torch.pi
    turn = torch.where(coloured, turn, 0.0)
    hue = torch.where(coloured, hues[0] + turn / 2, torch.where(chromas[0] > 0, hues[0], hues[1]))
    lightness, chroma = (light_a + light_b) / 2, (chromas[0] + chromas[1]) / 2
    weight = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    middle = (lightness - 50).square()
    light = (light_b - light_a) / (1 + 0.015 * middle / (20 + middle).sqrt())
    colour = (chromas[1] - chromas[0]) / (1 + 0.045 * chroma)
    shade = 2 * (chromas[0] * chromas[1]).sqrt() * torch.sin(turn / 2) / (1 + 0.015 * chroma * weight)
    blue = torch.remainder(hue, 2 * torch.pi) * (180 / torch.pi)
    spread = math.radians(60) * torch.exp(-((blue - 275) / 25).square())
    rotation = -2 * _chroma_share(chroma) * torch.sin(spread)
    return (light.square() + colour.square() + shade.square() + rotation * colour * shade).clamp(min=0).sqrt()


def _chroma_share(chroma: Tensor) -> Tensor:
    """CIEDE2000's measure of how colourful a colour is, from 0 to 1."""
    power = chroma**7
    return (power / (power + 25.0**7)).sqrt()


def rgb_to_normalized(rgb: Tensor) -> Tensor:
    """SRGB in [0, 1] to normalised Lab."""
    return normalize_lab(rgb_to_lab(rgb))


def normalized_to_rgb(normalized: Tensor) -> Tensor:
    """Normalised Lab to sRGB, not clipped."""
    return lab_to_rgb(denormalize_lab(normalized))


def rgb_to_hsv(rgb: Tensor) -> Tensor:
    """SRGB in [0, 1] to hue, saturation and value, each in [0, 1]; grey has hue 0."""
    _check_planes(rgb)
    value, arg = rgb.max(dim=-3)
    chroma = value - rgb.min(dim=-3).values
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    red, green, blue = rgb.unbind(-3)
    sector = torch.stack(((green - blue) / safe, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe), dim=-3)
    hue = (sector.gather(-3, arg.unsqueeze(-3)).squeeze(-3) / 6.0) % 1.0
    hue = torch.where(chroma > 0, hue, torch.zeros_like(hue))
    saturation = torch.where(value > 0, chroma / torch.where(value > 0, value, torch.ones_like(value)), chroma)
    return torch.stack((hue, saturation, value), dim=-3)


def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """Hue, saturation and value in [0, 1] to sRGB in [0, 1], the inverse of :func:`rgb_to_hsv`."""
    _check_planes(hsv)
    hue, saturation, value = hsv.unbind(-3)
    offsets = torch.tensor((5.0, 3.0, 1.0), dtype=hsv.dtype, device=hsv.device).view(3, 1, 1)
    k = (offsets + 6.0 * hue.unsqueeze(-3)) % 6.0
    ramp = torch.minimum(k, 4.0 - k).clamp(0.0, 1.0)
    return value.unsqueeze(-3) * (1.0 - saturation.unsqueeze(-3) * ramp)


def shift_hue_saturation(rgb: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """The colour augmentation of Lee et al. 2020: turn the hue and scale the saturation, keep the lightness.

    Args:
        rgb: (B, 3, H, W) sRGB in [0, 1].
        hue: (B,) shift in turns; 0 and 1 leave the hue alone.
        saturation: (B,) factor on the HSV saturation, which is clipped at 1.

    Returns:
        (B, 3, H, W) *Lab* whose L is that of ``rgb``, bit for bit. It can lie outside the sRGB gamut, so it is not
        turned back into sRGB.
    """
    h, s, v = rgb_to_hsv(rgb).unbind(-3)
    h = (h + hue.view(-1, 1, 1)) % 1.0
    s = (s * saturation.view(-1, 1, 1)).clamp(max=1.0)
    shifted = rgb_to_lab(hsv_to_rgb(torch.stack((h, s, v), dim=-3)))
    return torch.cat((rgb_to_lab(rgb)[..., :1, :, :], shifted[..., 1:, :, :]), dim=-3)
