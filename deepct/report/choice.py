"""Which pairs of photos a report shows: embedded ones, or those of a folder that tell most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepct.data.image import list_photos
from deepct.data.masks import check_aspect, find_mask, read_mask, resize_labels
from deepct.data.pairs import AUTO_MASKS
from deepct.data.regions import segment
from deepct.data.retouch import EXPERTS
from deepct.data.samples import demo_pairs, load_sample
from deepct.errors import DataError, DeepctError
from deepct.evaluation.folders import wild_cases
from deepct.evaluation.lab import Photo
from deepct.evaluation.regions import read_regions
from deepct.evaluation.tracks import Photos, read_small
from deepct.histogram import UNLABELLED
from deepct.report.likeness import choose_pairs, find_likeness, see_shape

PHOTO_SIZE = 512
"""The longest side, px, of the photos that are shown."""

MOST = 60
"""So many photos of a folder are compared, or given pairs; others are passed over at even distances."""

_MASKED = 3  # pairs with label maps
_LEAST_SHARE = 0.05  # of both photos: two labels must have it, or label maps can tell nothing
_LOOKS = ("b", "e")  # of two experts, for regions in turn: warm, and split into teal and amber
_KINDS = {"none": "irrelevant", "hue shift": "one photo, its hues shifted"}  # of demo pairs that go by other names

_Read = TypeVar("_Read")


class Pair(NamedTuple):
    """A pair that is shown.

    Attributes:
        name: what stands above it.
        photos: it, at most 512 px on the long side.
    """

    name: str
    photos: Photos


def embedded_pairs() -> list[Pair]:
    """The pairs by which trainings are watched."""
    return [
        Pair(_name(_KINDS.get(name, name), _compare(source, reference)), Photos(source, reference))
        for name, source, reference in demo_pairs()
    ]


def folder_pairs(folder: Path) -> tuple[list[Pair], list[str]]:
    """The most alike, middling and least alike pairs of a folder, by their contents alone.

    Args:
        folder: photos, any two of which may make a pair; or folders ``in`` and ``ref``, whose photos of equal stem do.

    Returns:
        The pairs, and sentences on what was left out.

    Raises:
        DataError: there is no such folder, or no pair in it.
    """
    paths, said = _list_pairs(folder)
    read, problems = _read_all(dict.fromkeys(path for pair in paths for path in pair), _read)
    paths = [pair for pair in paths if read.keys() >= {*pair}]
    if not paths:
        raise DataError(
            f"{folder}: no pair of photos; give a folder of two photos or more, or one with folders in and ref of "
            "equal stems. " + " ".join(said + problems)
        )
    shapes = {path: see_shape(photo) for path, photo in read.items()}
    numbers = {path: number for number, path in enumerate(read)}
    likenesses = [find_likeness(shapes[a], shapes[b]) for a, b in paths]
    chosen = choose_pairs([(numbers[a], numbers[b]) for a, b in paths], likenesses)
    photos = list(read.items())
    pairs = []
    for kind, a, b, likeness in chosen:
        (source, source_photo), (reference, reference_photo) = photos[a], photos[b]
        name = f"{_name(kind, likeness)}: {_name_files(source, reference)}"
        pairs.append(Pair(name, Photos(source_photo, reference_photo)))
    return pairs, said + problems


def embedded_masked() -> list[Pair]:
    """Photos as their own references, mirrored and graded: regions in turn by two experts, so that label maps tell.

    The truth is the graded photo before it was mirrored.
    """
    return [_grade(name) for name in ("coffee", "chelsea")]


def folder_masked(folder: Path) -> tuple[list[Pair], list[str]]:
    """The pairs of a folder whose label maps share most.

    Args:
        folder: photos, and label maps of equal stem in ``masks``; or folders ``in`` and ``ref`` with ``in_seg`` and
            ``ref_seg``, as the wild track has them.

    Returns:
        Three pairs at most, which share two labels or more; and sentences on what was left out.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    if (folder / "in").is_dir():
        cases, said = _spread([case for case in wild_cases(folder)[0] if case.maps], folder, "pairs with label maps")
        maps: dict[Path, Path] = {}
        for case in cases:
            assert case.maps is not None
            maps |= {case.source: case.maps[0], case.reference: case.maps[1]}
        paths, read_map = [(case.source, case.reference) for case in cases], read_regions
    else:
        found = {path: find_mask(folder / AUTO_MASKS, path.stem) for path in list_photos(folder)}
        masked, said = _spread([path for path, mask in found.items() if mask], folder, "photos with label maps")
        maps = {path: mask for path in masked if (mask := found[path])}
        paths, read_map = list(combinations(masked, 2)), read_mask

    def read(path: Path) -> tuple[Photo, NDArray[np.uint8], NDArray[np.float64]]:
        photo, labels = _read(path), read_map(maps[path])
        check_aspect(maps[path], labels.shape, path, photo.shape[:2])
        shares = np.bincount(labels.ravel(), minlength=256) / labels.size
        shares[UNLABELLED] = 0.0
        return photo, resize_labels(labels, photo.shape[:2]), shares

    known, problems = _read_all(maps, read)
    shared = {(a, b): np.minimum(known[a][2], known[b][2]) for a, b in paths if known.keys() >= {a, b}}
    telling = {pair: shares.sum() for pair, shares in shared.items() if (shares >= _LEAST_SHARE).sum() > 1}
    pairs: list[Pair] = []
    shown: set[Path] = set()
    for (a, b), share in sorted(telling.items(), key=lambda item: -item[1]):
        if not shown & {a, b} and len(pairs) < _MASKED:
            (source, source_labels, _), (reference, reference_labels, _) = known[a], known[b]
            photos = Photos(source, reference, labels=(source_labels, reference_labels))
            pairs.append(Pair(f"{_name_files(a, b)}: {share:.0%} of the area in shared labels", photos))
            shown |= {a, b}
    return pairs, said + problems


