"""Which photos make a pair: the layouts on disk, their checks, and the split by scene."""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepct.data.files import File
from deepct.data.image import list_photos, photo_size
from deepct.data.masks import check_aspect, find_mask, read_mask
from deepct.errors import DataError, ImageError

SOURCE = "raw"
AUTO_MASKS = "masks"
LOOKS = ("a", "b", "c", "d", "e")
"""FiveK's experts. In a plain folder of photos the looks are retouches made on the fly, equally many."""

PairKind = Literal["retouch", "identical", "disjoint"]

SIZE_TOLERANCE = 0.03
"""By how much the sizes of one scene's versions may differ: FiveK's experts and raw photos do by up to 2 %."""

_MOST_ASPECT = 32
_SHOWN = 5  # problems spelled out in one error
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scene:
    """One photo in all its versions.

    Attributes:
        name: the stem of its files.
        source: the unretouched photo.
        looks: the retouched versions; None for a look to be made on the fly.
        mask: its label map, if there is one.
    """

    name: str
    source: File
    looks: dict[str, File | None]
    mask: File | None

    @property
    def photos(self) -> list[File]:
        """Every photo that there is."""
        return [self.source, *(path for path in self.looks.values() if path is not None)]


@dataclass(frozen=True)
class Pair:
    """One pair to learn from.

    Attributes:
        scene: the photo.
        look: the version that it takes the colours of.
        kind: ``retouch``: source to look; ``identical``: a look, shifted, to itself; ``disjoint``: one part of the
            source to its look, which only another part of the look shows.
    """

    scene: Scene
    look: str
    kind: PairKind

    @property
    def name(self) -> str:
        """Unique within a data set."""
        return f"{self.scene.name}/{self.kind}/{self.look}"


def fivek_scenes(root: str | Path, masks: str | Path | None) -> list[Scene]:
    """Scenes of a folder in FiveK's layout: ``raw``, ``a`` to ``e``, files of equal stem.

    Raises:
        DataError: a folder is missing or empty, or a photo of ``raw`` has no version by some expert.
    """
    root = _existing(root)
    folders = (SOURCE, *LOOKS)
    missing = [name for name in folders if not (root / name).is_dir()]
    if missing:
        found = ", ".join(sorted(p.name for p in root.iterdir())[:12]) or "nothing"
        raise DataError(
            f"{root}: no folder {', '.join(missing)}; found {found}. The layout fivek needs {', '.join(folders)} with "
            "equal file names; for a plain folder of photos use --data.layout photos"
        )
    versions = {name: list_photos(root / name) for name in folders}
    scenes, problems = match_versions(versions, mask_folder(root, masks))
    _raise(problems, "add the missing files, or take the photo out of raw")
    return scenes


def match_versions(versions: Mapping[str, Sequence[Path]], masks: Path | None) -> tuple[list[Scene], list[str]]:
    """Bring together the files of equal stem: scenes, and a sentence for each version that is missing.

    Args:
        versions: the photos of ``raw`` and of each expert.
        masks: folder of label maps.

    Raises:
        DataError: two photos of one version share a stem, or not one label map fits.
    """
    by_stem = {name: _by_stem(photos) for name, photos in versions.items()}
    sources = by_stem.pop(SOURCE)
    problems = [
        f"{versions[look][0].parent}: no version of {path.name}, which {path.parent} holds"
        for stem, path in sources.items()
        for look, found in by_stem.items()
        if stem not in found
    ]
    labels = _find_masks(masks, sources)
    scenes = [
        Scene(stem, path, {look: found[stem] for look, found in by_stem.items()}, labels[stem])
        for stem, path in sources.items()
        if all(stem in found for found in by_stem.values())
    ]
    return scenes, problems


def photo_scenes(root: str | Path, masks: str | Path | None) -> list[Scene]:
    """Scenes of a plain folder of photos, whose looks are made on the fly.

    Raises:
        DataError: the folder is missing or holds no photo.
    """
    root = _existing(root)
    photos = _by_stem(list_photos(root))
    labels = _find_masks(mask_folder(root, masks), photos)
    return [Scene(stem, path, dict.fromkeys(LOOKS), labels[stem]) for stem, path in photos.items()]


def check_scenes(scenes: Sequence[Scene]) -> list[Scene]:
    """Read every photo's header and every label map, before training starts.

    Returns:
        The scenes whose files can all be read; the others are left out with a warning that names the file, and so are
        photos of more than 32 times their width or height.

    Raises:
        DataError: versions of one scene differ too much in size, a label map has another aspect ratio or labels out of
            range, or nothing is left.
    """
    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(_check_scene, scenes))
    good = [scene for scene, problem in zip(scenes, checked, strict=True) if problem is None]
    for problem in checked:
        if isinstance(problem, ImageError):
            _log.warning("left out: %s", problem)
    _raise([str(p) for p in checked if isinstance(p, DataError)], "mend these files, or take the scenes away")
    if not good:
        raise DataError(f"none of the {len(scenes)} scenes can be read, the first because of {checked[0]}")
    unlabelled = sum(scene.mask is None for scene in good)
    if 0 < unlabelled < len(good):
        _log.warning("%d of %d scenes have no label map; they transfer globally", unlabelled, len(good))
    return good


