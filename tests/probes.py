"""Callbacks that look into a training, or disturb it; they are given to subprocesses by name."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed import GradBucket
from torch.nn.parallel import DistributedDataParallel

from deepct.data.augment import TransferBatch
from deepct.data.datamodule import PairDataModule
from deepct.histogram import pair_histograms
from deepct.modules import Student


def checkpoints() -> dict[str, str]:
    """Every checkpoint of the runs in this folder, and what was left of one, and its digest."""
    found = sorted(path for path in Path("runs").rglob("checkpoints/*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


class StopAt(L.Callback):
    """Send a process a signal in the midst of a step.

    Args:
        step: which one.
        rank: of the process.
        name: of the signal.
    """

    def __init__(self, step: int, rank: int = 0, name: str = "SIGTERM") -> None:
        self.step = step
        self.rank = rank
        self.signal = signal.Signals[name]

    def on_before_backward(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.signal)


class StopInValidation(L.Callback):
    """Send this process SIGTERM while the first batch of the first validation is measured."""

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, index: int
    ) -> None:
        if index == 0:
            os.kill(os.getpid(), signal.SIGTERM)


class BlockTheWay(L.Callback):
    """Let no checkpoint be written: folders stand where they would be."""

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        assert isinstance(trainer.checkpoint_callback, ModelCheckpoint)
        if trainer.is_global_zero:
            for name in ("best", "last"):
                aside = f".{name}.ckpt.{os.getpid()}.part"
                (Path(str(trainer.checkpoint_callback.dirpath)) / aside / "x").mkdir(parents=True)


class Slow(L.Callback):
    """Let each step take a while, and say in the file ``step`` how many are over."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.is_global_zero:
            Path("step.new").write_text(str(trainer.global_step))
            Path("step.new").replace("step")
        time.sleep(0.1)


class Spoil(L.Callback):
    """Make a loss, a gradient or a weight not a number.

    Args:
        what: ``loss``, ``gradient`` or ``weight``.
        step: in which step.
        rank: in which process.
    """

    def __init__(self, what: str, step: int, rank: int = 0) -> None:
        self.what = what
        self.step = step
        self.rank = rank

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: TransferBatch, _: int
    ) -> None:
        if trainer.global_step != self.step or trainer.global_rank != self.rank:
            return
        Path(f"names-{self.rank}.json").write_text(json.dumps(batch.names))
        Path("kept.json").write_text(json.dumps(checkpoints()))
        if self.what == "loss":
            batch.target.fill_(torch.nan)
        elif self.what == "gradient":
            next(pl_module.network.parameters()).register_hook(lambda gradient: gradient * torch.nan)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if self.what == "weight" and trainer.global_step == self.step:
            with torch.no_grad():
                next(pl_module.network.parameters()).fill_(torch.inf)


class Steady(L.Callback):
    """Let Adam make no whole step of a gradient next to nothing, where the order of a sum decides on the sign."""

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["eps"] = 1e-4


class Look(L.Callback):
    """Write what each process sees to ``seen-RANK.json``: batches, histograms, and what is exchanged for a student.

    The weights before the first step are in ``initial.pt``.
    """

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.exchanged: list[int] = []
        self.without_gradient: set[str] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(trainer.datamodule, PairDataModule)
        if trainer.is_global_zero:
            torch.save(pl_module.state_dict(), "initial.pt")
        wrapped: Any = trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.register_comm_hook(None, self._exchange)

    def _exchange(self, state: None, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        self.exchanged[-1] += bucket.buffer().numel()
        return allreduce_hook(None, bucket)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: TransferBatch, _: int
    ) -> None:
        self.exchanged.append(0)
        labels = batch.source_labels, batch.reference_labels
        counted = pair_histograms(batch.source, batch.reference, *labels, 64, 8)
        wholes = len(counted.reference) - len(batch.names)  # those of labels stand before them
        for index, name in enumerate(batch.names):
            shown = [wholes + index] if counted.rows is None else counted.rows[index].unique()
            parts = [part[index] for part in batch[:5]] + [counted.source[index], counted.reference[shown]]
            digest = hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()
            self.batches.append({"step": trainer.global_step, "name": name, "digest": digest})

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        trained = {name: parameter for name, parameter in pl_module.named_parameters() if parameter.requires_grad}
        self.without_gradient |= {name for name, parameter in trained.items() if parameter.grad is None}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Student)
        assert pl_module.teacher is not None
        wrapped: Any = trainer.strategy.model
        taught = {parameter.data_ptr() for parameter in pl_module.teacher.network.parameters()}
        assert taught
        seen = {
            "batches": self.batches,
            "exchanged": self.exchanged,
            "trained": sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            "teachers": sum(p.data_ptr() in taught for p in wrapped.parameters()),
            "find_unused": getattr(wrapped, "find_unused_parameters", None),
            "without_gradient": sorted(self.without_gradient),
        }
        Path(f"seen-{trainer.global_rank}.json").write_text(json.dumps(seen))
