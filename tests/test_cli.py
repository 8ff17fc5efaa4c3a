"""Every command in process, on tiny networks and tiny photos."""

import csv
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from official_beit import write_official
from PIL import Image

from deepct.cli import COMMANDS, main, resolve_configs
from deepct.data.folder import FolderDataModule
from deepct.modules.student import FrozenTeacher
from deepct.networks import ColorTransferNetwork, checkpoint, load_network
from deepct.runner import DeepctCLI

CONF = Path(__file__).parent / "conf"
TEACHERS = sorted(path.stem for path in CONF.glob("teacher*.yaml"))
STUDENTS = sorted(path.stem for path in CONF.glob("student*.yaml"))
TERMS = ("image", "histogram", "multiscale", "delta_e")
PANELS = """
trainer:
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {save_last: true}
    - class_path: deepct.callbacks.ValidationPairs
    - class_path: deepct.callbacks.DemoPanels
      init_args: {size: 32}
"""
SHARED_FIVEK = Path(__file__).parents[2] / "shared" / "data" / "fivek"


def words(command: str, conf: str, root: Path, *more: str | Path) -> list[str]:
    configs = ["--config", str(CONF / "base.yaml"), "--config", str(CONF / f"{conf}.yaml")]
    folder = root / "raw" if conf == "teacher-photos" else root
    return [command, *configs, "--data.root", str(folder), *map(str, more)]


def best(folder: Path) -> Path:
    """The newest checkpoint of the runs in a folder."""
    return max(folder.glob("runs/run/*/checkpoints/best*.ckpt"), key=lambda path: path.stat().st_mtime)


def metrics(folder: Path) -> dict[str, list[float]]:
    """The newest run's metrics.csv, column by column, empty cells left out."""
    path = max(folder.glob("runs/run/*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows if row[key]] for key in rows[0]}


pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture(scope="module")
def trained_student(fivek_root: Path, trained_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny student."""
    folder = tmp_path_factory.mktemp("student")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(words("fit", "student", fivek_root, "--model.teacher", trained_teacher)) == 0
    return best(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sources of two sizes and a reference, with label maps."""
    rng = np.random.default_rng(0)
    for folder, name, size in (
        ("source", "one", (48, 64)),
        ("source", "two", (70, 40)),
        ("reference", "ref", (50, 50)),
    ):
        for kind, shape, top in ((folder, (*size, 3), 256), (f"{folder}_masks", size, 3)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, top, shape, dtype=np.uint8)).save(tmp_path / kind / f"{name}.png")
    return tmp_path


def predict(checkpoint: Path, photos: Path, *more: str) -> int:
    reference = photos / "reference"
    arguments = ["--data.source", photos / "source", "--data.reference", reference, "--output", photos / "out", *more]
    fast = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0"]
    return main(
        ["predict", "--config", "configs/predict.yaml", "--ckpt_path", *map(str, [checkpoint, *arguments, *fast])]
    )


def test_help_lists_every_command_in_under_five_seconds() -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "deepct.cli", "--help"], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 5
    listed = {line.split()[0] for line in done.stdout.split("commands:\n")[1].split("\n\n")[0].splitlines()}
    beside = {"export", "prepare", "masks", "dashboard", "evaluate", "report"}
    assert listed == {*DeepctCLI.subcommands()} | beside == {*COMMANDS}


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, deepct.cli; deepct.cli.main(['--help']); sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_each_commands_help_comes_from_its_own_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "--output" in printed
    assert "--writer.sheet" in printed


def test_an_unknown_command_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "no command 'train'; there are fit, validate, test, predict" in capsys.readouterr().err


def test_configurations_are_found_in_the_package(tmp_path: Path) -> None:
    resolved = resolve_configs(["fit", "--config", "configs/teacher.yaml", "--config=configs/demo/student.yaml"])
    assert Path(resolved[2]).is_file()
    assert Path(resolved[3].removeprefix("--config=")).is_file()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "teacher.yaml").touch()
    assert resolve_configs(["fit", "--config", "configs/teacher.yaml"])[2] == "configs/teacher.yaml"


def test_a_missing_configuration_is_an_error_that_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "configs/teecher.yaml"]) == 2
    assert "configs/teecher.yaml: there is no such configuration; deepct has configs/demo" in capsys.readouterr().err


