"""``deepct masks``: label maps of a whole data set."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from deepct.data.image import MAX_PIXELS
from deepct.data.masks import resize_labels
from deepct.data.pool import ReadAhead
from deepct.distributed import end_at_sigterm, gather
from deepct.errors import DataError
from deepct.segmentation.backend import require_mmseg
from deepct.segmentation.jobs import Batch, Job, Plan, find_photos, make_plan, read_batch, read_singly
from deepct.segmentation.segmenter import Segmenter
from deepct.segmentation.store import MaskFolder
from deepct.telling import print_failures

_WRITERS = 2
_AHEAD = 32
"""Label maps that may wait to be written."""

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


def masks(
    input: str,
    output: str,
    checkpoint: str,
    config: str | None = None,
    sha256: str | None = None,
    max_size: int = 768,
    batch_size: int = 4,
    workers: int = 2,
    accelerator: str = "auto",
    devices: int | str = "auto",
    precision: Precision | None = None,
    max_pixels: int = MAX_PIXELS,
) -> int:
    """Make label maps (sky, grass, person, ...) of all photos in a folder and below it, by BEiT v2 or another model.

    Each photo gets a palette PNG of its stem in the same place below the output folder, with ADE20K's classes 0 to 149;
    masks.json says what they are and by which checkpoint. Started again, a run that was stopped goes on, and label maps
    that are there and whole are left alone.

    Args:
        input: Folder of the photos.
        output: Folder for the label maps; it may lie in the input's.
        checkpoint: An official BEiT v2 checkpoint for ADE20K, or one of MMSegmentation.
        config: Configuration of MMSegmentation, for another model. It is Python and is run: take only those you trust.
        sha256: The checksum that the checkpoint must have.
        max_size: Long side of the label maps at most, px; a smaller photo's is as large as the photo.
        batch_size: Photos, and windows of them, that are computed at once.
        workers: Processes that read photos, for each device; 0 reads between the computing.
        accelerator: What computes: auto, cpu, gpu, ...
        devices: How many of them, by default all GPUs or one CPU.
        precision: How it computes, by default 16-mixed on GPUs and 32-true elsewhere.
        max_pixels: The most pixels that a photo may have; larger ones fail, for a small file may claim any size.

    Returns:
        The exit status: 0, or 1 where some photos failed.

    Raises:
        DeepctError: MMSegmentation is not installed.
        CheckpointError: the checkpoint cannot be used.
        ConfigError: the configuration cannot be used.
        DataError: there are no photos, the output is no place for label maps or has those of another model, it cannot
            be written, or Ctrl-C stopped the run.
    """
    if max_size < 1 or batch_size < 1 or workers < 0:
        raise DataError(f"max_size {max_size}, batch_size {batch_size}, workers {workers}: give 1, 1 and 0 or more")
    require_mmseg()
    root, photos = Path(input), find_photos(Path(input), Path(output))
    segmenter = Segmenter.load(checkpoint, config, sha256)
    segmenter.batch_size = batch_size
    folder = MaskFolder(Path(output), segmenter.description, max_size)
    has_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    writer = MaskWriter(folder)
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=devices,
        precision=precision or ("16-mixed" if has_gpu else "32-true"),
        callbacks=[writer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # MaskData deals the batches out
    )
    on_cpu = trainer.strategy.root_device.type == "cpu"
    plan = Plan([], 0, 0, [])
    if trainer.is_global_zero:
        folder.open()
        plan = make_plan(photos, root, folder, segmenter.network_size, batch_size, on_cpu, max_pixels)
        print(f"{input}: {len(photos)} photos, {plan.done} label maps are there. {segmenter.description.model}")
    start = time.perf_counter()
    if plan.batches or trainer.world_size > 1:
        try:
            trainer.predict(MaskMaker(segmenter), MaskData(plan.batches, workers, max_pixels), return_predictions=False)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C
            raise DataError("stopped; the same command goes on from here") from stop
    problems = plan.problems + writer.problems
    if trainer.is_global_zero:
        speed = writer.written / (time.perf_counter() - start)
        print(f"{writer.written} label maps written to {output}, {speed:.1f} photos a second")
        print_failures(problems)
    return int(bool(problems))


class MaskMaker(L.LightningModule):
    """A segmenter as Lightning runs it.

    Args:
        segmenter: the model.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def predict_step(self, batch: Batch, batch_idx: int) -> list[NDArray[np.uint8]]:
        """(h, w) uint8 labels of each photo of a batch.

        A GPU takes them together. On a CPU each core takes its own: faster than all cores on one, and the result does
        not depend on how many there are, nor on what else is in the batch.
        """
        if not batch.photos:
            return []
        if self.device.type != "cpu":
            return list(self.segmenter(torch.stack(batch.photos)).cpu().numpy())
        half = torch.is_autocast_enabled("cpu")

        def label(photo: Tensor) -> NDArray[np.uint8]:
            with torch.autocast("cpu", torch.get_autocast_dtype("cpu"), enabled=half):  # each thread has its own
                labels: Tensor = self.segmenter(photo.unsqueeze(0))
            return labels[0].numpy()

        with _single_threads() as pool:
            return list(pool.map(label, batch.photos))


