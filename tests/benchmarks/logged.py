"""What logging costs a training step: the same steps, in turns, with every logger and callback, and with none."""

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.cases import pair
from deepct.callbacks import DemoPanels, Pace, ValidationPairs
from deepct.cli import find_config
from deepct.data.augment import TransferBatch
from deepct.loggers import WandbLogger
from deepct.losses import LossWeights, Measured
from deepct.modules import Student, Teacher, TransferModule
from deepct.networks.checkpoint import save_network

STEPS, ROUNDS = 40, 5
WARM = 10  # steps of a fit that do not count


class _Steps(L.Callback):
    """The times between the ends of steps."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        return (self.ends[-1] - self.ends[WARM]) / (len(self.ends) - 1 - WARM)


class _SilentTeacher(Teacher):
    def training_step(self, batch: TransferBatch, batch_idx: int) -> Tensor:
        return self.compare(batch).losses["loss"].mean()


class _SilentStudent(Student):
    def training_step(self, batch: TransferBatch, batch_idx: int) -> Tensor:
        return self.compare(batch).losses["loss"].mean()

    def _level(
        self, taught: Measured, truth: Measured, weights: LossWeights, batch: TransferBatch
    ) -> dict[str, Tensor]:
        return {}


def logging_cost(config: str, size: int, batch: int, every: int) -> Callable[[], dict[str, float]]:
    """Train as a configuration says, on one batch of this many pairs of this size, logging every so manieth step.

    The work gives the seconds of a step, with logging and ``silent``, and their ratio: means over a fit, of which the
    rounds' median is taken.
    """
    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_SILENT"] = "true"
    warnings.filterwarnings("ignore")
    settings = yaml.safe_load(find_config(f"configs/{config}.yaml").read_text())["model"]
    is_student = settings["class_path"].endswith("Student")
    folder = Path(tempfile.mkdtemp())
    if is_student:
        of_teacher = yaml.safe_load(find_config(f"configs/{config.replace('student', 'teacher')}.yaml").read_text())
        save_network(Teacher(of_teacher["model"]["init_args"]["network"]).network, folder / "teacher.safetensors")
        settings["init_args"] |= {"teacher": str(folder / "teacher.safetensors"), "phases": []}
    batches = DataLoader([pair(size, batch=batch)] * STEPS, batch_size=None)  # type: ignore[arg-type]

    def fit(silent: bool) -> float:
        torch.manual_seed(0)
        kinds = {(False, False): Teacher, (False, True): _SilentTeacher}
        kinds |= {(True, False): Student, (True, True): _SilentStudent}  # type: ignore[dict-item]
        module: TransferModule = kinds[is_student, silent](**settings["init_args"])
        steps = _Steps()
        loggers = [] if silent else [CSVLogger(folder, "csv"), WandbLogger(save_dir=str(folder))]
        callbacks = [] if silent else [Pace(), DemoPanels(), ValidationPairs()]
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=loggers or False,
            callbacks=[*callbacks, steps],
            log_every_n_steps=every,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, batches)
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()
        return steps.seconds

    def work() -> dict[str, float]:
        rounds = [(fit(silent=True), fit(silent=False)) for _ in range(ROUNDS)]
        silent, logged = (statistics.median(times) for times in zip(*rounds, strict=True))
        return {"seconds": logged, "silent": silent, "ratio": statistics.median(b / a for a, b in rounds)}

    return work
