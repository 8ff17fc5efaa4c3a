"""What a photo's file says beside its colours, for the recoloured one to say too."""

import logging
import math
from functools import lru_cache
from typing import Any

from PIL import ExifTags, Image, ImageCms

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION = 0x0112, 0x011A, 0x011B
_COLOR_SPACE, _MAKER_NOTE = 0xA001, 0x927C
# What is wrong of the recoloured photo, or belongs to the file that it came in: sizes, strips, colours, copies of this.
_OF_THE_FILE = frozenset(
    {
        *(0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0115, 0x0116, 0x0117, 0x011C),
        *(0x012D, 0x013D, 0x013E, 0x013F, 0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B),
        *(0x0200, 0x0201, 0x0202, 0x0211, 0x0212, 0x0213, 0x0214, 0x02BC, 0x83BB, 0x8649, 0x8773, 0x935C),
        *(0xA002, 0xA003, 0xA005),
        _ORIENTATION,
    }
)
_MOST_EXIF = 65000  # bytes: a segment of a JPEG holds little more
_DPI = (1, 65535)  # that a JPEG can say
_log = logging.getLogger(__name__)


class Metadata:
    """What else the file of a photo says; no dataclass, for Lightning would take that apart.

    Attributes:
        exif: without the orientation, for it is applied, the thumbnail and the sizes; empty where there is none.
        dpi: pixels an inch across and down, of the upright photo, or None.
        has_profile: whether a colour profile was embedded.
    """

    def __init__(self, exif: bytes = b"", dpi: tuple[float, float] | None = None, has_profile: bool = False) -> None:
        self.exif = exif
        self.dpi = dpi
        self.has_profile = has_profile

    @classmethod
    def of(cls, image: Image.Image, name: str) -> "Metadata":
        """Read it; of what is broken nothing is taken, and a warning says so.

        Args:
            image: the photo, as opened.
            name: what to call it.
        """
        is_turned, exif = False, b""
        try:
            whole = image.getexif()
            is_turned = whole.get(_ORIENTATION) in range(5, 9)
            exif = _clean(whole, is_turned)
        except Exception as error:  # broken EXIF raises nearly anything
            _log.warning("%s: its EXIF is broken (%s) and is left out", name, error)
        dpi = _dpi(image.info.get("dpi"))
        return cls(exif, dpi[::-1] if dpi and is_turned else dpi, bool(image.info.get("icc_profile")))

    @property
    def options(self) -> dict[str, Any]:
        """As Pillow's ``save`` takes them, of a picture in sRGB."""
        found = {"exif": self.exif, "dpi": self.dpi, "icc_profile": srgb_profile() if self.has_profile else None}
        return {name: value for name, value in found.items() if value}


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]  # without the time: equal photos are equal files


def _clean(whole: Image.Exif, is_turned: bool) -> bytes:
    exif = Image.Exif()
    for tag, value in whole.items():
        if tag not in _OF_THE_FILE and tag not in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            exif[tag] = value
    if is_turned and {_X_RESOLUTION, _Y_RESOLUTION} <= {*exif}:
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = exif[_Y_RESOLUTION], exif[_X_RESOLUTION]
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        values = {tag: value for tag, value in whole.get_ifd(ifd).items() if tag not in _OF_THE_FILE}
        if _COLOR_SPACE in values:
            values[_COLOR_SPACE] = 1  # sRGB
        if values:
            exif[ifd] = values
    written = exif.tobytes() if len(exif) else b""
    if len(written) > _MOST_EXIF:
        details = exif.get(ExifTags.IFD.Exif, {})
        details.pop(_MAKER_NOTE, None)
        written = exif.tobytes()
    return written if len(written) <= _MOST_EXIF else b""


def _dpi(given: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in given)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    fits = all(math.isfinite(value) and _DPI[0] <= value <= _DPI[1] for value in (across, down))
    return (across, down) if fits else None
