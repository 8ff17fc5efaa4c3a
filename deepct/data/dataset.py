"""Training samples: one pair of photos, cropped alike, as bytes."""

import logging
import os
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from deepct.data.files import File
from deepct.data.image import find_reduction, photo_size, read_photo, to_planes
from deepct.data.loader import NO_PAIR, Draw
from deepct.data.masks import read_mask, resize_labels
from deepct.data.pairs import Pair, PairKind
from deepct.data.retouch import faint_retouch, random_capture, random_retouch
from deepct.errors import DataError, ImageError
from deepct.histogram import UNLABELLED

REGIONAL_SHARE = 0.5
"""Share of the training and evaluation samples with labels whose made look differs between labels."""

CAPTURE_SHARE = 0.4
"""Share of the retouch pairs with a made look whose source is as a camera takes it."""

EDITED_SHARE = 0.4
"""Share of them whose source has a look of its own, as one expert's version has beside another's."""

DRIFT_SHARE = 0.25
"""Share of the disjoint pairs with a made look whose photo has a faint one before."""

_APART = 2.0  # stops by which the target of such a source is brighter or darker, and the source the other way
_PLAIN_SHARE = 0.6  # of the captured sources, whose look is the photo as it is
_GAP = 0.02  # of the longer side, that neither part of a disjoint pair shows
_REGION_BLUR = 1.5  # px, standard deviation of the passage between two looks
_log = logging.getLogger(__name__)


class Sample(TypedDict):
    """What leaves the loader: bytes, and the few numbers that the device augments them with.

    source, target: (3, size, size) uint8 sRGB.
    labels: (size, size) uint8 label map of both.
    reference: (3, size, size) uint8 sRGB; where there is none, the reference *is* the target.
    reference_labels: (size, size) uint8.
    shift: (2,) float32, the source's hue shift in turns and its saturation factor.
    identical: the target is the shifted source itself.
    name: the pair's.
    """

    source: Tensor
    target: Tensor
    labels: Tensor
    reference: NotRequired[Tensor]
    reference_labels: NotRequired[Tensor]
    shift: Tensor
    identical: bool
    name: str


class _Views(NamedTuple):
    """What a sample is made of, (size, size, 3) or (size, size) uint8 each."""

    source: NDArray[np.uint8]
    target: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    reference_labels: NDArray[np.uint8]


