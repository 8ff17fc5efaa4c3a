"""Reading photos: whatever a camera or an editor wrote, as upright 8-bit sRGB."""

import io
import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from torch import Tensor

from deepct.errors import DataError, ImageError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
_EXIF_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # TIFF's tags
_SRGB = frozenset({"sRGB", "sRGB built-in", "sRGB IEC61966-2.1", "sRGB IEC61966-2-1"})  # profiles to leave alone
_OTHER_PHOTOS = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf"})
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_log = logging.getLogger(__name__)


def list_photos(folder: str | Path) -> list[Path]:
    """The photos directly in a folder, by name; hidden files are passed over, photos of other kinds with a warning.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give a folder that holds photos")
    entries = sorted(folder.iterdir())
    others = [path.name for path in entries if path.suffix.lower() in _OTHER_PHOTOS]
    if others:
        _log.warning("%s: %d photos of other kinds are passed over, %s first", folder, len(others), others[0])
    photos = [
        path
        for path in entries
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not photos:
        kinds = ", ".join(sorted(suffix[1:] for suffix in PHOTO_SUFFIXES))
        raise DataError(f"{folder}: no photo found among {len(entries)} entries; expected {kinds}")
    return photos


def photo_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the upright photo, in px, from the file's header alone.

    Raises:
        ImageError: the header cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))  # getexif() would decode a whole PNG in search of it
            turned = image.format != "TIFF" and exif.get(_EXIF_ORIENTATION) in _TURNED
    except Exception as error:  # decoders raise nearly anything on broken files
        raise _unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def read_photo(path: str | Path, reduce: int = 1) -> NDArray[np.uint8]:
    """Read a JPEG, PNG, WebP or TIFF photo of 8 or 16 bits a channel.

    The EXIF orientation is applied, an embedded ICC profile is converted to sRGB, grey becomes RGB, and transparency
    is dropped.

    Args:
        path: the file.
        reduce: 1, 2, 4 or 8: read at this fraction of the size. A JPEG is decoded so, which is much faster; other
            formats are averaged down.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        ImageError: the file is no photo that can be read; the message names it.
    """
    try:
        with Image.open(path) as image:
            full_size = image.size
            if reduce > 1:
                image.draft(None, (max(1, image.width // reduce), max(1, image.height // reduce)))
            profile = image.info.get("icc_profile")
            pixels = _read_deep(path, image) if _is_deep(image) else image
            rgb = _to_srgb(pixels, profile, str(path))
            if reduce > 1 and rgb.size == full_size:
                rgb = rgb.reduce(reduce)
            # Pillow and OpenCV turn a TIFF themselves.
            orientation = 1 if image.format == "TIFF" else image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception as error:  # decoders raise nearly anything on broken files
        raise _unreadable(path, error) from error
    rgb.getexif()[_EXIF_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(rgb))


def to_planes(photo: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 pixels to a (3, H, W) tensor."""
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))


def to_pixels(planes: Tensor) -> NDArray[np.uint8]:
    """A (3, H, W) uint8 tensor on any device to (H, W, 3) pixels."""
    return np.ascontiguousarray(planes.cpu().numpy().transpose(1, 2, 0))


def _unreadable(path: str | Path, error: Exception) -> ImageError:
    reason = str(error).replace(str(path), "").strip(" :'\"") or type(error).__name__
    return ImageError(f"{path}: cannot be read as a photo ({reason}); open and save it again, or take it away")


def _is_deep(image: Image.Image) -> bool:
    """More than 8 bits a channel, which Pillow would cut rather than round."""
    if image.mode in ("F", "I"):
        raise ValueError("32 bits a channel; save it with 8 or 16")
    bits = _tiff_tag(image, _BITS_PER_SAMPLE, ())
    return image.mode.startswith("I;16") or max(bits, default=8) > 8 or ";16" in str(getattr(image, "tile", ""))


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImagePlugin.TiffImageFile) else default


def _read_deep(path: str | Path, image: Image.Image) -> Image.Image:
    """Read 16 bits a channel and round to 8."""
    import cv2  # imported here: 8-bit photos need it not

    if _tiff_tag(image, _PLANAR, 1) == 2 and len(image.getbands()) > 1:  # OpenCV would mix the planes up
        raise ValueError("16 bits a channel in separate planes; save it with interleaved channels")
    pixels: Any = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("16 bits a channel in a form that OpenCV cannot decode")
    if pixels.dtype == np.uint16:
        pixels = _round_to_8_bits(pixels)
    if _tiff_tag(image, _PHOTOMETRIC, None) == 0:  # white is zero, of which OpenCV knows nothing
        pixels = 255 - pixels
    if pixels.ndim == 3:
        pixels = pixels[..., 2::-1]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _round_to_8_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def upright_srgb(image: Image.Image) -> Image.Image:
    """A PIL image as RGB under sRGB: its profile converted, its orientation applied, 16 bits of grey rounded to 8."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray(_round_to_8_bits(np.asarray(upright)))
    return _to_srgb(upright, image.info.get("icc_profile"), "the image")


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    if profile:
        try:
            mode, transform = _srgb_transform(profile)
            if transform is not None:
                converted = ImageCms.applyTransform(image.convert(mode), transform)
                assert converted is not None  # only an in-place transform returns None
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            _log.warning("%s: its ICC profile is broken (%s); taken as sRGB", name, error)
    return image.convert("RGB")


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
