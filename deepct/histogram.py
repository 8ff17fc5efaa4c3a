"""Colour histograms of normalised Lab images: hard ones for HEN, soft ones for the loss.

A *histogram stack* is what HEN reads: one plane of ab bins, then one constant plane for each lightness bin,
(N, 1 + l_bins, ab_bins, ab_bins) (Lee et al. 2020, section 3.1; the report, section 3.1).

Everything here takes memory linear in the pixels plus the bins.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from deepct.monge import count_moments, monge_maps

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

    def or_wholes(self, rows: Tensor) -> Tensor:
        """The same, where pixels of no row take that of their whole photo, which stand behind those of labels."""
        whole = self.total + torch.arange(len(rows), device=rows.device).view(-1, 1, 1)
        return torch.where(rows >= 0, rows, whole)


class LabelMatches(NamedTuple):
    """Which of the reference's colours each label of the source takes.

    Attributes:
        source: where the label's row stands in the histograms that the sources take.
        reference: into which of the references' histograms the pixels of a label are counted.
        mix: (source.total, reference.total) float32 shares: what each row takes of these histograms; None: one row is
            one histogram.
    """

    source: LabelSlots
    reference: LabelSlots
    mix: Tensor | None = None


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
    return number_labels(both)


def settle_matches(
    source_labels: Tensor | None, reference_labels: Tensor | None, matches: LabelMatches | None
) -> LabelMatches | None:
    """Which labels of a batch take which colours; None for a global transfer.

    Args:
        source_labels: (B, H, W) uint8; both label maps or none.
        reference_labels: (B, H', W') uint8.
        matches: the wanted ones; by default each label that both photos show takes its own.

    Raises:
        ValueError: one label map came without the other.
    """
    if (source_labels is None) != (reference_labels is None):
        raise ValueError("semantic transfer needs the label maps of both photos; give both or none")
    if source_labels is None or reference_labels is None:
        return None
    if matches is None:
        shared = shared_labels(source_labels, reference_labels)
        matches = LabelMatches(shared, shared)
    return matches if matches.source.total else None


def number_labels(wanted: Tensor) -> LabelSlots:
    """Number the wanted labels, (B, 256) bool, photo by photo and, within a photo, by rising label."""
    flat = wanted.reshape(-1)
    return LabelSlots(torch.where(flat, flat.long().cumsum(0) - 1, -1).view_as(wanted), int(flat.sum()))


def _present(labels: Tensor) -> Tensor:
    batch = labels.shape[0]
    seen = torch.zeros(batch, 256, dtype=torch.bool, device=labels.device)
    return seen.scatter_(1, labels.reshape(batch, -1).long(), True)


def label_histograms(
    normalized: Tensor, labels: Tensor, slots: LabelSlots, ab_bins: int = 64, l_bins: int = 8
) -> Tensor:
    """Histogram stack of every label that has a slot, counting only the pixels that carry it.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        labels: (B, H, W) uint8 label map of the same photo.
        slots: the labels' rows.
        ab_bins: bins along a and along b.
        l_bins: bins along L.

    Returns:
        (slots.total, 1 + l_bins, ab_bins, ab_bins) float32; each divided by its own label's number of pixels.
    """
    return _count(normalized, slots.rows(labels), slots.total, ab_bins, l_bins)


class PairHistograms(NamedTuple):
    """The histogram stacks of a batch of pairs, as HEN reads them, and a first guess of each transfer.

    Attributes:
        source: (B, 1 + l_bins, ab_bins, ab_bins), the sources' own.
        reference: (R, 1 + l_bins, ab_bins, ab_bins), the references' own, R = B; for a semantic transfer those of
            single labels stand before them.
        maps: (R, 3, 4), the affine map from the colours that take such a stack to the stack's, see
            :func:`deepct.monge.monge_maps`.
        rows: (B, H, W) int64: which of the R each pixel of the source takes: its label's, where that has one, or else
            the whole reference's. None: every pixel takes the latter.
    """

    source: Tensor
    reference: Tensor
    maps: Tensor
    rows: Tensor | None = None

    @property
    def bins(self) -> tuple[int, int]:
        """Bins along a and along b, and along L."""
        return self.source.shape[-1], self.source.shape[1] - 1


def pair_histograms(
    source: Tensor,
    reference: Tensor,
    source_labels: Tensor | None = None,
    reference_labels: Tensor | None = None,
    ab_bins: int = 64,
    l_bins: int = 8,
    matches: LabelMatches | None = None,
) -> PairHistograms:
    """Count everything that HEN needs to know of a batch of pairs.

    Args:
        source: (B, 3, H, W) normalised Lab.
        reference: (B, 3, H', W') normalised Lab.
        source_labels: (B, H, W) uint8; both label maps or none.
        reference_labels: (B, H', W') uint8.
        ab_bins: bins along a and along b.
        l_bins: bins along L.
        matches: which labels take which colours; by default each label that both photos show takes its own.

    Raises:
        ValueError: one label map came without the other.
    """
    matches = settle_matches(source_labels, reference_labels, matches)
    own, theirs = histogram(source, ab_bins, l_bins), histogram(reference, ab_bins, l_bins)
    moments = count_moments(source), count_moments(reference)
    if source_labels is None or reference_labels is None or matches is None:
        return PairHistograms(own, theirs, monge_maps(*moments))
    total = matches.source.total
    rows, reference_rows = matches.source.rows(source_labels), matches.reference.rows(reference_labels)
    by_label = label_histograms(reference, reference_labels, matches.reference, ab_bins, l_bins)
    label_moments = count_moments(reference, reference_rows, matches.reference.total)
    if matches.mix is not None:
        by_label, label_moments = (torch.einsum("pr,r...->p...", matches.mix, x) for x in (by_label, label_moments))
    maps = monge_maps(
        torch.cat((count_moments(source, rows, total), moments[0])), torch.cat((label_moments, moments[1]))
    )
    return PairHistograms(own, torch.cat((by_label, theirs)), maps, matches.source.or_wholes(rows))


class _TriangularCount(torch.autograd.Function):
    """Sums of triangular weights: (B, 2, N) positions, whole numbers at the bins' centres, to (B, bins, bins).

    A pixel touches the 2 x 2 bins around it. They lie on a grid with two more bins on every side, which take what is
    beyond the range and are cut off. For the gradient only the positions are kept.
    """

    @staticmethod
    def forward(ctx: Any, positions: Tensor, bins: int) -> Tensor:
        ctx.save_for_backward(positions)
        ctx.bins = bins
        cells, a, b = _cells(positions, bins)
        side = bins + 4
        # In float64 where the device has it, for a bin may sum millions of pixels.
        wide = torch.float32 if positions.device.type == "mps" else torch.float64
        sums = torch.zeros(len(positions) * side**2, dtype=wide, device=positions.device)
        for corner, weight in zip(_corners(bins), ((1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b), strict=True):
            sums[corner:].index_add_(0, cells, weight.flatten().to(wide))
        return sums.view(-1, side, side)[:, 2:-2, 2:-2].to(positions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (positions,) = ctx.saved_tensors
        cells, a, b = _cells(positions, ctx.bins)
        padded = F.pad(gradient, (2, 2, 2, 2)).flatten()
        g00, g01, g10, g11 = (padded[corner:][cells].view_as(a) for corner in _corners(ctx.bins))
        return torch.stack((torch.lerp(g10 - g00, g11 - g01, b), torch.lerp(g01 - g00, g11 - g10, a)), dim=1), None


def _cells(positions: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each pixel's lower bin in the flat padded grids, (B N), and its way on to the next in a and in b, (B, N) each."""
    side = bins + 4
    positions = positions.clamp(-2, bins)
    lower = positions.floor()
    a, b = (lower.long() + 2).clamp_(0, side - 2).unbind(1)  # clamped again: NaN may become any integer
    photo = torch.arange(len(positions), device=positions.device).unsqueeze(1)
    fraction_a, fraction_b = (positions - lower).unbind(1)
    return ((photo * side + a) * side + b).flatten(), fraction_a, fraction_b


def _corners(bins: int) -> tuple[int, int, int, int]:
    """From a pixel's lower bin in the flat padded grid to the four bins that it touches."""
    side = bins + 4
    return 0, 1, side, side + 1


def soft_ab_histogram(normalized: Tensor, bins: int = 32) -> Tensor:
    """Differentiable ab histogram, by triangular soft assignment.

    A pixel counts into bin (i, j) with weight max(0, 1 - |a - a_i| bins) max(0, 1 - |b - b_j| bins), a and b scaled to
    [0, 1] and a_i, b_j the bins' centres. So it counts into the four bins around it at most, and into none where a or b
    is half a bin or more beyond [0, 1]. On a centre the gradient is the one toward higher values.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        bins: bins along a and along b.

    Returns:
        (B, bins, bins), divided by the number of pixels; float32, or float64 for float64 input.
    """
    with torch.autocast(normalized.device.type, enabled=False):
        ab = normalized[:, 1:].flatten(2)
        ab = ab.to(torch.promote_types(ab.dtype, torch.float32))
        return _TriangularCount.apply(ab * (0.5 * bins) + (0.5 * bins - 0.5), bins) / ab.shape[-1]
