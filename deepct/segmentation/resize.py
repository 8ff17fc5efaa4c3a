"""From a photo's size to a network's."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepct.data.image import find_reduction

Size = tuple[int, int]


def scale_size(size: Size, scale: tuple[int, int], keep_ratio: bool = True) -> Size:
    """Height and width at which a network sees a photo, as MMSegmentation's ``Resize`` has them.

    Args:
        size: the photo's height and width, px.
        scale: the longest and the shortest side; without ``keep_ratio``, width and height.
        keep_ratio: whether to keep the aspect ratio.
    """
    if not keep_ratio:
        return scale[1], scale[0]
    factor = min(max(scale) / max(size), min(scale) / min(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def limit_size(size: Size, max_size: int) -> Size:
    """Height and width of the label map of a photo: at most ``max_size`` on the long side, the aspect ratio kept.

    Of a long photo the short side is rounded down and the long one follows it, so that the ratio stays right.
    """
    long, short = max(size), min(size)
    if long <= max_size:
        return size
    less = max(1, short * max_size // long)
    more = min(max_size, round(long * less / short))
    return (more, less) if size[0] > size[1] else (less, more)


def resize_photo(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to (*size, 3): averaged to less than twice the size, then as MMSegmentation does."""
    step = find_reduction(pixels.shape[:2], size)
    if step > 1:
        height, width = (side // step for side in pixels.shape[:2])
        pixels = _resize(pixels[: height * step, : width * step], (height, width), cv2.INTER_AREA)
    return _resize(pixels, size, cv2.INTER_LINEAR)


def _resize(pixels: NDArray[np.uint8], size: Size, method: int) -> NDArray[np.uint8]:
    resized: Any = cv2.resize(pixels, size[::-1], interpolation=method)
    return resized
