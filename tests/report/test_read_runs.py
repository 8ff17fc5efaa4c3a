import json
import os
import shutil
from pathlib import Path

import pytest
from training_logs import EPOCHS, STEPS, make_rows, write_fit, write_metrics, write_test

from deepct.errors import DataError
from deepct.report.runs import read_runs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths in logs are not relative to where the report is made."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


def test_a_training_is_read_whole(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "runs/big/version_0", "Student", record={"git": {"commit": "abc", "dirty": False}})
    (run,) = read_runs([folder])
    assert (run.name, run.role, run.working_size, run.folders) == ("big", "student", 96, [folder])
    assert run.network.stride == 2
    assert run.config["record"]["git"]["commit"] == "abc"
    assert run.config["model"]["class_path"] == "deepct.modules.Student"
    loss = run.history["train/hard_loss"]
    assert loss.steps.tolist() == list(range(EPOCHS * STEPS))
    assert loss.epochs.tolist() == [step // STEPS for step in range(EPOCHS * STEPS)]
    assert loss.values[:2].tolist() == [0.8, 1.2]
    assert run.history["val/hard_loss"].values.tolist() == [1.0, 0.5, 0.25]
    assert not {"step", "epoch"} & run.history.keys()
    assert run.rankings == []


def test_a_training_without_a_record_is_read_too(tmp_path: Path) -> None:
    (run,) = read_runs([str(write_fit(tmp_path / "runs/old/version_0"))])
    assert run.role == "teacher"
    assert "record" not in run.config


def test_the_newest_checkpoint_is_taken_and_the_last_one_only_where_it_is_alone(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "runs/big/version_0")
    newer = folder / "checkpoints/best-v1.ckpt"
    newer.touch()
    os.utime(folder / "checkpoints/best.ckpt", (1, 1))
    assert read_runs([folder])[0].checkpoint == newer
    newer.unlink()
    assert read_runs([folder])[0].checkpoint == folder / "checkpoints/best.ckpt"
    (folder / "checkpoints/best.ckpt").unlink()
    assert read_runs([folder])[0].checkpoint == folder / "checkpoints/last.ckpt"
    (folder / "checkpoints/last.ckpt").unlink()
    assert read_runs([folder])[0].checkpoint is None


def test_a_folder_of_versions_stands_for_its_newest_training(tmp_path: Path) -> None:
    for version in (2, 9, 10):
        write_fit(tmp_path / f"runs/big/version_{version}")
    write_test(tmp_path / "runs/big/version_11", "runs/big/version_9/checkpoints/best.ckpt")
    (run,) = read_runs([tmp_path / "runs/big"])
    assert run.folders == [tmp_path / "runs/big/version_10"]
    assert run.rankings == []


def test_tests_beside_a_training_are_found_by_their_checkpoint(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "runs/big/version_0")
    other = write_fit(tmp_path / "runs/small/version_0")
    write_test(tmp_path / "runs/big/version_1", "runs/big/version_0/checkpoints/best.ckpt", "val")
    write_test(tmp_path / "runs/test/version_0", folder / "checkpoints/last.ckpt", "train")
    shutil.copytree(tmp_path / "runs/big/version_1", tmp_path / "runs/broken/version_0")
    (tmp_path / "runs/broken/version_0/record.json").write_text("{")
    runs = read_runs([folder, other])
    assert sorted(ranking.split for ranking in runs[0].rankings) == ["train", "val"]
    assert runs[1].rankings == []
    ranking = runs[0].rankings[0]
    assert ranking.rows[0] == {
        "pair": "pair0", "loss": 3.0, "colors": 300.0, "labels": 2.0, "edges": 0.1 / 3, "mirrored_loss": 3.5,
        "extreme": "largest-1",
    }  # fmt: skip
    assert sorted(ranking.pictures) == ["largest-1", "smallest-1"]


def test_the_newest_test_of_each_split_counts_even_of_a_checkpoint_that_is_gone(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "runs/big/version_0")
    for version, losses in ((1, [1, 2, 3]), (2, [7, 8, 9]), (3, [4, 5, 6])):
        test = write_test(
            tmp_path / f"runs/big/version_{version}", "runs/big/version_0/checkpoints/e.ckpt", losses=losses
        )
        os.utime(test / "test.csv", (version % 3, version % 3))
    (ranking,) = read_runs([folder])[0].rankings
    assert [row["loss"] for row in ranking.rows] == [7, 8, 9]


def test_tests_are_found_where_the_logs_were_copied(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "copied/runs/big/version_0")
    write_fit(tmp_path / "copied/runs/small/version_0")
    write_test(tmp_path / "copied/runs/small/version_1", "/gone/runs/big/version_0/checkpoints/best.ckpt")
    assert [ranking.split for ranking in read_runs([folder])[0].rankings] == ["train"]
    assert read_runs([tmp_path / "copied/runs/small"])[0].rankings == []


def test_a_test_is_given_with_its_training_or_refused(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "a/runs/big/version_0")
    test = write_test(tmp_path / "b/runs/big/version_0", folder / "checkpoints/best.ckpt")
    (run,) = read_runs([test, folder])
    assert [ranking.split for ranking in run.rankings] == ["train"]
    with pytest.raises(
        DataError, match=r"b/runs/big/version_0: a test of .*best.ckpt; give the folder of its training"
    ):
        read_runs([test])
    (test / "record.json").unlink()
    with pytest.raises(DataError, match=r"a test of a checkpoint that it does not name \(test again"):
        read_runs([test, folder])


def test_names_are_made_unique(tmp_path: Path) -> None:
    folders = [write_fit(tmp_path / f"{place}/big/version_{n}") for place, n in (("a", 0), ("a", 1), ("b", 1))]
    assert [run.name for run in read_runs([*folders, folders[0]])] == [
        "big version_0",
        "big version_1",
        "big version_1 (2)",
    ]


def test_a_line_that_is_being_written_is_left(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "runs/big/version_0")
    path = folder / "metrics.csv"
    text = path.read_text()
    for cut in (len(text) - 3, len(text) - 30):
        path.write_text(text[:cut])
        history = read_runs([folder])[0].history
        assert history["val/loss"].values.tolist() == [1.0, 0.5]
        assert len(history["train/loss"].values) == EPOCHS * STEPS


def test_of_two_words_on_one_step_the_last_counts(tmp_path: Path) -> None:
    rows = [
        *make_rows("Teacher"),
        {"epoch": 1, "step": 5, "train/loss": 7.0},
        {"epoch": 1, "step": "nan", "train/loss": 8.0},
    ]
    loss = read_runs([write_fit(tmp_path / "runs/big/version_0", rows=rows)])[0].history["train/loss"]
    assert loss.steps.tolist() == list(range(EPOCHS * STEPS))
    assert loss.values[5] == 7.0


def no_folder(tmp_path: Path) -> None:
    pass


def empty_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()


def a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a")


def a_folder_of_photos(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "photo.jpg").touch()


def tests_alone(tmp_path: Path) -> None:
    write_test(tmp_path / "run/version_0", "x/y/z.ckpt")


def another_project(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_metrics(tmp_path / "run", [{"epoch": 0, "step": 0, "accuracy": 1.0}])
    (tmp_path / "run" / "hparams.yaml").write_text("lr: 0.1\n")


def another_model(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "run")
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("deepct.modules.Teacher", "other.Classifier"))


def another_version(tmp_path: Path) -> None:
    (write_fit(tmp_path / "run") / "hparams.yaml").write_text("network: {depth: 3}\n")


def no_network(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "run")
    (folder / "hparams.yaml").unlink()
    (folder / "config.yaml").write_text("model: {class_path: deepct.modules.Student, init_args: {network: null}}\n")


def no_losses(tmp_path: Path) -> None:
    write_fit(tmp_path / "run", rows=[{"epoch": 0, "step": 0, "schedule/alpha": 0.5}])


def a_header_alone(tmp_path: Path) -> None:
    (write_fit(tmp_path / "run") / "metrics.csv").write_text("epoch,step,train/loss\n")


def half_a_header(tmp_path: Path) -> None:
    (write_fit(tmp_path / "run") / "metrics.csv").write_text("epoch,step,train/lo")


def half_a_configuration(tmp_path: Path) -> None:
    (write_fit(tmp_path / "run") / "config.yaml").write_text("model: {class_path: [")


def half_a_record(tmp_path: Path) -> None:
    (write_fit(tmp_path / "run") / "record.json").write_text('{"command"')


def a_validation(tmp_path: Path) -> None:
    write_fit(tmp_path / "run", record={"command": "validate"})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_folder, r"run: there is no such folder; give the folder of a training"),
        (empty_folder, r"run: is empty; give the folder of a training"),
        (a_file, r"run: is a file, and no .wandb; give"),
        (a_folder_of_photos, r"run: holds no logs of a training; give"),
        (tests_alone, r"run: none of its 1 versions is a training; give"),
        (another_project, r"run: no logs of deepct; .* Give the folder of a training"),
        (another_model, r"run: its configuration trains other.Classifier, neither a Teacher nor a Student; give"),
        (another_version, r"run: describes a network that this version of deepct cannot build .*'depth'.*; use the"),
        (no_network, r"run: does not describe its network; copy hparams.yaml too"),
        (no_losses, r"run: no losses were logged; where the training has just begun, wait"),
        (a_header_alone, r"run: no losses were logged; where"),
        (half_a_header, r"run: no losses were logged; where"),
        (half_a_configuration, r"config.yaml: cannot be read .*; copy it again"),
        (half_a_record, r"record.json: cannot be read .*; delete it"),
        (a_validation, r"run: the logs of deepct validate, neither a training nor a test; give"),
    ],
)
def test_what_cannot_be_used_is_refused_with_advice(make: object, says: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=says):
        read_runs([tmp_path / "run"])


def test_a_record_that_is_no_object_is_none(tmp_path: Path) -> None:
    folder = write_fit(tmp_path / "runs/big/version_0")
    (folder / "record.json").write_text(json.dumps([1]))
    assert "record" not in read_runs([folder])[0].config
