"""Which photos to label, in which batches."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from deepct.data.image import MAX_PIXELS, PHOTO_SUFFIXES, find_reduction, photo_size, read_photo, to_planes
from deepct.data.pool import KILLS, work_off_jobs
from deepct.errors import DataError, ImageError
from deepct.segmentation.resize import Size, limit_size, resize_photo
from deepct.segmentation.store import MASKS_FILE, MaskFolder, is_whole

_THREADS = 8


class Job(NamedTuple):
    """One label map to make.

    Attributes:
        photo: its file.
        mask: the file to write.
        network_size: height and width at which the network sees the photo, px.
        mask_size: height and width of the label map.
        is_done: whether the label map is there already.
    """

    photo: Path
    mask: Path
    network_size: Size
    mask_size: Size
    is_done: bool = False


class Batch(NamedTuple):
    """Photos, read.

    Attributes:
        jobs: those that could be read.
        photos: (3, h, w) uint8 sRGB of each, upright, at its network size.
        problems: a sentence for each of the others.
    """

    jobs: list[Job]
    photos: list[Tensor]
    problems: list[str]


class Plan(NamedTuple):
    """The work.

    Attributes:
        batches: those in which label maps are missing.
        waiting: how many are missing.
        done: how many are there.
        problems: a sentence for each photo whose header cannot be read.
    """

    batches: list[list[Job]]
    waiting: int
    done: int
    problems: list[str]


def find_photos(root: Path, output: Path) -> list[Path]:
    """The photos in a folder and all below it, by path; hidden ones, and folders of label maps, are passed over.

    Raises:
        DataError: there is no such folder, no photo in it, or two in one folder share a stem, as label maps go by that.
    """
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; --input names the photos'")
    if root.resolve() == output.resolve():
        raise DataError(f"{output}: holds the photos; give --output another folder")
    photos: list[Path] = []
    for place, folders, files in os.walk(root):
        folder = Path(place)
        if folder.resolve() == output.resolve() or MASKS_FILE in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        stems: dict[str, str] = {}
        for name in sorted(files):
            path = folder / name
            if path.suffix.lower() not in PHOTO_SUFFIXES or name.startswith("."):
                continue
            if path.stem in stems:
                raise DataError(
                    f"{folder}: {stems[path.stem]} and {name} share one stem, and so one label map; rename one of them"
                )
            stems[path.stem] = name
            photos.append(path)
    if not photos:
        kinds = ", ".join(sorted(suffix[1:] for suffix in PHOTO_SUFFIXES))
        raise DataError(f"{root}: no photo found in it and below; expected {kinds}")
    return photos


def make_plan(
    photos: Sequence[Path],
    root: Path,
    masks: MaskFolder,
    network_size: Callable[[Size], Size],
    batch_size: int,
    is_mixed: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Plan:
    """Batch photos, and find out which label maps are missing.

    Batches are the same whatever is there already: rounding can depend on what a photo is computed with, and a run
    that goes on must end with the files of one that was never stopped.

    Args:
        photos: below ``root``.
        root: whose tree the label maps' mirrors.
        masks: their folder.
        network_size: from a photo's height and width to those at which the network sees it.
        batch_size: photos in a batch at most.
        is_mixed: whether those of a batch may have different network sizes.
        max_pixels: the most pixels that a photo may have.
    """

    def make_job(photo: Path) -> Job | str:
        try:
            size = photo_size(photo, max_pixels)
        except ImageError as error:
            return str(error)
        mask = (masks.folder / photo.relative_to(root)).with_suffix(".png")
        mask_size = limit_size(size, masks.max_size)
        return Job(photo, mask, network_size(size), mask_size, is_whole(mask, mask_size))

    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = list(pool.map(make_job, photos))
    groups: defaultdict[Size | None, list[Job]] = defaultdict(list)
    for job in jobs:
        if isinstance(job, Job):
            groups[None if is_mixed else job.network_size].append(job)
    batches = [group[at : at + batch_size] for group in groups.values() for at in range(0, len(group), batch_size)]
    waiting = [batch for batch in batches if not all(job.is_done for job in batch)]
    done = sum(job.is_done for batch in batches for job in batch)
    total = sum(map(len, batches))
    return Plan(waiting, total - done, done, [job for job in jobs if isinstance(job, str)])


def read_batch(batch: Sequence[Job], max_pixels: int = MAX_PIXELS) -> Batch:
    """Read photos; one that cannot be read is left out and named.

    Args:
        batch: one of the plan's.
        max_pixels: the most pixels that a photo may have.
    """
    jobs, photos, problems = [], [], []
    for job in batch:
        try:
            photos.append(_read(job, max_pixels))
            jobs.append(job)
        except ImageError as error:
            problems.append(str(error))
    return Batch(jobs, photos, problems)


def read_singly(read: Callable[[Sequence[Job]], Batch], batch: Sequence[Job]) -> Batch:
    """Read the photos of a batch that ended its process, each in one of its own."""
    if len(batch) == 1:
        return Batch([], [], [f"{batch[0].photo}: {KILLS}"])
    parts = work_off_jobs([[job] for job in batch], read, 1, partial(read_singly, read))
    return Batch(*(list(chain.from_iterable(part)) for part in zip(*parts, strict=True)))


def _read(job: Job, max_pixels: int) -> Tensor:
    """A photo at its network size; decoded at a fraction of its own where that is enough."""
    reduction = find_reduction(photo_size(job.photo, max_pixels), job.network_size)
    pixels = read_photo(job.photo, reduction, max_pixels)
    return to_planes(resize_photo(pixels, job.network_size))