def check_sizes(sizes: Mapping[File, tuple[int, int]]) -> None:
    """Check that the versions of one scene, with their heights and widths, have nearly the first one's size.

    Raises:
        DataError: one differs by more than :data:`SIZE_TOLERANCE`.
    """
    first, *others = sizes
    for path in others:
        if max(abs(a / b - 1) for a, b in zip(sizes[first], sizes[path], strict=True)) > SIZE_TOLERANCE:
            raise DataError(
                f"{first} has {_px(sizes[first])} and {path} has {_px(sizes[path])}; versions of one scene may differ "
                f"by at most {SIZE_TOLERANCE:.0%}"
            )


def split_scenes(
    scenes: Sequence[Scene], val_fraction: float, test_fraction: float, seed: int
) -> tuple[list[Scene], list[Scene], list[Scene]]:
    """Split into training, validation and test scenes: disjoint, and the same for one seed in every process.

    A fraction above 0 gives at least one scene, and so does what is left for training, while there are enough.

    Raises:
        DataError: the fractions are negative or exceed 1 together.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction > 1:
        raise DataError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must not be negative nor exceed 1 together"
        )
    # By hash rather than by a shuffle: a photo more or less then moves hardly any other.
    shuffled = sorted(scenes, key=lambda scene: hashlib.sha256(os.fsencode(f"{seed}/{scene.name}")).digest())
    val, test = (max(1, round(f * len(scenes))) if f > 0 else 0 for f in (val_fraction, test_fraction))
    most = len(scenes) - (val_fraction + test_fraction < 1)
    while val + test > most and max(val, test) > 1:
        val, test = (val - 1, test) if val > test else (val, test - 1)
    return shuffled[val + test :], shuffled[:val], shuffled[val : val + test]


def make_pairs(scenes: Iterable[Scene], kinds: Sequence[PairKind] = ("retouch", "identical")) -> list[Pair]:
    """Every pair of every scene: each look once as a pair of each kind."""
    return [Pair(scene, look, kind) for scene in scenes for look in scene.looks for kind in kinds]


def _existing(root: str | Path) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; --data.root names the data set's folder")
    return root


def mask_folder(root: Path, masks: str | Path | None) -> Path | None:
    """The folder of label maps: none, the named one, or with ``auto`` the folder ``masks`` where there is one."""
    if masks is None:
        return None
    folder = root / (AUTO_MASKS if masks == "auto" else masks)
    if masks != "auto" and not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of label maps; --data.masks names it, null for none")
    return folder if folder.is_dir() else None


def _find_masks(folder: Path | None, stems: Iterable[str]) -> dict[str, Path | None]:
    """The label map of each photo; a folder of which not one fits is a mistake."""
    found = {stem: folder and find_mask(folder, stem) for stem in stems}
    if folder is not None and not any(found.values()):
        raise DataError(
            f"{folder}: not one label map has the stem of a photo, {next(iter(found))} for one; name them like the "
            "photos, or use --data.masks null"
        )
    return found


def _by_stem(photos: Sequence[Path]) -> dict[str, Path]:
    found = {path.stem: path for path in photos}
    if len(found) < len(photos):
        twice = next(path for path in photos if found[path.stem] != path)
        other = found[twice.stem]
        second = other.name if other.parent == twice.parent else other
        raise DataError(f"{twice.parent}: {twice.name} and {second} share one stem; rename one of them")
    return found


def _check_scene(scene: Scene) -> ImageError | DataError | None:
    try:
        sizes = {path: photo_size(path) for path in scene.photos}
    except ImageError as error:
        return error
    for path, size in sizes.items():
        if max(size) > _MOST_ASPECT * min(size):  # brought to the size of the others, it would fill the memory
            return ImageError(f"{path}: {_px(size)} are too narrow to learn from")
    try:
        check_sizes(sizes)
        if scene.mask is not None:
            check_aspect(scene.mask, read_mask(scene.mask).shape, scene.source, sizes[scene.source])
    except (DataError, ImageError) as error:
        return DataError(str(error))
    return None


def _px(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]} px"


def _raise(problems: Sequence[str], advice: str) -> None:
    if problems:
        shown = "\n  ".join(problems[:_SHOWN])
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{len(problems)} problem(s) in the data; {advice}:\n  {shown}{more}")
