"""Label maps that help: which of the reference's colours each region of the source takes, and how regions meet.

The report matches a label with the same label, whatever its size, and found that coarse or wrong label maps make a
transfer worse. Here small regions are not trusted, labels that look alike stand in for each other, photos that share
too little are matched as wholes, and regions meet along the photo's own edges.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.ade20k import KIN
from deepct.errors import ConfigError
from deepct.highres import guided_filter
from deepct.histogram import UNLABELLED, LabelMatches, LabelSlots, number_labels

_SNAP = 2  # px, by which a border can move to an edge
_EDGE = 0.1  # a step of colour, in normalised Lab, that counts as much as the feather's whole width
_GRAIN = 0.03  # a step of colour, likewise, that counts as none
_ITERATIONS = 2
_CHUNK = 8  # planes filtered at once


@dataclass(frozen=True)
class Semantics:
    """How label maps steer a transfer.

    Attributes:
        min_pixels: a label with fewer pixels in one of the photos, as the network sees them, is as good as absent.
        min_share: a label with a smaller share of one of the photos is as good as absent.
        kin: a label that the reference lacks takes the colours of those that look alike (:data:`deepct.ade20k.KIN`).
        min_shared: where less of the source than this share has a match, it takes the whole reference's colours.
        feather: the width over which regions blend where the photo shows no edge (a standard deviation), as a share of
            its longer side; 0 leaves borders hard.

    Raises:
        ConfigError: a share is not within 0 and 1, or the number of pixels below 0.
    """

    min_pixels: int = 64
    min_share: float = 0.005
    kin: bool = True
    min_shared: float = 0.1
    feather: float = 0.08

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


def region_shares(rows: Tensor, total: int, photo: Tensor, semantics: Semantics) -> Tensor:
    """What share each region has in each pixel.

    Args:
        rows: (B, H, W) int64, the region of each pixel.
        total: the number of regions, R.
        photo: (B, 3, H, W) normalised Lab.
        semantics: how regions meet.

    Returns:
        (B, R, H, W) float32, whose sum at each pixel is 1.
    """
    shares = F.one_hot(rows, total).permute(0, 3, 1, 2).float()
    return feather(shares, photo, semantics) if semantics.feather else shares


def feather(shares: Tensor, photo: Tensor, semantics: Semantics) -> Tensor:
    """Let regions meet along the photo's edges, and blend where it shows none.

    A narrow guided filter moves borders to edges that a coarse label map misses by little. Then shares spread over
    what is smooth and stop at edges, however thin: by the recursive filter of Gastal and Oliveira, *Domain Transform
    for Edge-Aware Image and Video Processing* (SIGGRAPH 2011).

    Args:
        shares: (B, R, H, W), the share of each region at each pixel.
        photo: (B, 3, H, W) normalised Lab.
        semantics: how wide.

    Returns:
        (B, R, H, W) float32 shares, from 0 to 1, whose sum at each pixel is 1.
    """
    parts = [guided_filter(photo, part, _SNAP) for part in shares.split(_CHUNK, dim=1)]
    soft = torch.cat(parts, dim=1).clamp_(0, 1)
    soft = soft.div_(soft.sum(1, keepdim=True))
    sigma = semantics.feather * max(photo.shape[-2:])
    down, across = (1 + sigma / _EDGE * _steps(photo.float(), dim) for dim in (2, 3))
    for iteration in range(_ITERATIONS):
        # Their equation 14: the passes' variances add up to sigma's square.
        part = sigma * 3**0.5 * 2 ** (_ITERATIONS - iteration - 1) / (4**_ITERATIONS - 1) ** 0.5
        decay = -(2**0.5) / part
        soft = _spread(soft, torch.exp(decay * across))
        soft = _spread(soft.mT, torch.exp(decay * down).mT).mT
    return soft


def _steps(photo: Tensor, dim: int) -> Tensor:
    """(B, H, W): how much a pixel differs from the one before it."""
    return (photo.diff(dim=dim, prepend=photo.narrow(dim, 0, 1)).abs().sum(1) - _GRAIN).clamp_(min=0)


def _spread(shares: Tensor, weights: Tensor) -> Tensor:
    """Run along the rows of (B, R, H, W), there and back; (B, H, W) weights of each pixel's left neighbour."""
    steps, keep = shares.permute(3, 0, 1, 2).contiguous(), weights.permute(2, 0, 1).unsqueeze(2)
    for i in range(1, len(steps)):
        steps[i].lerp_(steps[i - 1], keep[i])
    for i in range(len(steps) - 2, -1, -1):
        steps[i].lerp_(steps[i + 1], keep[i + 1])
    return steps.permute(1, 2, 3, 0)


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
