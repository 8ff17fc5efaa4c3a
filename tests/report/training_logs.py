"""Folders of logs as trainings and tests write them, made by hand."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

EPOCHS, STEPS = 3, 4
TERMS = ("image_loss", "histogram_loss", "multiscale_loss")
NETWORK = {"encoder_widths": [4, 4, 6, 6, 8], "padding": 0, "stride": 2}


def make_config(role: str, teacher: str | None = None) -> dict[str, Any]:
    """The configuration of a fit, as far as a report reads it."""
    settings = {"network": NETWORK, "working_size": 96, **({"teacher": teacher} if role == "Student" else {})}
    return {"seed_everything": 0, "model": {"class_path": f"deepct.modules.{role}", "init_args": settings}}


def make_rows(role: str, scale: float = 1.0) -> list[dict[str, Any]]:
    """What is logged: each step of each epoch, and a validation after each; losses halve with every epoch."""
    key = "hard_loss" if role == "Student" else "loss"
    rows: list[dict[str, Any]] = []
    for epoch in range(EPOCHS):
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            loss = scale * 0.5**epoch * (1.2 if step % 2 else 0.8)
            terms = {f"train/{term}": loss / 3 for term in TERMS}
            rows.append({"epoch": epoch, "step": step, f"train/{key}": loss, "train/delta_e_loss": 0.0, **terms})
        terms = {f"val/{term}": scale * 0.5**epoch / 3 for term in TERMS}
        val = {f"val/{key}": scale * 0.5**epoch, "val/delta_e_loss": 0.0, **terms}
        rows.append({"epoch": epoch, "step": (epoch + 1) * STEPS - 1, **val})
    return rows


def write_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """``metrics.csv`` as Lightning writes it: sparse, a column for each key."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    path = folder / "metrics.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_fit(
    folder: Path,
    role: str = "Teacher",
    rows: Sequence[Mapping[str, Any]] | None = None,
    record: Mapping[str, Any] | None = None,
    teacher: str | None = None,
) -> Path:
    """A training's folder."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("best", "last"):
        (folder / "checkpoints" / f"{name}.ckpt").touch()
    (folder / "config.yaml").write_text("# lightning\n" + yaml.safe_dump(make_config(role, teacher)))
    (folder / "hparams.yaml").write_text(yaml.safe_dump({"network": NETWORK}))
    write_metrics(folder, make_rows(role) if rows is None else rows)
    if record is not None:
        (folder / "record.json").write_text(json.dumps({"command": "fit", "id": None, **record}))
    return folder


def write_test(folder: Path, checkpoint: str | Path, split: str = "train", losses: Sequence[float] = (3, 1, 2)) -> Path:
    """A test's folder: a pair for each loss, pictures for the extremes."""
    (folder / "extremes").mkdir(parents=True)
    (folder / "hparams.yaml").write_text(yaml.safe_dump({"network": NETWORK}))
    (folder / "record.json").write_text(
        json.dumps({"command": "test", "id": None, "checkpoint": str(checkpoint), "split": split})
    )
    with (folder / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pair", "loss", "colors", "labels", "edges", "mirrored_loss", "extreme"])
        for index, loss in enumerate(losses):
            extreme = {max(losses): "largest-1", min(losses): "smallest-1"}.get(loss, "")
            writer.writerow([f"pair{index}", loss, 100 * loss, 2, 0.1 / loss, loss + 0.5, extreme])
    for name in ("largest-1", "smallest-1"):
        Image.fromarray(make_strip()).save(folder / "extremes" / f"{name}.png")
    return folder


def make_strip(side: int = 20) -> np.ndarray:
    """Red, green and blue squares side by side."""
    strip = np.zeros((side, 3 * side, 3), np.uint8)
    for part in range(3):
        strip[:, part * side : (part + 1) * side, part] = 255
    return strip
