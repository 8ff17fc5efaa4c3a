"""What a training logs to Weights & Biases, read back with its own reader, and the dashboard that shows it."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepct.callbacks.record import git_state
from deepct.cli import main
from deepct.dashboard import LOSSES, PACE, SCHEDULE, build_workspace, dashboard
from deepct.errors import DeepctError
from deepct.report.runs import read_runs

wandb = pytest.importorskip("wandb")

CONF = Path(__file__).parent / "conf"
TERMS = ("loss", "image_loss", "histogram_loss", "multiscale_loss", "delta_e_loss")
STAGES = ("train", "val")
BOTH = {
    *(f"{stage}/{key}" for stage in STAGES for key in (*TERMS, "delta_e")),
    *(
        f"schedule/{key}"
        for key in ("lr", "lambda_histogram", "lambda_multiscale", "lambda_delta_e", "identical_weight")
    ),
    "pace/photos_per_second",
    "pace/data_share",
    "memory/host_gib",
    "epoch",
    "trainer/global_step",
    "demo_pairs",
    "val/pairs",
    "val/labels",
}
STUDENTS = {
    "schedule/alpha",
    *(f"{stage}/{key}" for stage in STAGES for key in ("hard_loss", *(f"soft_{term}" for term in TERMS))),
    *(f"{stage}/teacher_{term}" for stage in STAGES for term in TERMS),
}
TESTS = {
    f"test/{key}" for key in (*TERMS, "mirrored_loss", "psnr", "ssim", "delta_e_mean", "colors", "labels", "edges")
}
TESTS |= {"test/pairs", "test/extremes"}
CALLBACKS = """
trainer:
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: best, monitor: val/image_loss, save_last: true}
    - class_path: deepct.callbacks.ValidationPairs
      init_args: {pictures: 2}
    - class_path: deepct.callbacks.DemoPanels
      init_args: {size: 32}
"""


def run(command: str, conf: str, root: Path, *more: str | Path) -> None:
    Path("callbacks.yaml").write_text(CALLBACKS)
    configs = [CONF / "base.yaml", CONF / f"{conf}.yaml", "callbacks.yaml", "configs/wandb.yaml"]
    words = [command, *(word for path in configs for word in ("--config", path)), "--data.root", root, *more]
    assert main([str(word) for word in words]) == 0


def records(folder: Path) -> list[dict[str, Any]]:
    """What an offline run holds, as ``wandb`` itself reads it."""
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    return [json.loads(line) for line in lines]


def logged(folder: Path) -> set[str]:
    """The keys of a run's history; those of pictures and tables without what W&B keeps of them."""
    keys = {key for record in records(folder) if record["type"] == "history" for key in record["history"]["item"]}
    return {key.split("._type")[0] for key in keys if "." not in key or key.endswith("._type")}


def missing(promised: Iterable[str], folder: Path) -> list[str]:
    return sorted({*promised} - logged(folder))


