"""What decides a network's shape."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deepct.networks.backbones import EncoderName
from deepct.networks.encoder import AB_BINS

NetworkKind = Literal["unet", "map"]


@dataclass
class NetworkConfig:
    """Everything that decides a network's shape. The defaults are the report's teacher.

    Attributes:
        kind: what CTN is: the paper's ``unet``, which draws a picture, or a ``map`` of colours, the same at every
            pixel (:mod:`deepct.networks.colormap`).
        encoder: the U-Net's encoder: the paper's ``unet``, or a torchvision network.
        pretrained: start torchvision's encoder from its ImageNet weights.
        encoder_widths: channels of the U-Net encoder's five blocks; torchvision's encoders have their own.
        decoder_widths: channels of the U-Net's five decoder layers, coarse to fine.
        refinement_width: channels of the U-Net's refinement.
        map_width: channels of the map.
        histogram_width: channels of HEN's convolutions; for a map, the most.
        code_size: length of HEN's codes.
        ab_bins: histogram bins along a and b; HEN's topology takes 64 only.
        l_bins: histogram bins along L.
        padding: border that the U-Net adds and crops, in px, 0 or a multiple of 32.
        stride: the U-Net sees the photo at 1/stride of its size; the colours that it decides there are applied to every
            pixel by local colour models (:mod:`deepct.highres`). 1: it draws every pixel itself, as in the paper.
        residual: the U-Net draws the change of colour instead of the picture, so that content need not be learnt.
        guess: the U-Net sees and changes not the source but the source after a transfer in closed form
            (:mod:`deepct.monge`), and at first changes nothing of it. Only with ``residual``.
        scales: build the U-Net decoder's multi-scale pictures; None: where the losses use them.
    """

    kind: NetworkKind = "unet"
    encoder: EncoderName = "unet"
    pretrained: bool = False
    encoder_widths: Sequence[int] = (64, 128, 256, 512, 512)
    decoder_widths: Sequence[int] = (512, 256, 128, 64, 64)
    refinement_width: int = 64
    map_width: int = 64
    histogram_width: int = 128
    code_size: int = 64
    ab_bins: int = AB_BINS
    l_bins: int = 8
    padding: int = 32
    stride: int = 1
    residual: bool = False
    guess: bool = False
    scales: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """The configuration in plain types, as checkpoints keep it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