class PairDataset(Dataset[Sample | None]):
    """Pairs of photos as crops of equal geometry.

    The shorter side is resized to ``resize``, then a ``size`` px crop is taken: at random and possibly mirrored for
    training, from the centre otherwise. With ``zoom``, and of disjoint pairs, parts of any size and shape are taken,
    all of the photo or of its half for evaluation, and brought to ``size`` by picking pixels, so that colours keep the
    spread that they have in the photo; these are not mirrored. Evaluation samples depend on the pair's name alone, and
    training samples on the name and the seed that they are asked for with, never on order or process.

    Args:
        pairs: what to read.
        size: side of the crop, px.
        resize: length of the shorter side before cropping, px.
        augment: random crops, flips, shifts and looks for training.
        label_share: share of the training samples that keep their label map, so that one network learns the transfer
            with and without; evaluation always keeps it.
        zoom: the least share of a photo's sides that a training sample shows; None: crops of one scale.
        shift_share: share of the pairs whose hue and saturation are shifted. Disjoint pairs never are: what a source
            was before, a reference of other content cannot tell.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        size: int = 256,
        resize: int = 286,
        augment: bool = False,
        label_share: float = 0.5,
        zoom: float | None = None,
        shift_share: float = 1.0,
    ) -> None:
        if size > resize:
            raise DataError(f"a crop of {size} px does not fit photos resized to {resize} px; lower data.size")
        if zoom is not None and not 0 < zoom <= 1:
            raise DataError(f"data.zoom is a share of a photo's sides, above 0 and at most 1, got {zoom}")
        if not 0 <= shift_share <= 1:
            raise DataError(f"data.shift_share is a share of the pairs, from 0 to 1, got {shift_share}")
        self.pairs = pairs
        self.size = size
        self.resize = resize
        self.augment = augment
        self.label_share = label_share
        self.zoom = zoom
        self.shift_share = shift_share
        self._own_references = any(pair.kind == "disjoint" for pair in pairs)
        # Made here and not by the loader's processes: forked ones may not import what W&B watches for.
        self._geometry: Any = self._build_geometry() if zoom is None else None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int | Draw) -> Sample | None:
        """Read one pair; :data:`deepct.data.loader.NO_PAIR` is None.

        A training sample that is asked for by its index alone draws its seed from torch's generator.

        A photo that turns out to be unreadable costs itself alone: in training the next pair takes its place, in
        evaluation its pair is None, and :func:`collate` leaves it out.
        """
        if index == NO_PAIR:
            return None
        first, seed = index if isinstance(index, Draw) else (index, self._draw_seed())
        for offset in range(len(self.pairs)):
            pair = self.pairs[(first + offset) % len(self.pairs)]
            try:
                return self._read(pair, seed)
            except ImageError as error:
                _log.warning("left out: %s", error)
                if not self.augment:
                    return None
        raise DataError("not one photo of the training set can be read; see the warnings above")

    def _draw_seed(self) -> int:
        return int(torch.randint(2**31, ())) if self.augment else 0

    def _read(self, pair: Pair, seed: int) -> Sample:
        seed ^= zlib.crc32(pair.name.encode(errors="surrogateescape"))
        rng = np.random.default_rng(seed)
        source, target = self._photos(pair)
        labels = np.full(source.shape[:2], UNLABELLED, dtype=np.uint8)
        if pair.scene.mask is not None and (not self.augment or rng.random() < self.label_share):
            labels = resize_labels(read_mask(pair.scene.mask), source.shape[:2])
        made = pair.scene.looks[pair.look] is None
        if pair.kind == "disjoint":
            views = self._cut_apart(source, target, labels, rng)
            views = _grade(views, rng) if made else views
        else:
            views = self._cut(source, target, labels, seed, rng)
            views = _develop(views, pair.kind, rng) if made else views
        # Lee et al. 2020: H + U(0, 1), S * U(0, 1.2) but at least 0.3.
        shift = (rng.uniform(0.0, 1.0), max(0.3, rng.uniform(0.0, 1.2)))
        if pair.kind == "disjoint" or rng.random() >= self.shift_share:
            shift = (0.0, 1.0)
        sample = Sample(
            source=to_planes(views.source),
            target=to_planes(views.target),
            labels=torch.from_numpy(np.ascontiguousarray(views.labels)),
            shift=torch.tensor(shift),
            identical=pair.kind == "identical",
            name=pair.name,
        )
        if self._own_references:
            sample["reference"] = to_planes(views.reference)
            sample["reference_labels"] = torch.from_numpy(np.ascontiguousarray(views.reference_labels))
        return sample

    def _cut(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        seed: int,
        rng: np.random.Generator,
    ) -> _Views:
        """The same part of both photos."""
        if self.zoom is not None:
            least = self.zoom if self.augment else 1.0
            part = _part((0, source.shape[0]), (0, source.shape[1]), least, self.size, rng)
            source, target, labels = source[part], target[part], labels[part]
        else:
            self._geometry.set_random_seed(seed)
            cropped = self._geometry(image=source, target=target, mask=labels)
            source, target, labels = cropped["image"], cropped["target"], cropped["mask"]
        return _Views(source, target, labels, target, labels)

    def _cut_apart(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> _Views:
        """Two parts of the scene without a pixel in common, on either side of a cut through its longer side."""
        height, width = source.shape[:2]
        upright = height > width
        longest = max(height, width)
        middle = (rng.uniform(0.35, 0.65) if self.augment else 0.5) * longest
        sides = [(0, round(middle - _GAP / 2 * longest)), (round(middle + _GAP / 2 * longest), longest)]
        if rng.random() < 0.5:
            sides.reverse()
        least = (self.zoom or 1.0) if self.augment else 1.0
        own, theirs = (
            _part(side if upright else (0, height), (0, width) if upright else side, least, self.size, rng)
            for side in sides
        )
        return _Views(source[own], target[own], labels[own], target[theirs], labels[theirs])

    def _photos(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Source and target at equal sizes, JPEGs decoded no larger than needed."""
        look = pair.scene.looks[pair.look] or pair.scene.source
        first = look if pair.kind == "identical" else pair.scene.source
        reduce = _reduction({first, look}, self.resize)
        source = read_photo(first, reduce)
        target = source if look == first else read_photo(look, reduce)
        return crop_to_common(source, target)

    def _build_geometry(self) -> Any:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network for news
        import albumentations

        crop = (
            [albumentations.RandomCrop(self.size, self.size), albumentations.HorizontalFlip(p=0.5)]
            if self.augment
            else [albumentations.CenterCrop(self.size, self.size)]
        )
        return albumentations.Compose(
            [albumentations.SmallestMaxSize(self.resize, area_for_downscale="image"), *crop],
            additional_targets={"target": "image"},
        )