@pytest.mark.parametrize("conf", TEACHERS)
def test_a_teacher_trains_tests_and_predicts(conf: str, fivek_root: Path, photos: Path) -> None:
    assert main(words("fit", conf, fivek_root)) == 0
    logged = metrics(photos)
    for stage in ("train", "val"):
        for name in ("loss", *(f"{term}_loss" for term in TERMS)):
            assert np.isfinite(logged[f"{stage}/{name}"]).all()
    terms = sum(logged[f"val/{term}_loss"][0] for term in TERMS)
    assert logged["val/loss"][0] == pytest.approx(terms, rel=1e-5)
    assert main(words("test", conf, fivek_root, "--ckpt_path", best(photos))) == 0
    assert predict(best(photos), photos) == 0
    assert sorted(path.name for path in (photos / "out").iterdir()) == ["one__ref.png", "two__ref.png"]


@pytest.mark.parametrize("conf", STUDENTS)
def test_a_student_trains_tests_and_predicts(conf: str, trained_teacher: Path, fivek_root: Path, photos: Path) -> None:
    assert main(words("fit", conf, fivek_root, "--model.teacher", trained_teacher)) == 0
    logged = metrics(photos)
    for stage in ("train", "val"):
        hard = sum(logged[f"{stage}/{name}_loss"][0] for name in TERMS)
        soft = sum(logged[f"{stage}/soft_{name}_loss"][0] for name in TERMS)
        assert logged[f"{stage}/hard_loss"][0] == pytest.approx(hard, rel=1e-5)
        assert logged[f"{stage}/soft_loss"][0] == pytest.approx(soft, rel=1e-5)
        assert logged[f"{stage}/loss"][0] == pytest.approx(0.5 * hard + 0.5 * soft, rel=1e-5)
    assert main(words("test", conf, fivek_root, "--ckpt_path", best(photos))) == 0
    assert predict(best(photos), photos) == 0


def test_the_working_size_decides_how_a_large_photo_is_seen(trained_student: Path, photos: Path) -> None:
    pictures = {}
    for size in ("null", "64", "32"):
        assert predict(trained_student, photos, "--model.working_size", size) == 0
        pictures[size] = [np.asarray(Image.open(path)).astype(int) for path in sorted((photos / "out").iterdir())]
    assert [picture.shape for picture in pictures["32"]] == [(48, 64, 3), (70, 40, 3)]
    assert np.array_equal(pictures["null"][0], pictures["64"][0])  # 48 x 64 px: no larger than the working size
    assert not np.array_equal(pictures["64"][1], pictures["null"][1])
    assert not np.array_equal(pictures["32"][0], pictures["null"][0])


