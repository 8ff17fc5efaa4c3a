"""Checkpoints are whole at every moment."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deepct.errors import CheckpointError, TrainingError
from deepct.networks import read_checkpoint
from deepct.saving import WholeFiles, explain_full_disk

CHECKPOINT = {
    "hyper_parameters": {"network": {}, "_class_path": "deepct.modules.teacher.Teacher"},
    "state_dict": {"a": torch.arange(3000.0)},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint that was written before."""
    WholeFiles().save_checkpoint(CHECKPOINT, tmp_path / "run" / "last.ckpt")
    return tmp_path / "run" / "last.ckpt"


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel say that there is no room, wherever a checkpoint is written."""
    write = Path.write_bytes

    def write_to_full(self: Path, data: Any) -> int:
        self.touch()  # what is to be taken away
        return write(Path("/dev/full"), data)

    monkeypatch.setattr(Path, "write_bytes", write_to_full)


def test_a_checkpoint_replaces_the_one_before(path: Path) -> None:
    WholeFiles().save_checkpoint({**CHECKPOINT, "epoch": 1}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [*path.parent.iterdir()] == [path]


def test_it_reaches_the_disk_before_it_gets_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or fsync(descriptor))
    monkeypatch.setattr(Path, "replace", lambda self, other: done.append("rename") or replace(self, other))
    WholeFiles().save_checkpoint(CHECKPOINT, path)
    assert done == ["sync", "rename", "sync"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_leaves_the_one_before_and_no_leftovers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    fill_the_disk(monkeypatch)
    with pytest.raises(TrainingError, match=r"last\.ckpt: cannot be written \(No space left on device\).*make room"):
        WholeFiles().save_checkpoint({**CHECKPOINT, "epoch": 1}, path)
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
def test_a_kill_while_writing_leaves_the_one_before(path: Path, moment: str) -> None:
    before = path.read_bytes()
    code = (
        "import os, pathlib, torch\nfrom deepct.saving import WholeFiles\n"
        f"{moment} = lambda *given: os.kill(os.getpid(), 9)\n"
        f"WholeFiles().save_checkpoint({{'a': torch.zeros(5)}}, {str(path)!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len([*path.parent.glob(".last.ckpt.*.part")]) == 1
    WholeFiles().save_checkpoint(CHECKPOINT, path.with_name("best.ckpt"))
    assert {file.name for file in path.parent.iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_off_checkpoint_is_refused_with_what_to_do(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"last\.ckpt: .*take another"):
        read_checkpoint(path)


def test_only_a_full_disk_is_explained() -> None:
    full: Any = explain_full_disk(OSError(errno.ENOSPC, "No space left on device", "runs/metrics.csv"))
    assert str(full).startswith("runs/metrics.csv: No space left on device, so the command has ended; make room")
    assert explain_full_disk(OSError(errno.EACCES, "Permission denied")) is None
