"""Time and peak memory of whole commands, and of several runs together."""

import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from deepct.evaluation.cost import Measurement

_MIB = 2**20


def measure_command(words: list[str], folder: Path) -> Measurement:
    """Run a command once and watch it: its time from start to end, and the memory of all its processes together.

    Memory that processes share counts once (proportional set size). It is looked at twenty times a second, so a
    shorter peak can be missed.

    Raises:
        RuntimeError: the command failed; its last words are in the message.
    """
    start = time.perf_counter()
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(_shared_memory(pid) for pid in _family(process.pid)))
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: status {process.returncode}\n{said[-2000:]}")
    return Measurement(seconds, 1.0, peak, said)


def together(runs: Sequence[Measurement]) -> Measurement:
    """Several runs of one piece of work as one measurement."""
    seconds = [run.seconds for run in runs]
    peak = max(run.peak_mib for run in runs)
    return Measurement(statistics.median(seconds), max(seconds) / min(seconds), peak, runs[-1].result)


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _words(task / "children")]
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(child))]


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _shared_memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return next((int(line.split()[1]) * 1024 / _MIB for line in lines if line.startswith("Pss:")), 0.0)
