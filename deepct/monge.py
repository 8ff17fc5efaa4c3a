"""A first guess in closed form: the affine colour map that takes one photo's mean and covariance to another's.

It is the linear Monge-Kantorovitch transfer (Pitié and Kokaram, *The linear Monge-Kantorovitch linear colour mapping
for example-based colour transfer*, CVMP 2007): of all such maps, the one that moves colours least. A photo that is its
own reference, mirrored or not, keeps its colours.
"""

import torch
from torch import Tensor

_RIDGE = 1e-4
"""Added to every variance, in normalised Lab: what is nearly of one colour has no spread to be matched."""

_MOST_GAIN = 3.0
"""By how much contrasts may grow or shrink, so that grain and bands stay hidden."""


def count_moments(normalized: Tensor, rows: Tensor | None = None, total: int = 0) -> Tensor:
    """First and second moments of colours.

    Args:
        normalized: (B, 3, H, W) normalised Lab.
        rows: (B, H, W) int64: the row that a pixel counts into, -1 for none; None: each photo is a row.
        total: the number of rows, where they are given.

    Returns:
        (B or total, 3, 4) float32: E[x x^T], then E[x]. Moments of pixels together are the means of their moments,
        weighted by their numbers. No gradient.
    """
    with torch.autocast(normalized.device.type, enabled=False):
        x = normalized.detach().float().flatten(2)
        if rows is None:
            ones = torch.ones_like(x[:, :1])
            return x @ torch.cat((x, ones), dim=1).mT / x.shape[-1]
        colors, flat = x.transpose(1, 2).reshape(-1, 3), rows.reshape(-1)
        colors, flat = colors[flat >= 0], flat[flat >= 0]
        lightness, a, b = colors.unbind(1)
        terms = [lightness * lightness, lightness * a, lightness * b, a * a, a * b, b * b, lightness, a, b]
        # In float64: a row may sum millions of pixels.
        sums = torch.stack([torch.bincount(flat, term, total) for term in terms], dim=1)
        means = (sums / torch.bincount(flat, minlength=total).clamp(min=1).unsqueeze(1)).float()
        return means[:, (0, 1, 2, 6, 1, 3, 4, 7, 2, 4, 5, 8)].view(total, 3, 4)


def monge_maps(source: Tensor, reference: Tensor) -> Tensor:
    """The affine map between colours of given moments.

    Args:
        source: (N, 3, 4), from :func:`count_moments`.
        reference: (N, 3, 4).

    Returns:
        (N, 3, 4) float32: weights of the source's L, a, b, which are symmetric with eigenvalues from 1/3 to 3, then the
        offset. The source's mean goes to the reference's.
    """
    device = source.device
    source, reference = source.cpu().double(), reference.cpu().double()  # few, and eigh is slow on GPUs
    root, inverse = _roots(_covariance(source))
    between, _ = _roots(root @ _covariance(reference) @ root)
    gains, axes = torch.linalg.eigh(inverse @ between @ inverse)
    weights = axes * gains.clamp(1 / _MOST_GAIN, _MOST_GAIN).unsqueeze(-2) @ axes.mT
    return torch.cat((weights, reference[..., 3:] - weights @ source[..., 3:]), dim=-1).float().to(device)


def match_moments(source: Tensor, reference: Tensor) -> Tensor:
    """The same, (R, 3, 4), between palettes of (R, 3, N) colours in normalised Lab."""
    return monge_maps(*(count_moments(palette.unsqueeze(-1)) for palette in (source, reference)))


def _covariance(moments: Tensor) -> Tensor:
    """(N, 3, 3), with the ridge."""
    second, mean = moments.split((3, 1), dim=-1)
    return second - mean @ mean.mT + _RIDGE * torch.eye(3, dtype=moments.dtype)


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The square root of symmetric positive (N, 3, 3), and its inverse."""
    values, axes = torch.linalg.eigh(matrix)
    roots = values.clamp(min=1e-12).sqrt().unsqueeze(-2)
    return axes * roots @ axes.mT, axes / roots @ axes.mT