def _list_pairs(folder: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    if (folder / "in").is_dir():
        cases, problems = wild_cases(folder)
        given, said = _spread(cases, folder, "pairs")
        return [(case.source, case.reference) for case in given], [*said, *(f"{problem}." for problem in problems)]
    photos, said = _spread(list_photos(folder), folder, "photos")
    return list(combinations(photos, 2)), said


def _spread(items: Sequence[_Read], folder: Path, what: str) -> tuple[list[_Read], list[str]]:
    """Some of many at even distances, and a sentence that says so."""
    if len(items) <= MOST:
        return list(items), []
    places = np.linspace(0, len(items) - 1, MOST).round().astype(int)
    return [items[place] for place in places], [f"Of {len(items)} {what} in {folder}, {MOST} were compared."]


def _read(path: Path) -> Photo:
    return read_small(path, PHOTO_SIZE)


def _read_all(paths: Iterable[Path], read: Callable[[Path], _Read]) -> tuple[dict[Path, _Read], list[str]]:
    """What can be read, and a sentence for each file that cannot."""
    known, problems = {}, []
    for path in paths:
        try:
            known[path] = read(path)
        except (DeepctError, OSError) as error:
            problems.append(f"Left out: {error}.")
    return known, problems


def _compare(source: Photo, reference: Photo) -> float:
    return find_likeness(see_shape(source), see_shape(reference))


def _name(kind: str, likeness: float) -> str:
    return f"{kind}, likeness {likeness:.2f}"


def _name_files(source: Path, reference: Path) -> str:
    return source.name if source.name == reference.name else f"{source.name}, {reference.name}"


def _grade(name: str) -> Pair:
    photo = load_sample(name)
    labels = segment(photo)
    lightness = [photo[labels == label].mean() for label in range(labels.max() + 1)]
    turns = np.argsort(np.argsort(lightness)) % 2  # neighbours in lightness part, so that no one map of colours does it
    looks = [EXPERTS[look].apply(photo) for look in _LOOKS]
    graded = np.where(turns[labels][..., None] == 0, *looks)
    return Pair(name, Photos(photo, graded[:, ::-1].copy(), graded, (labels, labels[:, ::-1].copy())))
