"""Label maps from the logits of overlapping windows, without ever enlarging all classes to the photo's size."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.segmentation.resize import Size

_CHUNK = 2**15
"""Pixels whose logits are computed at once."""


def place_windows(size: Size, window: Size, stride: Size) -> list[tuple[int, int]]:
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
    logits: Sequence[Tensor], corners: Sequence[tuple[int, int]], window: Size, size: Size, align_corners: bool = False
) -> Tensor:
    """The class of the largest mean logit at each pixel, of windows whose logits are enlarged bilinearly.

    An enlarged logit is a weighted mean of four. Where one class is the largest in all four, of every window there, it
    is so in the mean, and nothing is computed; that leaves the borders between labels. The sum over windows has its
    maximum where their mean has it.

    Args:
        logits: one (B, C, h, w) for each window.
        corners: top and left of each, px.
        window: height and width of a window, px.
        size: height and width of the whole, px.
        align_corners: how logits lie over pixels, see :func:`torch.nn.functional.interpolate`.

    Returns:
        (B, *size) uint8.
    """
    photos = len(logits[0])
    device = logits[0].device
    (top, bottom, down), (left, right, along) = (
        _neighbours(few, many, align_corners, device) for few, many in zip(logits[0].shape[2:], window, strict=True)
    )
    labels = torch.zeros((photos, *size), dtype=torch.uint8, device=device)
    is_seen, is_open = torch.zeros_like(labels, dtype=torch.bool), torch.zeros_like(labels, dtype=torch.bool)
    for part, (y, x) in zip(logits, corners, strict=True):
        best = part.argmax(1).to(torch.uint8)
        upper, lower = best[:, top], best[:, bottom]
        first = upper[:, :, left]
        differ = (upper[:, :, right] != first) | (lower[:, :, left] != first) | (lower[:, :, right] != first)
        place = (slice(None), slice(y, y + window[0]), slice(x, x + window[1]))
        is_open[place] |= differ | (is_seen[place] & (labels[place] != first))
        labels[place], is_seen[place] = first, True
    rows = [part.permute(0, 2, 3, 1).reshape(-1, part.shape[1]).float() for part in logits]
    height, width = logits[0].shape[2:]
    for pixels in is_open.nonzero().split(_CHUNK):
        photo, row, column = pixels.unbind(1)
        total = torch.zeros((len(pixels), rows[0].shape[1]), device=device)
        for table, (y, x) in zip(rows, corners, strict=True):
            covered = (row >= y) & (row < y + window[0]) & (column >= x) & (column < x + window[1])
            chosen = covered.nonzero()[:, 0]
            here, i, j = photo[chosen] * height, row[chosen] - y, column[chosen] - x
            ends = (top[i], left[j]), (top[i], right[j]), (bottom[i], left[j]), (bottom[i], right[j])
            places = torch.stack([(here + k) * width + m for k, m in ends], 1)
            a, b = down[i], along[j]
            weights = torch.stack(((1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b), 1)
            total.index_add_(0, chosen, F.embedding_bag(places, table, per_sample_weights=weights, mode="sum"))
        labels[photo, row, column] = total.argmax(1).to(torch.uint8)
    return labels


def _neighbours(few: int, many: int, align_corners: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of ``many`` places among ``few``: the one before, the one after, and how near that is, 0 to 1."""
    index = torch.arange(many, dtype=torch.float32, device=device)
    if align_corners:
        place = index * ((few - 1) / max(many - 1, 1))
    else:
        place = ((index + 0.5) * (few / many) - 0.5).clamp(min=0)
    before = place.long().clamp(max=few - 1)
    return before, (before + 1).clamp(max=few - 1), place - before