class MaskData(L.LightningDataModule):
    """Batches of photos, dealt out to the devices.

    Args:
        batches: the work, as the first process knows it.
        workers: processes that read photos.
        max_pixels: the most pixels that a photo may have.
    """

    def __init__(self, batches: list[list[Job]], workers: int, max_pixels: int = MAX_PIXELS) -> None:
        super().__init__()
        self.batches = batches
        self.workers = workers
        self.max_pixels = max_pixels
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than processes

    def setup(self, stage: str) -> None:
        """Take this process's share of the first one's batches: none twice, none lost."""
        trainer: Any = self.trainer
        batches = trainer.strategy.broadcast(self.batches)
        self.batches = batches[trainer.global_rank :: trainer.world_size]

    def predict_dataloader(self) -> ReadAhead[list[Job], Batch]:
        """A batch is an item, read by one worker."""
        read = partial(read_batch, max_pixels=self.max_pixels)
        return ReadAhead(self.batches, read, min(self.workers, len(self.batches)), partial(read_singly, read))


class MaskWriter(Callback):
    """Write label maps beside the computing, and tell how it goes.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: MaskFolder) -> None:
        self.folder = folder
        self.written = 0
        self.problems: list[str] = []
        self._pool = ThreadPoolExecutor(_WRITERS)
        self._waiting: deque[Future[None]] = deque()
        self._bar: tqdm[Any] | None = None

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show how the first process gets on; the others have as many photos, give or take a batch.

        From now on SIGTERM ends the run.
        """
        end_at_sigterm(trainer)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            total = sum(map(len, data.batches))
            label = f"device 1 of {trainer.world_size}" if trainer.world_size > 1 else None
            self._bar = tqdm(total=total, unit="photo", desc=label, disable=None)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand the label maps to the writing threads.

        Raises:
            DataError: an earlier one cannot be written.
        """
        self.problems += batch.problems
        for job, labels in zip(batch.jobs, outputs, strict=True):
            if not job.is_done:
                self._waiting.append(self._pool.submit(self._write, job, labels))
                self.written += 1
        while len(self._waiting) > _AHEAD:
            self._waiting.popleft().result()
        if self._bar is not None:
            self._bar.update(len(batch.jobs) + len(batch.problems))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Wait for the last label maps, and learn what became of the other processes' photos.

        Not ``on_predict_end``, which a process that was dealt no batch never sees.

        Raises:
            DataError: a label map cannot be written.
        """
        while self._waiting:
            self._waiting.popleft().result()
        if self._bar is not None:
            self._bar.close()
        self.written, self.problems = sum(gather([self.written])), gather(self.problems)

    def _write(self, job: Job, labels: NDArray[np.uint8]) -> None:
        self.folder.write(resize_labels(labels, job.mask_size), job.mask)


@contextmanager
def _single_threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, which compute alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # OpenMP's number of threads belongs to the thread that sets it.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