@pytest.fixture(scope="module")
def runs(fivek_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher's and a student's training and a test, offline: their folders by what they are; ``home`` holds all."""
    home = tmp_path_factory.mktemp("wandb")
    found: dict[str, Path] = {"home": home}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(home / "data"))

        def keep(name: str) -> None:
            found[name] = next(path for path in home.glob("runs/wandb/offline-run-*") if path not in found.values())

        run("fit", "teacher", fivek_root)
        keep("teacher")
        teacher = home / "runs" / "run" / "version_0" / "checkpoints" / "best.ckpt"
        run("fit", "student", fivek_root, "--model.teacher", teacher)
        keep("student")
        student = Path("runs", "run", "version_1", "checkpoints", "last.ckpt")
        run("test", "student", fivek_root, "--ckpt_path", student, "--data.split", "train")
        keep("test")
        more = ("--ckpt_path", student, "--model.teacher", teacher, "--trainer.max_epochs", "2")
        run("fit", "student", fivek_root, *more)
        keep("resumed")
    return found


def test_a_training_logs_every_promised_key(runs: dict[str, Path]) -> None:
    assert missing(BOTH, runs["teacher"]) == []
    assert missing(BOTH | STUDENTS, runs["student"]) == []
    assert missing(TESTS, runs["test"]) == []
    assert missing(STUDENTS, runs["teacher"]) == sorted(STUDENTS)  # so a key that is not logged is missed


def test_a_run_knows_its_whole_configuration_and_what_it_was_made_from(runs: dict[str, Path]) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(runs["student"])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for text in ("deepct.modules.Student", "lambda_histogram", "fingerprint", "batch_size"):
        assert text in shown
    record = json.loads((runs["home"] / "runs" / "run" / "version_1" / "record.json").read_text())
    assert record["id"] == runs["student"].name.rpartition("-")[2]
    assert record["git"] == git_state()
    assert record["data"]["pairs"] == {"train": 20, "val": 20, "test": 20}
    test = json.loads((runs["home"] / "runs" / "run" / "version_2" / "record.json").read_text())
    assert (test["command"], test["split"]) == ("test", "train")
    folder = runs["home"] / "runs" / "run" / "version_1"
    assert test["checkpoint"] == str((folder / "checkpoints" / "last.ckpt").resolve())
    assert test["data"] == record["data"]


def test_a_run_resumes_under_its_own_id(runs: dict[str, Path]) -> None:
    ids = {name: path.name.rpartition("-")[2] for name, path in runs.items() if name != "home"}
    assert ids["resumed"] == ids["student"]
    assert len({ids["teacher"], ids["student"], ids["test"]}) == 3
    steps = [
        record["history"]["item"]["trainer/global_step"]
        for record in records(runs["resumed"])
        if record["type"] == "history"
    ]
    assert min(steps) >= 2  # the first training ended after two steps


def test_the_pictures_of_an_offline_run_are_with_it(runs: dict[str, Path]) -> None:
    for record in records(runs["student"]):
        for file in record.get("files", {}).get("files", []):
            assert (runs["student"] / "files" / file["path"]).is_file()
        for content in record.get("artifact", {}).get("manifest", {}).get("contents", []):
            assert Path(content["local_path"]).is_relative_to(runs["home"])
            assert Path(content["local_path"]).is_file()


def test_the_dashboard_shows_what_trainings_log_and_nothing_else(runs: dict[str, Path]) -> None:
    pytest.importorskip("wandb_workspaces")
    view = json.dumps(build_workspace("me", "deepct", ["abc"])._to_model().model_dump(by_alias=True, mode="json"))
    keys = logged(runs["student"]) | logged(runs["test"])
    shown = {f"schedule/{key}" for key in SCHEDULE} | {*PACE} | {f"{stage}/{key}" for stage in STAGES for key in LOSSES}
    assert shown - {"memory/device_gib"} <= keys
    assert all(f'"{key}"' in view for key in shown)
    assert all(key in view for key in BOTH | STUDENTS if key != "epoch")
    dashed = [f"abc:{stage}/teacher_{term}" for stage in STAGES for term in TERMS]
    assert all(f'"{line}": "dashed"' in view for line in dashed)


def test_a_dashboard_without_a_login_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: False)
    with pytest.raises(DeepctError, match="wandb login"):
        dashboard("deepct")


def test_a_dashboard_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: True)

    def refuse() -> None:
        raise wandb.errors.CommError("no such host")

    monkeypatch.setattr(wandb, "Api", refuse)
    with pytest.raises(DeepctError, match="no such host"):
        dashboard("deepct")


def test_checkpoints_go_online_and_only_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepct.loggers import WandbLogger

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert WandbLogger(save_dir=str(tmp_path))._log_model
    assert not WandbLogger(save_dir=str(tmp_path), offline=True)._log_model
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not WandbLogger(save_dir=str(tmp_path))._log_model


def test_a_checkpoint_keeps_the_runs_id_and_nothing_more(runs: dict[str, Path]) -> None:
    path = runs["home"] / "runs" / "run" / "version_1" / "checkpoints" / "last.ckpt"
    kept = torch.load(path, weights_only=True)["callbacks"]["RunRecord"]
    assert kept == {"wandb_id": runs["student"].name.rpartition("-")[2]}


def test_a_report_reads_csv_and_dashboard_alike(runs: dict[str, Path]) -> None:
    versions = [runs["home"] / "runs" / "run" / f"version_{number}" for number in range(4)]
    from_csv = read_runs(versions[:2])
    from_wandb = read_runs([runs["teacher"], runs["student"], runs["test"]])
    merged = read_runs([*versions, *(path for name, path in runs.items() if name != "home")])
    assert [run.role for run in from_csv] == [run.role for run in from_wandb] == ["teacher", "student"]
    assert all(run.name.startswith("run ") for run in from_wandb)  # as the folder is called
    assert [len(run.panels) for run in (*from_csv, *from_wandb)] == [1, 1, 4, 4]
    for one, other in zip(from_csv, from_wandb, strict=True):
        assert one.network == other.network
        assert set(one.history) == set(other.history)
        for key, series in one.history.items():
            assert series.values.tolist() == pytest.approx(other.history[key].values.tolist(), rel=1e-6)
            assert series.steps.tolist() == other.history[key].steps.tolist()
        assert one.config["model"] == other.config["model"]
        assert one.config["record"]["git"] == other.config["record"]["git"]
    for student in (from_csv[1], from_wandb[1], merged[1]):
        (ranking,) = student.rankings
        assert ranking.split == "train"
        assert len(ranking.rows) == 20
        assert len(ranking.pictures) == 6
    assert [len(run.folders) for run in merged] == [2, 4]  # the student's two trainings in a row are one
    assert merged[1].history["train/loss"].steps.max() > from_csv[1].history["train/loss"].steps.max()
    assert merged[1].checkpoint is not None
