"""What watches over a training that nobody watches."""

import math
import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from deepct import slurm
from deepct.data.augment import TransferBatch
from deepct.distributed import gather
from deepct.errors import TrainingError

KEPT_EVERY = 600.0
"""How long a training goes on before its state is written again, seconds."""

_LISTED = 8  # pairs that an error names
_REMEMBERED = 100  # steps whose losses are kept
_ENOUGH = 20  # of them to judge another by: the first ones may be of identical pairs alone
_EXPLODED = 1e4  # times the largest of them: pairs differ by thousands, identical ones and others


class Guard(L.Callback):
    """Keep a training's state, stop it where it is told to stop, and where it goes astray.

    ``last.ckpt`` is written every ten minutes and at the end: Lightning writes it only where it also keeps a best
    checkpoint, which may be long ago.

    A training that is sent SIGTERM ends its step, writes a whole checkpoint and ends; on SLURM, SIGUSR1 also puts the
    job back into the queue. One signal to one process is enough: the processes agree, once a step, in the one exchange
    that also tells whether losses and gradients are finite. Lightning's own handlers save in the midst of
    a step, or wait for each other.

    Attributes:
        training: what the training is called in a job of SLURM (:func:`deepct.slurm.name_training`).
        saved: the checkpoint that the training was stopped with.
    """

    def __init__(self) -> None:
        self.training = ""
        self.saved: Path | None = None
        self._told = 0
        self._kept = 0.0
        self._is_due = False
        self._batch: TransferBatch | None = None
        self._losses: list[tuple[Tensor, list[str]]] = []
        self._before: deque[float] = deque(maxlen=_REMEMBERED)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen to signals; Lightning restores the handlers that there were before the training."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._hear)
            if slurm.job() is not None:
                signal.signal(signal.SIGUSR1, self._hear)
        place = _place(trainer)
        if place is not None and slurm.job() is not None and trainer.is_global_zero:
            slurm.remember(self.training, place.parent)
        self._kept = time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: TransferBatch, batch_idx: int
    ) -> None:
        """Know whose loss comes next."""
        self._batch = batch

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Keep the loss, without waiting for it."""
        assert self._batch is not None
        self._losses.append((loss.detach(), self._batch.names))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at losses, gradients and signals before the weights change.

        Under float16 gradients may overflow, and the step is left out then: there, only the losses count.

        Raises:
            TrainingError: a loss or a gradient is not finite, or the loss has exploded.
        """
        figures = [loss.float() for loss, _ in self._losses]
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            figures.append(torch.nn.utils.get_total_norm(gradients).float())
        is_due = time.monotonic() - self._kept > KEPT_EVERY
        largest = torch.stack(figures[: len(self._losses)]).max().nan_to_num()
        lost, loss, told, due = _agree(
            torch.stack([(~torch.stack(figures).isfinite()).any().float(), largest]), float(self._told), float(is_due)
        )
        if lost:
            raise TrainingError(self._describe(trainer))
        if len(self._before) >= _ENOUGH and loss > _EXPLODED * max(self._before):
            raise TrainingError(
                f"step {trainer.global_step}: the loss is {loss:.3g}, of {max(self._before):.3g} at most before, on "
                f"{self._list([name for _, names in self._losses for name in names])}; {_ADVICE}"
            )
        self._before.append(loss)
        self._losses.clear()
        self._is_due = bool(due)
        if told:
            self._told = int(told)
            # Lightning stops on it once the step is over and logged.
            trainer._signal_connector.received_sigterm = True

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Keep the state of the training now and then."""
        if self._is_due:
            self._keep(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the last state."""
        self._keep(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Cut a validation short where the training is to stop."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        _, told = _agree(torch.zeros(1, device=pl_module.device), float(self._told))
        if told:
            self._told = int(told)
            raise SIGTERMException

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let no weight into a checkpoint that is not a number.

        Raises:
            TrainingError: one is not finite.
        """
        for name, value in checkpoint["state_dict"].items():
            if not value.isfinite().all():
                raise TrainingError(
                    f"step {trainer.global_step}: {name} is not finite, so no checkpoint is written; {_ADVICE}"
                )

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Write the checkpoint, and put a job back into SLURM's queue."""
        if not isinstance(exception, SIGTERMException) or not self._told:
            return
        self._keep(trainer)
        self.saved = _place(trainer)
        if slurm.job() is not None and self._told == signal.SIGUSR1 and trainer.is_global_zero:
            slurm.requeue()

    def _hear(self, signum: int, frame: Any) -> None:
        self._told = signum

    def _keep(self, trainer: L.Trainer) -> None:
        callback, place = trainer.checkpoint_callback, _place(trainer)
        if place is None:
            return
        assert isinstance(callback, ModelCheckpoint)
        callback.last_model_path = str(place)  # it would take another name where it finds the file
        trainer.save_checkpoint(place)
        self._kept, self._is_due = time.monotonic(), False

    def _describe(self, trainer: L.Trainer) -> str:
        mine = [(float(loss), names) for loss, names in self._losses]
        lost = gather([name for loss, names in mine if not math.isfinite(loss) for name in names])
        every = gather([name for _, names in mine for name in names])
        what = "loss is" if lost else "gradients are"
        return f"step {trainer.global_step}: the {what} not finite on {self._list(lost or every)}; {_ADVICE}"

    @staticmethod
    def _list(names: list[str]) -> str:
        return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _agree(figures: Tensor, *others: float) -> list[float]:
    """The largest that any process says of each, after one exchange and one wait for the device."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [*figures.tolist(), *others]
    said = torch.cat([figures, torch.tensor(others, device=figures.device)])
    torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
    return said.tolist()


_ADVICE = (
    "the training has ended before this step, and its checkpoints are those from before; look at these photos, lower "
    "--model.lr or give --trainer.gradient_clip_val, and go on with --ckpt_path LAST_CKPT"
)


def _place(trainer: L.Trainer) -> Path | None:
    """Where ``last.ckpt`` is; None where the training keeps no checkpoints."""
    callback = trainer.checkpoint_callback
    if trainer.fast_dev_run or not isinstance(callback, ModelCheckpoint):  # type: ignore[attr-defined]
        return None
    return Path(callback.last_model_path or callback.format_checkpoint_name({}, callback.CHECKPOINT_NAME_LAST))
