"""What a user would take instead of deepct: color-matcher, which is GPL and no part of the package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def match(method: str, source: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Recolour (H, W, 3) uint8 by a method of color-matcher, clipped where its own normaliser would stretch."""
    from color_matcher import ColorMatcher

    result: Any = ColorMatcher().transfer(src=source, ref=reference, method=method)
    return np.clip(np.rint(result, out=result), 0, 255, out=result).astype(np.uint8)


def match_files(method: str, source: str, reference: str, output: str) -> None:
    """The same from file to file, read and written as deepct does."""
    photos = (np.asarray(Image.open(path).convert("RGB")) for path in (source, reference))
    Image.fromarray(match(method, *photos)).save(output, compress_level=1)
