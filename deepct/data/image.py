"""Reading photos: whatever a camera or an editor wrote, as upright sRGB."""

import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from deepct.data.files import File, opened
from deepct.data.metadata import Metadata
from deepct.data.profiles import BAND, Depth, deep_to_srgb, to_8_bits, to_depth, to_srgb
from deepct.errors import DataError, ImageError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
_EXIF_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # TIFF's tags
_OTHER_PHOTOS = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf"}
)
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")  # by content; Pillow would start Ghostscript for others
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_log = logging.getLogger(__name__)

MAX_PIXELS = 500_000_000
"""The most pixels that a photo may have: a file of some kilobytes can claim to be one that fills any memory."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # cameras exceed Pillow's own limit


def list_photos(folder: str | Path, suffixes: frozenset[str] = PHOTO_SUFFIXES) -> list[Path]:
    """The photos directly in a folder, by name; hidden files are passed over, photos of other kinds with a warning.

    What is called a photo and is none, like a link to nowhere, is listed too: to be told of when it cannot be read.

    Args:
        folder: where to look.
        suffixes: the kinds that can be read, in lower case.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give a folder that holds photos")
    entries = sorted(folder.iterdir())
    others = [path.name for path in entries if path.suffix.lower() in _OTHER_PHOTOS - suffixes]
    if others:
        _log.warning("%s: %d photos of other kinds are passed over, %s first", folder, len(others), others[0])
    photos = [
        path
        for path in entries
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and not path.is_dir()
    ]
    if not photos:
        kinds = ", ".join(sorted(suffix[1:] for suffix in suffixes))
        raise DataError(f"{folder}: no photo found among {len(entries)} entries; expected {kinds}")
    return photos


class Picture(NamedTuple):
    """A photo to recolour.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16 sRGB, upright.
        alpha: (H, W) of the same type, or None where the photo has no transparency.
        metadata: what else its file says.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None
    metadata: Metadata


def photo_size(path: str | File, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of the upright photo, in px, from the file's header alone.

    Raises:
        ImageError: the header cannot be read, or the photo has more pixels than it may.
    """
    with _opened(path, max_pixels) as image:
        width, height = image.size
        exif = Image.Exif()
        try:
            found = image.info.get("exif")  # getexif() would decode a whole PNG in search of it
            exif.load(found or (_late_exif(path) if image.format == "PNG" else b""))
            turned = image.format != "TIFF" and exif.get(_EXIF_ORIENTATION) in _TURNED
        except Exception:  # as in _orientation, which says so
            turned = False
    return (width, height) if turned else (height, width)


