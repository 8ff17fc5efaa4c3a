"""The network of the paper: HEN, and a CTN that draws the picture."""

from collections.abc import Hashable

import torch
from torch import Tensor

from deepct.color import blend_into, normalized_to_rgb
from deepct.errors import ConfigError
from deepct.highres import apply_affine, apply_color_models, fit_color_models, recolor_photo
from deepct.histogram import LabelMatches, PairHistograms, pair_histograms
from deepct.networks.backbones import build_encoder
from deepct.networks.base import Study, TransferNetwork
from deepct.networks.conditioning import Codes, FeatheredMap, RegionMap
from deepct.networks.config import NetworkConfig
from deepct.networks.encoder import HistogramEncoder
from deepct.networks.transfer import ColorTransferUNet
from deepct.output import TransferOutput, pick_nearest, resize_to
from deepct.semantics import AS_REPORTED, Semantics, region_shares


class ColorTransferNetwork(TransferNetwork):
    """Draw a source in the colours of a reference (Lee et al. 2020; the report, section 3.1).

    Args:
        config: the network's shape.
    """

    ctn: ColorTransferUNet

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        config = config or NetworkConfig()
        if config.stride < 1:
            raise ConfigError(f"the network's stride must be 1 or more, got {config.stride}")
        if config.guess and not config.residual:
            raise ConfigError("a network with a guess changes it: give network.residual true too")
        self.config = config
        widths = [config.histogram_width] * 7
        self.hen = HistogramEncoder(1 + config.l_bins, widths, config.code_size, config.ab_bins).expect_shares()
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
    def sight(self) -> Hashable:
        """The histogram bins along a and b, and along L."""
        return self.config.ab_bins, self.config.l_bins

    def study(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        matches: LabelMatches | None = None,
    ) -> PairHistograms:
        """Count the pairs' histograms."""
        bins = self.config.ab_bins, self.config.l_bins
        return pair_histograms(source, reference, source_labels, reference_labels, *bins, matches)

    def transfer(self, source: Tensor, study: Study, scales: bool = True) -> TransferOutput:
        """:meth:`forward` with histograms that are counted already, where several networks see one pair."""
        assert isinstance(study, PairHistograms)
        seen, output = self._decide(source, study, AS_REPORTED, scales)
        if seen is source:
            return output
        return TransferOutput(apply_color_models(fit_color_models(seen, output.image), source), output.scales)

    def _recolor(self, source: Tensor, working: Tensor, study: Study, semantics: Semantics, strength: float) -> Tensor:
        assert isinstance(study, PairHistograms)
        seen, output = self._decide(working, study, semantics, scales=False)
        if seen.shape == source.shape:
            return blend_into(source, normalized_to_rgb(output.image.float()), strength)
        return recolor_photo(fit_color_models(seen, output.image), source, strength)

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


def _regions(histograms: PairHistograms, seen: Tensor, semantics: Semantics) -> Tensor | None:
    """What :meth:`ColorTransferNetwork.encode` takes, for (B, 3, H, W) sources as CTN sees them."""
    if histograms.rows is None:
        return None
    rows = pick_nearest(histograms.rows, (seen.shape[-2], seen.shape[-1]))
    if not semantics.feather:
        return rows
    return region_shares(rows, len(histograms.reference), seen, semantics)


def _apply_maps(maps: Tensor, photo: Tensor, regions: Tensor | None) -> Tensor:
    """(R, 3, 4) affine maps on (B, 3, H, W), each in its region."""
    if regions is None:
        return apply_affine(maps[:, :, :, None, None], photo)
    if regions.ndim == 4:
        return apply_affine(torch.einsum("brhw,rkc->bkchw", regions, maps), photo)
    return apply_affine(maps[regions].permute(0, 3, 4, 1, 2), photo)
