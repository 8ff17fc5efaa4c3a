"""Label maps that help: which of the reference's colours each region of the source takes, and how regions meet.

The report matches a label with the same label, whatever its size, and found that coarse or wrong label maps make a
transfer worse. Here small regions are not trusted, labels that look alike stand in for each other, photos that share
too little are matched as wholes, and regions meet along the photo's own edges.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepct.ade20k import KIN
from deepct.errors import ConfigError
from deepct.highres import guided_filter
from deepct.histogram import UNLABELLED, LabelMatches, LabelSlots, number_labels

_CHUNK = 8  # planes feathered at once


@dataclass(frozen=True)
class Semantics:
    """How label maps steer a transfer.

    Attributes:
        min_pixels: a label with fewer pixels in one of the photos, as the network sees them, is as good as absent.
        min_share: a label with a smaller share of one of the photos is as good as absent.
        kin: a label that the reference lacks takes the colours of those that look alike (:data:`deepct.ade20k.KIN`).
        min_shared: where less of the source than this share has a match, it takes the whole reference's colours.
        feather: half the width over which regions blend where the photo shows no edge, as a share of its longer side;
            0 leaves borders hard.

    Raises:
        ConfigError: a share is not within 0 and 1, or the number of pixels below 0.
    """

    min_pixels: int = 64
    min_share: float = 0.002
    kin: bool = True
    min_shared: float = 0.1
    feather: float = 0.02

    def __post_init__(self) -> None:
        shares = {"min_share": self.min_share, "min_shared": self.min_shared, "feather": self.feather}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"semantics.{name} is a share from 0 to 1, got {share}")
        if self.min_pixels < 0:
            raise ConfigError(f"semantics.min_pixels must be 0 or more, got {self.min_pixels}")


DEFAULT = Semantics()

AS_REPORTED = Semantics(min_pixels=0, min_share=0.0, kin=False, min_shared=0.0, feather=0.0)
"""The report's way: equal labels match, whatever their size, and borders are hard."""


def match_labels(source_labels: Tensor, reference_labels: Tensor, semantics: Semantics = DEFAULT) -> LabelMatches:
    """Decide which of the reference's colours each label of the source takes.

    Args:
        source_labels: (B, H, W) uint8, 255 for no label.
        reference_labels: (B, H', W') uint8.
        semantics: how.

    Returns:
        The matches; a label without one takes the whole reference's colours.
    """
    sources, references = _pixels(source_labels), _pixels(reference_labels)
    enough = _is_enough(sources, source_labels, semantics)
    takes = torch.diag_embed(enough & _is_enough(references, reference_labels, semantics))
    if semantics.kin:
        kin = _kin(sources.device)
        lacks = enough & ~takes.any(2)
        lacks &= _is_enough(references @ kin.float(), reference_labels, semantics)
        takes |= lacks.unsqueeze(2) & kin & (references > 0).unsqueeze(1)
    matched = takes.any(2)
    shared = (sources * matched).sum(1) / (source_labels.shape[1] * source_labels.shape[2])
    takes &= (shared >= semantics.min_shared)[:, None, None]
    rows, histograms = number_labels(takes.any(2)), number_labels(takes.any(1))
    return LabelMatches(rows, histograms, _mix(takes * references.unsqueeze(1), rows, histograms))


def feather(shares: Tensor, photo: Tensor, semantics: Semantics) -> Tensor:
    """Let regions meet along the photo's edges, and blend where it shows none.

    Args:
        shares: (B, R, H, W), the share of each region at each pixel.
        photo: (B, 3, H, W) normalised Lab.
        semantics: how wide.

    Returns:
        (B, R, H, W) float32 shares, from 0 to 1, whose sum at each pixel is 1.
    """
    radius = max(1, round(semantics.feather * max(photo.shape[-2:])))
    soft = torch.cat([guided_filter(photo, part, radius) for part in shares.split(_CHUNK, dim=1)], dim=1).clamp_(0, 1)
    return soft.div_(soft.sum(1, keepdim=True))


def _pixels(labels: Tensor) -> Tensor:
    """(B, 256) float32: how many pixels carry each label."""
    flat = labels.flatten(1).long()
    ones = torch.ones_like(flat, dtype=torch.float32)
    counts = torch.zeros(len(labels), 256, device=labels.device).scatter_add_(1, flat, ones)
    counts[:, UNLABELLED] = 0
    return counts


def _is_enough(pixels: Tensor, labels: Tensor, semantics: Semantics) -> Tensor:
    share = semantics.min_share * labels.shape[1] * labels.shape[2]
    return pixels >= max(1, semantics.min_pixels, share)


def _kin(device: torch.device) -> Tensor:
    """(256, 256) bool, symmetric: which labels look alike."""
    kin = torch.zeros(256, 256, dtype=torch.bool)
    for group in KIN:
        members = torch.tensor(group)
        kin[members[:, None], members] = True
    return kin.to(device)


def _mix(weights: Tensor, rows: LabelSlots, histograms: LabelSlots) -> Tensor:
    """(rows.total, histograms.total): the weights (B, 256, 256) of labels on labels as shares."""
    photo, label = (rows.slots >= 0).nonzero(as_tuple=True)
    weights = weights[photo, label]
    mix = torch.zeros(rows.total, histograms.total, device=weights.device)
    if rows.total:
        mix.scatter_add_(1, histograms.slots[photo].clamp(min=0), weights / weights.sum(1, keepdim=True))
    return mix
