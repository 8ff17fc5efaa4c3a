"""Region maps for the wild track: a colour, or a label, for each region."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.ade20k import CLASSES, KIN
from deepct.data.image import read_photo
from deepct.data.masks import read_mask

COLORS = {
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "grey": (128, 128, 128),
    "light blue": (0, 255, 255),
    "purple": (255, 0, 255),
}
"""The colours that Luan et al. 2017 (*Deep Photo Style Transfer*) paint regions with."""

_LONERS = [label for label in range(len(CLASSES)) if not any(label in group for group in KIN)]
_LABELS = np.array(_LONERS[: len(COLORS)], dtype=np.uint8)


def read_regions(path: Path) -> NDArray[np.uint8]:
    """Read a region map.

    Args:
        path: a palette PNG or ``.npy`` with a label for each pixel, or a picture with a colour for each region, of
            which blended edges go to the nearest of :data:`COLORS`.

    Returns:
        (H, W) uint8 labels. Those for colours stand for no class: they are of a kind with no other label, so that a
        region takes the colours of the same region alone.

    Raises:
        ImageError: the file cannot be read.
    """
    if path.suffix.lower() == ".npy" or _has_palette(path):
        return read_mask(path)
    painted = read_photo(path).astype(np.int32)
    distances = [((painted - np.array(color)) ** 2).sum(-1) for color in COLORS.values()]
    return _LABELS[np.argmin(distances, axis=0)]


def _has_palette(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode == "P"
    except (OSError, ValueError):
        return False  # what is wrong with it, reading says
