"""One way to show pictures, whatever logger there is."""

from collections.abc import Mapping
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from deepct.sheet import Picture


def show_pictures(trainer: L.Trainer, name: str, pictures: Mapping[str, Picture], folder: Path) -> None:
    """Give pictures to every logger in the way that it takes pictures.

    Weights & Biases and TensorBoard show them among their media; for any other logger, and for none, they are written
    one below the other to ``pictures/NAME-STEP.png``.

    Args:
        trainer: whose loggers, at its step.
        name: what the pictures show.
        pictures: (H, W, 3) uint8 sRGB, by their captions.
        folder: the run's.
    """
    step = trainer.global_step
    height, width = (max(picture.shape[axis] for picture in pictures.values()) for axis in (0, 1))
    alike = {caption: _pad(picture, height, width) for caption, picture in pictures.items()}
    loggers: list[Logger | None] = [*trainer.loggers] or [None]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [*alike.values()], step=step, caption=[*alike])
        elif isinstance(logger, TensorBoardLogger):
            for caption, picture in alike.items():
                logger.experiment.add_image(f"{name}/{caption}", picture, step, dataformats="HWC")
        else:
            write_picture(
                np.concatenate([*alike.values()]), folder / "pictures" / f"{name.replace('/', '_')}-{step:07d}.png"
            )


def write_picture(picture: Picture, path: Path) -> None:
    """Write (H, W, 3) uint8, in a folder that is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _pad(picture: Picture, height: int, width: int) -> Picture:
    """Fill up with white on the right and below."""
    rest = ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0))
    return np.pad(picture, rest, constant_values=255)
