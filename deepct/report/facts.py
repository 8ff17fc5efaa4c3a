"""What was trained, on what, by which code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepct.networks import NetworkConfig
from deepct.report.figure import Section, Table
from deepct.report.log import as_dict
from deepct.report.runs import Run

_HEADINGS = ["run", "trained", "network", "epochs", "steps", "git commit", "data", "tests", "folder"]
_SHORT = 12  # characters of a hash that tell it from any other here


def facts_section(runs: Sequence[Run]) -> Section:
    """A line for each run."""
    rows = [_list_facts(run) for run in runs]
    bare = [run.name for run in runs if not as_dict(run.config.get("record"))]
    text = [f"Without a record of code and data, as earlier versions logged: {', '.join(bare)}."] if bare else []
    return Section("Trainings", text, tables=[Table("The trainings of this report.", _HEADINGS, rows)])


def _list_facts(run: Run) -> list[str]:
    logged = [series for key, series in run.history.items() if key.startswith(("train/", "val/"))]
    record = as_dict(run.config.get("record"))
    return [
        run.name,
        run.role,
        _name_network(run.network),
        str(max(len(np.unique(series.epochs)) for series in logged)),
        f"{max(int(series.steps[-1]) for series in logged) + 1:,}",
        _name_commit(as_dict(record.get("git"))),
        _name_data(as_dict(record.get("data"))),
        ", ".join(f"{ranking.split} ({len(ranking.rows)} pairs)" for ranking in run.rankings) or "none",
        str(run.folders[0]),
    ]


def _name_network(network: NetworkConfig) -> str:
    if network.kind == "map":
        return "map of colours"
    encoder = "" if network.encoder == "unet" else f" on {network.encoder}"
    return f"U-Net{encoder}{f', stride {network.stride}' if network.stride > 1 else ''}"


def _name_commit(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return "not known"
    return f"{str(git['commit'])[:_SHORT]}{', with changes' if git.get('dirty') else ''}"


def _name_data(data: Mapping[str, Any]) -> str:
    """The fingerprint, which two trainings on the same photos share; where there is none, what else was noted."""
    if data.get("fingerprint"):
        return str(data["fingerprint"])[:_SHORT]
    plain = [f"{key} {value}" for key, value in data.items() if isinstance(value, str | int | float)]
    return ", ".join(plain) or "not known"
