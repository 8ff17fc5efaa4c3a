"""Logs of Lightning's CSV logger: ``runs/NAME/version_N``."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from deepct.errors import DataError
from deepct.report.log import Log, Series, as_count, as_dict, as_number, make_series, read_row

METRICS = "metrics.csv"
RESULTS = "test.csv"
RECORD = "record.json"


def read_csv_log(folder: Path) -> Log:
    """Read the logs of a training, which may still be going on, or of a test.

    Args:
        folder: holds ``metrics.csv`` and ``config.yaml``, or ``test.csv``.

    Raises:
        DataError: a file is damaged, or is not of deepct.
    """
    config, record = _read_yaml(folder / "config.yaml"), _read_record(folder / RECORD)
    network = as_dict(_read_yaml(folder / "hparams.yaml").get("network"))
    is_test = (folder / RESULTS).is_file()
    if not network and not as_dict(config.get("model")):
        raise DataError(
            f"{folder}: no logs of deepct; hparams.yaml and config.yaml describe no network of its. Give the folder "
            "of a training, runs/NAME/version_N"
        )
    files = [file for file in (folder / METRICS, folder / RESULTS) if file.is_file()]
    return Log(
        path=folder,
        name=folder.resolve().parent.name,
        command=str(record.get("command") or ("test" if is_test else "fit" if config else "validate")),
        id=record.get("id"),
        config={**config, "record": record} if record else config,
        network=network,
        history=_read_history(folder / METRICS),
        rows=read_rows(folder / RESULTS) if is_test else (),
        pictures={file.stem: file for file in sorted((folder / "extremes").glob("*.png"))},
        panels=sorted((folder / "pictures").glob("demo_pairs-*.png"))[-1:],
        written=max((file.stat().st_mtime for file in files), default=0.0),
    )


def _read_history(path: Path) -> dict[str, Series]:
    points: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for row in _read_cells(path):
        step, epoch = as_count(row.pop("step", None)), as_count(row.pop("epoch", None))
        if step is None:
            continue
        for key, cell in row.items():
            if (value := as_number(cell)) is not None:
                points[key].append((step, epoch or 0, value))
    return {key: make_series(found) for key, found in points.items()}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A test's pairs: their names, and numbers where there are any."""
    return [read_row(row) for row in _read_cells(path)]


def _read_cells(path: Path) -> list[dict[str, str]]:
    """The whole lines of a table; the line that is being written is left."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    headings = lines[0] if lines else []
    return [dict(zip(headings, line, strict=True)) for line in lines[1:] if len(line) == len(headings)]


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return as_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); copy it again from where the training ran"
        ) from error


def _read_record(path: Path) -> dict[str, Any]:
    """What a run noted of itself; logs of earlier versions have none."""
    if not path.is_file():
        return {}
    try:
        return as_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it to go without, or copy it again") from error
