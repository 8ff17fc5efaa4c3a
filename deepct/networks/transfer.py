"""CTN, the colour transfer network: a U-Net that the histogram codes steer, and a refinement at full resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepct.errors import ConfigError
from deepct.networks.backbones import STRIDES, InstanceNorm, TorchvisionEncoder, UNetEncoder
from deepct.networks.conditioning import Codes, ConditionedConv2d, Window
from deepct.output import TransferOutput, resize_to


def _activate(features: Tensor) -> Tensor:
    """LeakyReLU(0.2), in place: without normalisation, plain ReLU units die."""
    return F.leaky_relu_(features, 0.2)


def _focus(features: Tensor, window: Window, reach: int) -> tuple[Tensor, Window | None]:
    """The part of the features that pixels of a window depend on, and where it lies.

    Where padding takes part, that is all features and None.
    """
    part = window.grow(reach)
    return (part.cut(features), part) if part.inside else (features, None)


def _convolve(convolution: nn.Module, x: Tensor, part: Window | None) -> Tensor:
    """Convolve with 3 x 3 weights, padded with zeros; of a part of a plane, give the inside."""
    assert isinstance(convolution, nn.Conv2d)
    return F.conv2d(x, convolution.weight, convolution.bias, padding=1 if part is None else 0)


class DecoderLayer(nn.Module):
    """One layer of the decoder: previous features, the skip, and the codes, through three 3 x 3 convolutions.

    Instance normalisation takes away whatever is constant over the picture, and e_s and e_t are just that. So the first
    two convolutions are normalised, and the codes join at the third, whose output keeps its own level and can say
    which colours the picture has.

    Args:
        previous: channels of the layer below.
        skip: channels of the encoder's map at this stride.
        codes: channels of e_s and e_t together.
        width: output channels.
    """

    def __init__(self, previous: int, skip: int, codes: int, width: int) -> None:
        super().__init__()
        self.fuse = nn.Sequential(
            nn.Conv2d(previous + skip, width, 3, padding=1, bias=False),
            InstanceNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            InstanceNorm(width),
            nn.ReLU(inplace=True),
        )
        self.steer = ConditionedConv2d(width, codes, width)

    def forward(self, previous: Tensor, skip: Tensor, codes: Codes) -> Tensor:
        """Features at half the size and the skip, to (B, width, H, W) at the skip's size."""
        up = F.interpolate(previous, size=skip.shape[-2:], mode="nearest")
        return F.relu_(self.steer(self.fuse(torch.cat((up, skip), dim=1)), codes))


class ResidualBlock(nn.Module):
    """Four steered convolutions beside a shortcut; each sees (features, e_s, e_t)."""

    reach = 4

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(ConditionedConv2d(width, codes, width) for _ in range(self.reach))

    def forward(self, features: Tensor, codes: Codes, part: Window | None) -> Tensor:
        """(B, width, H, W) to the same shape; a part of the plane, to its inside, 4 px less on each side."""
        x, inner = features, part
        for i, step in enumerate(self.steps):
            x = step(_activate(x) if i else x, codes, inner)
            inner = inner and inner.grow(-1)
        x += features if part is None else features[..., self.reach : -self.reach, self.reach : -self.reach]
        return x


class Refinement(nn.Module):
    """Three residual blocks and four convolutions to the picture, all at full resolution.

    Args:
        previous: channels of the decoder's last layer.
        codes: channels of e_s and e_t together.
        width: channels within.
    """

    reach = 3 * ResidualBlock.reach + 1 + 3

    def __init__(self, previous: int, codes: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(previous, width, 1) if previous != width else nn.Identity()
        self.blocks = nn.ModuleList(ResidualBlock(width, codes) for _ in range(3))
        self.steer = ConditionedConv2d(width, codes, width)
        self.leave = nn.Sequential(*(nn.Conv2d(width, out, 3, padding=1) for out in (width, width, 3)))

    def forward(self, features: Tensor, codes: Codes, window: Window) -> Tensor:
        """(B, previous, H, W) to a picture of the window, (B, 3, h, w) in normalised Lab."""
        x, part = _focus(features, window, self.reach)
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, codes, part)
            part = part and part.grow(-ResidualBlock.reach)
        x = self.steer(x, codes, part)
        for convolution in self.leave:
            x = _convolve(convolution, _activate(x), part)
        return x if part else window.cut(x)


