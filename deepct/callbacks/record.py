"""What a run was made from: the code, the data and the checkpoint."""

import json
import subprocess
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

import deepct
from deepct.callbacks.folder import run_folder
from deepct.data.datamodule import PairDataModule

FILE = "record.json"
"""The record's name in the run's folder."""


class RunRecord(L.Callback):
    """Write ``record.json`` into the run's folder, and into the configuration on its dashboard.

    It holds the command, the versions of code and data, and for a test the checkpoint and the split. A training's
    checkpoints keep its id on Weights & Biases and nothing more, so that it can be resumed under it.

    Attributes:
        checkpoint: the file that the command was given, which Lightning does not know of where it holds weights alone.
    """

    def __init__(self) -> None:
        self.checkpoint: str | None = None
        self._wandb_id: str | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the record, once the data are known; predictions have none."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # the command line always gives one
        command = str(TrainerFn(stage).value)
        if command == "predict" or not isinstance(data, PairDataModule):
            return
        folder = run_folder(trainer)
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        self._wandb_id = next((logger.experiment.id for logger in loggers), None)
        record = {
            "command": command,
            "id": self._wandb_id,
            "deepct": deepct.__version__,
            "git": git_state(),
            "data": data.describe(),
            "checkpoint": self.checkpoint,
            "split": {"fit": None, "validate": "val", "test": data.split}[command],
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for logger in loggers:
            logger.log_hyperparams({"record": {**record, "folder": str(folder.resolve())}})

    def state_dict(self) -> dict[str, Any]:
        """What checkpoints keep."""
        return {"wandb_id": self._wandb_id}


def git_state(package: Path = Path(deepct.__file__).parent) -> dict[str, Any] | None:
    """The commit that the code is at.

    Args:
        package: the package's folder.

    Returns:
        ``commit``, its hash, and ``dirty``, whether files of the repository were changed since; None where the package
        does not lie in a repository of its own.
    """

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(package), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")).resolve() != package.parent.resolve():
            return None
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
