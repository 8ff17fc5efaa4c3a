"""A job of SLURM that is started again goes on with its own trainings."""

import signal
from pathlib import Path

import pytest
from jsonargparse import set_parsing_settings
from test_cli import words
from training import assert_same, end, logged, newest, start, state, steps, wait_for_step

from deepct.cli import main

EPOCHS = 3
STEPS = 4  # an epoch
JOB = "4711"
FEW = ("--trainer.max_epochs", str(EPOCHS), "--trainer.limit_train_batches", str(STEPS))
SLOW = ("--trainer.callbacks+", "probes.Slow")
STOP = ("--trainer.callbacks+", "probes.StopAt", "--trainer.callbacks.step", "5")
set_parsing_settings(import_path_allowlist=["probes"])


@pytest.fixture(autouse=True)
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a job, of which ``asked`` lists what scontrol was told."""
    folder, programs = tmp_path / "job", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    scontrol = programs / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", JOB)
    monkeypatch.chdir(folder)
    return folder


def train_alone(training: list[str], folder: Path) -> Path:
    """Train where there is no SLURM and nobody stops it."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SLURM_JOB_ID")
        patch.delenv("SLURM_RESTART_COUNT", raising=False)
        assert main(training) == 0
    assert state(newest(folder))["global_step"] == EPOCHS * STEPS
    assert logged(folder).keys() == {*range(EPOCHS * STEPS)}
    return folder


def runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("runs/run/*") if path.is_dir())


def test_sigusr1_puts_the_job_back_and_it_goes_on_where_it_was(
    fivek_root: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = words("fit", "teacher-map", fivek_root, *FEW, *SLOW)
    # as srun has it, so that Lightning too knows that this is SLURM
    process = start(training, SLURM_NTASKS="1", SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_JOB_NAME="train")
    wait_for_step(process, STEPS + 1)
    process.send_signal(signal.SIGUSR1)
    _, err = end(process, 143)
    assert "Traceback" not in err
    assert (job / "asked").read_text() == f"requeue {JOB}\n"
    step = state(newest(job))["global_step"]
    assert STEPS < step < EPOCHS * STEPS
    assert len(runs(job)) == 1

    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main(training) == 0
    whole = train_alone(training, tmp_path / "whole")
    assert_same(state(newest(job)), state(newest(whole)))
    assert steps(runs(job)[1]) == [*range(step, EPOCHS * STEPS)]
    assert logged(job) == logged(whole)
    assert (job / "asked").read_text().count("requeue") == 1


def test_a_task_of_an_array_puts_itself_back(
    fivek_root: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "47")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    training = words("fit", "teacher-map", fivek_root, *FEW)
    stopped = [*training, *STOP, "--trainer.callbacks.name", "SIGUSR1"]
    assert main(stopped) == 143
    assert (job / "asked").read_text() == "requeue 47_3\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")  # another task has nothing to go on from
    assert main(stopped) == 143
    assert steps(runs(job)[1]) == [*range(6)]
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert main(stopped) == 0
    assert steps(runs(job)[2]) == [*range(6, EPOCHS * STEPS)]
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    assert_same(state(newest(job)), state(newest(train_alone(training, tmp_path / "whole"))))


@pytest.mark.parametrize("count", [None, "0"])
def test_a_job_that_was_not_started_again_begins_anew(
    count: str | None, fivek_root: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = words("fit", "teacher-map", fivek_root, *FEW, *STOP)
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    for _ in range(2):  # the second would not stop if it went on beyond the step
        assert main(training) == 143
    assert [steps(run) for run in runs(job)] == [[*range(6)], [*range(6)]]
    assert not (job / "asked").exists()  # SIGTERM is no wish to be started again
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # it would have found them
    assert main(training) == 0
    assert steps(runs(job)[2]) == [*range(6, EPOCHS * STEPS)]


@pytest.mark.parametrize("other", ["student", "another learning rate"])
def test_two_trainings_of_a_job_keep_their_checkpoints_apart(
    other: str, fivek_root: Path, trained_teacher: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = words("fit", "teacher-map", fivek_root, *FEW)
    if other == "student":
        second = words("fit", "student-map", fivek_root, *FEW, "--model.teacher", trained_teacher)
    else:
        second = words("fit", "teacher-map", fivek_root, *FEW, "--model.lr", "0.001")
    assert main(first) == 0
    done = state(newest(job))
    assert main([*second, *STOP]) == 143
    assert state(newest(job))["global_step"] == 6
    assert len(runs(job)) == 2

    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main(first) == 0  # it has nothing left to do
    again = [run for run in runs(job)[2:] if (run / "metrics.csv").exists()]
    assert not any(steps(run) for run in again)
    assert_same(state(runs(job)[0] / "checkpoints" / "last.ckpt"), done)
    assert main([*second, *STOP]) == 0
    last = runs(job)[-1]
    assert steps(last) == [*range(6, EPOCHS * STEPS)]
    whole = train_alone(second, tmp_path / "whole")
    assert_same(state(last / "checkpoints" / "last.ckpt"), state(newest(whole)))
