"""CTN's encoders by name: the paper's U-Net encoder, or one of torchvision's networks."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepct.color import normalized_to_rgb
from deepct.errors import ConfigError

STRIDES = (1, 2, 4, 8, 16, 32)
"""Every encoder returns one feature map at each of these strides; the last one is the bottom of the U."""

EncoderName = Literal["unet", "mobilenet_v3_large", "mobilenet_v3_small", "convnext_tiny", "swin_t"]

# Index in torchvision's `features` of the last layer at each stride.
_TAPS: dict[str, dict[int, int]] = {
    "mobilenet_v3_large": {2: 1, 4: 3, 8: 6, 16: 12, 32: 16},
    "mobilenet_v3_small": {2: 0, 4: 1, 8: 3, 16: 8, 32: 12},
    "convnext_tiny": {4: 1, 8: 3, 16: 5, 32: 7},
    "swin_t": {4: 1, 8: 3, 16: 5, 32: 7},
}


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation, as groups of one channel, which is faster than torch's own and as exact.

    In the channels-last layout it is not: on a CPU, torch's kernels then lose up to four of the seven digits. So
    planes are laid out one by one first.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W), each plane to mean 0 and variance 1."""
        return super().forward(features.contiguous())


class UNetEncoder(nn.Module):
    """The paper's encoder: five blocks of two 3 x 3 convolutions and a strided 4 x 4 (Lee et al. 2020).

    Each convolution is followed by instance normalisation, the 3 x 3 ones by LeakyReLU(0.2) too.

    Args:
        widths: channels of the five blocks.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) != len(STRIDES) - 1:
            raise ConfigError(f"the encoder has {len(STRIDES) - 1} blocks, got {len(widths)} widths: {list(widths)}")
        self.channels = (*widths, widths[-1])
        self.blocks = nn.ModuleList()
        self.strided = nn.ModuleList()
        previous = 3
        for width in widths:
            # No biases: instance normalisation takes them away again.
            self.blocks.append(
                nn.Sequential(
                    nn.Conv2d(previous, width, 3, padding=1, bias=False),
                    InstanceNorm(width),
                    nn.LeakyReLU(0.2, inplace=True),
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    InstanceNorm(width),
                    nn.LeakyReLU(0.2, inplace=True),
                )
            )
            self.strided.append(
                nn.Sequential(
                    nn.Conv2d(width, width, 4, stride=2, padding=1, bias=False),
                    InstanceNorm(width),
                )
            )
            previous = width

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised Lab, sides multiples of 32, to six maps at strides 1 to 32."""
        maps = []
        x = image
        for block, strided in zip(self.blocks, self.strided, strict=True):
            x = block(x)
            maps.append(x)
            x = strided(x)
        return [*maps, x]


class TorchvisionEncoder(nn.Module):
    """Feature maps of a torchvision classifier, which sees the photo as ImageNet-normalised RGB.

    At strides where the network has no map, the photo itself, averaged down, stands in, so that the decoder never
    has to invent detail.

    Args:
        name: one of the names in :data:`EncoderName` but ``unet``.
        pretrained: load torchvision's ImageNet weights (fetched by torchvision on first use).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        import torchvision  # imported here: the U-Net works without it

        network = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
        self.strides = {index: stride for stride, index in _TAPS[name].items()}
        self.layers = nn.ModuleList(list(network.features)[: max(self.strides) + 1])
        self.channels_last = name == "swin_t"
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1), persistent=False)
        with torch.no_grad():
            self.channels = tuple(tap.shape[1] for tap in self.eval()(torch.zeros(1, 3, 64, 64)))
        self.train()

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised Lab, sides multiples of 32, to six maps at strides 1 to 32."""
        x = (normalized_to_rgb(image.float()).clamp(0.0, 1.0) - self.mean) / self.std
        found: dict[int, Tensor] = {}
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.strides:
                found[self.strides[index]] = x.permute(0, 3, 1, 2) if self.channels_last else x
        return [
            found[stride] if stride in found else (image if stride == 1 else F.avg_pool2d(image, stride))
            for stride in STRIDES
        ]


def build_encoder(
    name: EncoderName, widths: Sequence[int], pretrained: bool = False
) -> UNetEncoder | TorchvisionEncoder:
    """Build an encoder by name.

    Args:
        name: ``unet`` or a torchvision network.
        widths: the U-Net's five widths; torchvision's networks have their own.
        pretrained: ImageNet weights for torchvision's networks.

    Raises:
        ConfigError: no such encoder, or pretrained weights were asked of the U-Net, which has none.
    """
    if name not in get_args(EncoderName):
        raise ConfigError(f"no encoder is named {name!r}; there are {', '.join(get_args(EncoderName))}")
    if name == "unet":
        if pretrained:
            raise ConfigError("the unet encoder has no pretrained weights; choose one of torchvision's encoders")
        return UNetEncoder(widths)
    return TorchvisionEncoder(name, pretrained)
