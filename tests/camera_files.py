"""Files as cameras and raw developers write them: ICC profiles, TIFFs in ProPhoto RGB, and DNGs."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# D50-adapted colorants of sRGB, as its ICC profile stores them.
RED, GREEN, BLUE = (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)
WHITE = (0.9642, 1.0, 0.8249)
# Those of ProPhoto RGB (ISO 22028-2), and its exponent as a profile can hold it.
PROPHOTO = (0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03134, 0.00009, 0.8249)
PROPHOTO_GAMMA = round(1.8 * 256) / 256
NEUTRAL = (0.5, 1.0, 0.7)
"""What white light gives in the channels of the camera that writes the DNGs."""


def icc_profile(space: bytes, **tags: tuple[float, float, float] | float) -> bytes:
    """A version 2 camera profile: triples become XYZ tags, single numbers the exponents of curves."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    bodies = [
        b"XYZ \0\0\0\0" + b"".join(map(number, value))
        if isinstance(value, tuple)
        else b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(value * 256))
        for value in tags.values()
    ]
    text = b"hand-made\0"
    bodies.append(b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78))
    bodies[-1] += bytes(-len(bodies[-1]) % 4)
    names = [name.encode() for name in tags] + [b"desc"]
    offset = 128 + 4 + 12 * len(names)
    table = struct.pack(">I", len(names))
    for name, body in zip(names, bodies, strict=True):
        table += name + struct.pack(">II", offset, len(body))
        offset += len(body)
    header = struct.pack(">I4xI", offset, 0x02400000) + b"scnr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += b"".join(map(number, WHITE))
    return header.ljust(128, b"\0") + table + b"".join(bodies)


def encode_linear(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear sRGB in [0, 1] to sRGB codes, 0 to 255, not rounded."""
    linear = np.clip(linear, 0.0, 1.0)
    return 255.0 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def prophoto_to_srgb(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """ProPhoto RGB in [0, 1] to sRGB codes, in floating point throughout."""
    xyz = shares**PROPHOTO_GAMMA @ np.array(PROPHOTO)
    return encode_linear(xyz @ np.linalg.inv(np.array((RED, GREEN, BLUE))))


def write_prophoto(path: Path, pixels: NDArray[np.uint16]) -> None:
    """A TIFF of 16 bits as FiveK's experts are distributed, from (H, W, 3)."""
    import tifffile

    red, green, blue = PROPHOTO
    curve = PROPHOTO_GAMMA
    profile = icc_profile(b"RGB ", wtpt=WHITE, rXYZ=red, gXYZ=green, bXYZ=blue, rTRC=curve, gTRC=curve, bTRC=curve)
    tifffile.imwrite(path, pixels, photometric="rgb", iccprofile=profile)


def write_dng(path: Path, linear: NDArray[np.float64], orientation: int = 1) -> None:
    """A DNG whose sensor sees linear sRGB in [0, 1], (H, W, 3), through a Bayer mosaic RG/GB under a coloured light."""
    import tifffile

    seen = linear * NEUTRAL
    mosaic = seen[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = seen[::2, ::2, 0], seen[1::2, 1::2, 2]
    xyz_to_linear = np.linalg.inv(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )

    def rationals(values: NDArray[np.float64]) -> list[int]:
        return [part for value in values for part in (round(value * 10000), 10000)]

    tags = [
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, bytes((0, 1, 1, 2)), True),  # CFAPattern
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),  # DNGVersion
        (50708, "s", 0, "deepct camera", True),  # UniqueCameraModel
        (50717, "I", 1, 65535, True),  # WhiteLevel
        (50721, "2i", 9, rationals(xyz_to_linear.ravel()), True),  # ColorMatrix1
        (50728, "2I", 3, rationals(np.array(NEUTRAL)), True),  # AsShotNeutral
        (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    pixels = np.rint(mosaic * 65535).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric=32803, extratags=tags, metadata=None)  # 32803: a colour filter array
