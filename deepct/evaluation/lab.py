"""Photos as bytes to and from CIELAB, for what is measured and matched in NumPy."""

import numpy as np
import torch
from numpy.typing import NDArray

from deepct.color import lab_to_rgb, rgb_to_lab, rgb_to_uint8, uint8_to_rgb
from deepct.data.image import to_pixels, to_planes

Photo = NDArray[np.uint8]
Lab = NDArray[np.float32]


def photo_to_lab(photo: Photo) -> Lab:
    """(H, W, 3) uint8 sRGB to CIELAB of the same shape, in CIE units."""
    return np.ascontiguousarray(rgb_to_lab(uint8_to_rgb(to_planes(photo))).numpy().transpose(1, 2, 0))


def lab_to_photo(lab: Lab) -> Photo:
    """(H, W, 3) CIELAB to uint8 sRGB; colours outside the gamut are clipped, channel by channel."""
    planes = torch.from_numpy(np.ascontiguousarray(lab.transpose(2, 0, 1), dtype=np.float32))
    return to_pixels(rgb_to_uint8(lab_to_rgb(planes)))
