"""Trainings, read from what they logged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from deepct.errors import DataError
from deepct.networks import WORKING_SIZE, NetworkConfig
from deepct.report.csv_log import METRICS, RECORD, RESULTS, read_csv_log
from deepct.report.log import Log, Series, as_dict, find_place, make_series
from deepct.report.wandb_log import find_wandb_file, read_wandb_log

__all__ = ["Ranking", "Run", "Series", "read_runs"]

_ADVICE = "give the folder of a training, runs/NAME/version_N, or of a run of W&B, runs/wandb/offline-run-DATE-ID"


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
        config: the training's whole configuration, as logged, and under ``record`` what it noted of itself, if it did.
        network: the network's shape.
        working_size: see :meth:`deepct.networks.TransferNetwork.recolor`.
        history: what was logged, by key: ``train/image_loss``, ``val/delta_e``, ``schedule/alpha``, ...
        checkpoint: its best one, or its last, where it can be found.
        rankings: tests of it.
        panels: pictures of what it made of the demo pairs after its last validation, one or one for each pair.
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
    panels: Sequence[Path] = ()


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Read trainings, in the order in which they are given, each with the tests of it.

    Logs of one training are merged: those that two loggers wrote, and those of a run that W&B resumed. Tests count to
    the training whose folder holds their checkpoint; those beside the trainings need not be given.

    Args:
        paths: folders ``runs/NAME/version_N``, or ``runs/NAME``, which stands for the newest training in it; folders of
            runs of W&B, or the ``.wandb`` files in them.

    Raises:
        DataError: a folder is missing, or holds no logs of deepct, or no losses; or a test is of no training here.
        DeepctError: wandb is missing, or too old, to read its own files.
    """
    logs = list({log.path.resolve(): log for log in map(_read_log, paths)}.values())
    trainings: dict[str, list[Log]] = {}
    for log in logs:
        if log.command == "fit":
            trainings.setdefault(log.id or str(log.path.resolve()), []).append(log)
        elif log.command != "test":
            raise DataError(f"{log.path}: the logs of deepct {log.command}, neither a training nor a test; {_ADVICE}")
    runs = [_merge(training) for training in trainings.values()]
    given = [log for log in logs if log.command == "test"]
    for test in given:
        if not any(_is_of(test, run) for run in runs):
            raise DataError(f"{test.path}: a test of {_tested(test)}; give the folder of its training too")
    for run in runs:
        tests = [test for test in (*_tests_beside(run, [log.path for log in logs]), *given) if _is_of(test, run)]
        newest = {_split(test): test for test in sorted(tests, key=lambda test: test.written)}
        run.rankings = [Ranking(split, test.rows, test.pictures) for split, test in newest.items()]
    _tell_apart(runs)
    return runs


def _read_log(given: str | Path) -> Log:
    path = Path(given)
    if not path.exists():
        raise DataError(f"{path}: there is no such folder; {_ADVICE}")
    if not path.is_dir() and find_wandb_file(path) is None:
        raise DataError(f"{path}: is a file, and no .wandb; {_ADVICE}")
    if any((path / name).is_file() for name in (METRICS, RESULTS, RECORD, "config.yaml")):
        return read_csv_log(path)
    file = find_wandb_file(path)
    if file is not None:
        return read_wandb_log(file)
    versions = [child for child in path.glob("version_*") if child.name.removeprefix("version_").isdigit()]
    for version in sorted(versions, key=lambda child: -int(child.name.removeprefix("version_"))):
        if (version / "config.yaml").is_file():  # of trainings alone
            return read_csv_log(version)
    if versions:
        raise DataError(f"{path}: none of its {len(versions)} versions is a training; {_ADVICE}")
    what = "holds no logs of a training" if any(path.iterdir()) else "is empty"
    raise DataError(f"{path}: {what}; {_ADVICE}")


