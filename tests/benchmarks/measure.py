"""Time and peak memory of a piece of work, in a process of its own."""

import ctypes
import multiprocessing
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_MIB = 2**20


class Measurement(NamedTuple):
    """What one piece of work cost.

    Attributes:
        seconds: the median over the repeats.
        spread: the largest time over the smallest, the machine's noise.
        peak_mib: the most memory that the work held beyond what was there before it, MiB; of a whole command, all that
            its processes held.
        result: what the last run returned, a plain value.
    """

    seconds: float
    spread: float
    peak_mib: float
    result: Any


def measure(make: Callable[..., Callable[[], Any]], *args: Any, repeats: int = 3, warm: bool = True) -> Measurement:
    """Build a piece of work in a fresh process and run it there.

    Args:
        make: builds the inputs and returns the work; importable, as a new process imports it.
        args: for ``make``; plain values.
        repeats: timed runs.
        warm: run once untimed before. The peak is always that of the first run: work that needs more memory once will
            need it for every user.

    Raises:
        RuntimeError: the work failed; its error is named.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, make, args, repeats, warm))
    process.start()
    there.close()
    try:
        outcome = here.recv()
    except EOFError:
        process.join()
        outcome = RuntimeError(f"its process ended with status {process.exitcode}, perhaps for lack of memory")
    process.join()
    if isinstance(outcome, Exception):
        raise RuntimeError(f"{make.__name__}{args}: {outcome!r}") from outcome
    return outcome


def _work(pipe: Any, make: Callable[..., Callable[[], Any]], args: tuple[Any, ...], repeats: int, warm: bool) -> None:
    try:
        pipe.send(_run(make(*args), repeats, warm))
    except Exception as error:
        pipe.send(error)


def _run(work: Callable[[], Any], repeats: int, warm: bool) -> Measurement:
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = _memory("VmRSS")
    seconds = []
    start = time.perf_counter()
    result = work()
    seconds.append(time.perf_counter() - start)
    peak = _memory("VmHWM")
    if warm:
        seconds.clear()
    while len(seconds) < repeats:
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return Measurement(statistics.median(seconds), max(seconds) / min(seconds), peak - before, result)


def _memory(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / _MIB


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
