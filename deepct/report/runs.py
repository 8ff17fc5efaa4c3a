"""Trainings, read from what they logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepct.networks import NetworkConfig


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


class Ranking(NamedTuple):
    """What ``deepct test`` wrote of a network.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        rows: for each pair its name (``pair``), losses, measures and reading.
        pictures: source, reference and result side by side, one file for each of the extremes, by the names
            ``largest-1`` to ``largest-3`` and ``smallest-1`` to ``smallest-3``.
    """

    split: str
    rows: Sequence[Mapping[str, Any]]
    pictures: Mapping[str, Path]


@dataclass
class Run:
    """One training.

    Attributes:
        name: what it is called in the report.
        role: what was trained.
        folders: where it was read from.
        config: the training's whole configuration, as logged.
        network: the network's shape.
        working_size: see :meth:`deepct.networks.TransferNetwork.recolor`.
        history: what was logged, by key: ``train/image_loss``, ``val/delta_e``, ``schedule/alpha``, ...
        checkpoint: its best one, or its last, where it can be found.
        rankings: tests of it.
    """

    name: str
    role: Literal["teacher", "student"]
    folders: list[Path]
    config: dict[str, Any]
    network: NetworkConfig
    working_size: int | None
    history: dict[str, Series]
    checkpoint: Path | None
    rankings: list[Ranking]
