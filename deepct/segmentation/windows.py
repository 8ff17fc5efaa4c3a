"""Label maps from the logits of overlapping windows, without ever holding all classes at the photo's size."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

_BAND_BYTES = {"cpu": 8 * 2**20}
"""What the logits of a band may take: on a CPU what its caches hold."""
_DEVICE_BAND_BYTES = 512 * 2**20


def place_windows(size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> list[tuple[int, int]]:
    """Top and left of each window, px, as MMSegmentation's sliding inference has them: the last ones end at the border.

    Args:
        size: height and width to cover.
        window: height and width of a window, no larger than ``size``.
        stride: from one to the next.
    """
    tops, lefts = (
        [min(index * step, full - part) for index in range(max(full - part + step - 1, 0) // step + 1)]
        for full, part, step in zip(size, window, stride, strict=True)
    )
    return list(product(tops, lefts))


def label_windows(
    logits: Sequence[Tensor], corners: Sequence[tuple[int, int]], scale: int, size: tuple[int, int]
) -> Tensor:
    """The class of the largest mean logit at each pixel.

    Logits are enlarged bilinearly, band by band; the sum has its maximum where the mean has it.

    Args:
        logits: one (B, C, h, w) for each window.
        corners: top and left of each, px.
        scale: how much smaller than their windows the logits are.
        size: height and width of the whole, px.

    Returns:
        (B, *size) uint8.
    """
    photos, classes = logits[0].shape[:2]
    height, width = size
    labels = torch.empty((photos, height, width), dtype=torch.uint8, device=logits[0].device)
    budget = _BAND_BYTES.get(labels.device.type, _DEVICE_BAND_BYTES)
    rows = max(1, budget // (4 * classes * width * scale)) * scale
    for photo, top in product(range(photos), range(0, height, rows)):
        bottom = min(top + rows, height)
        band = torch.zeros((1, classes, bottom - top, width), device=labels.device)
        band = band.contiguous(memory_format=torch.channels_last)  # the maximum over classes is four times faster so
        for window, (y, x) in zip(logits, corners, strict=True):
            first, last = max(top, y), min(bottom, y + scale * window.shape[2])
            if first < last:
                part = _enlarge_rows(window[photo : photo + 1], first - y, last - y, scale)
                band[:, :, first - top : last - top, x : x + part.shape[3]] += part
        labels[photo, top:bottom] = band.argmax(1)[0]
    return labels


def _enlarge_rows(logits: Tensor, first: int, last: int, scale: int) -> Tensor:
    """Rows ``first`` to ``last`` of the enlarged logits, to which a row on either side belongs."""
    low, high = max(first // scale - 1, 0), min(-(-last // scale) + 1, logits.shape[2])
    if scale == 1:
        return logits[:, :, first:last].float()
    part = logits[:, :, low:high].float().contiguous(memory_format=torch.channels_last)
    enlarged = F.interpolate(part, scale_factor=scale, mode="bilinear", align_corners=False)
    return enlarged[:, :, first - low * scale : last - low * scale]
