"""Training samples: one pair of photos, cropped alike, as bytes."""

import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from deepct.data.image import find_reduction, photo_size, read_photo, to_planes
from deepct.data.masks import read_mask, resize_labels
from deepct.data.pairs import Pair
from deepct.data.retouch import random_retouch
from deepct.errors import DataError, ImageError
from deepct.histogram import UNLABELLED

REGIONAL_SHARE = 0.5
"""Share of the training and evaluation samples with labels whose made look differs between labels."""

_REGION_BLUR = 1.5  # px, standard deviation of the passage between two looks
_log = logging.getLogger(__name__)


class Sample(TypedDict):
    """What leaves the loader: bytes, and the few numbers that the device augments them with.

    source, target: (3, size, size) uint8 sRGB; the reference *is* the target.
    labels: (size, size) uint8 label map of both.
    shift: (2,) float32, the source's hue shift in turns and its saturation factor.
    identical: the target is the shifted source itself.
    name: the pair's.
    """

    source: Tensor
    target: Tensor
    labels: Tensor
    shift: Tensor
    identical: bool
    name: str


class PairDataset(Dataset[Sample | None]):
    """Pairs of photos as crops of equal geometry.

    The shorter side is resized to ``resize``, then a ``size`` px crop is taken: at random and possibly mirrored for
    training, from the centre otherwise. Evaluation samples depend on the pair's name alone, never on order or process.

    Args:
        pairs: what to read.
        size: side of the crop, px.
        resize: length of the shorter side before cropping, px.
        augment: random crops, flips, shifts and looks for training.
        label_share: share of the training samples that keep their label map, so that one network learns the transfer
            with and without; evaluation always keeps it.
    """

    def __init__(
        self, pairs: Sequence[Pair], size: int = 256, resize: int = 286, augment: bool = False, label_share: float = 0.5
    ) -> None:
        if size > resize:
            raise DataError(f"a crop of {size} px does not fit photos resized to {resize} px; lower data.size")
        self.pairs = pairs
        self.size = size
        self.resize = resize
        self.augment = augment
        self.label_share = label_share
        self._geometry: Any = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample | None:
        """Read one pair.

        A photo that turns out to be unreadable costs itself alone: in training the next pair takes its place, in
        evaluation its pair is None, and :func:`collate` leaves it out.
        """
        for offset in range(len(self.pairs)):
            pair = self.pairs[(index + offset) % len(self.pairs)]
            try:
                return self._read(pair)
            except ImageError as error:
                _log.warning("left out: %s", error)
                if not self.augment:
                    return None
        raise DataError("not one photo of the training set can be read; see the warnings above")

    def _read(self, pair: Pair) -> Sample:
        # All randomness of a sample follows from its name and, in training, from torch's generator.
        seed = zlib.crc32(pair.name.encode())
        if self.augment:
            seed ^= int(torch.randint(2**31, ()))
        rng = np.random.default_rng(seed)
        source, target = self._photos(pair)
        labels = np.full(source.shape[:2], UNLABELLED, dtype=np.uint8)
        if pair.scene.mask is not None and (not self.augment or rng.random() < self.label_share):
            labels = resize_labels(read_mask(pair.scene.mask), source.shape[:2])
        geometry = self._build_geometry()
        geometry.set_random_seed(seed)
        cropped = geometry(image=source, target=target, mask=labels)
        source, target = cropped["image"], cropped["target"]
        if pair.scene.looks[pair.look] is None:
            target = _retouch(target, cropped["mask"], rng)
            source = target if pair.kind == "identical" else source
        # Lee et al. 2020: H + U(0, 1), S * U(0, 1.2) but at least 0.3.
        shift = np.array((rng.uniform(0.0, 1.0), max(0.3, rng.uniform(0.0, 1.2))), dtype=np.float32)
        return Sample(
            source=to_planes(source),
            target=to_planes(target),
            labels=torch.from_numpy(np.ascontiguousarray(cropped["mask"])),
            shift=torch.from_numpy(shift),
            identical=pair.kind == "identical",
            name=pair.name,
        )

    def _photos(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Source and target at equal sizes, JPEGs decoded no larger than needed."""
        look = pair.scene.looks[pair.look] or pair.scene.source
        first = look if pair.kind == "identical" else pair.scene.source
        reduce = _reduction({first, look}, self.resize)
        source = read_photo(first, reduce)
        target = source if look == first else read_photo(look, reduce)
        return crop_to_common(source, target)

    def _build_geometry(self) -> Any:
        if self._geometry is None:
            os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network for news
            import albumentations

            crop = (
                [albumentations.RandomCrop(self.size, self.size), albumentations.HorizontalFlip(p=0.5)]
                if self.augment
                else [albumentations.CenterCrop(self.size, self.size)]
            )
            self._geometry = albumentations.Compose(
                [albumentations.SmallestMaxSize(self.resize, area_for_downscale="image"), *crop],
                additional_targets={"target": "image"},
            )
        return self._geometry


def _retouch(photo: NDArray[np.uint8], labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random look; where there are labels, at times two, each on some of the labels.

    One look on the whole photo would never show the network why labels matter.
    """
    look = random_retouch(rng).apply(photo)
    shown = np.unique(labels[labels != UNLABELLED])
    if len(shown) < 2 or rng.random() >= REGIONAL_SHARE:
        return look
    import cv2

    chosen = np.isin(labels, rng.permutation(shown)[: rng.integers(1, len(shown))]).astype(np.float32)
    share = cv2.GaussianBlur(chosen, (0, 0), _REGION_BLUR)[..., None]
    return np.rint(look + share * (random_retouch(rng).apply(photo).astype(np.float32) - look)).astype(np.uint8)


def collate(samples: Sequence[Sample | None]) -> dict[str, Any] | None:
    """Batch the samples that could be read; None where not one could."""
    good = [sample for sample in samples if sample is not None]
    return default_collate(good) if good else None


def crop_to_common(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut two versions of a scene to their common size, about the centre.

    FiveK's raw photos keep a few border pixels that the experts' lack, on all sides alike: cropped about the centre the
    two coincide, resized they do not.
    """
    height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])

    def cut(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
        return photo[top : top + height, left : left + width]

    return cut(a), cut(b)


def _reduction(paths: set[Path], side: int) -> int:
    """The reduction that keeps the shorter side of every one of these photos at least ``side`` px."""
    shortest = min(min(photo_size(path)) for path in paths)
    return find_reduction((shortest,), (side,))
