"""Writing PNGs of 16 bits a channel in colour, which Pillow cannot, and OpenCV without a word of their metadata."""

import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_BAND = 1 << 19  # pixels that are compressed at once
_COLOR, _COLOR_AND_ALPHA = 2, 6  # PNG's colour types
_UP = 2  # its filter that tells of each byte how it differs from the one above
_INCH = 0.0254  # m


def write_deep_png(
    path: Path,
    pixels: NDArray[np.uint16],
    alpha: NDArray[np.uint16] | None = None,
    exif: bytes = b"",
    dpi: tuple[float, float] | None = None,
    icc_profile: bytes | None = None,
) -> None:
    """Write a PNG, in bands: memory beyond the pixels is bounded.

    Args:
        path: the file.
        pixels: (H, W, 3) colours.
        alpha: (H, W) transparency.
        exif: as Pillow gives it; empty for none.
        dpi: pixels an inch, across and down.
        icc_profile: of the colours.

    Raises:
        OSError: the file cannot be written.
    """
    height, width = pixels.shape[:2]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        kind = _COLOR if alpha is None else _COLOR_AND_ALPHA
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        if icc_profile:
            _write_chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
        if dpi:
            _write_chunk(file, b"pHYs", struct.pack(">IIB", *(round(value / _INCH) for value in dpi), 1))
        if exif:
            _write_chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
        packer = zlib.compressobj(1)
        above: NDArray[Any] = np.zeros((1, width * (6 if alpha is None else 8)), np.uint8)
        step = max(1, _BAND // width)
        for top in range(0, height, step):
            band = pixels[top : top + step]
            if alpha is not None:
                band = np.dstack((band, alpha[top : top + step]))
            rows = np.ascontiguousarray(band, ">u2").view(np.uint8).reshape(len(band), -1)
            filtered = np.full((len(rows), rows.shape[1] + 1), _UP, np.uint8)
            np.subtract(rows, np.concatenate((above, rows[:-1])), out=filtered[:, 1:])
            above = rows[-1:]
            _write_chunk(file, b"IDAT", packer.compress(filtered.data))
        _write_chunk(file, b"IDAT", packer.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