class ImageHead(nn.ModuleList):
    """A decoder layer's picture: 3 x 3 convolution, ReLU, 3 x 3 convolution to normalised Lab.

    Args:
        width: channels of the layer.
    """

    reach = 2

    def __init__(self, width: int) -> None:
        super().__init__((nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1)))

    def forward(self, features: Tensor, window: Window) -> Tensor:
        """(B, width, H, W) to a picture of the window, (B, 3, h, w)."""
        x, part = _focus(features, window, self.reach)
        x = _convolve(self[2], F.relu_(_convolve(self[0], x, part)), part)
        return x if part else window.cut(x)


class ColorTransferUNet(nn.Module):
    """Encoder, five decoder layers with a picture each, and the refinement (Lee et al. 2020; the report, Figure 2).

    Args:
        encoder: maps at the six strides.
        decoder_widths: channels of the five layers, coarse to fine.
        refinement_width: channels of the refinement.
        codes: channels of e_s and e_t together.
        scales: build the decoder layers' pictures. Only the multi-scale loss reads them.
        padding: pixels added on every side, by repeating the border, and cropped again; 0 or a multiple of 32.
        residual: pictures are drawn as changes of the source.
    """

    def __init__(
        self,
        encoder: UNetEncoder | TorchvisionEncoder,
        decoder_widths: Sequence[int],
        refinement_width: int,
        codes: int,
        scales: bool,
        padding: int,
        residual: bool = False,
    ) -> None:
        super().__init__()
        strides = STRIDES[-2::-1]
        if len(decoder_widths) != len(strides):
            raise ConfigError(f"the decoder has {len(strides)} layers, got widths {list(decoder_widths)}")
        if padding < 0 or padding % STRIDES[-1]:
            raise ConfigError(f"padding must be 0 or a multiple of {STRIDES[-1]} px, got {padding}")
        self.padding = padding
        self.residual = residual
        self.encoder = encoder
        self.layers = nn.ModuleList()
        previous = encoder.channels[-1]
        for skip, width in zip(encoder.channels[-2::-1], decoder_widths, strict=True):
            self.layers.append(DecoderLayer(previous, skip, codes, width))
            previous = width
        self.heads = nn.ModuleList(ImageHead(width) for width in decoder_widths) if scales else None
        self.refinement = Refinement(previous, codes, refinement_width)

    def draw_nothing(self) -> None:
        """Set the weights of what draws pictures to zero: a residual network then changes nothing."""
        heads = [head for head in self.heads or () if isinstance(head, ImageHead)]
        for last in (self.refinement.leave[-1], *(head[-1] for head in heads)):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def pad(self, planes: Tensor) -> Tensor:
        """Repeat the borders of (B, C, H, W): ``padding`` on each side, then up to a multiple of 32, 64 at least."""
        unit = STRIDES[-1]

        def beyond(side: int) -> int:
            full = side + 2 * self.padding
            return max(2 * unit, full + -full % unit) - side - self.padding

        height, width = planes.shape[-2:]
        return F.pad(planes, (self.padding, beyond(width), self.padding, beyond(height)), mode="replicate")

    def forward(self, source: Tensor, codes: Codes, scales: bool = True) -> TransferOutput:
        """Recolour a batch.

        Args:
            source: (B, 3, H, W) normalised Lab, at least 1 x 1.
            codes: the histogram codes; R_t's map has the *padded* source's size.
            scales: compute the decoder layers' pictures, where the network has them.

        Returns:
            The picture at the source's size; the layers' pictures at ceil(size / stride), coarse to fine.
        """
        *skips, x = self.encoder(self.pad(source))
        pictures = []
        for i, (layer, skip) in enumerate(zip(self.layers, reversed(skips), strict=True)):
            x = layer(x, skip, codes)
            if scales and self.heads is not None:
                picture = self.heads[i](x, self._window(x, source, STRIDES[-2 - i]))
                pictures.append(self._finish(picture, source))
        image = self._finish(self.refinement(x, codes, self._window(x, source, 1)), source)
        return TransferOutput(image, tuple(pictures))

    def _finish(self, drawn: Tensor, source: Tensor) -> Tensor:
        """The picture, of what was drawn of it."""
        return drawn + resize_to(source, (drawn.shape[-2], drawn.shape[-1])) if self.residual else drawn

    def _window(self, features: Tensor, source: Tensor, stride: int) -> Window:
        """Where the source lies in the features of its padded copy."""
        height, width = (-(-side // stride) for side in source.shape[-2:])
        start = self.padding // stride
        return Window(start, start, height, width, (features.shape[-2], features.shape[-1]))
