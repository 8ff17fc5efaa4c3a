import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from training_logs import EPOCHS, NETWORK, STEPS, make_config, make_rows, make_strip, write_fit

from deepct.errors import DataError, DeepctError
from deepct.report import wandb_log
from deepct.report.runs import read_runs

wandb = pytest.importorskip("wandb", minversion="0.31")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def log(
    folder: Path,
    id: str,
    rows: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    name: str | None = None,
    media: Mapping[str, Any] | None = None,
) -> Path:
    """One offline run, logged as Lightning's logger does it.

    Returns:
        Its folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(mode="offline", dir=folder, id=id, name=name, project="deepct", settings=settings)
    run.config.update(make_config("Student") if config is None else config, allow_val_change=True)
    if config is None:
        run.config.update({"network": NETWORK}, allow_val_change=True)
    if record is not None:
        run.config.update({"record": {"command": "fit", "id": id, **record}}, allow_val_change=True)
    for row in rows:
        values = {key: value for key, value in row.items() if key != "step"}
        run.log({**values, "trainer/global_step": row["step"]})
    if media:
        run.log({**media, "trainer/global_step": 0})
    place = Path(run.dir).parent
    run.finish()
    return place


def test_a_run_is_read_as_its_csv_twin_is(tmp_path: Path) -> None:
    record = {"git": {"commit": "abc", "dirty": True}, "data": {"fingerprint": "f"}}
    rows = make_rows("Student")
    rows[0]["train/hard_loss"] = float("nan")
    place = log(tmp_path / "runs", "one", rows, name="rosy", record=record)
    (run,) = read_runs([place])
    (twin,) = read_runs([write_fit(tmp_path / "runs/csv/version_0", "Student", rows, {**record, "id": "one"})])
    assert (run.name, run.role, run.working_size, run.network) == ("rosy", "student", 96, twin.network)
    assert run.config == twin.config
    assert run.history.keys() == twin.history.keys()
    for key, series in run.history.items():
        assert [column.tolist() for column in series[:2]] == [column.tolist() for column in twin.history[key][:2]]
        assert series.values == pytest.approx(twin.history[key].values, nan_ok=True)


def test_the_file_itself_and_the_folder_of_an_online_run_are_read_too(tmp_path: Path) -> None:
    place = log(tmp_path / "runs", "one", make_rows("Student"))
    file = next(place.glob("*.wandb"))
    online = place.with_name("run-20260101_000000-two")
    shutil.copytree(place, online)
    assert read_runs([file, place])[0].folders == [place]
    assert read_runs([online])[0].role == "student"


def test_the_logs_of_two_loggers_are_one_training(tmp_path: Path) -> None:
    rows = make_rows("Student")
    folder = write_fit(tmp_path / "runs/csv/version_0", "Student", rows[:7], {"id": "one"})
    place = log(tmp_path / "runs", "one", rows, name="rosy", record={"folder": "runs/csv/version_0"})
    (run,) = read_runs([place, folder])
    assert run.name == "csv"
    assert run.folders == [place, folder]
    assert run.history["train/hard_loss"].steps.tolist() == list(range(EPOCHS * STEPS))


def test_a_resumed_run_is_one_training_and_its_newer_logs_count(tmp_path: Path) -> None:
    later = [
        row | {"train/hard_loss": 9.0} for row in make_rows("Student") if row["epoch"] and "train/hard_loss" in row
    ]
    first = log(tmp_path / "a", "one", make_rows("Student")[:8])
    second = log(tmp_path / "b", "one", later)
    (run,) = read_runs([second, first])
    loss = run.history["train/hard_loss"]
    assert loss.steps.tolist() == list(range(EPOCHS * STEPS))
    assert loss.values.tolist() == [0.8, 1.2, 0.8, 1.2, *[9.0] * 8]
    assert run.history["val/hard_loss"].values.tolist() == [1.0]


def test_checkpoints_are_found_in_the_folder_that_the_record_names(tmp_path: Path) -> None:
    place = log(tmp_path / "runs", "one", make_rows("Student"), record={"folder": "runs/deepct/one"})
    assert read_runs([place])[0].checkpoint is None
    checkpoint = tmp_path / "runs/deepct/one/checkpoints/best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    (run,) = read_runs([place])
    assert run.checkpoint == checkpoint
    assert run.folders == [place, tmp_path / "runs/deepct/one"]


@pytest.mark.parametrize("folder", ["runs/deepct/one", "/gone/runs/deepct/one"])
def test_a_test_becomes_a_ranking_of_its_training(folder: str, tmp_path: Path) -> None:
    training = log(tmp_path / "runs", "one", make_rows("Student"), record={"folder": folder})
    table = wandb.Table(columns=["pair", "loss", "labels"], data=[["a", 0.25, 3], ["b", 0.5, None]])
    images = [wandb.Image(make_strip(), caption=name) for name in ("largest-1", "smallest-1")]
    test = log(
        tmp_path / "runs",
        "two",
        config={"network": NETWORK},
        record={"command": "test", "checkpoint": f"{folder}/checkpoints/best.ckpt", "split": "val"},
        media={"test/pairs": table, "test/extremes": images},
    )
    with pytest.raises(DataError, match="give the folder of its training too"):
        read_runs([test])
    (tmp_path / "runs/deepct/one/checkpoints").mkdir(parents=True)
    (run,) = read_runs([training, test])
    (ranking,) = run.rankings
    assert ranking.split == "val"
    assert ranking.rows == [{"pair": "a", "loss": 0.25, "labels": 3.0}, {"pair": "b", "loss": 0.5, "labels": None}]
    assert sorted(ranking.pictures) == ["largest-1", "smallest-1"]
    assert all(path.is_file() for path in ranking.pictures.values())
    next((test / "files").rglob("*.table.json")).write_text("{")
    with pytest.raises(DataError, match="the table of a test cannot be read"):
        read_runs([training, test])


def test_what_is_whole_of_a_log_is_read(tmp_path: Path) -> None:
    file = next(log(tmp_path / "runs", "one", make_rows("Student")).glob("*.wandb"))
    whole = file.read_bytes()
    lengths = []
    for share in (0.95, 0.8):
        file.write_bytes(whole[: int(len(whole) * share)])
        lengths.append(len(read_runs([file])[0].history["train/hard_loss"].steps))
    assert EPOCHS * STEPS >= lengths[0] > lengths[1] > 0


def test_what_cannot_be_used_is_refused_with_advice(tmp_path: Path) -> None:
    file = next(log(tmp_path / "runs", "one", make_rows("Student")).glob("*.wandb"))
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"run-one.wandb: holds no whole record; .* wait a minute"):
        read_runs([file])
    file.write_bytes(b"no log at all")
    with pytest.raises(DataError, match=r"run-one.wandb: wandb cannot read it \(.*\); copy it again"):
        read_runs([file])
    other = log(tmp_path / "other", "two", [{"step": 0, "accuracy": 1.0}], config={"lr": 0.1})
    with pytest.raises(DataError, match=r"run-two.wandb: no run of deepct; .* Give the folder"):
        read_runs([other])
    bare = log(tmp_path / "bare", "three")
    with pytest.raises(DataError, match=r"-three: no losses were logged; .* wait"):
        read_runs([bare])


def test_wandb_that_is_missing_or_too_old_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run-one.wandb").touch()
    old = subprocess.CompletedProcess([], 2, "", "Usage: wandb\n\nError: No such command 'leet'.\n")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *args, **kwargs: old)
        with pytest.raises(DeepctError, match=r"this version of wandb cannot .*: pip install -U 'deepct\[wandb\]'"):
            read_runs([tmp_path])
    monkeypatch.setattr(wandb_log, "find_spec", lambda name: None)
    with pytest.raises(DeepctError, match=r"wandb, which is not installed: pip install -U 'deepct\[wandb\]'"):
        read_runs([tmp_path])
