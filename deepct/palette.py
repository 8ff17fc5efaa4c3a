"""Palettes: the colours of a photo, or of one label in it, as a fixed number of representative ones.

A palette is drawn from all pixels in the order of their colours, at even distances. So it depends on the colours alone:
a mirrored photo has the palette of the photo. Quantiles, moments and joint histograms of a palette stand for those of
the pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.color import denormalize_lab, normalize_lab
from deepct.histogram import LabelMatches, settle_matches

PALETTE_SIZE = 1024
"""Colours of a palette."""

_EMPHASIS = 8.0
_SPREAD = 7  # bins
_RARE = 0.05  # relative share below which all colours are equally rare
_BITS = 12  # of each channel in the order of colours
_COARSE = (4, 5, 5)  # of them, of L, a, b, that come first: neighbours in order are then neighbours in colour


_DIRECTIONS = F.normalize(
    torch.tensor(
        ((1.0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, -1), (0, 1, 1), (0, 1, -1), (1, -1, 1)),
    ),
    dim=1,
)


class PairPalettes(NamedTuple):
    """The palettes of a batch of pairs.

    Attributes:
        source: (R, 3, N) normalised Lab: R = B sources; for a semantic transfer those of single labels stand before
            them.
        reference: (R, 3, N), whose colours each of these takes.
        rows: (B, H, W) int64: which of the R each pixel of the source belongs to; None: each to its whole photo's.
    """

    source: Tensor
    reference: Tensor
    rows: Tensor | None = None


def draw_palettes(normalized: Tensor, rows: Tensor | None = None, total: int = 0, size: int = PALETTE_SIZE) -> Tensor:
    """Draw palettes from photos.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        rows: (B, H, W) int64: the palette that a pixel counts for, -1 for none; None: each photo has its own.
        total: the number of palettes, where rows are given.
        size: colours of a palette, N; of fewer pixels, some are taken more than once.

    Returns:
        (B or total, 3, N) float32 normalised Lab. No gradient.
    """
    batch, _, height, width = normalized.shape
    if rows is None:
        rows, total = torch.arange(batch, device=normalized.device).view(-1, 1, 1).expand(-1, height, width), batch
    colors, flat = normalized.detach().float().permute(0, 2, 3, 1).reshape(-1, 3), rows.reshape(-1)
    keep = flat >= 0
    if not bool(keep.all()):
        colors, flat = colors[keep], flat[keep]
    order = (flat * 2 ** (3 * _BITS) + _place(colors)).argsort()
    counts = flat.bincount(minlength=total).unsqueeze(1)
    steps = (torch.arange(size, device=colors.device) + 0.5) / size
    picked = counts.cumsum(0) - counts + (steps * counts).long()
    return colors[order[picked.clamp(max=len(order) - 1)]].transpose(1, 2).contiguous()


def _place(colors: Tensor) -> Tensor:
    """(N,) int64: where (N, 3) normalised Lab stand in the order of colours."""
    channels = ((colors + 1) * 2 ** (_BITS - 1)).long().clamp_(0, 2**_BITS - 1).unbind(1)
    place = torch.zeros_like(channels[0])
    for channel, bits in zip(channels, _COARSE, strict=True):
        place = place * 2**bits + (channel >> (_BITS - bits))
    for channel, bits in zip(channels, _COARSE, strict=True):
        place = place * 2 ** (_BITS - bits) + channel % 2 ** (_BITS - bits)
    return place


def sliced_distance(a: Tensor, b: Tensor) -> Tensor:
    """How far palettes are apart: the sliced Wasserstein distance (Rabin et al. 2011) along eight directions of Lab.

    Args:
        a: (..., 3, N) normalised Lab.
        b: (..., 3, N).

    Returns:
        (...) in delta E (CIE76).
    """
    directions = _DIRECTIONS.to(a.device)
    x, y = ((directions @ palette).sort(-1).values for palette in (in_units(a), in_units(b)))
    return (x - y).abs().mean((-1, -2))


def thin(palette: Tensor, size: int) -> Tensor:
    """Of palettes, (..., N), so many colours, (..., size), evenly."""
    step = palette.shape[-1] // size
    return palette[..., step // 2 :: step]


def in_units(palette: Tensor) -> Tensor:
    """(..., 3, N) normalised Lab to Lab."""
    return denormalize_lab(palette.unsqueeze(-1)).squeeze(-1)


def joint_histograms(palettes: Tensor, l_bins: int = 8, ab_bins: int = 64) -> Tensor:
    """The joint histogram of L, a and b of palettes, which tells more than those of L and of a, b.

    Bins of a and b are narrow about grey, where photos have most of their colours, and wide where they have few.

    Args:
        palettes: (R, 3, N) normalised Lab.
        l_bins: bins along L.
        ab_bins: bins along a and along b.

    Returns:
        (R, l_bins, ab_bins, ab_bins) float32: eight times the root of each bin's share, so that rare colours count.
    """
    count, _, size = palettes.shape
    lightness, a, b = _axes(palettes).unbind(1)
    row = torch.arange(count, device=palettes.device).unsqueeze(1)
    index = row
    for value, bins in ((lightness, l_bins), (a, ab_bins), (b, ab_bins)):
        index = index * bins + ((value + 1) * (bins / 2)).long().clamp_(0, bins - 1)
    counts = index.flatten().bincount(minlength=count * l_bins * ab_bins**2).view(count, l_bins, ab_bins, ab_bins)
    return _EMPHASIS * (counts / size).sqrt()


def smooth_shares(histograms: Tensor) -> Tensor:
    """The shares of joint histograms, each spread over its neighbours in a and b.

    Args:
        histograms: (R, l_bins, ab_bins, ab_bins), from :func:`joint_histograms`.

    Returns:
        (R, l_bins, ab_bins, ab_bins) float32, relative to the share of a bin if all were equally common.
    """
    shares = (histograms / _EMPHASIS).square()
    rows = F.avg_pool2d(shares, (_SPREAD, 1), 1, (_SPREAD // 2, 0))
    return F.avg_pool2d(rows, (1, _SPREAD), 1, (0, _SPREAD // 2)) * shares[0].numel()


def look_up_shares(shares: Tensor, colors: Tensor) -> Tensor:
    """How common colours are.

    Args:
        shares: (R, l_bins, ab_bins, ab_bins), from :func:`smooth_shares`.
        colors: (R, G, 3, P) normalised Lab.

    Returns:
        (R, G, P) logarithms, interpolated between bins before they are taken.
    """
    places = _axes(colors.flatten(0, 1)).unflatten(0, colors.shape[:2])
    places = places.flip(2).permute(0, 1, 3, 2).unsqueeze(1)  # b, a, L: the last axis first
    found = F.grid_sample(shares.unsqueeze(1), places, align_corners=False, padding_mode="border")
    return 0.5 * torch.log(found[:, 0, 0] + _RARE)


def _axes(colors: Tensor) -> Tensor:
    """(R, 3, N) normalised Lab to L, a, b in [-1, 1] with a and b counted from grey, and stretched about it."""
    grey = normalize_lab(torch.zeros(3, 1, 1, device=colors.device))[:, :, 0]
    lightness, ab = colors[:, :1], (colors - grey)[:, 1:].clamp(-1, 1)
    return torch.cat((lightness, ab.sign() * ab.abs().sqrt()), dim=1)


def pair_palettes(
    source: Tensor,
    reference: Tensor,
    source_labels: Tensor | None = None,
    reference_labels: Tensor | None = None,
    matches: LabelMatches | None = None,
) -> PairPalettes:
    """Draw the palettes of a batch of pairs.

    Args:
        source: (B, 3, H, W) normalised Lab.
        reference: (B, 3, H', W') normalised Lab.
        source_labels: (B, H, W) uint8; both label maps or none.
        reference_labels: (B, H', W') uint8.
        matches: which labels take which colours; by default each label that both photos show takes its own.

    Raises:
        ValueError: one label map came without the other.
    """
    matches = settle_matches(source_labels, reference_labels, matches)
    own, theirs = draw_palettes(source), draw_palettes(reference)
    if source_labels is None or reference_labels is None or matches is None:
        return PairPalettes(own, theirs)
    rows = matches.source.rows(source_labels)
    by_label = draw_palettes(reference, matches.reference.rows(reference_labels), matches.reference.total)
    if matches.mix is not None:
        by_label = _pool(by_label, matches.mix)
    return PairPalettes(
        torch.cat((draw_palettes(source, rows, matches.source.total), own)),
        torch.cat((by_label, theirs)),
        matches.source.or_wholes(rows),
    )


def _pool(palettes: Tensor, mix: Tensor) -> Tensor:
    """(P, 3, N) palettes that hold (P, R) shares of (R, 3, N)."""
    size = palettes.shape[-1]
    ends = mix.cumsum(1)
    steps = ((torch.arange(size, device=mix.device) + 0.5) / size).expand(len(mix), -1).contiguous()
    which = torch.searchsorted(ends, steps).clamp_(max=mix.shape[1] - 1)
    within = 1 - (ends.gather(1, which) - steps) / mix.gather(1, which).clamp(min=1e-9)
    place = (within * size).long().clamp_(0, size - 1)
    return palettes.transpose(1, 2)[which, place].transpose(1, 2).contiguous()
