"""How a training's checkpoints are written: whole, or not at all."""

import errno
import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from deepct.errors import TrainingError
from deepct.writing import remove_leftovers, written_aside

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint beside its place, let it reach the disk, and only then put it there.

    So a file of a checkpoint's name is whole at every moment, also where the writing was killed, the disk was full or
    the machine lost its power.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write, and take the leftovers of killed writes away.

        Raises:
            TrainingError: it cannot be written; what was there before is untouched.
        """
        path = Path(path)
        data = io.BytesIO()  # a file would do, were torch to raise OSError where it cannot be written
        torch.save(checkpoint, data)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent, below=False)
            with written_aside(path, durable=True) as aside:
                aside.write_bytes(data.getbuffer())
        except OSError as error:
            raise TrainingError(
                f"{path}: cannot be written ({error.strerror or error}), so the training has ended; make room, then go "
                "on with the same command and --ckpt_path LAST_CKPT: checkpoints that were written before are whole"
            ) from error


class WholeTrainer(L.Trainer):
    """A trainer whose processes end together where a checkpoint cannot be written, which the first one alone knows."""

    def save_checkpoint(
        self, filepath: str | Path, weights_only: bool | None = None, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; every process must ask.

        Raises:
            TrainingError: it cannot be written.
        """
        if self.fast_dev_run:  # type: ignore[attr-defined]
            return  # a trial is to leave nothing behind
        checkpoint = self._checkpoint_connector.dump_checkpoint(weights_only)
        failure = ""
        try:
            self.strategy.save_checkpoint(checkpoint, filepath, storage_options=storage_options)
        except TrainingError as error:
            failure = str(error)
        failure = self.strategy.broadcast(failure)
        if failure:
            raise TrainingError(failure)


def explain_full_disk(error: OSError) -> TrainingError | None:
    """What to do where an error says that the disk is full; None where it says something else."""
    if error.errno not in _NO_ROOM:
        return None
    return TrainingError(
        f"{error.filename or 'the disk'}: {error.strerror}, so the command has ended; make room and start it again, a "
        "training with --ckpt_path LAST_CKPT: checkpoints that were written before are whole"
    )