def _part(
    rows: tuple[int, int], columns: tuple[int, int], least: float, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pixels of a part of these rows and columns, ``least`` or more of each, that bring it to size x size."""

    def pick(start: int, stop: int) -> NDArray[np.intp]:
        length = max(1.0, (stop - start) * rng.uniform(least, 1.0))
        first = rng.uniform(start, stop - length)
        return (first + (np.arange(size) + 0.5) / size * length).astype(np.intp)

    return pick(*rows)[:, None], pick(*columns)[None, :]


def _grade(views: _Views, rng: np.random.Generator) -> _Views:
    """One random look on both parts of a disjoint pair."""
    if rng.random() < DRIFT_SHARE:
        before = faint_retouch(rng)
        views = views._replace(source=before.apply(views.source), reference=before.apply(views.reference))
    look = random_retouch(rng)
    return views._replace(target=look.apply(views.source), reference=look.apply(views.reference))


def _develop(views: _Views, kind: PairKind, rng: np.random.Generator) -> _Views:
    """A random look for a retouch or identical pair."""
    drawn = 1.0 if kind == "identical" else rng.random()
    edited = CAPTURE_SHARE <= drawn < CAPTURE_SHARE + EDITED_SHARE
    apart = rng.uniform(-_APART, _APART) if edited else 0.0
    target = _retouch(views.target, views.labels, rng, apart)
    source = target if kind == "identical" else views.source
    if drawn < CAPTURE_SHARE:
        source = random_capture(rng).apply(source)
        target = views.target if rng.random() < _PLAIN_SHARE else target
    elif edited:
        source = random_retouch(rng, -apart).apply(source)
    return views._replace(source=source, target=target, reference=target)


def _retouch(
    photo: NDArray[np.uint8], labels: NDArray[np.uint8], rng: np.random.Generator, brighter: float
) -> NDArray[np.uint8]:
    """A random look; where there are labels, at times two, each on some of the labels.

    One look on the whole photo would never show the network why labels matter.
    """
    look = random_retouch(rng, brighter).apply(photo)
    shown = np.unique(labels[labels != UNLABELLED])
    if len(shown) < 2 or rng.random() >= REGIONAL_SHARE:
        return look
    import cv2

    chosen = np.isin(labels, rng.permutation(shown)[: rng.integers(1, len(shown))]).astype(np.float32)
    share = cv2.GaussianBlur(chosen, (0, 0), _REGION_BLUR)[..., None]
    return np.rint(look + share * (random_retouch(rng, brighter).apply(photo).astype(np.float32) - look)).astype(
        np.uint8
    )


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


def _reduction(paths: set[File], side: int) -> int:
    """The reduction that keeps the shorter side of every one of these photos at least ``side`` px."""
    shortest = min(min(photo_size(path)) for path in paths)
    return find_reduction((shortest,), (side,))
