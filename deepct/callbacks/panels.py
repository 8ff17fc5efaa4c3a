"""The four demo pairs, shown as pictures after each validation."""

from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from deepct.data.image import to_pixels, to_planes
from deepct.data.samples import DemoPair, demo_pairs
from deepct.modules import TransferModule
from deepct.sheet import Picture, contact_sheet, thumbnail


class DemoPanels(L.Callback):
    """Recolour the four demo pairs after each validation and show source, reference and result to every logger.

    Weights & Biases and TensorBoard show them among their media; for any other logger, and for none, they are written
    to ``pictures`` in the run's folder.

    Args:
        size: height of the pictures, px.
    """

    def __init__(self, size: int = 192) -> None:
        self.size = size
        self._pairs: list[DemoPair] = []

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the sheet and show it; the sanity check shows nothing."""
        assert isinstance(pl_module, TransferModule)
        folder = Path(trainer.log_dir or ".")  # asks all processes
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        loggers: list[Logger | None] = [*trainer.loggers] or [None]
        sheet = self._sheet(pl_module)
        for logger in loggers:
            show_picture(logger, "demo_pairs", sheet, trainer.global_step, folder)

    def _sheet(self, module: TransferModule) -> Picture:
        if not self._pairs:
            self._pairs = [
                DemoPair(pair.name, *(thumbnail(photo, self.size) for photo in pair[1:])) for pair in demo_pairs()
            ]
        rows = []
        for pair in self._pairs:
            source, reference = (to_planes(photo).unsqueeze(0).to(module.device) for photo in pair[1:])
            result = to_pixels(module.network.recolor(source, reference)[0])
            rows.append((pair.source, pair.reference, result))
        return contact_sheet(rows, ("source", "reference", "result"), [pair.name for pair in self._pairs])


def show_picture(logger: Logger | None, name: str, picture: Picture, step: int, folder: Path) -> None:
    """Give a logger a picture in the way that it takes pictures.

    Args:
        logger: any of Lightning's, or None.
        name: what the picture shows.
        picture: (H, W, 3) uint8 sRGB.
        step: the optimizer's step.
        folder: where loggers without pictures have them written, below ``pictures``.
    """
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [picture], step=step)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, picture, step, dataformats="HWC")
    else:
        path = folder / "pictures" / f"{name}-{step:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
