"""The figures of a test: a row for each pair, their means, and the pairs that went worst and best."""

import csv
import math
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger

from deepct.callbacks.folder import run_folder
from deepct.callbacks.pairs import draw_lab, log_table
from deepct.callbacks.show import write_picture
from deepct.data.augment import TransferBatch
from deepct.distributed import gather
from deepct.modules.base import BatchResult, means
from deepct.sheet import Picture

EXTREMES = 3
"""How many pairs of largest, and of smallest loss are shown."""


class _Shown(NamedTuple):
    """A pair that may be shown.

    Attributes:
        identical: source, reference and truth are one picture.
        loss: its hard loss.
        name: its name.
        pictures: (H, W, 3) uint8, source, reference and result.
    """

    identical: bool
    loss: float
    name: str
    pictures: list[Picture]


class TestResults(L.Callback):
    """Write ``test.csv`` into the run's folder, one row a pair, and log the means, which Lightning prints as a table.

    The three pairs of largest hard loss and the three of smallest are written to ``extremes``, source, reference and
    result side by side, and named in the rows' column ``extreme``. Identical pairs, which are no transfer, are among
    them only where there are no others. Weights & Biases gets the rows as a table and as this file, and these pictures.
    Each pair counts once, on however many devices the test ran.
    """

    __test__ = False  # its name would make pytest collect it

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._largest: list[_Shown] = []
        self._smallest: list[_Shown] = []

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget an earlier test."""
        self.rows, self._largest, self._smallest = [], [], []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: TransferBatch,
        batch_idx: int,
        *args: Any,
    ) -> None:
        """Keep a batch's rows, and the pictures of those that are extreme so far."""
        result: BatchResult = outputs
        image = result["image"]
        if image is None:
            return
        self.rows += result["rows"]
        for index, (row, identical) in enumerate(zip(result["rows"], batch.identical.tolist(), strict=True)):
            if self._is_extreme(identical, row["loss"]):
                photos = (batch.source[index], batch.reference[index], image[index])
                shown = _Shown(identical, row["loss"], row["pair"], [draw_lab(photo) for photo in photos])
                self._keep([*self._largest, shown], [*self._smallest, shown])

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Bring together what all processes have, write it and log the means."""
        rows = sorted(gather(self.rows), key=lambda row: row["pair"])
        self._keep(gather(self._largest), gather(self._smallest))
        if not rows:
            return
        pl_module.log_dict({f"test/{name}": mean for name, mean in means(rows).items()}, sync_dist=True)
        folder = run_folder(trainer)
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        extremes = {
            f"{kind}-{number}": shown
            for kind, pairs in (("largest", self._largest), ("smallest", self._smallest))
            for number, shown in enumerate(pairs, start=1)
        }
        names: dict[str, list[str]] = {}
        for name, shown in extremes.items():
            names.setdefault(shown.name, []).append(name)
        rows = [{**row, "extreme": " ".join(names.get(row["pair"], ()))} for row in rows]
        path = folder / "test.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        strips = {name: np.concatenate(shown.pictures, axis=1) for name, shown in extremes.items()}
        for name, strip in strips.items():
            write_picture(strip, folder / "extremes" / f"{name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                kinds = ("source", "reference", "result")
                pictures = {pair.name: dict(zip(kinds, pair.pictures, strict=True)) for pair in extremes.values()}
                log_table(logger, "test/pairs", rows, pictures, trainer.global_step)
                logger.experiment.save(str(path), base_path=str(folder), policy="now")
                logger.log_image("test/extremes", [*strips.values()], step=trainer.global_step, caption=[*strips])
        print(f"{len(rows)} pairs tested, each in {path}")

    def _is_extreme(self, identical: bool, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        if len(self._largest) < EXTREMES:
            return True
        largest, smallest = self._largest[-1], self._smallest[-1]
        return (identical, -loss) < (largest.identical, -largest.loss) or (identical, loss) < smallest[:2]

    def _keep(self, largest: list[_Shown], smallest: list[_Shown]) -> None:
        """Keep the most extreme ones, the most extreme first."""
        self._largest = sorted(largest, key=lambda shown: (shown.identical, -shown.loss, shown.name))[:EXTREMES]
        self._smallest = sorted(smallest, key=lambda shown: (shown.identical, shown.loss, shown.name))[:EXTREMES]
