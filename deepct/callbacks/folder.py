"""Where a run keeps what belongs to it."""

from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import WandbLogger


def run_folder(trainer: L.Trainer) -> Path:
    """The folder of a run: beside its checkpoints, whatever logger comes first; every process must ask.

    Without a logger it is ``runs/unlogged``.
    """
    logger = trainer.logger
    if logger is None:
        return Path(trainer.default_root_dir, "runs", "unlogged")
    if not isinstance(logger, WandbLogger):
        return Path(trainer.log_dir or ".")
    run = logger.experiment.id if trainer.is_global_zero else None
    folder = Path(logger.save_dir or ".", str(logger.name), str(run))
    return Path(trainer.strategy.broadcast(str(folder)))
