"""HEN, the histogram encoding network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepct.errors import ConfigError

AB_BINS = 64
"""Bins along a and along b: HEN's seven strided and padded convolutions take exactly 64 x 64 to 1 x 1."""


class HistogramEncoder(nn.Module):
    """Encode a histogram stack as a vector (Lee et al. 2020, section 3.1; the report, section 3.1).

    Seven 4 x 4 convolutions with padding 1 (64 -> 32 -> 16 -> 8 -> 4 by stride 2, then -> 3 -> 2 -> 1), one 1 x 1, each
    followed by LeakyReLU(0.1), then a linear layer. One encoder serves source, reference and every semantic histogram.

    Args:
        planes: of a stack.
        widths: channels of the seven convolutions.
        code_size: length of the vector.
        ab_bins: bins along a and along b; 64 is the only size that the convolutions reduce to one element.

    Raises:
        ConfigError: ``ab_bins`` is not 64.
    """

    def __init__(
        self, planes: int = 9, widths: Sequence[int] = (128,) * 7, code_size: int = 64, ab_bins: int = AB_BINS
    ) -> None:
        super().__init__()
        if ab_bins != AB_BINS:
            raise ConfigError(
                f"HEN needs {AB_BINS} ab bins, got {ab_bins}: its convolutions take a {AB_BINS} x {AB_BINS} histogram "
                "to 1 x 1 and no other size"
            )
        channels, strides = (planes, *widths), (2, 2, 2, 2, 1, 1, 1)
        convolutions = [
            nn.Conv2d(before, after, 4, stride, padding=1)
            for before, after, stride in zip(channels[:-1], channels[1:], strides, strict=True)
        ]
        convolutions += [nn.Conv2d(channels[-1], code_size, 1)]
        self.convolutions = nn.Sequential(*(module for layer in convolutions for module in (layer, nn.LeakyReLU(0.1))))
        self.linear = nn.Linear(code_size, code_size)
        for layer in convolutions:  # torch's default init would shrink what tells two histograms apart to nothing
            nn.init.kaiming_normal_(layer.weight, a=0.1)

    @torch.no_grad()
    def expect_shares(self) -> "HistogramEncoder":
        """Make the first layer's weights up for the smallness of shares: 1/4096 for ab on average, 1/8 for L."""
        first = self.convolutions[0]
        assert isinstance(first, nn.Conv2d)
        first.weight *= first.in_channels - 1
        first.weight[:, 0] *= AB_BINS
        return self

    def forward(self, histograms: Tensor) -> Tensor:
        """(N, planes, 64, 64) histogram stacks to (N, code_size) codes; N may be 0."""
        return self.linear(self.convolutions(histograms).flatten(1))