def test_a_working_size_below_the_networks_reach_is_refused(
    trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(trained_student, photos, "--model.working_size", "31") == 2
    assert "working_size must be 32 px or more, or null for full size, got 31" in capsys.readouterr().err


def test_the_test_writes_every_pair_once_and_logs_the_means(
    trained_teacher: Path, fivek_root: Path, tmp_path: Path
) -> None:
    assert main(words("test", "teacher", fivek_root, "--ckpt_path", trained_teacher)) == 0
    with next(tmp_path.glob("runs/run/*/test.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["pair"] for row in rows}) == len(rows) == 20  # two scenes, five looks, two kinds
    logged = metrics(tmp_path)
    for figure in ("loss", "image_loss", "psnr", "ssim", "delta_e_mean", "delta_e_median", "delta_e_p95"):
        mean = sum(float(row[figure]) for row in rows) / len(rows)
        assert logged[f"test/{figure}"][0] == pytest.approx(mean, rel=1e-4)


def test_two_processes_are_one_run_and_count_each_pair_once(
    trained_teacher: Path, trained_student: Path, fivek_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    processes = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.limit_val_batches", "1.0")
    odd = ("--data.kinds", "[retouch]", "--data.val_fraction", "0.1", "--data.test_fraction", "0.1")  # five pairs each
    panels = tmp_path / "panels.yaml"
    panels.write_text(PANELS)
    more = ("--config", panels, "--config", "configs/wandb.yaml", *processes, *odd)
    for arguments in (
        words("fit", "student", fivek_root, "--model.teacher", trained_teacher, *more),
        words("test", "student", fivek_root, "--ckpt_path", trained_student, *processes, *odd),
    ):
        subprocess.run([sys.executable, "-m", "deepct.cli", *arguments], check=True, timeout=300)
    assert len(list(tmp_path.glob("runs/run/*/checkpoints/last.ckpt"))) == 1
    assert len(list(tmp_path.glob("runs/run/*/pictures/demo_pairs-*.png"))) == 1
    assert len(list(tmp_path.glob("runs/wandb/offline-run-*"))) == 1
    counted = {}
    for file in ("val-pairs.csv", "test.csv"):
        with next(tmp_path.glob(f"runs/run/*/{file}")).open() as lines:
            counted[file] = list(csv.DictReader(lines))
        names = [row["pair"] for row in counted[file]]
        assert len(set(names)) == len(names) == 5
    with next(tmp_path.glob("runs/run/version_0/metrics.csv")).open() as lines:
        logged = next(float(row["val/image_loss"]) for row in csv.DictReader(lines) if row["val/image_loss"])
    assert logged == pytest.approx(sum(float(row["image_loss"]) for row in counted["val-pairs.csv"]) / 5, rel=1e-5)


def test_tensorboard_and_csv_hold_the_same_numbers(fivek_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "panels.yaml").write_text(PANELS)
    more = ("--config", "panels.yaml", "--config", "configs/tensorboard.yaml")
    assert main(words("fit", "teacher", fivek_root, *more)) == 0
    events = EventAccumulator(str(next(tmp_path.glob("runs/tensorboard/version_*"))))
    events.Reload()
    numbers = metrics(tmp_path)
    scalars = {key: [event.value for event in events.Scalars(key)] for key in events.Tags()["scalars"]}
    assert set(scalars) | {"step"} == set(numbers)
    for key in set(scalars) - {"epoch"}:
        assert scalars[key] == pytest.approx(numbers[key], rel=1e-6)
    assert {"val_pairs/pairs", "demo_pairs/strong"} <= set(events.Tags()["images"])
    assert len(list(tmp_path.glob("runs/run/*/pictures/*.png"))) == 2


def test_a_trial_leaves_nothing_behind(fivek_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "panels.yaml").write_text(PANELS)
    assert main(words("fit", "teacher", fivek_root, "--config", "panels.yaml", "--trainer.fast_dev_run", "true")) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["panels.yaml"]
    assert "best checkpoint" not in capsys.readouterr().out


def test_a_training_without_a_logger_leaves_the_folder_that_it_runs_in_as_it_is(
    fivek_root: Path, tmp_path: Path
) -> None:
    for name in ("config.yaml", "record.json", "val-pairs.csv"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "panels.yaml").write_text(PANELS)
    assert main(words("fit", "teacher", fivek_root, "--config", "panels.yaml", "--trainer.logger", "false")) == 0
    assert all((tmp_path / name).read_text() == "mine" for name in ("config.yaml", "record.json", "val-pairs.csv"))
    made = {path.name for path in (tmp_path / "runs" / "unlogged").iterdir()}
    assert {"config.yaml", "record.json", "val-pairs.csv", "pictures"} <= made


def test_a_search_for_the_learning_rate_runs(fivek_root: Path) -> None:
    finder = ("--trainer.callbacks+", "lightning.pytorch.callbacks.LearningRateFinder")
    steps = ("--trainer.callbacks.num_training_steps", "3", "--trainer.limit_train_batches", "4")
    assert main(words("fit", "teacher-map", fivek_root, *finder, *steps)) == 0


def test_validate_measures_a_student_with_and_without_its_teacher(
    trained_student: Path, trained_teacher: Path, fivek_root: Path, tmp_path: Path
) -> None:
    arguments = words("validate", "student", fivek_root, "--ckpt_path", trained_student)
    assert main(arguments) == 0
    assert "val/soft_loss" not in metrics(tmp_path)
    assert main([*arguments, "--model.teacher", str(trained_teacher)]) == 0
    assert np.isfinite(metrics(tmp_path)["val/soft_loss"]).all()


def test_a_trained_student_needs_its_teacher_no_more(trained_teacher: Path, fivek_root: Path, photos: Path) -> None:
    teacher = photos / "teacher.ckpt"
    teacher.write_bytes(trained_teacher.read_bytes())
    assert main(words("fit", "student", fivek_root, "--model.teacher", teacher)) == 0
    (photos / "elsewhere").mkdir()
    student = best(photos).rename(photos / "elsewhere" / "student.ckpt")
    teacher.unlink()
    assert main(words("test", "student", fivek_root, "--ckpt_path", student)) == 0
    assert predict(student, photos) == 0
    resumed = words("fit", "student", fivek_root, "--ckpt_path", student, "--trainer.max_epochs", "2")
    assert main([*resumed, "--model.teacher", str(trained_teacher)]) == 0
    assert torch.load(best(photos), weights_only=True)["epoch"] == 1


def test_a_students_checkpoint_holds_nothing_of_the_teacher(trained_student: Path, trained_teacher: Path) -> None:
    checkpoint = torch.load(trained_student, weights_only=True)
    student = load_network(trained_student).state_dict()
    assert set(checkpoint["state_dict"]) == {f"network.{name}" for name in student}
    assert str(trained_teacher) not in repr({k: v for k, v in checkpoint.items() if k != "state_dict"})
    optimised = checkpoint["optimizer_states"][0]["param_groups"][0]["params"]
    assert len(optimised) == sum(1 for _ in load_network(trained_student).parameters())


def test_distilling_leaves_the_teacher_bit_for_bit(
    trained_teacher: Path, fivek_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[FrozenTeacher] = []
    ask = FrozenTeacher.__call__
    monkeypatch.setattr(FrozenTeacher, "__call__", lambda self, *given: asked.append(self) or ask(self, *given))
    assert main(words("fit", "student", fivek_root, "--model.teacher", trained_teacher)) == 0
    before = load_network(trained_teacher).state_dict()
    after = asked[-1].network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_training_resumes_with_another_end_and_another_rate(fivek_root: Path, photos: Path) -> None:
    assert main(words("fit", "teacher-map", fivek_root)) == 0
    longer = words("fit", "teacher-map", fivek_root, "--ckpt_path", best(photos).with_name("last.ckpt"))
    assert main([*longer, "--trainer.max_epochs", "4", "--model.lr", "0.003"]) == 0
    last = max(photos.glob("runs/run/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] > 2
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.003
    assert checkpoint["lr_schedulers"][0]["base_lrs"] == [0.003]
    assert max(metrics(photos)["step"]) == 7


def test_a_teachers_checkpoint_does_not_resume_a_student(
    trained_teacher: Path, fivek_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("fit", "student", fivek_root, "--ckpt_path", trained_teacher)) == 2
    assert "the checkpoint of a Teacher cannot resume a Student" in capsys.readouterr().err


def test_a_loss_weight_of_zero_fits_a_checkpoint_with_heads(trained_teacher: Path, fivek_root: Path) -> None:
    flags = ("--ckpt_path", trained_teacher, "--model.lambda_multiscale", "0")
    assert main(words("fit", "teacher", fivek_root, *flags, "--trainer.max_epochs", "2")) == 0
    assert main(words("test", "teacher", fivek_root, *flags)) == 0


def test_a_network_that_cannot_be_built_is_a_clear_error(fivek_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("fit", "teacher", fivek_root, "--model.network.ab_bins", "32")) == 2
    assert "deepct: error: HEN needs 64 ab bins, got 32" in capsys.readouterr().err


def test_a_missing_mask_folder_is_an_error(fivek_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("fit", "teacher", fivek_root, "--data.masks", "nonsense")) == 2
    assert "nonsense: there is no such folder of label maps" in capsys.readouterr().err


def test_hyperparameters_in_a_checkpoint_are_the_networks_alone(trained_student: Path) -> None:
    hyperparameters = torch.load(trained_student, weights_only=True)["hyper_parameters"]
    assert set(hyperparameters) == {"_class_path", "network"}


def test_flags_win_over_the_checkpoint_but_for_the_network(
    trained_teacher: Path, fivek_root: Path, tmp_path: Path
) -> None:
    flags = ("--ckpt_path", trained_teacher, "--trainer.max_epochs", "2", "--model.lambda_histogram", "3.5")
    assert main(words("fit", "teacher", fivek_root, *flags, "--model.network.refinement_width", "9")) == 0
    saved = max(tmp_path.glob("runs/run/*/config.yaml"), key=lambda path: path.stat().st_mtime).read_text()
    assert "lambda_histogram: 3.5" in saved
    assert load_network(next(tmp_path.glob("runs/run/*/checkpoints/last.ckpt"))).config.refinement_width == 4


def test_a_student_without_a_teacher_is_refused(fivek_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("fit", "student", fivek_root)) == 2
    assert "give its checkpoint with --model.teacher" in capsys.readouterr().err


def test_a_teacher_without_decoder_pictures_cannot_teach_them(
    fivek_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("fit", "teacher-no-scales", fivek_root)) == 0
    assert main(words("fit", "student", fivek_root, "--model.teacher", best(tmp_path))) == 2
    assert "no decoder pictures" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "test"])
def test_commands_that_need_a_checkpoint_say_so(
    command: str, fivek_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(command, "teacher", fivek_root)) == 2
    assert f"deepct {command} needs the checkpoint of a training: --ckpt_path" in capsys.readouterr().err


def test_wrong_data_stops_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("fit", "teacher", tmp_path / "nowhere")) == 2
    error = capsys.readouterr().err
    assert "nowhere: there is no such folder" in error
    assert "Traceback" not in error


def test_fit_ends_with_the_checkpoint_and_the_next_command(
    fivek_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("fit", "teacher", fivek_root)) == 0
    printed = capsys.readouterr().out
    assert "best checkpoint: runs/run/version_0/checkpoints/best.ckpt" in printed
    assert f"deepct fit --config configs/student.yaml --data.root {fivek_root} --model.teacher runs/run/" in printed


@pytest.fixture
def shipped(trained_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the tiny student, in the place of those that ship."""
    path = tmp_path / "shipped.safetensors"
    assert main(["export", "--ckpt_path", str(trained_student), "--output", str(path)]) == 0
    monkeypatch.setattr(checkpoint, "SHIPPED", path)
    return path


def predict_plainly(photos: Path, *more: str | Path) -> int:
    """With nothing but the photos and the place to write to."""
    arguments = ["--data.source", photos / "source", "--data.reference", photos / "reference" / "ref.png"]
    return main(["predict", *map(str, [*arguments, "--output", photos / "out", *more])])


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in folder.glob("*.png")}


def test_predict_needs_nothing_but_photos(trained_student: Path, shipped: Path, photos: Path) -> None:
    (photos / "configs").mkdir()
    (photos / "configs" / "predict.yaml").write_text("nobody: asked for this file\n")
    assert predict_plainly(photos) == 0
    plain = pictures(photos / "out")
    (photos / "configs" / "predict.yaml").unlink()
    assert predict(trained_student, photos) == 0
    whole = pictures(photos / "out")
    assert sorted(plain) == sorted(whole) == ["one__ref.png", "two__ref.png"]
    assert all(np.abs(plain[name] - whole[name]).max() <= 1 for name in plain)  # half precision


def test_predict_without_any_weights_says_so(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", photos / "none.safetensors")
    assert predict_plainly(photos) == 2
    assert "none.safetensors: this copy of deepct comes without trained weights" in capsys.readouterr().err


def test_a_configuration_of_ones_own_replaces_the_default() -> None:
    for mine in (["--config", "configs/predict.yaml"], ["--config=configs/predict.yaml"], ["-c", "configs/wandb.yaml"]):
        assert len(resolve_configs(["predict", *mine])) == 1 + len(mine)
    first, flag, path, *rest = resolve_configs(["predict", "--configure", "x"])
    assert (first, flag, Path(path).name, rest) == ("predict", "--config", "predict.yaml", ["--configure", "x"])
    assert resolve_configs(["fit", "--data.root", "x"]) == ["fit", "--data.root", "x"]


@pytest.mark.parametrize(("command", "figure"), [("test", "test/loss"), ("validate", "val/loss")])
def test_weights_alone_are_measured_like_their_checkpoint(
    command: str, figure: str, trained_student: Path, shipped: Path, fivek_root: Path, tmp_path: Path
) -> None:
    losses = []
    for path in (trained_student, shipped):
        assert main(words(command, "student", fivek_root, "--ckpt_path", path)) == 0
        losses.append(metrics(tmp_path)[figure][0])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_weights_decide_the_network_whatever_the_flags_say(shipped: Path, photos: Path) -> None:
    assert predict_plainly(photos) == 0
    plain = pictures(photos / "out")
    assert predict_plainly(photos, "--model.network.refinement_width", "9", "--ckpt_path", shipped) == 0
    again = pictures(photos / "out")
    assert all(np.array_equal(plain[name], again[name]) for name in plain)


def test_weights_alone_teach_but_resume_nothing(
    trained_teacher: Path, shipped: Path, fivek_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("fit", "student", fivek_root, "--model.teacher", shipped, "--ckpt_path", shipped)) == 2
    assert "shipped.safetensors: holds weights alone; a training is resumed from" in capsys.readouterr().err
    teacher = tmp_path / "teacher.safetensors"
    assert main(["export", "--ckpt_path", str(trained_teacher), "--output", str(teacher)]) == 0
    assert main(words("fit", "student", fivek_root, "--model.teacher", teacher)) == 0


def test_strength_is_a_flag(shipped: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = pictures(photos / "source")
    results = {}
    for strength in ("0", "0.5", "1"):
        assert predict_plainly(photos, "--model.strength", strength) == 0
        results[strength] = pictures(photos / "out")
    for name in ("one", "two"):
        none, half, full = (results[strength][f"{name}__ref.png"] for strength in ("0", "0.5", "1"))
        assert np.array_equal(none, sources[f"{name}.png"])
        assert np.abs(half - (none + full) / 2).max() <= 0.75
        assert np.abs(full - none).mean() > 1
    assert predict_plainly(photos, "--model.strength", "2") == 2
    assert "strength must be from 0, the source as it is, to 1, the full transfer, got 2" in capsys.readouterr().err


@pytest.fixture
def inverting(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose transfers turn colours into their complements, as far as LUTs can tell."""
    monkeypatch.setattr(ColorTransferNetwork, "lattice", lambda self, source, reference, colors, size: 1 - colors)


def cube(path: Path) -> np.ndarray:
    """The rows of a .cube file, (N, 3)."""
    return np.loadtxt(path, skiprows=4)


def test_predict_writes_the_lut_of_one_pair(inverting: None, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "source" / "two.png").unlink()
    look = photos / "looks" / "look.cube"
    assert predict_plainly(photos, "--lut", look, "--model.strength", "0.25") == 0
    assert look.read_text().startswith('TITLE "look"\nLUT_3D_SIZE 33\n')
    rows = cube(look)
    assert rows.shape == (33**3, 3)
    np.testing.assert_allclose(rows[[0, -1]], [[0.25] * 3, [0.75] * 3])
    assert sorted(pictures(photos / "out")) == ["one__ref.png"]
    assert f"1 LUTs written to {look}" in capsys.readouterr().out


def test_predict_writes_a_lut_for_each_pair_into_a_folder(
    inverting: None, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "source" / "broken.jpg").write_bytes(b"no photo")
    (photos / "looks" / "one__ref.cube").mkdir(parents=True)  # in the way
    assert predict_plainly(photos, "--lut", photos / "looks") == 1
    assert [path.name for path in (photos / "looks").glob("*.cube") if path.is_file()] == ["two__ref.cube"]
    printed = capsys.readouterr().out
    assert "1 LUTs written to" in printed
    assert "2 failed:" in printed
    assert f"{photos / 'looks' / 'one__ref.cube'}: cannot be written" in printed
    assert sorted(pictures(photos / "out")) == ["one__ref.png", "two__ref.png"]


def test_a_lut_that_cannot_be_is_refused_before_any_photo_is_written(
    shipped: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "file").touch()
    masks = [f"--data.{kind}_masks={photos / kind}_masks" for kind in ("source", "reference")]
    for flags, message in (
        (["--lut", "looks"], "draws each pixel by its surroundings, so no table of colours"),
        (["--lut", "look.cube"], "look.cube: holds the transfer of one pair, but there are 2; give --lut a folder"),
        (["--lut", "file"], "file: is a file, and neither a folder nor a .cube"),
        (["--lut", "looks", *masks], "which no LUT can say; leave out either --lut or the label maps"),
    ):
        assert predict_plainly(photos, *flags) == 2
        assert message in capsys.readouterr().err
        assert not pictures(photos / "out")


def test_predict_goes_on_past_a_broken_photo_and_ends_with_1(
    trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = photos / "source" / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no photo")
    assert predict(trained_student, photos) == 1
    printed = capsys.readouterr().out
    assert "1 failed:" in printed
    assert str(broken) in printed
    assert sorted(path.name for path in (photos / "out").iterdir()) == ["one__ref.png", "two__ref.png"]


def test_predictions_keep_size_and_orientation_and_leave_the_inputs(trained_student: Path, photos: Path) -> None:
    upright = Image.open(photos / "source" / "one.png")
    exif = upright.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(photos / "source" / "turned.png", exif=exif)
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    assert predict(trained_student, photos) == 0
    with Image.open(photos / "out" / "one__ref.png") as one, Image.open(photos / "out" / "turned__ref.png") as turned:
        assert one.size == turned.size == (64, 48)
        assert np.array_equal(np.asarray(one), np.asarray(turned))
    assert {path: path.read_bytes() for path in before} == before


def test_masks_make_a_transfer_semantic(trained_student: Path, photos: Path) -> None:
    assert predict(trained_student, photos) == 0
    plain = np.asarray(Image.open(photos / "out" / "one__ref.png"))
    masks = [
        "--data.source_masks",
        str(photos / "source_masks"),
        "--data.reference_masks",
        str(photos / "reference_masks"),
    ]
    assert predict(trained_student, photos, *masks) == 0
    assert not np.array_equal(np.asarray(Image.open(photos / "out" / "one__ref.png")), plain)


def test_a_photo_without_a_label_map_transfers_as_a_whole_and_is_named(
    trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(trained_student, photos) == 0
    plain = (photos / "out" / "two__ref.png").read_bytes()
    (photos / "source_masks" / "two.png").unlink()
    masks = [f"--data.{kind}_masks={photos / kind}_masks" for kind in ("source", "reference")]
    assert predict(trained_student, photos, *masks) == 0
    printed = capsys.readouterr().out
    assert "1 without labels:" in printed
    assert f"{photos / 'source' / 'two.png'}: no label map" in printed
    assert (photos / "out" / "two__ref.png").read_bytes() == plain


def test_semantics_are_flags(trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = [f"--data.{kind}_masks={photos / kind}_masks" for kind in ("source", "reference")]
    pictures = set()
    for flags in ([], ["--model.semantics.min_share", "1"], ["--model.semantics.feather", "0"]):
        assert predict(trained_student, photos, *masks, *flags) == 0
        pictures.add((photos / "out" / "one__ref.png").read_bytes())
    assert len(pictures) == 3
    assert predict(trained_student, photos, *masks, "--model.semantics.min_shared", "7") == 2
    assert "semantics.min_shared is a share from 0 to 1, got 7" in capsys.readouterr().err


def test_photos_are_labelled_on_the_fly(trained_student: Path, photos: Path) -> None:
    pytest.importorskip("mmseg", reason="the extra masks is not installed")
    assert predict(trained_student, photos) == 0
    plain = (photos / "out" / "one__ref.png").read_bytes()
    segmenter = write_official(photos / "beit.pth")
    assert predict(trained_student, photos, "--segment", str(segmenter), "--model.semantics.min_shared", "0") == 0
    on_the_fly = (photos / "out" / "one__ref.png").read_bytes()
    assert on_the_fly != plain
    for kind in ("source", "reference"):
        out = str(photos / f"made_{kind}")
        assert main(["masks", "--input", str(photos / kind), "--output", out, "--checkpoint", str(segmenter)]) == 0
    made = [f"--data.{kind}_masks={photos / 'made'}_{kind}" for kind in ("source", "reference")]
    assert predict(trained_student, photos, *made, "--model.semantics.min_shared", "0") == 0
    assert (photos / "out" / "one__ref.png").read_bytes() == on_the_fly


def test_what_labels_photos_must_be_there(
    trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mmseg", reason="the extra masks is not installed")
    assert predict(trained_student, photos, "--segment", str(photos / "none.pth")) == 2
    assert "none.pth" in capsys.readouterr().err


def test_predict_writes_jpeg_and_sheets_on_request(trained_student: Path, photos: Path) -> None:
    assert predict(trained_student, photos, "--writer.format", "jpg", "--writer.sheet", "true") == 0
    assert sorted(path.name for path in (photos / "out").iterdir()) == ["one__ref.jpg", "sheet-001.png", "two__ref.jpg"]


def test_predict_refuses_to_write_among_its_inputs(
    trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(trained_student, photos, "--output", str(photos / "source")) == 2
    assert "holds what is to be read; give --output another folder" in capsys.readouterr().err


def test_predict_refuses_to_write_among_linked_inputs_and_masks(
    trained_student: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "links").mkdir()
    (photos / "links" / "one.png").symlink_to(photos / "source" / "one.png")
    links = ["--data.source", str(photos / "links")]
    for output in ("links", "source"):
        assert predict(trained_student, photos, *links, "--output", str(photos / output)) == 2
    masks = [
        "--data.source_masks",
        str(photos / "source_masks"),
        "--data.reference_masks",
        str(photos / "reference_masks"),
    ]
    assert predict(trained_student, photos, *masks, "--output", str(photos / "source_masks")) == 2
    assert capsys.readouterr().err.count("holds what is to be read") == 3


def test_two_processes_predict_every_photo_and_report_every_failure(trained_student: Path, photos: Path) -> None:
    (photos / "source" / "broken.jpg").write_bytes(b"no photo")
    for index in range(3):
        Image.new("RGB", (32, 32), (index, 99, 0)).save(photos / "source" / f"more{index}.png")
    arguments = [
        "--data.source",
        photos / "source",
        "--data.reference",
        photos / "reference",
        "--output",
        photos / "out",
    ]
    processes = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = ["predict", "--config", "configs/predict.yaml", "--ckpt_path", trained_student, *arguments, *processes]
    done = subprocess.run(
        [sys.executable, "-m", "deepct.cli", *map(str, command), "--data.num_workers", "0"],
        check=False,
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "5 photos written" in done.stdout
    assert "1 failed" in done.stdout
    assert len(list((photos / "out").iterdir())) == 5


def test_predict_leaves_no_run_behind(trained_student: Path, photos: Path) -> None:
    before = set(photos.iterdir())
    assert predict(trained_student, photos) == 0
    assert set(photos.iterdir()) - before == {photos / "out"}


def test_predictions_are_not_kept_in_memory(
    trained_student: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    from deepct.callbacks import PredictionWriter

    alive: list[int] = []
    seen: list[weakref.ref] = []
    write = PredictionWriter.write_on_batch_end

    def watch(self, trainer, module, prediction, *rest) -> None:
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(prediction.image))
        write(self, trainer, module, prediction, *rest)

    monkeypatch.setattr(PredictionWriter, "write_on_batch_end", watch)
    for index in range(8):
        Image.new("RGB", (32, 32), (index, 99, 0)).save(photos / "source" / f"more{index}.png")
    assert predict(trained_student, photos) == 0
    assert len(alive) == 10
    assert max(alive) <= 2


def test_the_data_module_of_prediction_pairs_by_stem(photos: Path) -> None:
    module = FolderDataModule(str(photos / "source"), str(photos / "source"), num_workers=0)
    module.setup("predict")
    assert [(job.source.name, job.reference.name) for job in module.jobs] == [
        ("one.png", "one.png"),
        ("two.png", "two.png"),
    ]


def test_wandb_keeps_config_losses_and_pictures_offline(fivek_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    panels = tmp_path / "panels.yaml"
    panels.write_text(PANELS)
    arguments = words("fit", "teacher", fivek_root, "--config", "configs/wandb.yaml", "--config", panels)
    subprocess.run([sys.executable, "-m", "deepct.cli", *arguments], env=environment, check=True, timeout=300)
    records = read_wandb(next(tmp_path.glob("runs/wandb/offline-run-*/*.wandb")))
    history = {item.key or ".".join(item.nested_key) for record in records for item in record.history.item}
    for name in ("loss", "image_loss", "histogram_loss", "multiscale_loss"):
        assert {f"train/{name}", f"val/{name}"} <= history
    assert "demo_pairs" in {key.split(".")[0] for key in history}
    config = {item.key or ".".join(item.nested_key) for record in records for item in record.config.update} | {
        item.key or ".".join(item.nested_key) for record in records for item in record.run.config.update
    }
    assert any(key.startswith("model") for key in config)
    assert list(tmp_path.glob("runs/wandb/offline-run-*/files/media/images/demo_pairs*.png"))


def read_wandb(path: Path) -> list:
    """Every record of an offline run's own file: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, block = path.read_bytes(), 32768
    records, parts, position = [], b"", 7
    while position + 7 <= len(data):
        if block - position % block < 7:  # no header fits here any more
            position += block - position % block
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def test_wandb_without_an_account_stays_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wandb")
    from deepct.loggers import WandbLogger

    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    logger = WandbLogger(save_dir=str(tmp_path / "runs"))
    assert logger._offline
    assert "stays offline" in caplog.text


def test_without_wandb_the_dashboard_says_what_to_install(
    fivek_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(words("fit", "teacher", fivek_root, "--config", "configs/wandb.yaml")) == 2
    assert "pip install 'deepct[wandb]'" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED_FIVEK.is_dir(), reason="the FiveK photos are not here")
def test_real_fivek_photos_train_test_and_predict(tmp_path: Path) -> None:
    assert main(words("fit", "teacher", SHARED_FIVEK, "--data.val_fraction", "0.5", "--data.test_fraction", "0")) == 0
    everything = ("--data.val_fraction", "0", "--data.test_fraction", "1")
    assert main(words("test", "teacher", SHARED_FIVEK, *everything, "--ckpt_path", best(tmp_path))) == 0
    with next(tmp_path.glob("runs/run/*/test.csv")).open() as file:
        assert len(list(csv.DictReader(file))) == 20
    for folder in ("source", "reference"):
        (tmp_path / folder).mkdir()
    name = "a0029-jmac_DSC3974.jpg"
    (tmp_path / "source" / name).symlink_to(SHARED_FIVEK / "raw" / name)
    (tmp_path / "reference" / name).symlink_to(SHARED_FIVEK / "c" / name)
    masks = str(SHARED_FIVEK / "masks")
    assert predict(best(tmp_path), tmp_path, "--data.source_masks", masks, "--data.reference_masks", masks) == 0
    with Image.open(tmp_path / "out" / f"{Path(name).stem}__{Path(name).stem}.png") as result:
        assert result.size == (2014, 3040)
