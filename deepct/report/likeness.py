"""How alike two photos' contents are, without any network, and pairs of most, middling and least alike photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.evaluation.lab import Photo, photo_to_lab

KINDS = ("strong", "weak", "irrelevant")
"""How pairs are related, from most alike to least."""

_GRID = 64  # px, to which photos are resized
_CELL = 8  # px


@dataclass(frozen=True)
class Shape:
    """What a photo shows, as its edges' directions.

    Attributes:
        plain: the descriptor, of unit length.
        mirrored: that of the mirrored photo.
    """

    plain: NDArray[np.float64]
    mirrored: NDArray[np.float64]


def see_shape(photo: Photo) -> Shape:
    """Describe (H, W, 3) uint8 sRGB by the histograms of oriented gradients (HOG) of its lightness."""
    small = np.asarray(Image.fromarray(photo).resize((_GRID, _GRID), Image.Resampling.BOX))
    lightness = photo_to_lab(small)[..., 0]
    return Shape(_describe(lightness), _describe(lightness[:, ::-1]))


def find_likeness(a: Shape, b: Shape) -> float:
    """How alike two photos' contents are, from -1 to 1; which side is left does not matter."""
    return float(max(a.plain @ b.plain, a.mirrored @ b.plain))


def choose_pairs(
    pairs: Sequence[tuple[int, int]], likenesses: Sequence[float], each: int = 2
) -> list[tuple[str, int, int, float]]:
    """Choose the most alike pairs, those about the median, and the least alike ones.

    Within a kind no photo comes twice, and no pair is chosen for two kinds; so few photos make fewer pairs.

    Args:
        pairs: of photos, by their numbers.
        likenesses: of each pair.
        each: how many of each kind.

    Returns:
        Kind, the pair's two numbers and its likeness, by :data:`KINDS`.
    """
    by_likeness = sorted(range(len(pairs)), key=lambda place: -likenesses[place])
    middle = (len(pairs) - 1) / 2
    from_median = [by_likeness[rank] for rank in sorted(range(len(pairs)), key=lambda rank: abs(rank - middle))]
    orders = {"strong": by_likeness, "irrelevant": by_likeness[::-1], "weak": from_median}
    chosen: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for _ in range(each):  # in turns, so that few pairs are shared out among the kinds
        taken = {place for places in chosen.values() for place in places}
        for kind, order in orders.items():
            shown = {photo for place in chosen[kind] for photo in pairs[place]}
            free = (place for place in order if place not in taken and not shown & {*pairs[place]})
            place = next(free, None)
            if place is not None:
                chosen[kind].append(place)
                taken.add(place)
    return [(kind, *pairs[place], likenesses[place]) for kind in KINDS for place in chosen[kind]]


def _describe(lightness: NDArray[np.float32]) -> NDArray[np.float64]:
    from skimage.feature import hog

    edges = hog(lightness, pixels_per_cell=(_CELL, _CELL), cells_per_block=(2, 2))
    edges = edges - edges.mean()  # without it any two photos seem alike, as no count is negative
    return edges / max(float(np.linalg.norm(edges)), 1e-9)
