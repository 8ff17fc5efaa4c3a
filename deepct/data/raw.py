"""Reading raw photos (DNG) through LibRaw, which comes with the extra ``raw``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepct.data.image import average_centre, unreadable
from deepct.errors import DataError

RAW_SUFFIXES = frozenset({".dng"})
_TURNED = frozenset({5, 6})  # LibRaw's flips that swap width and height
_SRGB_CURVE = (2.4, 12.92)  # exponent, and slope of the straight part


def require_rawpy(photo: Path) -> None:
    """Check that raw photos can be read at all.

    Raises:
        DataError: rawpy is not installed.
    """
    if find_spec("rawpy") is None:
        raise DataError(f"{photo}: reading raw photos needs rawpy: pip install 'deepct[raw]'")


def raw_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the upright, developed photo, in px, from the file's header alone.

    Raises:
        ImageError: LibRaw cannot open the file.
    """
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            return _upright_size(raw)
    except Exception as error:  # LibRaw's errors, and memory
        raise unreadable(path, error) from error


def read_raw_centre(path: str | Path, crop: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Develop a raw photo, and average its centre to a smaller size.

    Developed with the camera's white balance, no brightness but the photo's own, and sRGB's colours and curve. A photo
    of four times the size or more is not interpolated from its mosaic: each 2 x 2 block becomes one pixel.

    Args:
        path: the file.
        crop: height and width of the centre, in px of the upright photo, no larger than it.
        size: height and width to give it, no larger than ``crop``.

    Returns:
        (*size, 3) uint8 sRGB.

    Raises:
        ImageError: LibRaw cannot read the file; the message names it.
    """
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            full = _upright_size(raw)
            developed = raw.postprocess(
                half_size=min(crop) >= 4 * min(size),
                use_camera_wb=True,
                no_auto_bright=True,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=_SRGB_CURVE,
                output_bps=16,
            )
    except Exception as error:  # LibRaw's errors, and memory
        raise unreadable(path, error) from error
    return np.rint(average_centre(developed, full, crop, size) / 257.0).astype(np.uint8)


def _upright_size(raw: Any) -> tuple[int, int]:
    height, width = raw.sizes.height, raw.sizes.width
    return (width, height) if raw.sizes.flip in _TURNED else (height, width)
