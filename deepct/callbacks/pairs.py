"""The validation pairs: what each one's figures are, and what some of them look like."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from deepct.callbacks.folder import run_folder
from deepct.callbacks.show import show_pictures
from deepct.color import normalized_to_rgb, rgb_to_uint8
from deepct.data.augment import TransferBatch
from deepct.data.datamodule import PairDataModule
from deepct.data.image import to_pixels
from deepct.distributed import gather
from deepct.histogram import UNLABELLED
from deepct.modules import TransferModule
from deepct.modules.base import BatchResult
from deepct.sheet import Picture, contact_sheet

FILE = "val-pairs.csv"
"""The figures of each validation pair, in the run's folder; every validation adds its rows."""

TABLE_ROWS = 1000
"""The most rows of a table on Weights & Biases: it would be slow to log, and cut without a word at ten thousand."""

_TURN = 0.618034  # of the colour circle from a label to the next, so that neighbours differ
_OVERLAY = 0.5


class ValidationPairs(L.Callback):
    """After each validation, give every pair's losses and delta E, and pictures of some pairs.

    Weights & Biases gets a table, to be sorted by any column, and the label maps as overlays that can be switched off;
    every run gets all rows in ``val-pairs.csv``, and TensorBoard and the run's folder a sheet of pictures. Each pair
    counts once, on however many devices the validation ran.

    Args:
        pictures: how many pairs are shown, spread evenly over the validation pairs.
        size: longest side to which their pictures are brought, px.
    """

    def __init__(self, pictures: int = 16, size: int = 128) -> None:
        self.pictures = pictures
        self.size = size
        self._begun = False
        self._shown: dict[str, dict[str, Picture]] = {}
        self._wanted: set[str] = set()

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the validation before, and choose the pairs to show."""
        self._shown = {}
        names = [pair.name for pair in trainer.val_dataloaders.dataset.pairs]  # type: ignore[union-attr]
        count = min(self.pictures, len(names))
        self._wanted = {names[index * len(names) // count] for index in range(count)}

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: TransferBatch,
        batch_idx: int,
        *args: Any,
    ) -> None:
        """Keep the pictures of the pairs to be shown."""
        result: BatchResult = outputs
        image = result["image"]
        if trainer.sanity_checking or image is None:
            return
        for index, name in enumerate(batch.names):
            if name in self._wanted:
                photos = (batch.source, batch.reference, image)
                source, reference, recolored = (self._resize(draw_lab(photo[index])) for photo in photos)
                shown = {"source": source, "reference": reference, "result": recolored}
                labels = batch.source_labels[index].cpu().numpy()
                self._shown[name] = shown | ({} if (labels == UNLABELLED).all() else {"labels": self._resize(labels)})

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Bring together what all processes have, and give it to the loggers."""
        assert isinstance(pl_module, TransferModule)
        shown = dict(sorted(gather([*self._shown.items()])))
        folder, rows = run_folder(trainer), pl_module.validated
        if trainer.sanity_checking or trainer.fast_dev_run or not trainer.is_global_zero or not rows:  # type: ignore[attr-defined]
            return
        _write([{"step": trainer.global_step, **row} for row in rows], folder / FILE, anew=not self._begun)
        self._begun = True
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                log_table(logger, "val/pairs", rows, shown, trainer.global_step)
                self._log_labels(logger, trainer, shown)
        if shown:
            show_pictures(trainer, "val_pairs", {"pairs": _draw_sheet(shown)}, folder)

    def _resize(self, picture: Picture) -> Picture:
        """Resize (H, W, 3), or (H, W) labels by picking."""
        scale = self.size / max(picture.shape[:2])
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        way = Image.Resampling.NEAREST if picture.ndim == 2 else Image.Resampling.LANCZOS
        return np.asarray(Image.fromarray(picture).resize((width, height), way))

    def _log_labels(self, logger: WandbLogger, trainer: L.Trainer, shown: dict[str, dict[str, Picture]]) -> None:
        labelled = {name: pictures for name, pictures in shown.items() if "labels" in pictures}
        if not labelled:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]  # the command line always gives one
        assert isinstance(data, PairDataModule)
        names = {**dict(enumerate(data.class_names)), UNLABELLED: "no label"}
        masks = [{"labels": {"mask_data": shown["labels"], "class_labels": names}} for shown in labelled.values()]
        sources = [pictures["source"] for pictures in labelled.values()]
        logger.log_image("val/labels", sources, step=trainer.global_step, caption=[*labelled], masks=masks)


def draw_lab(photo: Tensor) -> Picture:
    """(3, H, W) normalised Lab as (H, W, 3) uint8 sRGB."""
    return to_pixels(rgb_to_uint8(normalized_to_rgb(photo.detach().float())))


def log_table(
    logger: WandbLogger, key: str, rows: Sequence[dict[str, Any]], shown: dict[str, dict[str, Picture]], step: int
) -> None:
    """Log a table with a row for each pair: its name, its pictures where it has some, and its figures.

    Of many pairs it has those with pictures and those of largest loss, :data:`TABLE_ROWS` in all.
    """
    import wandb

    kinds = ("source", "reference", "result")
    figures = [name for name in rows[0] if name != "pair"]
    if len(rows) > TABLE_ROWS:
        rows = sorted(rows, key=lambda row: (row["pair"] not in shown, -row["loss"]))[:TABLE_ROWS]
    data = []
    for row in rows:
        pictures = shown.get(row["pair"], {})
        images = [wandb.Image(pictures[kind]) if kind in pictures else None for kind in kinds]
        data.append([row["pair"], *images, *(row[name] for name in figures)])
    logger.log_table(key, ["pair", *kinds, *figures], data, step=step)


def _write(rows: Sequence[dict[str, Any]], path: Path, anew: bool) -> None:
    """Write rows below those of this run; those of a run before, where runs share a folder, are replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w" if anew else "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        if anew:
            writer.writeheader()
        writer.writerows(rows)


def _draw_sheet(shown: dict[str, dict[str, Picture]]) -> Picture:
    """Source, reference and result of each pair, and its labels over its source where some pair has labels."""
    kinds = ["source", "reference", "result"]
    labelled = any("labels" in pictures for pictures in shown.values())
    rows = []
    for pictures in shown.values():
        row = [pictures[kind] for kind in kinds]
        if labelled:
            row.append(_overlay(pictures["source"], pictures["labels"]) if "labels" in pictures else pictures["source"])
        rows.append(row)
    return contact_sheet(rows, [*kinds, *(["labels"] if labelled else [])], [*shown])


def _overlay(photo: Picture, labels: Picture) -> Picture:
    """Lay a colour for each label over the photo; pixels without a label stay bare."""
    hues = (labels.astype(np.float64) * _TURN % 1.0 * 255).astype(np.uint8)
    full = np.full_like(hues, 255)
    colours = np.asarray(Image.fromarray(np.stack([hues, full, full], axis=-1), "HSV").convert("RGB"))
    share = np.where(labels == UNLABELLED, 0.0, _OVERLAY)[..., None]
    return np.rint(photo + share * (colours.astype(np.float64) - photo)).astype(np.uint8)
