"""The losses of the report, section 3.2; one function serves the hard and the soft loss."""

from typing import NamedTuple

import torch
from torch import Tensor

from deepct.histogram import soft_ab_histogram
from deepct.output import TransferOutput


class LossWeights(NamedTuple):
    """How the terms add up.

    Attributes:
        histogram: lambda_1, the weight of L_hist.
        multiscale: lambda_2, the weight of L_multi.
        identical: the weight of L_image on identical pairs (source and target are one picture).
    """

    histogram: float = 10.0
    multiscale: float = 10.0
    identical: float = 0.5


class LossTerms(NamedTuple):
    """The terms of one loss for each sample, (B,) each, weights included: their sum is the loss."""

    image: Tensor
    histogram: Tensor
    multiscale: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) L_image + lambda_1 L_hist + lambda_2 L_multi."""
        return self.image + self.histogram + self.multiscale


def image_error(image: Tensor, target: Tensor) -> Tensor:
    """(B,) mean squared error of each sample, in float32 at least."""
    return (image.float() - target.float()).square().flatten(1).mean(1)


def color_transfer_loss(
    output: TransferOutput, target: TransferOutput, weights: LossWeights, identical: Tensor
) -> LossTerms:
    """L_hard where ``target`` is the truth, L_soft where it is the teacher's output.

    L_image is the mean squared error of the pictures, L_hist that of their soft ab histograms, L_multi the mean over
    the decoder's layers of the mean squared error of their pictures (the report, section 3.2).

    Args:
        output: the network's.
        target: of the same shapes, scales included.
        weights: lambda_1, lambda_2, and the share of L_image that identical pairs keep.
        identical: (B,) bool, true where source and target are one picture.

    Raises:
        ValueError: the two do not have equally many scales.
    """
    if len(output.scales) != len(target.scales):
        raise ValueError(
            f"the output has {len(output.scales)} decoder images and its target {len(target.scales)}: "
            "a teacher trained with multi-scale weight 0 has none to teach"
        )
    image = image_error(output.image, target.image)
    image = torch.where(identical, weights.identical * image, image)
    histogram = (soft_ab_histogram(output.image) - soft_ab_histogram(target.image)).square().flatten(1).mean(1)
    multiscale = torch.zeros_like(image)
    if output.scales:
        errors = [image_error(mine, theirs) for mine, theirs in zip(output.scales, target.scales, strict=True)]
        multiscale = torch.stack(errors).mean(0)
    return LossTerms(image, weights.histogram * histogram, weights.multiscale * multiscale)
