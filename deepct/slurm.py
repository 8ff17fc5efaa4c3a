"""What SLURM says of a job, and how a job that it starts again finds its training."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deepct.errors import TrainingError


def job() -> str | None:
    """The number of the job that this process is part of, that of an array with its task's; None outside SLURM."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID")


def name_training(words: Sequence[str]) -> str:
    """A name for the training that a command starts: one job may run several."""
    return hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()[:16]


def remember(training: str, folder: Path) -> None:
    """Note a folder of this job's checkpoints, for when it is started again.

    Args:
        training: see :func:`name_training`.
        folder: where they are.
    """
    with _notes().open("a", encoding="utf-8") as file:
        file.write(f"{training} {folder.resolve()}\n")


def last_checkpoint(training: str) -> Path | None:
    """The newest checkpoint of this training in this job's earlier starts.

    Args:
        training: see :func:`name_training`.

    Returns:
        It; None where there is none, where SLURM has not started the job again, or outside SLURM.
    """
    if job() is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not _notes().is_file():
        return None
    noted = [line.partition(" ") for line in _notes().read_text(encoding="utf-8").splitlines()]
    folders = [Path(folder) for name, _, folder in noted if name == training]
    found = [path for folder in folders for path in folder.glob("*.ckpt")]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def requeue() -> None:
    """Ask SLURM to start this job again.

    Raises:
        TrainingError: it will not.
    """
    command = ["scontrol", "requeue", job() or ""]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise TrainingError(f"{' '.join(command)}: cannot be run ({error.strerror}); submit the job again") from error
    if done.returncode:
        raise TrainingError(f"{' '.join(command)}: failed ({done.stderr.strip()}); submit the job again")


def _notes() -> Path:
    """In the folder that the command is run in, as SLURM's own output is."""
    return Path(f"slurm-{job()}.runs")
