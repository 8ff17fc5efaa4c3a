"""Trainings in processes of their own, and what they leave behind."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from jsonargparse import set_parsing_settings


def start(arguments: list[str], **environment: str) -> "subprocess.Popen[str]":
    """A command in a group of processes of its own, which finds the tests' probes."""
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]", status: int = 0) -> tuple[str, str]:
    """What a command printed, which must end with this status."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, err
    return out, err


def newest(folder: Path, name: str = "last.ckpt") -> Path:
    """The newest of the checkpoints of this name, of all runs in a folder."""
    return max(folder.glob(f"runs/run/*/checkpoints/{name}"), key=lambda path: path.stat().st_mtime_ns)


def state(path: Path) -> dict[str, Any]:
    """What a training is made of at a checkpoint: weights, optimizer, schedule, step and epoch."""
    checkpoint = torch.load(path, weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
    return {name: checkpoint[name] for name in kept}


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Bit for bit, whatever holds what."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    else:
        assert a == b, where


def logged(folder: Path) -> dict[int, str]:
    """The training loss as it was logged, by step, over all runs in a folder, none of which may log a step twice."""
    losses: dict[int, str] = {}
    for path in sorted(folder.glob("runs/run/*/metrics.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row.get("train/loss"):
                    assert int(row["step"]) not in losses
                    losses[int(row["step"])] = row["train/loss"]
    return losses


def steps(run: Path) -> list[int]:
    """The steps whose training loss one run logged."""
    with (run / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row.get("train/loss")]


def wait_for_step(process: "subprocess.Popen[str]", step: int) -> None:
    """Wait until a training with the probe ``Slow`` has done so many steps."""
    deadline = time.monotonic() + 120
    while not Path("step").exists() or int(Path("step").read_text()) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


if __name__ == "__main__":  # the command line, which imports the tests' probes too; Lightning starts it again by name
    import deepct.runner  # noqa: F401  # which says what else may be imported
    from deepct.cli import console

    set_parsing_settings(import_path_allowlist=["probes"])
    console()
