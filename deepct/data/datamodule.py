"""The LightningDataModule of training, validation and test."""

import hashlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch.utils.data import DataLoader

from deepct.ade20k import CLASSES
from deepct.data.augment import TransferBatch, prepare_batch
from deepct.data.dataset import PairDataset, collate
from deepct.data.files import weigh
from deepct.data.loader import EachOnce, Shuffled, TrainingLoader, WatchedLoader
from deepct.data.pairs import Pair, PairKind, Scene, check_scenes, fivek_scenes, make_pairs, photo_scenes, split_scenes
from deepct.data.prepare import prepared_size
from deepct.data.regions import build_regions, regions_folder
from deepct.data.samples import build_samples
from deepct.data.shards import read_shards
from deepct.errors import DataError

REGIONS = "regions"
_GRACE = 60  # s
_log = logging.getLogger(__name__)


class PairDataModule(L.LightningDataModule):
    """Augmented pairs of photos.

    Args:
        layout: ``fivek`` (folders raw, a to e, and label maps), ``photos`` (any folder of photos; pairs are made by
            retouching), ``shards`` (either of these, many scenes in a file), or ``samples`` (the embedded photos).
        root: the data set's folder, of shards also its address; ``samples`` builds its own where none is given.
        masks: folder of label maps within root, or an absolute path; ``auto``: the folder ``masks`` where there is
            one; ``regions``: no label maps but regions of like colour, found once and kept in the user's cache; null
            for none.
        batch_size: pairs a step, on each device.
        size: side of the crop, px.
        resize: length of the shorter side before cropping, px.
        label_share: share of the training samples that keep their label map.
        kinds: which pairs each look gives: ``retouch`` (the reference is the truth), ``identical`` (so is the source),
            ``disjoint`` (the reference shows another part of the scene in the look).
        zoom: the least share of a photo's sides that a training sample shows, brought to ``size`` by picking pixels;
            null: crops of one scale.
        shift_share: share of the retouch and identical pairs whose hue and saturation are shifted.
        val_fraction: share of the scenes kept for validation.
        test_fraction: share of the scenes kept for the test.
        num_workers: processes that read photos.
        seed: of the split.
        split: which pairs a test is over, without augmentation: ``train`` ranks what was learnt from.
    """

    def __init__(
        self,
        layout: Literal["fivek", "photos", "shards", "samples"] = "fivek",
        root: str | None = None,
        masks: str | None = "auto",
        batch_size: int = 8,
        size: int = 256,
        resize: int = 286,
        label_share: float = 0.5,
        kinds: Sequence[PairKind] = ("retouch", "identical"),
        zoom: float | None = None,
        shift_share: float = 1.0,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        num_workers: int = 4,
        seed: int = 0,
        split: Literal["train", "val", "test"] = "test",
    ) -> None:
        super().__init__()
        self.layout = layout
        self.root = root
        self.masks = masks
        self.batch_size = batch_size
        self.size = size
        self.resize = resize
        self.label_share = label_share
        self.kinds = kinds
        self.zoom = zoom
        self.shift_share = shift_share
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.num_workers = num_workers
        self.seed = seed
        self.split = split
        self.datasets: dict[str, PairDataset] = {}
        self._run_seed = 0

    def prepare_data(self) -> None:
        """Build the embedded photos and find the photos' regions, where they are asked for.

        Raises:
            DataError: the folder is not what the layout needs, or the regions cannot be written.
        """
        if self.layout == "samples":
            build_samples(self.root)
        if self.masks == REGIONS and self.layout != "shards":
            root = self._root()
            build_regions(self._scenes(root, None), regions_folder(root))

    def setup(self, stage: str) -> None:
        """Find the scenes, check them and split them.

        Raises:
            DataError: the folder is not what the layout needs, or a split that this stage needs is empty.
        """
        if not self.kinds:
            raise DataError("data.kinds is empty: name one kind of pairs or more, of retouch, identical and disjoint")
        if not self.datasets:
            scenes = self._find()
            # Shards were checked when they were made: to read all headers would be to fetch them all.
            readable = {scene.name for scene in (scenes if self.layout == "shards" else check_scenes(scenes))}
            # Split before unreadable scenes are left out: one broken file must not move the others.
            splits = split_scenes(scenes, self.val_fraction, self.test_fraction, self.seed)
            for name, split in zip(("train", "val", "test"), splits, strict=True):
                pairs = make_pairs((scene for scene in split if scene.name in readable), self.kinds)
                self.datasets[name] = self._dataset(pairs, augment=name == "train")
        processes, _ = self._processes()
        self._run_seed = torch.initial_seed()
        if self.trainer is not None:  # where nobody chose a seed each process has its own, and the first one's counts
            self._run_seed = self.trainer.strategy.broadcast(self._run_seed)
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": (self.split,)}.get(stage, ()):
            if len(self.datasets[name]) < processes:
                sizes = ", ".join(f"{key} {len(value)}" for key, value in self.datasets.items())
                few = f"fewer pairs than the {processes} processes" if len(self.datasets[name]) else "no pairs"
                raise DataError(
                    f"{self.root or 'the embedded photos'}: {few} for {name} (pairs: {sizes}); give more photos, or "
                    "change --data.val_fraction and --data.test_fraction"
                )

    def _dataset(self, pairs: Sequence[Pair], augment: bool) -> PairDataset:
        return PairDataset(pairs, self.size, self.resize, augment, self.label_share, self.zoom, self.shift_share)

    def _find(self) -> list[Scene]:
        if self.layout == "shards" and self.root is not None:
            prepared, scenes = read_shards(self.root, self.masks)
            self._warn(prepared)
            return scenes
        root = self._root()
        self._warn(prepared_size(root))
        return self._scenes(root, regions_folder(root) if self.masks == REGIONS else self.masks)

    def _warn(self, prepared: int | None) -> None:
        if prepared is not None and prepared < self.resize:
            _log.warning(
                "%s: prepared at %d px, and enlarged to %d px for training; lower --data.resize, or prepare it larger",
                self.root,
                prepared,
                self.resize,
            )

    def _root(self) -> Path:
        if self.layout == "samples":
            return build_samples(self.root)
        if self.root is None:
            raise DataError(f"the layout {self.layout} needs --data.root, the folder of the photos")
        return Path(self.root)

    def _scenes(self, root: Path, masks: str | Path | None) -> list[Scene]:
        return (photo_scenes if self.layout == "photos" else fivek_scenes)(root, masks)

    def on_after_batch_transfer(self, batch: dict[str, Any] | None, dataloader_idx: int) -> TransferBatch | None:
        """Augment and convert on the device; see :func:`deepct.data.augment.prepare_batch`."""
        return None if batch is None else prepare_batch(batch)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled; the last, smaller batch of an epoch is left out unless it is the only one.

        Order and augmentation follow from the run's seed (``seed_everything``) and the epoch: they are the same on any
        number of devices whose batches add up to the same, and for any number of workers.
        """
        return self._loader(TrainingLoader, self.datasets["train"], self.training_order())

    def training_order(self) -> Shuffled:
        """In which order this process is dealt the training pairs."""
        return Shuffled(self.datasets["train"], self.batch_size, *self._processes(), self._run_seed)

    def val_dataloader(self) -> DataLoader[Any]:
        """Every validation pair once, in order."""
        return self._loader(WatchedLoader, self.datasets["val"], self._each_once(self.datasets["val"]))

    def test_dataloader(self) -> DataLoader[Any]:
        """Every pair of the split once, in order, without augmentation."""
        data = self._dataset(self.datasets[self.split].pairs, augment=False)
        return self._loader(WatchedLoader, data, self._each_once(data))

    def describe(self) -> dict[str, Any]:
        """What the data are: how many pairs each split has, and a fingerprint of the files.

        Returns:
            ``pairs``, by split, and ``fingerprint``, the SHA-256 of every photo's and label map's split, path below the
            root and size in bytes: two trainings on equal files share it, wherever the root lies.
        """
        files = [
            f"{split}/{weigh(path)}"
            for split, data in self.datasets.items()
            for scene in {pair.scene.name: pair.scene for pair in data.pairs}.values()
            for path in (*scene.photos, *([scene.mask] if scene.mask else []))
        ]
        digest = hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()
        return {"pairs": {split: len(data) for split, data in self.datasets.items()}, "fingerprint": digest}

    @property
    def class_names(self) -> Sequence[str]:
        """What labels 0 to 149 mean: ADE20K's classes, but for regions that were found by their colours."""
        regions = self.masks == REGIONS or self.layout == "samples"
        return [f"region {label}" for label in range(len(CLASSES))] if regions else CLASSES

    def _processes(self) -> tuple[int, int]:
        """How many processes there are, and this one's number."""
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _each_once(self, data: PairDataset) -> EachOnce | None:
        processes, rank = self._processes()
        return EachOnce(data, processes, rank) if processes > 1 else None

    def _loader(
        self, kind: type[WatchedLoader], data: PairDataset, sampler: Shuffled | EachOnce | None
    ) -> DataLoader[Any]:
        return kind(
            data,
            self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_start_worker,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )


def _start_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # the workers share the cores already
    if hasattr(signal, "alarm"):
        # Who ends a job tells every process of it; the workers stay until the training has been saved, or for a minute.
        for told in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(told, lambda *_: signal.alarm(_GRACE))
