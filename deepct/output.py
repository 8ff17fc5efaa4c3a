"""What a transfer gives: the picture, and the smaller pictures of the decoder's layers."""

from typing import NamedTuple

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


def as_target(image: Tensor, like: TransferOutput) -> TransferOutput:
    """A target picture as the output that a perfect network would give: resized to each scale of ``like``."""
    return TransferOutput(image, tuple(resize_to(image, (scale.shape[-2], scale.shape[-1])) for scale in like.scales))
