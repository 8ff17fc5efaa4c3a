"""HEN and CTN together: the whole network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepct.color import blend_into, normalized_to_rgb, rgb_to_normalized
from deepct.errors import ConfigError
from deepct.highres import apply_affine, apply_color_models, fit_color_models, recolor_photo, shrink_photo
from deepct.histogram import PairHistograms, pair_histograms
from deepct.networks.backbones import EncoderName, build_encoder
from deepct.networks.conditioning import Codes, FeatheredMap, RegionMap
from deepct.networks.encoder import AB_BINS, HistogramEncoder
from deepct.networks.transfer import ColorTransferUNet
from deepct.output import TransferOutput, pick_nearest, resize_to
from deepct.semantics import AS_REPORTED, DEFAULT, Semantics, feather, match_labels

WORKING_SIZE = 768
"""The longest side of the copy on which colours are decided by default, px."""

_MIN_WORKING_SIZE = 32  # px: CTN's coarsest features are at a 32nd of what it sees


def check_working_size(working_size: int | None) -> None:
    """Check a working size, in px.

    Raises:
        ConfigError: it is below 32.
    """
    if working_size is not None and working_size < _MIN_WORKING_SIZE:
        raise ConfigError(
            f"working_size must be {_MIN_WORKING_SIZE} px or more, or null for full size, got {working_size}"
        )


def check_strength(strength: float) -> None:
    """Check how much of a transfer is wanted.

    Raises:
        ConfigError: it is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength must be from 0, the source as it is, to 1, the full transfer, got {strength}")


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
        stride: CTN sees the photo at 1/stride of its size; the colours that it decides there are applied to every
            pixel by local colour models (:mod:`deepct.highres`). 1: CTN draws every pixel itself, as in the paper.
        residual: CTN draws the change of colour instead of the picture, so that content need not be learnt.
        guess: CTN sees and changes not the source but the source after a transfer in closed form (:mod:`deepct.monge`),
            and at first changes nothing of it. Only with ``residual``.
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
    stride: int = 1
    residual: bool = False
    guess: bool = False
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
        if config.stride < 1:
            raise ConfigError(f"the network's stride must be 1 or more, got {config.stride}")
        if config.guess and not config.residual:
            raise ConfigError("a network with a guess changes it: give network.residual true too")
        self.config = config
        self.hen = HistogramEncoder(config.l_bins, config.histogram_width, config.code_size, config.ab_bins)
        self.ctn = ColorTransferUNet(
            build_encoder(config.encoder, config.encoder_widths, config.pretrained),
            config.decoder_widths,
            config.refinement_width,
            2 * config.code_size,
            config.scales is not False,
            config.padding,
            config.residual,
        )
        if config.guess:
            self.ctn.draw_nothing()

    @property
    def bins(self) -> tuple[int, int]:
        """Histogram bins along a and b, and along L."""
        return self.config.ab_bins, self.config.l_bins

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
        histograms = pair_histograms(source, reference, source_labels, reference_labels, *self.bins)
        return self.transfer(source, histograms, scales)

    def transfer(self, source: Tensor, histograms: PairHistograms, scales: bool = True) -> TransferOutput:
        """:meth:`forward` with histograms that are counted already, where several networks see one pair."""
        seen, output = self._decide(source, histograms, AS_REPORTED, scales)
        if seen is source:
            return output
        return TransferOutput(apply_color_models(fit_color_models(seen, output.image), source), output.scales)

    def _decide(
        self, source: Tensor, histograms: PairHistograms, semantics: Semantics, scales: bool
    ) -> tuple[Tensor, TransferOutput]:
        """The source as CTN sees it, at 1 / stride of its size, and what CTN makes of it."""
        height, width = (-(-side // self.config.stride) for side in source.shape[-2:])
        seen = resize_to(source, (height, width))
        regions = _regions(histograms, seen, semantics)
        start = _apply_maps(histograms.maps, seen, regions) if self.config.guess else seen
        return seen, self.ctn(start, self.encode(histograms, regions), scales)

    def encode(self, histograms: PairHistograms, regions: Tensor | None = None) -> Codes:
        """The codes of a batch of pairs: e_s and e_t, or e_s and R_t.

        Args:
            histograms: the pairs'.
            regions: which of the references' stacks each pixel that CTN sees takes: (B, H, W) int64 rows, or
                (B, R, H, W) shares of each; None for a global transfer.
        """
        count = len(histograms.source), len(histograms.reference)
        e_s, e_t = self.hen(torch.cat((histograms.source, histograms.reference))).split(count)
        if regions is None:
            return Codes(torch.cat((e_s, e_t), dim=1))
        if regions.ndim == 4:
            return Codes(e_s, FeatheredMap(e_t, self.ctn.pad(regions)))
        # Replicate padding knows no integers; float32 holds every row number exactly.
        return Codes(e_s, RegionMap(e_t, self.ctn.pad(regions.unsqueeze(1).float()).squeeze(1).long()))

    @torch.inference_mode()
    def recolor(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        working_size: int | None = None,
        semantics: Semantics = DEFAULT,
        strength: float = 1.0,
    ) -> Tensor:
        """Recolour photos of any size.

        Args:
            source: (B, 3, H, W) uint8 sRGB.
            reference: (B, 3, H', W') uint8 sRGB.
            source_labels: (B, h, w) uint8 label map of any size, laid over the photo. Both maps or none.
            reference_labels: (B, h', w') uint8.
            working_size: colours are decided on copies of the photos whose longest side is this, px, but whose shorter
                side is no less than 32, and local colour models take the decision to every pixel. Smaller photos, and
                        all with None, are seen whole.
            semantics: how label maps steer the transfer.
            strength: how much of the transfer is wanted, from 0, the source bit for bit, to 1; see
                :func:`deepct.color.blend_into`.

        Returns:
            (B, 3, H, W) uint8 sRGB.

        Raises:
            ConfigError: the working size is below 32, or the strength not from 0 to 1.
            ValueError: one label map came without the other.
        """
        check_working_size(working_size)
        check_strength(strength)
        working, labels = _working_copy(source, source_labels, working_size)
        reference, reference_labels = _working_copy(reference, reference_labels, working_size)
        matches = None
        if labels is not None and reference_labels is not None:
            matches = match_labels(labels, reference_labels, semantics)
        histograms = pair_histograms(working, reference, labels, reference_labels, *self.bins, matches)
        seen, output = self._decide(working, histograms, semantics, scales=False)
        if seen.shape == source.shape:
            return blend_into(source, normalized_to_rgb(output.image.float()), strength)
        return recolor_photo(fit_color_models(seen, output.image), source, strength)

    def lattice(self, source: Tensor, reference: Tensor, colors: Tensor, working_size: int | None = None) -> Tensor:
        """What the global transfer from a source to a reference makes of given colours, wherever they stand.

        Args:
            source: (1, 3, H, W) uint8 sRGB.
            reference: (1, 3, H', W') uint8 sRGB.
            colors: (N, 3) sRGB in [0, 1].
            working_size: as in :meth:`recolor`.

        Returns:
            (N, 3) sRGB in [0, 1].

        Raises:
            ConfigError: this network draws each pixel by its surroundings.
        """
        raise ConfigError(
            "this network draws each pixel by its surroundings, so no table of colours (LUT) holds its transfer; "
            "recolour photos with it, or take the weights of a network that maps colours"
        )


def _regions(histograms: PairHistograms, seen: Tensor, semantics: Semantics) -> Tensor | None:
    """What :meth:`ColorTransferNetwork.encode` takes, for (B, 3, H, W) sources as CTN sees them."""
    if histograms.rows is None:
        return None
    rows = pick_nearest(histograms.rows, (seen.shape[-2], seen.shape[-1]))
    if not semantics.feather:
        return rows
    return feather(F.one_hot(rows, len(histograms.reference)).permute(0, 3, 1, 2).float(), seen, semantics)


def _apply_maps(maps: Tensor, photo: Tensor, regions: Tensor | None) -> Tensor:
    """(R, 3, 4) affine maps on (B, 3, H, W), each in its region."""
    if regions is None:
        return apply_affine(maps[:, :, :, None, None], photo)
    if regions.ndim == 4:
        return apply_affine(torch.einsum("brhw,rkc->bkchw", regions, maps), photo)
    return apply_affine(maps[regions].permute(0, 3, 4, 1, 2), photo)


def _working_copy(photo: Tensor, labels: Tensor | None, longest: int | None) -> tuple[Tensor, Tensor | None]:
    """A photo in normalised Lab and its label map, at the working size."""
    height, width = photo.shape[-2:]
    scale = 1.0
    if longest is not None:
        scale = min(1.0, max(longest / max(height, width), _MIN_WORKING_SIZE / min(height, width)))
    size = round(height * scale), round(width * scale)
    return rgb_to_normalized(shrink_photo(photo, size)), None if labels is None else pick_nearest(labels, size)