def _merge(logs: list[Log]) -> Run:
    """One training of its logs; of two words on one step the newer one counts."""
    first = next((log for log in logs if find_wandb_file(log.path) is None), logs[0])
    by_age = sorted(logs, key=lambda log: log.written)
    config = {key: value for log in by_age for key, value in log.config.items()}
    network = next((log.network for log in reversed(by_age) if log.network), {})
    model = as_dict(config.get("model"))
    settings = as_dict(model.get("init_args"))
    role = str(model.get("class_path", "")).rpartition(".")[2].lower()
    if role not in ("teacher", "student"):
        found = f"trains {model['class_path']}" if model.get("class_path") else "does not say what is trained"
        raise DataError(f"{first.path}: its configuration {found}, neither a Teacher nor a Student; {_ADVICE}")
    history = _unite([log.history for log in by_age])
    if not any(key.startswith(("train/", "val/")) and key.endswith("loss") for key in history):
        raise DataError(
            f"{first.path}: no losses were logged; where the training has just begun, wait until it has logged some, "
            "otherwise give another"
        )
    folders = [log.path for log in logs]
    for log in logs:
        place = find_place(log.record["folder"], log.path) if log.record.get("folder") else None
        if place is not None and place not in [folder.resolve() for folder in folders]:
            folders.append(place)
    return Run(
        name=first.name,
        role="teacher" if role == "teacher" else "student",
        folders=folders,
        config=config,
        network=_make_network(first.path, network or as_dict(settings.get("network"))),
        working_size=settings.get("working_size", WORKING_SIZE),
        history=history,
        checkpoint=_find_checkpoint(folders),
        rankings=[],
        panels=next((log.panels for log in reversed(by_age) if log.panels), ()),
    )


def _unite(histories: Sequence[Mapping[str, Series]]) -> dict[str, Series]:
    points: dict[str, list[tuple[int, int, float]]] = {}
    for history in histories:
        for key, series in history.items():
            points.setdefault(key, []).extend(
                zip(series.steps.tolist(), series.epochs.tolist(), series.values.tolist(), strict=True)
            )
    return {key: make_series(found) for key, found in points.items()}


def _make_network(path: Path, described: Mapping[str, Any]) -> NetworkConfig:
    if not described:
        raise DataError(f"{path}: does not describe its network; copy hparams.yaml too from where the training ran")
    try:
        return NetworkConfig(**described)
    except TypeError as error:
        raise DataError(
            f"{path}: describes a network that this version of deepct cannot build ({error}); use the version that "
            "trained it"
        ) from error


def _find_checkpoint(folders: Iterable[Path]) -> Path | None:
    found = [file for folder in folders for file in (folder / "checkpoints").glob("*.ckpt")]
    return max(found, key=lambda file: (not file.stem.startswith("last"), file.stat().st_mtime), default=None)


def _tests_beside(run: Run, known: Sequence[Path]) -> list[Log]:
    """The tests that lie where the run's logs do; one that cannot be read was not asked for."""
    places = {folder.resolve().parent.parent for folder in run.folders}
    files = [file for place in sorted(places) for file in sorted(place.glob(f"*/version_*/{RESULTS}"))]
    read = {path.resolve() for path in known}
    tests = []
    for folder in (file.parent for file in files):
        if folder in read or not (folder / RECORD).is_file():
            continue
        try:
            tests.append(read_csv_log(folder))
        except DataError:
            continue
    return tests


def _is_of(test: Log, run: Run) -> bool:
    """The run's folder holds the checkpoint that was tested, or held it: better ones take a checkpoint's place."""
    named = test.record.get("checkpoint")
    if test.command != "test" or not named:
        return False
    logged = as_dict(run.config.get("record")).get("folder")
    if logged and Path(named).is_relative_to(logged):
        return True
    place = find_place(named, test.path) or find_place(Path(named).parent, test.path)
    return place is not None and any(folder.resolve() in place.parents for folder in run.folders)


def _tested(test: Log) -> str:
    """What was tested, for an error."""
    return str(test.record.get("checkpoint") or "a checkpoint that it does not name (test again to have it named)")


def _split(test: Log) -> str:
    return str(test.record.get("split") or "test")


def _tell_apart(runs: Sequence[Run]) -> None:
    """Give runs of one name the names of their folders, and numbers where that is not enough."""
    shared = {name for name, count in Counter(run.name for run in runs).items() if count > 1}
    for run in runs:
        if run.name in shared:
            run.name = f"{run.name} {run.folders[0].name}"
    seen: Counter[str] = Counter()
    for run in runs:
        stem = re.sub(r"\W+", "-", run.name)
        seen[stem] += 1
        if seen[stem] > 1:
            run.name = f"{run.name} ({seen[stem]})"
