"""The losses of the report, section 3.2; one function serves the hard and the soft loss."""

from typing import NamedTuple

import torch
from torch import Tensor

from deepct.color import denormalize_lab
from deepct.histogram import soft_ab_histogram
from deepct.output import TransferOutput, match_scales

_CHROMA = 0.75
_SMOOTH = 0.5  # delta E, squared


class LossWeights(NamedTuple):
    """How the terms add up.

    Attributes:
        histogram: lambda_1, the weight of L_hist.
        multiscale: lambda_2, the weight of L_multi.
        identical: the weight of L_image on identical pairs (source and target are one picture).
        delta_e: the weight of L_delta, see :func:`delta_e_error`; the report has none.
    """

    histogram: float = 10.0
    multiscale: float = 10.0
    identical: float = 0.5
    delta_e: float = 0.0


class LossTerms(NamedTuple):
    """The terms of one loss for each sample, (B,) each, weights included: their sum is the loss."""

    image: Tensor
    histogram: Tensor
    multiscale: Tensor
    delta_e: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) L_image + lambda_1 L_hist + lambda_2 L_multi + lambda_3 L_delta."""
        return self.image + self.histogram + self.multiscale + self.delta_e


class Measured(NamedTuple):
    """An output, or a target, with what the losses measure of it: made once, however often it is compared.

    Attributes:
        output: the picture, (B, 3, H, W), and the decoder's.
        histogram: (B, 32, 32), the picture's soft ab histogram.
    """

    output: TransferOutput
    histogram: Tensor

    @classmethod
    def of(cls, output: TransferOutput) -> "Measured":
        """Measure an output."""
        return cls(output, soft_ab_histogram(output.image))


def delta_e_error(image: Tensor, target: Tensor) -> Tensor:
    """(B,) mean colour difference of each sample, in delta E.

    That is CIE76 with a and b at three quarters, nearer to what CIEDE2000 makes of chroma, and smooth at zero. Unlike a
    mean square it does not reward a network for being cautious wherever it cannot know.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    difference = denormalize_lab(image.to(dtype)) - denormalize_lab(target.to(dtype))
    lightness, a, b = difference.unbind(1)
    square = lightness**2 + _CHROMA**2 * (a**2 + b**2)
    return ((square + _SMOOTH).sqrt() - _SMOOTH**0.5).flatten(1).mean(1)


def image_error(image: Tensor, target: Tensor) -> Tensor:
    """(B,) mean squared error of each sample, in float32 at least."""
    dtype = torch.promote_types(image.dtype, torch.float32)
    return (image.to(dtype) - target.to(dtype)).square().flatten(1).mean(1)


def color_transfer_loss(output: Measured, target: Measured, weights: LossWeights, identical: Tensor) -> LossTerms:
    """L_hard where ``target`` is the truth, L_soft where it is the teacher's output.

    L_image is the mean squared error of the pictures, L_hist that of their soft ab histograms, L_multi the mean over
    the decoder's layers of the mean squared error of their pictures (the report, section 3.2).

    Args:
        output: the network's.
        target: a picture of the same shape; the decoder's pictures may have other sizes
            (:func:`deepct.output.match_scales`).
        weights: lambda_1, lambda_2, and the share of L_image that identical pairs keep.
        identical: (B,) bool, true where source and target are one picture.

    Raises:
        ValueError: the output has decoder's pictures and its target has none.
    """
    mine, theirs = output.output, target.output
    image = image_error(mine.image, theirs.image)
    image = torch.where(identical, weights.identical * image, image)
    histogram = image_error(output.histogram, target.histogram)
    multiscale = torch.zeros_like(image)
    if mine.scales:
        pairs = zip(mine.scales, match_scales(theirs, mine), strict=True)
        multiscale = torch.stack([image_error(picture, wanted) for picture, wanted in pairs]).mean(0)
    delta_e = torch.zeros_like(image)
    if weights.delta_e:
        delta_e = weights.delta_e * delta_e_error(mine.image, theirs.image)
    return LossTerms(image, weights.histogram * histogram, weights.multiscale * multiscale, delta_e)
