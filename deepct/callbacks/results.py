"""The figures of a test: a row for each pair, and their means."""

import csv
from pathlib import Path
from typing import Any

import lightning as L

from deepct.callbacks.gather import gather


class TestResults(L.Callback):
    """Write ``test.csv`` into the run's folder, one row a pair, and log the means, which Lightning prints as a table.

    Each pair counts once, on however many devices the test ran.
    """

    __test__ = False  # its name would make pytest collect it

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget an earlier test."""
        self.rows = []

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Keep a batch's rows."""
        self.rows += outputs["rows"]

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather the rows of all processes, write them and log their means."""
        rows = list({row["pair"]: row for row in gather(self.rows)}.values())
        if not rows:
            return
        rows.sort(key=lambda row: row["pair"])
        figures = [key for key in rows[0] if key != "pair"]
        pl_module.log_dict({f"test/{key}": sum(row[key] for row in rows) / len(rows) for key in figures})
        folder = Path(trainer.log_dir or ".")  # asks all processes
        if trainer.is_global_zero:
            path = folder / "test.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)
            print(f"{len(rows)} pairs tested, each in {path}")
