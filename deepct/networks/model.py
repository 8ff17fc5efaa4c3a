"""HEN and CTN together: the whole network that a checkpoint holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepct.color import normalized_to_rgb, rgb_to_normalized, rgb_to_uint8, uint8_to_rgb
from deepct.errors import CheckpointError
from deepct.histogram import histogram, label_histograms, shared_labels
from deepct.networks.backbones import EncoderName, build_encoder
from deepct.networks.conditioning import Codes, RegionMap
from deepct.networks.encoder import AB_BINS, HistogramEncoder
from deepct.networks.transfer import ColorTransferUNet
from deepct.output import TransferOutput


@dataclass
class NetworkConfig:
    """Everything that decides a network's shape. The defaults are the report's teacher.

    Attributes:
        encoder: CTN's encoder: the paper's ``unet``, or a torchvision network.
        pretrained: start torchvision's encoder from its ImageNet weights.
        encoder_widths: channels of the U-Net encoder's five blocks; torchvision's encoders have their own.
        decoder_widths: channels of the five decoder layers, coarse to fine.
        refinement_width: channels of the refinement.
        histogram_width: channels of HEN's convolutions.
        code_size: length of HEN's codes.
        ab_bins: histogram bins along a and b; HEN's topology takes 64 only.
        l_bins: histogram bins along L.
        padding: border that CTN adds and crops, in px, 0 or a multiple of 32.
        scales: build the decoder's multi-scale pictures; None: where the losses use them.
    """

    encoder: EncoderName = "unet"
    pretrained: bool = False
    encoder_widths: Sequence[int] = (64, 128, 256, 512, 512)
    decoder_widths: Sequence[int] = (512, 256, 128, 64, 64)
    refinement_width: int = 64
    histogram_width: int = 128
    code_size: int = 64
    ab_bins: int = AB_BINS
    l_bins: int = 8
    padding: int = 32
    scales: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """The configuration in plain types, as checkpoints keep it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


class ColorTransferNetwork(nn.Module):
    """Give a source the colours of a reference.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        config = config or NetworkConfig()
        self.config = config
        self.hen = HistogramEncoder(config.l_bins, config.histogram_width, config.code_size, config.ab_bins)
        self.ctn = ColorTransferUNet(
            build_encoder(config.encoder, config.encoder_widths, config.pretrained),
            config.decoder_widths,
            config.refinement_width,
            2 * config.code_size,
            config.scales is not False,
            config.padding,
        )

    def forward(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        scales: bool = True,
    ) -> TransferOutput:
        """Recolour a batch of photos.

        Args:
            source: (B, 3, H, W) normalised Lab.
            reference: (B, 3, H', W') normalised Lab, of any size.
            source_labels: (B, H, W) uint8 label map, 255 where there is no label. Both maps or none.
            reference_labels: (B, H', W') uint8.
            scales: compute the decoder's pictures too, which only the losses read.

        Returns:
            The recoloured picture, (B, 3, H, W), and the decoder's.

        Raises:
            ValueError: one label map came without the other.
        """
        if (source_labels is None) != (reference_labels is None):
            raise ValueError("semantic transfer needs the label maps of both photos; give both or none")
        if source_labels is None or reference_labels is None:
            codes = self._global_codes(source, reference)
        else:
            codes = self._semantic_codes(source, reference, source_labels, reference_labels)
        return self.ctn(source, codes, scales)

    def _encode(self, image: Tensor) -> Tensor:
        return self.hen(histogram(image, self.config.ab_bins, self.config.l_bins))

    def _global_codes(self, source: Tensor, reference: Tensor) -> Codes:
        return Codes(torch.cat((self._encode(source), self._encode(reference)), dim=1))

    def _semantic_codes(
        self, source: Tensor, reference: Tensor, source_labels: Tensor, reference_labels: Tensor
    ) -> Codes:
        """e_s, and R_t as rows to pick: one for each label that both photos show, one global e_t for each photo."""
        shared = shared_labels(source_labels, reference_labels)
        if not shared.total:
            return self._global_codes(source, reference)
        bins = self.config.ab_bins, self.config.l_bins
        stacks = torch.cat((label_histograms(reference, reference_labels, shared, *bins), histogram(reference, *bins)))
        rows = shared.rows(source_labels)
        fallback = shared.total + torch.arange(len(source), device=rows.device).view(-1, 1, 1)
        index = torch.where(rows >= 0, rows, fallback)
        # Replicate padding knows no integers; float32 holds every row number exactly.
        index = self.ctn.pad(index.unsqueeze(1).float()).squeeze(1).long()
        return Codes(self._encode(source), RegionMap(self.hen(stacks), index))

    @torch.inference_mode()
    def recolor(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
    ) -> Tensor:
        """Recolour (B, 3, H, W) uint8 sRGB photos by (B, 3, H', W') uint8 ones; gives uint8 of the source's size."""
        source, reference = (rgb_to_normalized(uint8_to_rgb(photo)) for photo in (source, reference))
        output = self(source, reference, source_labels, reference_labels, scales=False)
        return rgb_to_uint8(normalized_to_rgb(output.image.float()))


def load_network(path: str | Path, map_location: str | torch.device = "cpu") -> ColorTransferNetwork:
    """Build the network of a checkpoint that ``deepct fit`` wrote, teacher or student, in eval mode.

    Args:
        path: the checkpoint. Nothing in it is executed: tensors and plain values only.
        map_location: where its tensors go.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint of deepct, or its tensors do not fit.
    """
    checkpoint = read_checkpoint(path, map_location)
    try:
        config = NetworkConfig(**{**checkpoint["hyper_parameters"]["network"], "pretrained": False})
    except TypeError as error:
        raise CheckpointError(
            f"{path}: describes a network that this version of deepct cannot build: {error}"
        ) from error
    network = ColorTransferNetwork(config)
    prefix = "network."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the tensors do not fit the network described beside them: {error}") from error
    return network.to(map_location).eval()


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running code from it, and check that deepct wrote it.

    Raises:
        CheckpointError: the file is missing, unreadable, or not a checkpoint of deepct.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint; `deepct fit` prints where it wrote its best one")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many types here, none of which says what to do
        raise CheckpointError(
            f"{path}: not a checkpoint that can be read safely (tensors and plain values only): "
            f"{str(error).splitlines()[0]}"
        ) from error
    described = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if not {"network", "_class_path"} <= described.keys():
        raise CheckpointError(f"{path}: not a checkpoint of deepct; it does not describe a network")
    return checkpoint
