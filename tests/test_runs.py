"""Trainings that are stopped, resumed and spread over processes, on tiny networks and tiny photos."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import set_parsing_settings
from test_cli import words
from training import assert_same, logged, newest, state

from deepct.callbacks import guard
from deepct.cli import main
from deepct.saving import WholeTrainer

EPOCHS = 3
STEPS = 4  # an epoch


pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


SETTINGS = {
    "anneal": ("teacher-map", ("--trainer.max_epochs", str(EPOCHS))),
    "steps": ("teacher-map", ("--trainer.max_epochs", "-1", "--trainer.max_steps", str(EPOCHS * STEPS))),
    "validations within the epoch": (
        "teacher-map",
        (
            *("--trainer.max_epochs", "-1", "--trainer.max_steps", str(EPOCHS * STEPS)),
            *("--trainer.val_check_interval", "3", "--trainer.check_val_every_n_epoch", "null"),
        ),
    ),
    "phases": ("student-phases", ("--trainer.max_epochs", str(EPOCHS))),
}


LONG = ("anneal", "steps")  # of which the others show the most


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.soak if name in LONG else ()) for name in SETTINGS])
def training(request: pytest.FixtureRequest, fivek_root: Path, trained_teacher: Path) -> list[str]:
    """The words of a training of three epochs of four steps."""
    conf, more = SETTINGS[request.param]
    teacher = ("--model.teacher", str(trained_teacher)) if conf.startswith("student") else ()
    few = ("--trainer.limit_train_batches", str(STEPS), "--data.size", "32", "--data.resize", "36")
    return words("fit", conf, fivek_root, *more, *teacher, *few)


set_parsing_settings(import_path_allowlist=["probes"])  # as people do with callbacks of their own


def test_a_training_stopped_at_any_step_goes_on_as_if_it_had_not_been(training: list[str], tmp_path: Path) -> None:
    assert main(training) == 0
    whole, losses = state(newest(tmp_path)), logged(tmp_path)
    for step in range(EPOCHS * STEPS - 1):
        folder = tmp_path / f"stopped-{step}"
        folder.mkdir()
        os.chdir(folder)
        assert main([*training, "--trainer.callbacks+", "probes.StopAt", f"--trainer.callbacks.step={step}"]) == 143
        assert torch.load(newest(folder), weights_only=True)["global_step"] == step + 1
        assert main([*training, "--ckpt_path", str(newest(folder))]) == 0
        assert_same(state(newest(folder)), whole, f"step {step}")
        assert logged(folder) == losses, step


def test_a_training_goes_on_from_any_checkpoint_of_any_kind(
    training: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "KEPT_EVERY", 0.0)
    made: dict[str, Path] = {}
    save = WholeTrainer.save_checkpoint

    def keep(trainer: WholeTrainer, path: Any, *more: Any) -> None:
        save(trainer, path, *more)
        kept = tmp_path / f"{len(made)}.ckpt"
        made[kept.name] = kept
        kept.write_bytes(Path(path).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(WholeTrainer, "save_checkpoint", keep)
        assert main(training) == 0
    whole = state(newest(tmp_path))
    assert len(made) > EPOCHS * STEPS
    for path in made.values():
        folder = path.with_suffix("")
        folder.mkdir()
        os.chdir(folder)
        assert main([*training, "--ckpt_path", str(path)]) == 0
        is_over = not any(folder.glob("runs/run/*/checkpoints/last.ckpt"))  # there was nothing left to do
        end = {**state(path), "epoch": whole["epoch"]} if is_over else state(newest(folder))
        assert_same(end, whole, path.name)
