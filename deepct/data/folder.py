"""The LightningDataModule of prediction: every photo of a folder with its reference."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import lightning as L
import torch
from torch import Tensor

from deepct.color import codes_to_rgb, rgb_to_uint8
from deepct.data.image import MAX_PIXELS, list_photos, read_picture, show_visible, to_planes
from deepct.data.masks import check_aspect, find_mask, read_mask
from deepct.data.metadata import Metadata
from deepct.data.pool import KILLS, ReadAhead
from deepct.data.profiles import Depth
from deepct.errors import DataError, ImageError

_LABELLED = 8  # photos whose label maps are remembered: one reference commonly serves a whole folder

Pairing = Literal["auto", "stem", "all"]


class Job(NamedTuple):
    """One picture to make: a source and its reference."""

    source: Path
    reference: Path


class PhotoPair(NamedTuple):
    """One job, read.

    Attributes:
        job: the files.
        source: (1, 3, H, W) uint8 or uint16 sRGB, upright, full size; empty where the job failed.
        reference: (1, 3, H', W') uint8 sRGB, as the network is shown it.
        source_labels: (1, h, w) uint8 label map of the source in a size of its own, or None for a global transfer.
        reference_labels: (1, h', w') uint8, or None.
        error: why the job cannot be done; empty where it can.
        note: what is to be said of it; commonly empty.
        alpha: (1, 1, H, W) of the source's type, or None where the source has no transparency.
        shown: (1, 3, H, W) what the network is shown of a source with transparency, or None.
        metadata: what else the source's file says.
    """

    job: Job
    source: Tensor
    reference: Tensor
    source_labels: Tensor | None = None
    reference_labels: Tensor | None = None
    error: str = ""
    note: str = ""
    alpha: Tensor | None = None
    shown: Tensor | None = None
    metadata: Metadata = Metadata()


class Prediction(NamedTuple):
    """What became of a job.

    Attributes:
        job: the files.
        image: (3, H, W) sRGB of the source's size and type, or None.
        error: why there is no image.
        note: what is to be said of it; commonly empty.
    """

    job: Job
    image: Tensor | None
    error: str
    note: str = ""


def pair_photos(sources: Sequence[Path], references: Sequence[Path], pairing: Pairing) -> list[Job]:
    """Decide which reference each source takes.

    Args:
        sources: photos to recolour.
        references: photos to take colours from.
        pairing: ``stem``: the reference of equal stem; ``all``: every combination; ``auto``: by stem where each source
            has its one reference, else every combination.

    Raises:
        DataError: ``stem`` was asked for and a source has no reference of its stem, or more than one.
    """
    by_stem = {path.stem: path for path in references}
    ambiguous = len(by_stem) < len(references)
    lonely = [path for path in sources if path.stem not in by_stem]
    if pairing == "stem" and lonely:
        raise DataError(
            f"{len(lonely)} of {len(sources)} sources have no reference of equal stem, {lonely[0].name} for one; "
            "rename them, or use --data.pairing all"
        )
    if pairing == "stem" and ambiguous:
        raise DataError("two references share one stem; rename one of them, or use --data.pairing all")
    if pairing == "all" or lonely or ambiguous:
        return [Job(source, reference) for source in sources for reference in references]
    return [Job(source, by_stem[source.stem]) for source in sources]


def read_pair(
    job: Job,
    source_masks: Path | None = None,
    reference_masks: Path | None = None,
    depth: Depth = 8,
    max_pixels: int = MAX_PIXELS,
) -> PhotoPair:
    """Read a job; a file that cannot be read fails it.

    Args:
        job: what to do.
        source_masks: folder of the sources' label maps, by stem.
        reference_masks: folder of the references' label maps, by stem.
        depth: bits a channel of the source.
        max_pixels: the most pixels that a photo may have.
    """
    try:
        reference, reference_labels = _read_reference(job.reference, reference_masks, max_pixels)
        pixels, alpha, metadata = read_picture(job.source, depth, max_pixels)
        source_labels = _read_labels(job.source, source_masks, pixels.shape[:2])
    except ImageError as error:
        return _fail(job, str(error))
    source, veil, shown = to_planes(pixels).unsqueeze(0), None, None
    if alpha is not None:
        veil = to_planes(alpha[..., None]).unsqueeze(0)
        shown = to_planes(show_visible(pixels, alpha)).unsqueeze(0)
    return PhotoPair(
        job, source, reference, source_labels, reference_labels, alpha=veil, shown=shown, metadata=metadata
    )


def _fail(job: Job, error: str) -> PhotoPair:
    nothing = torch.empty(0, dtype=torch.uint8)
    return PhotoPair(job, nothing, nothing, error=error)


def _lose(job: Job) -> PhotoPair:
    return _fail(job, f"{job.source}: it, or {job.reference}, {KILLS}")


def _read_labels(photo: Path, masks: Path | None, size: tuple[int, ...]) -> Tensor | None:
    mask = find_mask(masks, photo.stem) if masks is not None else None
    if mask is None:
        return None
    labels = read_mask(mask)
    check_aspect(mask, labels.shape, photo, size)
    return torch.from_numpy(labels).unsqueeze(0)


@lru_cache(maxsize=2)  # one reference commonly serves a whole folder
def _read_reference(photo: Path, masks: Path | None, max_pixels: int) -> tuple[Tensor, Tensor | None]:
    pixels, alpha, _ = read_picture(photo, max_pixels=max_pixels)
    shown = pixels if alpha is None else show_visible(pixels, alpha)
    return to_planes(shown).unsqueeze(0), _read_labels(photo, masks, pixels.shape[:2])


class FolderDataModule(L.LightningDataModule):
    """Photos to recolour, and the photos whose colours they take.

    Args:
        source: a photo, or a folder of photos.
        reference: a photo, or a folder of photos.
        source_masks: folder of label maps of the sources, by stem; semantic transfer needs both.
        reference_masks: folder of label maps of the references, by stem.
        segment: checkpoint of a segmentation model, see :meth:`deepct.segmentation.Segmenter.load`, that labels the
            photos which have no label map.
        pairing: which references a source takes, see :func:`pair_photos`.
        num_workers: processes that read photos.
        depth: bits a channel of the sources, and so of the results.
        max_pixels: the most pixels that a photo may have; larger ones fail, for a small file may claim any size.
    """

    def __init__(
        self,
        source: str,
        reference: str,
        source_masks: str | None = None,
        reference_masks: str | None = None,
        segment: str | None = None,
        pairing: Pairing = "auto",
        num_workers: int = 1,
        depth: Depth = 8,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__()
        self.source = source
        self.reference = reference
        self.source_masks = source_masks
        self.reference_masks = reference_masks
        self.segment = segment
        self.pairing = pairing
        self.num_workers = num_workers
        self.depth = depth
        self.max_pixels = max_pixels
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer photos than processes
        self.jobs: list[Job] = []
        self._label: Callable[[Path, Tensor], Tensor] | None = None

    def setup(self, stage: str) -> None:
        """List the jobs.

        Raises:
            DataError: a folder is missing or empty, one mask folder came without the other or fits no photo, or the
                pairing fails.
            DeepctError: the segmentation model cannot be loaded.
        """
        if self.segment is None and (self.source_masks is None) != (self.reference_masks is None):
            raise DataError(
                "semantic transfer needs --data.source_masks and --data.reference_masks; give both or none, or a "
                "segmentation model with --segment"
            )
        for folder in (self.source_masks, self.reference_masks):
            if folder is not None and not Path(folder).is_dir():
                raise DataError(f"{folder}: there is no such folder of label maps")
        self.jobs = pair_photos(_photos(self.source), _photos(self.reference), self.pairing)
        for folder, photos in (
            (self.source_masks, {job.source for job in self.jobs}),
            (self.reference_masks, {job.reference for job in self.jobs}),
        ):
            if folder is not None and not any(find_mask(folder, photo.stem) for photo in photos):
                raise DataError(f"{folder}: not one label map has the stem of a photo; name them like the photos")
        if self.segment is not None:
            self._label = _load_segmenter(self.segment)

    def on_after_batch_transfer(self, pair: PhotoPair, dataloader_idx: int) -> PhotoPair:
        """Label what has no label map, where a segmentation model was given, on the device."""
        if pair.error:
            return pair
        labels = [pair.source_labels, pair.reference_labels]
        photos = pair.source if pair.shown is None else pair.shown, pair.reference
        if self._label is not None:
            label = self._label
            labels = [
                label(path, photo) if known is None else known
                for path, photo, known in zip(pair.job, photos, labels, strict=True)
            ]
        lacking = [path for path, known in zip(pair.job, labels, strict=True) if known is None]
        if not lacking:
            return pair._replace(source_labels=labels[0], reference_labels=labels[1])
        note = ""
        if self.source_masks is not None:
            note = f"{' and '.join(map(str, lacking))}: no label map, so the whole photo was matched with the whole one"
        return pair._replace(source_labels=None, reference_labels=None, note=note)

    def predict_dataloader(self) -> ReadAhead[Job, PhotoPair]:
        """This process's jobs, one at a time: photos have sizes of their own."""
        _read_reference.cache_clear()  # of another command, whose files may have changed since
        sources, references = (Path(masks) if masks else None for masks in (self.source_masks, self.reference_masks))
        read = partial(
            read_pair,
            source_masks=sources,
            reference_masks=references,
            depth=self.depth,
            max_pixels=self.max_pixels,
        )
        trainer = self.trainer
        jobs = self.jobs if trainer is None else self.jobs[trainer.global_rank :: trainer.world_size]
        return ReadAhead(jobs, read, self.num_workers, _lose)


def _load_segmenter(checkpoint: str) -> Callable[[Path, Tensor], Tensor]:
    from deepct.segmentation import Segmenter

    segmenter = Segmenter.load(checkpoint)
    seen: dict[Path, Tensor] = {}

    def label(path: Path, photo: Tensor) -> Tensor:
        if path not in seen:
            if len(seen) == _LABELLED:
                del seen[next(iter(seen))]
            seen[path] = segmenter.to(photo.device).segment(rgb_to_uint8(codes_to_rgb(photo)))
        return seen[path]

    return label


def _photos(path: str) -> list[Path]:
    return [Path(path)] if Path(path).is_file() else list_photos(path)
