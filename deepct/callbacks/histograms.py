"""A photo's histograms as HEN sees them, drawn."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from deepct.color import normalized_to_rgb, rgb_to_normalized, rgb_to_uint8, uint8_to_rgb
from deepct.data.image import to_pixels, to_planes
from deepct.histogram import histogram
from deepct.sheet import Picture

_BINS = 64
_LIGHTNESS = 0.3  # normalised L at which the plane of ab is shown, 65 of 100
_VISIBLE = 1e-4  # share of the pixels from which a cell stands out of the dark


def draw_histograms(photo: Picture, width: int, height: int) -> Picture:
    """Draw the ab histogram as a picture, and that of L as bars beside it.

    The plane of ab has a from left to right and b upwards, in its own colours, the brighter the more pixels a cell
    holds, on a logarithmic scale. The bars are the eight bins of L, dark to light, as shares of the fullest one.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        width: of the drawing, px, more than its height.
        height: of the drawing, px.

    Returns:
        (height, width, 3) uint8.
    """
    planes = histogram(rgb_to_normalized(uint8_to_rgb(to_planes(photo))).unsqueeze(0))[0]
    drawing = Image.new("RGB", (width, height), (255,) * 3)
    drawing.paste(Image.fromarray(_draw_plane(planes[0])).resize((height, height), Image.Resampling.NEAREST))
    bars = planes[1:, 0, 0]
    left, gap = height + 8, 3
    step = (width - left) / len(bars)
    draw = ImageDraw.Draw(drawing)
    for index, share in enumerate((bars / bars.max()).tolist()):
        x, shade = left + index * step, round(235 * (index + 0.5) / len(bars))
        top = (height - 1) * (1 - share)
        draw.rectangle((x, top, max(x, x + step - gap), height - 1), fill=(shade,) * 3, outline=(120,) * 3)
    return np.asarray(drawing)


def _draw_plane(shares: Tensor) -> Picture:
    """(64, 64, 3) uint8 of the (64, 64) shares of the ab bins, indexed [a, b]."""
    centres = (torch.arange(_BINS) + 0.5) / _BINS * 2 - 1
    b, a = torch.meshgrid(centres.flip(0), centres, indexing="ij")
    colours = normalized_to_rgb(torch.stack([torch.full_like(a, _LIGHTNESS), a, b])).clamp(0.0, 1.0)
    seen = torch.log1p(shares / _VISIBLE) / math.log1p(float(shares.max()) / _VISIBLE)
    return to_pixels(rgb_to_uint8(colours * (0.25 + 0.75 * seen.T.flip(0))))
