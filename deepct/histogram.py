"""Colour histograms of normalised Lab images: hard ones for HEN, soft ones for the loss.

A *histogram stack* is what HEN reads: one plane of ab bins, then one constant plane for each lightness bin,
(N, 1 + l_bins, ab_bins, ab_bins) (Lee et al. 2020, section 3.1; the report, section 3.1).

Everything here takes memory linear in the pixels plus the bins.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

UNLABELLED = 255
"""The label of pixels that belong to no class; they take part in no semantic histogram."""


class LabelSlots(NamedTuple):
    """Which labels two photos share, and where their histograms stand in one flat list.

    Attributes:
        slots: (B, 256) int64: the row of label l of photo b, or -1 where source and reference do not both show it.
        total: the number of rows, over the whole batch.
    """

    slots: Tensor
    total: int

    def rows(self, labels: Tensor) -> Tensor:
        """(B, H, W) uint8 labels to the row of each pixel, (B, H, W) int64, -1 for none."""
        batch, height, width = labels.shape
        return self.slots.gather(1, labels.reshape(batch, -1).long()).view(batch, height, width)


def _bin_index(value: Tensor, bins: int) -> Tensor:
    """Bin of values in [-1, 1]; both ends belong to the outermost bins, as does anything beyond them."""
    return ((value + 1.0) * (0.5 * bins)).floor().long().clamp_(0, bins - 1)


def _stack(ab: Tensor, lightness: Tensor) -> Tensor:
    """(N, A, A) and (N, L) shares to the (N, 1 + L, A, A) stack of HEN."""
    size = ab.shape[-1]
    return torch.cat((ab.unsqueeze(1), lightness[:, :, None, None].expand(-1, -1, size, size)), dim=1)


def _count(normalized: Tensor, rows: Tensor, total: int, ab_bins: int, l_bins: int) -> Tensor:
    """Count every pixel into the histogram of its row; rows below 0 are left out."""
    lightness, a, b = (plane.reshape(-1) for plane in normalized.detach().float().unbind(1))
    rows = rows.reshape(-1)
    keep = rows >= 0
    if not bool(keep.all()):
        lightness, a, b, rows = lightness[keep], a[keep], b[keep], rows[keep]
    ab_index = (rows * ab_bins + _bin_index(a, ab_bins)) * ab_bins + _bin_index(b, ab_bins)
    l_index = rows * l_bins + _bin_index(lightness, l_bins)
    ab = torch.bincount(ab_index, minlength=total * ab_bins**2).view(total, ab_bins, ab_bins)
    light = torch.bincount(l_index, minlength=total * l_bins).view(total, l_bins)
    pixels = torch.bincount(rows, minlength=total).clamp_(min=1).float()
    return _stack(ab / pixels[:, None, None], light / pixels[:, None])


def histogram(normalized: Tensor, ab_bins: int = 64, l_bins: int = 8) -> Tensor:
    """Global histogram stack of each image.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        ab_bins: bins along a and along b.
        l_bins: bins along L.

    Returns:
        (B, 1 + l_bins, ab_bins, ab_bins) float32. Plane 0 holds the shares of the ab bins (rows a, columns b) and sums
        to 1; planes 1... each hold one share of L in every element, and these shares sum to 1. No gradient.
    """
    batch, _, height, width = normalized.shape
    rows = torch.arange(batch, device=normalized.device).view(-1, 1, 1).expand(batch, height, width)
    return _count(normalized, rows, batch, ab_bins, l_bins)


def shared_labels(source_labels: Tensor, reference_labels: Tensor) -> LabelSlots:
    """Find the labels that each source has in common with its reference.

    Args:
        source_labels: (B, H, W) uint8; :data:`UNLABELLED` is no label.
        reference_labels: (B, H', W') uint8.

    Returns:
        Rows numbered photo by photo and, within a photo, by rising label.
    """
    both = _present(source_labels) & _present(reference_labels)
    both[:, UNLABELLED] = False
    flat = both.view(-1)
    slots = torch.where(flat, flat.long().cumsum(0) - 1, -1).view_as(both)
    return LabelSlots(slots, int(flat.sum()))


def _present(labels: Tensor) -> Tensor:
    batch = labels.shape[0]
    seen = torch.zeros(batch, 256, dtype=torch.bool, device=labels.device)
    return seen.scatter_(1, labels.reshape(batch, -1).long(), True)


def label_histograms(
    normalized: Tensor, labels: Tensor, shared: LabelSlots, ab_bins: int = 64, l_bins: int = 8
) -> Tensor:
    """Histogram stack of every shared label, counting only the pixels that carry it.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        labels: (B, H, W) uint8 label map of the same photo.
        shared: the rows, from :func:`shared_labels`.
        ab_bins: bins along a and along b.
        l_bins: bins along L.

    Returns:
        (shared.total, 1 + l_bins, ab_bins, ab_bins) float32; each divided by its own label's number of pixels.
    """
    return _count(normalized, shared.rows(labels), shared.total, ab_bins, l_bins)


def soft_ab_histogram(normalized: Tensor, bins: int = 32) -> Tensor:
    """Differentiable ab histogram, by triangular soft assignment.

    A pixel counts into bin (i, j) with weight max(0, 1 - |a - a_i| bins) max(0, 1 - |b - b_j| bins), a and b scaled to
    [0, 1] and a_i, b_j the bins' centres. The weight is a product, so the sum over pixels is one product of two
    (pixels x bins) matrices rather than a (bins x bins x pixels) tensor.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        bins: bins along a and along b.

    Returns:
        (B, bins, bins), divided by the number of pixels; float32, or float64 for float64 input.
    """
    with torch.autocast(normalized.device.type, enabled=False):
        ab = normalized[:, 1:].flatten(2)
        ab = (ab if ab.dtype == torch.float64 else ab.float()) * 0.5 + 0.5
        centres = (torch.arange(bins, device=ab.device, dtype=ab.dtype) + 0.5) / bins
        weights = F.relu(1.0 - (ab.unsqueeze(-1) - centres).abs() * bins)
        return weights[:, 0].transpose(1, 2) @ weights[:, 1] / ab.shape[-1]