def read_photo(path: str | File, reduce: int = 1, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a JPEG, PNG, WebP or TIFF photo of 8 or 16 bits a channel; of an animation, the first frame.

    The EXIF orientation is applied, an embedded ICC profile is converted to sRGB, grey becomes RGB, and transparency
    is dropped.

    Args:
        path: the file.
        reduce: 1, 2, 4 or 8: read at this fraction of the size. A JPEG is decoded so, which is much faster; other
            formats are averaged down.
        max_pixels: the most pixels that it may have.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        ImageError: the file is no photo that can be read; the message names it.
    """
    with _opened(path, max_pixels) as image:
        full_size = image.size
        if reduce > 1:
            image.draft(None, (max(1, image.width // reduce), max(1, image.height // reduce)))
        profile = image.info.get("icc_profile")
        pixels = Image.fromarray(to_8_bits(_read_deep(path, image)[0])) if _is_deep(image) else image
        rgb = to_srgb(pixels, profile, str(path))
        if reduce > 1 and rgb.size == full_size:
            rgb = rgb.reduce(reduce)
        return np.ascontiguousarray(_turn(np.asarray(rgb), _orientation(image, path)))


def read_picture(path: str | File, depth: Depth = 8, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a photo with all that a recoloured one takes over; formats and colours as in :func:`read_photo`.

    Args:
        path: the file.
        depth: bits a channel to give it. At 16, a profile's curves are interpolated between 8-bit colours.
        max_pixels: the most pixels that it may have.

    Raises:
        ImageError: the file is no photo that can be read; the message names it.
    """
    with _opened(path, max_pixels) as image:
        is_deep, profile = _is_deep(image), image.info.get("icc_profile")
        if image.format != "TIFF":  # whose file is closed when it is read, and its metadata with it
            image.load()
        metadata = Metadata.of(image, str(path))
        orientation = _orientation(image, path)
        if is_deep:
            deep, alpha = _read_deep(path, image)
            pixels: NDArray[Any] = deep_to_srgb(deep, profile, str(path), depth)
        else:
            alpha = _alpha(image)
            pixels = np.asarray(to_srgb(image, profile, str(path)))
        planes = [None if plane is None else _turn(to_depth(plane, depth), orientation) for plane in (pixels, alpha)]
        assert planes[0] is not None
        return Picture(planes[0], planes[1], metadata)


def show_visible(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """What a network is shown of a photo with transparency: the photo over its own mean colour.

    Colours that nobody sees then have no say in the transfer, nor has a background that nobody chose.

    Args:
        pixels: (H, W, 3) uint8 or uint16.
        alpha: (H, W) of the same type.

    Returns:
        (H, W, 3) of the same type.
    """
    rows = max(1, BAND // pixels.shape[1])
    bands = [slice(top, top + rows) for top in range(0, len(pixels), rows)]
    weight = float(alpha.sum(dtype=np.float64))
    if not weight:
        return pixels
    sums = [np.tensordot(alpha[band].astype(np.float64), pixels[band], 2) for band in bands]
    mean = (np.sum(sums, axis=0) / weight).astype(np.float32)
    shown = np.empty_like(pixels)
    for band in bands:
        share = alpha[band, :, None] / np.float32(np.iinfo(alpha.dtype).max)
        shown[band] = np.rint(mean + share * (pixels[band] - mean))
    return shown


def find_reduction(size: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """1, 2, 4 or 8: by how much sides may be reduced and still be no shorter than wanted."""
    return max(
        step for step in (1, 2, 4, 8) if step == 1 or all(a // step >= b for a, b in zip(size, wanted, strict=True))
    )


def read_centre(
    path: str | File, crop: tuple[int, int], size: tuple[int, int], max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read the centre of a photo at a smaller size, averaged over areas; formats and colours as in :func:`read_photo`.

    Photos of 16 bits a channel are averaged and converted at that depth, and rounded once, at the end.

    Args:
        path: the file.
        crop: height and width of the centre, in px of the upright photo, no larger than it.
        size: height and width to give it, no larger than ``crop``.
        max_pixels: the most pixels that it may have.

    Returns:
        (*size, 3) uint8 sRGB.

    Raises:
        ImageError: the file is no photo that can be read; the message names it.
    """
    with _opened(path, max_pixels) as image:
        is_deep = _is_deep(image)  # asked first: a PNG does not know it any more when it is read
        orientation, full = _orientation(image, path), image.size[::-1]
        if orientation in _TURNED:
            crop, size = crop[::-1], size[::-1]
        # A JPEG is decoded at a fraction, but at twice the size: the average of few pixels is no good one.
        height, width = (-(-whole * 2 * small // part) for whole, small, part in zip(full, size, crop, strict=True))
        image.draft(None, (width, height))
        profile = image.info.get("icc_profile")
        if is_deep:
            deep = average_centre(_read_deep(path, image)[0], full, crop, size)
            rgb = deep_to_srgb(deep, profile, str(path))
        else:
            rgb = average_centre(np.asarray(to_srgb(image, profile, str(path))), full, crop, size)
        return np.ascontiguousarray(_turn(rgb, orientation))


def average_centre(
    pixels: NDArray[Any], full: tuple[int, int], crop: tuple[int, int], size: tuple[int, int]
) -> NDArray[Any]:
    """Average the centre of a photo over the areas of fewer, larger pixels.

    Areas end between pixels, where OpenCV's and Pillow's resizing start and stop at whole ones: versions of one scene,
    decoded at different fractions of their sizes, still lie on top of each other.

    Args:
        pixels: (H, W) or (H, W, C) integers: the photo, at any fraction of its size.
        full: height and width of the whole photo.
        crop: height and width of its centre, in px of the whole photo.
        size: height and width to give the centre.

    Returns:
        (*size) or (*size, C) of the same type, rounded.
    """
    rows, columns = (
        _area_weights(there, whole, part, count)
        for there, whole, part, count in zip(pixels.shape, full, crop, size, strict=False)
    )
    averaged = rows @ pixels.reshape(len(pixels), -1)
    averaged = averaged.reshape(size[0], pixels.shape[1], -1).swapaxes(0, 1).reshape(pixels.shape[1], -1)
    averaged = (columns @ averaged).reshape(size[1], size[0], *pixels.shape[2:]).swapaxes(0, 1)
    return np.rint(averaged).astype(pixels.dtype)


def _area_weights(there: int, whole: int, part: int, count: int) -> Any:
    """(count, there) sparse: the share of each of a row's pixels in each area of the centre."""
    from scipy.sparse import csr_array

    start = (whole - part) // 2
    # A JPEG's last pixel may reach beyond the photo: pixels are a power of two wide, not there / whole.
    step = 2.0 ** round(np.log2(whole / there))
    edges = (start + part * np.arange(count + 1) / count) / step
    pixel = np.arange(there)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return csr_array(np.clip(overlap, 0, None) * (count * step / part), dtype=np.float32)


def to_planes(photo: NDArray[Any]) -> Tensor:
    """(H, W, C) uint8 or uint16 pixels to a (C, H, W) tensor."""
    return torch.from_numpy(photo.transpose(2, 0, 1).copy())


def to_pixels(planes: Tensor) -> NDArray[Any]:
    """A (C, H, W) uint8 or uint16 tensor on any device to (H, W, C) pixels."""
    return np.ascontiguousarray(planes.cpu().numpy().transpose(1, 2, 0))


def unreadable(path: str | File, error: Exception) -> ImageError:
    """What to say of a photo whose decoder failed."""
    reason = str(error).replace(str(path), "").strip(" :'\"") or type(error).__name__
    return ImageError(f"{path}: cannot be read as a photo ({reason}); open and save it again, or take it away")


@contextmanager
def _opened(path: str | File, max_pixels: int) -> Iterator[Image.Image]:
    """A photo's file, its header read; whatever goes wrong with it in there is an ImageError that names it."""
    try:
        if Image.MAX_IMAGE_PIXELS is not None:  # nobody but the caller sets a higher limit, in any of its processes
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
        # Not by its name: Pillow would map a TIFF with transparency into memory, and turn it wrongly.
        with opened(path) as file, Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path}: has more than the {max_pixels:,} pixels that a photo may have; if it is no trap, raise "
            "max_pixels (predict --data.max_pixels, masks and prepare --max_pixels; train on what prepare makes of it)"
        ) from error
    except UnidentifiedImageError as error:
        raise unreadable(path, ValueError(_what_it_is(path))) from error
    except Exception as error:  # decoders raise nearly anything on broken files
        raise unreadable(path, error) from error


def _late_exif(path: str | File) -> bytes:
    """The EXIF that a PNG has after its pixels; empty where it has none."""
    with opened(path) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return b"Exif\0\0" + file.read(length)
            file.seek(length + 4, io.SEEK_CUR)
    return b""


def _what_it_is(path: str | File) -> str:
    with opened(path) as file:
        start = file.read(4)
    if not start:
        return "the file is empty"
    if start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF of a kind that is not known, like one of floating point; save it with 8 or 16 bits a channel"
    return "it is no JPEG, PNG, WebP or TIFF"


def _is_deep(image: Image.Image) -> bool:
    """More than 8 bits a channel, which Pillow would cut rather than round."""
    if image.mode in ("F", "I"):
        raise ValueError("32 bits a channel; save it with 8 or 16")
    if image.mode == "CMYK":  # of which OpenCV knows nothing
        return False
    bits = _tiff_tag(image, _BITS_PER_SAMPLE, ())
    return image.mode.startswith("I;16") or max(bits, default=8) > 8 or ";16" in str(getattr(image, "tile", ""))


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImagePlugin.TiffImageFile) else default


def _orientation(image: Image.Image, path: str | File) -> int:
    """EXIF's, or 1 for a TIFF, which Pillow and OpenCV turn themselves."""
    if image.format == "TIFF":
        return 1
    if image.format == "PNG":
        image.load()  # its EXIF may come last; and what fails here is no fault of that
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception as error:  # as decoders do
        _log.warning("%s: its EXIF is broken (%s); taken as upright", path, error)
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (H, W, ...) upright."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation in _TURNED else pixels


def _alpha(image: Image.Image) -> NDArray[np.uint8] | None:
    if not image.has_transparency_data:
        return None
    return np.asarray((image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A"))


def _read_deep(path: str | File, image: Image.Image) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read 16 bits a channel, (H, W) or (H, W, 3), and the transparency, (H, W)."""
    import cv2  # imported here: 8-bit photos need it not

    if _tiff_tag(image, _PLANAR, 1) == 2 and len(image.getbands()) > 1:  # OpenCV would mix the planes up
        raise ValueError("16 bits a channel in separate planes; save it with interleaved channels")
    with opened(path) as file:
        data = np.frombuffer(file.read(), np.uint8)
    pixels: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("16 bits a channel in a form that OpenCV cannot decode")
    if _tiff_tag(image, _PHOTOMETRIC, None) == 0:  # white is zero, of which OpenCV knows nothing
        pixels = np.iinfo(pixels.dtype).max - pixels
    if pixels.ndim == 2:
        return pixels, None
    return np.ascontiguousarray(pixels[..., 2::-1]), pixels[..., 3] if pixels.shape[2] == 4 else None


def take_picture(image: Image.Image) -> Picture:
    """A PIL image under sRGB: its profile converted, its orientation applied, 16 bits of grey rounded to 8."""
    upright = ImageOps.exif_transpose(image)
    alpha = _alpha(upright)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray(to_8_bits(np.asarray(upright)))
    pixels = np.asarray(to_srgb(upright, image.info.get("icc_profile"), "the image"))
    return Picture(pixels, alpha, Metadata.of(image, "the image"))
