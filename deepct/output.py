"""What a transfer gives: the picture, and the smaller pictures of the decoder's layers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class TransferOutput(NamedTuple):
    """The result of a transfer, or anything that a result is compared with.

    Attributes:
        image: (B, 3, H, W) normalised Lab.
        scales: one (B, 3, h, w) image for each decoder layer, coarse to fine; empty where none were asked for.
    """

    image: Tensor
    scales: tuple[Tensor, ...]


def resize_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, H, W) by averaging areas; an image that has the size already is returned as it is."""
    return image if tuple(image.shape[-2:]) == tuple(size) else F.adaptive_avg_pool2d(image, size)


def pick_nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, H, W) integers by picking the nearest; those that have the size already are returned as they are."""
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    rows, columns = (
        torch.div(torch.arange(n, device=labels.device) * full + full // 2, n, rounding_mode="floor")
        for n, full in zip(size, labels.shape[-2:], strict=True)
    )
    return labels[:, rows][:, :, columns]


def as_target(image: Tensor, like: TransferOutput) -> TransferOutput:
    """A target picture as the output that a perfect network would give: resized to each scale of ``like``."""
    return TransferOutput(image, tuple(resize_to(image, (scale.shape[-2], scale.shape[-1])) for scale in like.scales))


def match_scales(target: TransferOutput, like: TransferOutput) -> tuple[Tensor, ...]:
    """The pictures of ``target`` at the sizes of those of ``like``, whose network may have another stride.

    Each is the target's picture of that size, or else the smallest larger one averaged down; where no picture of the
    decoder's is large enough, the full one is.

    Args:
        target: what ``like`` is compared with.
        like: the output that decides the sizes.

    Raises:
        ValueError: ``like`` has decoder's pictures and ``target`` has none.
    """
    sizes = [(scale.shape[-2], scale.shape[-1]) for scale in like.scales]
    if sizes == [tuple(scale.shape[-2:]) for scale in target.scales]:
        return target.scales
    if sizes and not target.scales:
        raise ValueError(
            f"the output has {len(sizes)} decoder images and its target 0: "
            "a teacher trained with multi-scale weight 0 has none to teach"
        )
    offered = (*target.scales, target.image)
    return tuple(resize_to(_smallest_from(offered, size), size) for size in sizes)


def _smallest_from(pictures: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    height, width = size
    large = [picture for picture in pictures if picture.shape[-2] >= height and picture.shape[-1] >= width]
    return min(large, key=lambda picture: picture.shape[-2] * picture.shape[-1])
