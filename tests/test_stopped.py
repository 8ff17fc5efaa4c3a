"""Trainings that are stopped from outside go on as if they had not been."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch
from jsonargparse import set_parsing_settings
from test_cli import words
from training import assert_same, end, logged, newest, start, state, wait_for_step

from deepct.cli import main

EPOCHS = 3
STEPS = 4  # an epoch
SLOW = ("--trainer.callbacks+", "probes.Slow")
set_parsing_settings(import_path_allowlist=["probes"])


pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture
def training(fivek_root: Path) -> list[str]:
    """The words of a training of three epochs of four steps."""
    few = ("--trainer.max_epochs", str(EPOCHS), "--trainer.limit_train_batches", str(STEPS))
    return words("fit", "teacher-map", fivek_root, *few)


@pytest.fixture
def whole(training: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training that nobody stopped."""
    (tmp_path / "whole").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "whole")
        assert main(training) == 0
    assert state(newest(tmp_path / "whole"))["global_step"] == EPOCHS * STEPS
    assert len(logged(tmp_path / "whole")) == EPOCHS * STEPS
    return tmp_path / "whole"


def living(group: int) -> list[int]:
    """The processes of a group that still run, and not just wait for somebody to ask how they ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def how_to_go_on(printed: str) -> tuple[int, Path]:
    """After how many steps a training was stopped, and the checkpoint to go on with, which is said once."""
    (said,) = re.findall(r"stopped after (\d+) steps; to go on, give the same command and --ckpt_path (.+)", printed)
    return int(said[0]), Path(said[1])


def test_sigterm_ends_the_step_and_keeps_it(training: list[str], whole: Path, tmp_path: Path) -> None:
    process = start([*training, *SLOW])
    wait_for_step(process, STEPS + 1)
    process.send_signal(signal.SIGTERM)
    out, err = end(process, 143)
    assert "Traceback" not in err
    step, checkpoint = how_to_go_on(out)
    assert STEPS < step < EPOCHS * STEPS
    assert checkpoint.name == "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == step
    assert main([*training, "--ckpt_path", str(checkpoint)]) == 0
    runs = [path for path in (tmp_path / "runs" / "run").iterdir() if path.is_dir()]
    assert len(runs) == 2
    assert_same(state(newest(tmp_path)), state(newest(whole)))
    assert logged(tmp_path) == logged(whole)


def test_sigkill_leaves_a_whole_checkpoint(training: list[str], whole: Path, tmp_path: Path) -> None:
    process = start([*training, *SLOW])
    wait_for_step(process, STEPS + 1)
    os.killpg(process.pid, signal.SIGKILL)
    end(process, -signal.SIGKILL)
    checkpoint = newest(tmp_path)
    assert torch.load(checkpoint, weights_only=True)["global_step"] == STEPS  # that of the epoch's end
    assert main([*training, "--ckpt_path", str(checkpoint)]) == 0
    assert newest(tmp_path) != checkpoint
    assert_same(state(newest(tmp_path)), state(newest(whole)))


def test_sigterm_to_one_of_two_processes_stops_both(training: list[str], whole: Path, tmp_path: Path) -> None:
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "1")
    stop = ("--trainer.callbacks+", "probes.StopAt", "--trainer.callbacks.step", "5", "--trainer.callbacks.rank", "1")
    process = start([*training, *two, *stop])
    assert living(process.pid)
    out, err = end(process, 143)
    assert "Traceback" not in err
    deadline = time.monotonic() + 30
    while left := living(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    step, checkpoint = how_to_go_on(out)
    assert step == 6
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 6
    assert logged(tmp_path).keys() == {*range(6)}
    assert main([*training, "--ckpt_path", str(checkpoint)]) == 0  # one process takes up what two left
    a, b = state(newest(tmp_path)), state(newest(whole))
    assert a["global_step"] == b["global_step"] == EPOCHS * STEPS
    assert logged(tmp_path).keys() == {*range(EPOCHS * STEPS)}
    for name, value in b["state_dict"].items():
        torch.testing.assert_close(a["state_dict"][name], value, rtol=0, atol=1e-5)
