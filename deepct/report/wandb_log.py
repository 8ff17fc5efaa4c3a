"""Logs of Weights & Biases, as they lie on the disk: ``runs/wandb/offline-run-DATE-ID``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepct.errors import DataError, DeepctError
from deepct.report.csv_log import RESULTS, read_rows
from deepct.report.log import Log, Series, as_count, as_dict, as_number, make_series, read_row

SUFFIX = ".wandb"
_NOT_UNDERSTOOD = 2  # what command lines exit with that do not know a word
_ADVICE = "pip install -U 'deepct[wandb]'"


def find_wandb_file(path: Path) -> Path | None:
    """The log of a run of W&B: the file itself, or the one in its folder; None where there is none."""
    if path.suffix == SUFFIX and path.is_file():
        return path
    return next(iter(sorted(path.glob(f"*{SUFFIX}"))), None) if path.is_dir() else None


def read_wandb_log(file: Path) -> Log:
    """Read what is whole of the logs of a training, which may still be going on, or of a test.

    Args:
        file: ``run-ID.wandb``, beside a folder ``files``.

    Raises:
        DataError: the file is damaged from its first record on, or is of another project.
        DeepctError: wandb is missing, or too old to read its own files.
    """
    run: dict[str, Any] = {}
    config: dict[str, Any] = {}
    items: list[Mapping[str, Any]] = []
    for record in _read_records(file):
        part = as_dict(record.get(record.get("type", "")))
        if record.get("type") == "run":
            run |= part
            config |= as_dict(as_dict(part.get("config")).get("update"))
        elif record.get("type") == "config":
            config |= as_dict(part.get("update"))
        elif record.get("type") == "history":
            items.append(as_dict(part.get("item")))
    config.pop("_wandb", None)
    network = as_dict(config.pop("network", None))
    record = as_dict(config.get("record"))
    if not run:
        raise DataError(f"{file}: holds no whole record; where the run has just begun, wait a minute")
    if not network and not as_dict(config.get("model")):
        raise DataError(
            f"{file}: no run of deepct; its configuration describes no network of deepct's. Give the folder of a "
            "training that was logged with configs/wandb.yaml"
        )
    rows, pictures = _read_test(items, file.parent / "files")
    return Log(
        path=file.parent,
        name=str(run.get("display_name") or run.get("run_id") or file.stem),
        command=str(record.get("command") or "fit"),
        id=run.get("run_id"),
        config=config,
        network=network,
        history=_make_history(items),
        rows=rows,
        pictures=pictures,
        panels=_find_panels(items, file.parent / "files"),
        written=file.stat().st_mtime,
    )


def _read_records(file: Path) -> list[dict[str, Any]]:
    """Every whole record, by W&B's own reader."""
    if find_spec("wandb") is None:
        raise DeepctError(f"{file}: is read by wandb, which is not installed: {_ADVICE}")
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode == _NOT_UNDERSTOOD:
        raise DeepctError(f"{file}: this version of wandb cannot read it: {_ADVICE}")
    records = []
    for line in done.stdout.splitlines():
        try:
            records.append(as_dict(json.loads(line)))
        except (ValueError, RecursionError):
            break  # the reader stopped within a record
    if done.returncode and not records:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise DataError(f"{file}: wandb cannot read it ({reason[0]}); copy it again from where it was written")
    return records


def _make_history(items: list[Mapping[str, Any]]) -> dict[str, Series]:
    points: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for item in items:
        step = as_count(item.get("trainer/global_step"))
        if step is None:
            continue
        epoch = as_count(item.get("epoch")) or 0
        for key, cell in item.items():
            # After a dot W&B keeps what it knows of a picture or a table.
            if not key.startswith("_") and "." not in key and key not in ("trainer/global_step", "epoch"):
                value = None if isinstance(cell, list | dict) else as_number(cell)
                if value is not None:
                    points[key].append((step, epoch, value))
    return {key: make_series(found) for key, found in points.items()}


def _read_test(items: list[Mapping[str, Any]], files: Path) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """A test's pairs and the pictures of its extremes: the last that were logged."""
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Path] = {}
    for item in items:
        if "test/pairs.path" in item:
            whole = files / RESULTS  # of many pairs the table has some alone
            rows = read_rows(whole) if whole.is_file() else _read_table(files / str(item["test/pairs.path"]))
        if "test/extremes.filenames" in item:
            names = [str(name) for name in item.get("test/extremes.captions") or ()]
            paths = [files / str(name) for name in item["test/extremes.filenames"]]
            pictures = {name: path for name, path in zip(names, paths, strict=False) if path.is_file()}
    return rows, pictures


def _find_panels(items: list[Mapping[str, Any]], files: Path) -> list[Path]:
    """The pictures of the demo pairs that were logged last, as far as they are there."""
    logged = [item["demo_pairs.filenames"] for item in items if "demo_pairs.filenames" in item]
    paths = [files / str(name) for name in (logged[-1] if logged else ())]
    return [path for path in paths if path.is_file()]


def _read_table(path: Path) -> list[dict[str, Any]]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        lines = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: the table of a test cannot be read ({error}); copy the run's folder again") from error
    return [read_row(line) for line in lines]
