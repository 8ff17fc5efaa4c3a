"""One folder of logs, whatever logger wrote it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Series(NamedTuple):
    """What was logged under one key, in the order of the steps.

    Attributes:
        steps: (N,) the optimizer's steps.
        epochs: (N,) the epochs, counted from 0.
        values: (N,).
    """

    steps: NDArray[np.int64]
    epochs: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass
class Log:
    """What one folder holds of a training or of a test.

    Attributes:
        path: the folder.
        name: what the run is called.
        command: ``fit``, ``test`` or ``validate``.
        id: the run's in W&B; None where it has none.
        config: the whole configuration, empty for a test; under ``record`` what the run noted of itself.
        network: what :class:`deepct.networks.NetworkConfig` is built from.
        history: by key.
        rows: a test's pairs.
        pictures: a test's extremes, by name.
        panels: what a training showed of the demo pairs after its last validation.
        written: when, s; of two logs the newer has the greater.
    """

    path: Path
    name: str
    command: str
    id: str | None
    config: dict[str, Any]
    network: Mapping[str, Any]
    history: dict[str, Series]
    rows: Sequence[Mapping[str, Any]] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    panels: Sequence[Path] = ()
    written: float = 0.0

    @property
    def record(self) -> Mapping[str, Any]:
        """What the run noted of itself; empty in logs of earlier versions."""
        return as_dict(self.config.get("record"))


def as_dict(value: Any) -> dict[str, Any]:
    """A dict as it is; anything else, as half a file may give, as an empty one."""
    return value if isinstance(value, dict) else {}


def make_series(points: Sequence[tuple[int, int, float]]) -> Series:
    """The series of (step, epoch, value): in the order of the steps, the last word on each."""
    last = {step: (step, epoch, value) for step, epoch, value in points}
    steps, epochs, values = zip(*(last[step] for step in sorted(last)), strict=True)
    return Series(np.array(steps, np.int64), np.array(epochs, np.int64), np.array(values, np.float64))


def as_number(text: Any) -> float | None:
    """A cell's number; None where it is empty or holds none. ``nan`` is one: a training can come to that."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def as_count(text: Any) -> int | None:
    """A cell's whole number; None where it holds none."""
    number = as_number(text)
    return int(number) if number is not None and math.isfinite(number) else None


def read_row(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A test's figures of one pair; which pair it is, and whether an extreme one, stay words."""
    return {key: cell if key in ("pair", "extreme") else as_number(cell) for key, cell in cells.items()}


def find_place(path: str | Path, near: Path) -> Path | None:
    """Where a path that a log names lies now.

    Logs name paths as the training saw them, and may have been copied since: the end of the path is looked for beside
    the log, as much of it as there is.

    Args:
        path: as the log has it.
        near: the log's folder.
    """
    named = Path(path)
    if named.exists():
        return named.resolve()
    bases = near.resolve().parents
    tails = [Path(*named.parts[first:]) for first in range(1, len(named.parts) - 1)] if named.is_absolute() else [named]
    return next((base / tail for tail in tails for base in bases if (base / tail).exists()), None)
