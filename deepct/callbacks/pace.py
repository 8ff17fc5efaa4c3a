"""How fast a training goes, what it waits for, and the memory that it takes."""

import multiprocessing
import os
import time
from collections import deque
from typing import Any, NamedTuple

import lightning as L
import psutil
import torch

from deepct.data.augment import TransferBatch
from deepct.data.loader import WatchedLoader


class _Mark(NamedTuple):
    """Where a training stood after a step."""

    seconds: float
    waited: float
    photos: int


class Pace(L.Callback):
    """Log speed and memory, over the steps since they were logged last.

    - ``pace/photos_per_second``: pairs learnt from, of all devices together;
    - ``pace/data_share``: the share of the time that this process waited for its loader, from 0 to 1;
    - ``memory/host_gib``: what this process and its loaders' hold, pages that they share counted for each;
    - ``memory/device_gib``: the most that tensors took on its GPU so far, where there is one.

    Validations do not count.
    """

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque(maxlen=2)
        self._photos = 0
        self._paused = 0.0
        self._pause = 0.0
        self._step = 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew: what lies between two epochs is no step."""
        self._marks.clear()
        self._mark(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self._pause = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let it go on."""
        self._paused += time.perf_counter() - self._pause

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TransferBatch, batch_idx: int
    ) -> None:
        """Count the step, and log where the trainer does."""
        self._photos += len(batch.names) * trainer.world_size
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not every or trainer.global_step % every or trainer.global_step == self._step or not self._marks:
            return
        self._step = trainer.global_step
        self._mark(trainer)
        before, now = self._marks
        seconds = now.seconds - before.seconds
        speed = (now.photos - before.photos) / seconds
        figures = {
            "pace/photos_per_second": speed,
            "pace/data_share": (now.waited - before.waited) / seconds,
            "memory/host_gib": _host_memory() / 2**30,
        }
        if pl_module.device.type == "cuda":
            figures["memory/device_gib"] = torch.cuda.max_memory_allocated(pl_module.device) / 2**30
        pl_module.log_dict(figures)
        pl_module.log("photos/s", speed, prog_bar=True, logger=False)

    def _mark(self, trainer: L.Trainer) -> None:
        loader = trainer.train_dataloader
        waited = loader.waited if isinstance(loader, WatchedLoader) else 0.0
        self._marks.append(_Mark(time.perf_counter() - self._paused, waited, self._photos))


def _host_memory() -> int:
    """Bytes that this process and the processes that read photos for it hold."""
    held = 0
    for pid in (os.getpid(), *(worker.pid for worker in multiprocessing.active_children())):
        try:
            held += psutil.Process(pid).memory_info().rss
        except psutil.Error:  # it has ended
            continue
    return held
