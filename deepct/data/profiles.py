"""What a file's numbers mean: colour profiles and bits a channel."""

import io
import logging
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

BAND = 1 << 20
"""Pixels of 16 bits that are converted at once."""

Depth = Literal[8, 16]
"""Bits a channel."""

_SRGB = frozenset({"sRGB", "sRGB built-in", "sRGB IEC61966-2.1", "sRGB IEC61966-2-1"})  # profiles to leave alone
_log = logging.getLogger(__name__)


def to_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of uint16 rounded to uint8; those of uint8 as they are."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def to_depth(pixels: NDArray[Any], depth: Depth) -> NDArray[Any]:
    """Pixels of uint8 or uint16 at 8 or 16 bits a channel; white stays white."""
    if depth == 8:
        return to_8_bits(pixels)
    return pixels if pixels.dtype == np.uint16 else pixels * np.uint16(257)


def to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """An image of any mode as RGB under sRGB.

    Args:
        image: 8 bits a channel.
        profile: its ICC profile; None: it is sRGB already. One that is broken is named in a warning and passed over.
        name: what the warning calls it.
    """
    mode, transform = _find_transform(profile, name)
    return image.convert("RGB") if transform is None else _apply(transform, image.convert(mode))


def deep_to_srgb(pixels: NDArray[np.uint16], profile: bytes | None, name: str, depth: Depth = 8) -> NDArray[Any]:
    """The same of (H, W) or (H, W, 3) pixels of 16 bits, as (H, W, 3) of the given depth.

    Pillow's LittleCMS has 8 bits a channel, so what lies between its colours is interpolated. Where a saturated
    colour leaves a channel of sRGB near black, rounding before a conversion from a wide space like ProPhoto RGB costs
    that channel up to ten codes; this costs two.
    """
    _, transform = _find_transform(profile, name)
    if transform is None:
        return np.broadcast_to(np.atleast_3d(to_depth(pixels, depth)), (*pixels.shape[:2], 3))
    scale = np.float32(1 if depth == 8 else 257)
    result = np.empty((*pixels.shape[:2], 3), np.uint8 if depth == 8 else np.uint16)
    rows = max(1, BAND // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        band = slice(top, top + rows)
        result[band] = np.rint(_convert_between(pixels[band], transform) * scale)
    return result


def _convert_between(pixels: NDArray[np.uint16], transform: ImageCms.ImageCmsTransform) -> NDArray[np.float32]:
    codes = np.atleast_3d(pixels) / np.float32(257)
    below = np.minimum(codes, 254).astype(np.uint8)
    share = codes - below
    total = np.zeros((*codes.shape[:2], 3), np.float32)
    for corner in product((0, 1), repeat=codes.shape[2]):
        weight = np.prod(np.where(corner, share, 1 - share), axis=2, keepdims=True)
        colours = Image.fromarray((below + np.array(corner, np.uint8)).reshape(pixels.shape))
        total += weight * np.asarray(_apply(transform, colours))
    return total


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only an in-place transform returns None
    return converted


def _find_transform(profile: bytes | None, name: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """As :func:`_srgb_transform`; a profile that is broken is named in a warning and passed over."""
    try:
        return _srgb_transform(profile) if profile else ("RGB", None)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        _log.warning("%s: its ICC profile is broken (%s); taken as sRGB", name, error)
        return "RGB", None


@lru_cache(maxsize=16)
def _srgb_transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Pillow's mode for an embedded profile's colours and the transform to sRGB, None where they are sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = {"GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip(), "RGB")
    if ImageCms.getProfileDescription(source).strip() in _SRGB:
        return mode, None
    return mode, ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
