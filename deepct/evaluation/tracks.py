"""What is judged: pairs of photos in tracks that are never mixed, each pair known by its name alone."""

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deepct.color import lab_to_rgb, rgb_to_uint8, shift_hue_saturation, uint8_to_rgb
from deepct.data.dataset import crop_to_common
from deepct.data.image import read_photo, to_pixels, to_planes
from deepct.data.masks import check_aspect, resize_labels
from deepct.data.pairs import SIZE_TOLERANCE, check_sizes
from deepct.errors import ImageError
from deepct.evaluation.gradings import draw_grading
from deepct.evaluation.lab import Photo
from deepct.evaluation.regions import read_regions

LEAST_SIDE = 24
"""The shortest side, px, that a picture may have: SSIM's window needs 11, and statistics more."""

_GAP = 0.02
"""What lies between the two halves of a photo, as a share of its longer side."""

_RATIO_TOLERANCE = 0.01
"""By how much the aspect ratios of a photo and its copy at another size may differ."""


class Photos(NamedTuple):
    """A pair, read: (H, W, 3) uint8 sRGB.

    Attributes:
        source: what is to be recoloured.
        reference: whose colours it is to take.
        truth: the right result, of the source's size, where there is one.
        labels: label maps of source and reference, of their sizes, where there are some.
    """

    source: Photo
    reference: Photo
    truth: Photo | None = None
    labels: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class Case(ABC):
    """A pair of one track.

    Attributes:
        name: what the pair is called; everything random about it follows from that.
    """

    track: ClassVar[str]
    name: str

    @abstractmethod
    def read(self, size: int) -> Photos:
        """Read the pair, shrunk to at most ``size`` px on the long side.

        Raises:
            ImageError: a file cannot be used; the message names it.
            DataError: two versions of a photo differ too much in size.
        """


@dataclass(frozen=True)
class AlignedCase(Case):
    """A photo and its retouched version, which is reference and truth."""

    track = "aligned"
    source: Path
    target: Path

    def read(self, size: int) -> Photos:
        """As :meth:`Case.read`."""
        source, target = read_versions(self.source, self.target, size)
        return Photos(source, target, target)


@dataclass(frozen=True)
class ProtocolCase(Case):
    """The report's pair: hue and saturation of the source are shifted at random.

    Attributes:
        source: the photo.
        target: its retouched version.
        identical: the shifted *target* is source, reference and truth in one. Its image loss counts half.
    """

    track = "protocol"
    source: Path
    target: Path
    identical: bool

    def read(self, size: int) -> Photos:
        """As :meth:`Case.read`."""
        source, target = read_versions(self.source, self.target, size)
        if self.identical:
            source = target = shift(target, self.name)
        else:
            source = shift(source, self.name)
        return Photos(source, target, target)


@dataclass(frozen=True)
class DisjointCase(Case):
    """Two halves A, B of a photo and a grading t: A in the colours of t(B) must give t(A)."""

    track = "disjoint"
    photo: Path

    def read(self, size: int) -> Photos:
        """As :meth:`Case.read`."""
        source, other = halve(read_small(self.photo, size))
        _check_side(self.photo, source)
        grading = draw_grading(self.name)
        return Photos(source, grading.apply(other), grading.apply(source))


@dataclass(frozen=True)
class WildCase(Case):
    """Unrelated photos, with region maps of both or without."""

    track = "wild"
    source: Path
    reference: Path
    maps: tuple[Path, Path] | None = None

    def read(self, size: int) -> Photos:
        """As :meth:`Case.read`."""
        source, reference = read_small(self.source, size), read_small(self.reference, size)
        if self.maps is None:
            return Photos(source, reference)
        labels = (
            _read_labels(self.maps[0], self.source, source),
            _read_labels(self.maps[1], self.reference, reference),
        )
        return Photos(source, reference, labels=labels)


@dataclass(frozen=True)
class TrustCase(Case):
    """A photo that is its own reference, as it is and mirrored: neither may change it."""

    track = "trust"
    photo: Path

    def read(self, size: int) -> Photos:
        """As :meth:`Case.read`."""
        photo = read_small(self.photo, size)
        return Photos(photo, photo, photo)


def read_small(path: Path, size: int) -> Photo:
    """Read a photo and shrink it to at most ``size`` px on the long side.

    Raises:
        ImageError: it cannot be read, or is too small to be judged.
    """
    photo = _shrink(read_photo(path), size)
    _check_side(path, photo)
    return photo


def read_versions(a: Path, b: Path, size: int) -> tuple[Photo, Photo]:
    """Read two versions of a photo, at most ``size`` px on the long side and of one size.

    Sizes that differ by a few pixels are those of FiveK and are cropped about the centre; otherwise one is a copy at
    another size, and both are shrunk alike.

    Raises:
        ImageError: one cannot be read, or is too small.
        DataError: they are no versions of one photo.
    """
    first, second = read_photo(a), read_photo(b)
    high, wide = (ours / theirs for ours, theirs in zip(first.shape[:2], second.shape[:2], strict=True))
    resized = abs(high / wide - 1) <= _RATIO_TOLERANCE and max(abs(high - 1), abs(wide - 1)) > SIZE_TOLERANCE
    if not resized:
        check_sizes({a: first.shape[:2], b: second.shape[:2]})
        first, second = crop_to_common(first, second)
    smaller = min(first, second, key=lambda photo: photo.shape[0])
    height, width = _shrunk(smaller, size)
    pair = _resize(first, (height, width)), _resize(second, (height, width))
    _check_side(a, pair[0])
    return pair


def shift(photo: Photo, name: str) -> Photo:
    """The protocol's shift (Lee et al. 2020): H + U(0, 1), S * max(0.3, U(0, 1.2)), L kept, clipped to 8 bits of sRGB.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        name: the pair's; the shift follows from it.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    hue, saturation = torch.tensor((rng.uniform(0.0, 1.0), max(0.3, rng.uniform(0.0, 1.2)))).float()
    shifted = shift_hue_saturation(uint8_to_rgb(to_planes(photo))[None], hue[None], saturation[None])
    return to_pixels(rgb_to_uint8(lab_to_rgb(shifted))[0])


def halve(photo: Photo) -> tuple[Photo, Photo]:
    """Cut (H, W, 3) across its longer side into two halves, with a small gap between them."""
    axis = 0 if photo.shape[0] > photo.shape[1] else 1
    side = photo.shape[axis]
    half = (side - max(2, round(_GAP * side))) // 2
    return np.take(photo, range(half), axis), np.take(photo, range(side - half, side), axis)


def _read_labels(regions: Path, path: Path, photo: Photo) -> NDArray[np.uint8]:
    labels = read_regions(regions)
    check_aspect(regions, labels.shape, path, photo.shape[:2])
    return resize_labels(labels, photo.shape[:2])


def _check_side(path: Path, photo: Photo) -> None:
    if min(photo.shape[:2]) < LEAST_SIDE:
        height, width = photo.shape[:2]
        raise ImageError(
            f"{path}: {width} x {height} px are left of it, too little to judge; give photos whose parts have "
            f"{LEAST_SIDE} px on each side, or a larger --size"
        )


def _shrunk(photo: Photo, size: int) -> tuple[int, int]:
    height, width = photo.shape[:2]
    scale = min(1.0, size / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shrink(photo: Photo, size: int) -> Photo:
    return _resize(photo, _shrunk(photo, size))


def _resize(photo: Photo, size: tuple[int, int]) -> Photo:
    if photo.shape[:2] == size:
        return photo
    return np.asarray(Image.fromarray(photo).resize(size[::-1], Image.Resampling.LANCZOS))
