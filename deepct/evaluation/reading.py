"""What makes a pair hard or easy, as far as it can be counted."""

import torch
from torch import Tensor
from torch.nn import functional as F

from deepct.color import denormalize_lab
from deepct.histogram import UNLABELLED
from deepct.semantics import DEFAULT

_CELL = 10.0  # delta E, the side of the cells of Lab in which colours count as one
_LEAST = 0.005  # share of the pixels that makes a cell a colour of the photo
_EDGE = 5.0  # step of L from a pixel to the next that makes an edge


def read_pair(source: Tensor, reference: Tensor, labels: Tensor) -> dict[str, float]:
    """Count what the report holds against complex pairs (section 5.2).

    Args:
        source: (3, H, W) normalised Lab.
        reference: (3, H', W') normalised Lab.
        labels: (H, W) uint8 label map of the source, 255 for none.

    Returns:
        ``colors``, cells of Lab of side 10 that hold at least 0.5 % of the pixels of either photo; ``labels``, how many
        are large enough to steer a transfer (:class:`deepct.semantics.Semantics`); ``edges``, the share of the source's
        pixels whose lightness differs from the next one's by 5 or more.
    """
    colors = torch.unique(torch.cat([_colors(photo) for photo in (source, reference)]), dim=0)
    counts = torch.bincount(labels.flatten().long(), minlength=UNLABELLED + 1)[:UNLABELLED]
    enough = (counts >= DEFAULT.min_pixels) & (counts >= DEFAULT.min_share * labels.numel())
    lightness = denormalize_lab(source.float())[0]
    down, right = (F.pad(lightness.diff(dim=axis), pad) for axis, pad in ((0, (0, 0, 0, 1)), (1, (0, 1))))
    edges = torch.hypot(down, right) >= _EDGE
    return {"colors": float(len(colors)), "labels": float(enough.sum()), "edges": float(edges.float().mean())}


def _colors(photo: Tensor) -> Tensor:
    """(N, 3) the cells of Lab that a photo's colours lie in, but for rare ones."""
    lab = denormalize_lab(photo.float()).flatten(1).T
    cells, counts = torch.unique(torch.floor(lab / _CELL), dim=0, return_counts=True)
    return cells[counts >= _LEAST * len(lab)]
