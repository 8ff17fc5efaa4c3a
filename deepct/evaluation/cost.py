"""What a network costs: parameters and operations, and time and peak memory over the photo's size."""

import ctypes
import math
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepct.networks import NetworkConfig, build_network

SIDES = (256, 512, 1024, 2048, 4096)
"""The long sides, px, of the photos of 3 : 2 that networks are measured on."""

PATIENCE = 10.0
"""After a photo that took longer than this, s, no larger one is measured.

Where the network sees a copy of working size, what the first such copy took does not count: larger photos take little
more.
"""

REFERENCE_SIDE = 1024
"""The reference's longest side, px; a smaller source has one of its own size."""

_MIB = 2**20
_QUICK = 1.0  # s: what takes less is run three times more, and its median taken
_LEAST_GROWTH = 1.0  # bytes a pixel: a result alone has three


class Measurement(NamedTuple):
    """What one piece of work cost.

    Attributes:
        seconds: the median over the repeats.
        spread: the largest time over the smallest, the machine's noise.
        peak_mib: the most memory that the work held beyond what was there before it, MiB; of a whole command, all that
            its processes held. NaN where the system does not tell.
        result: what the last run returned, a plain value.
        before_mib: what the process held before the work, MiB; 0 for a whole command.
    """

    seconds: float
    spread: float
    peak_mib: float
    result: Any
    before_mib: float = 0.0


def measure(make: Callable[..., Callable[[], Any]], *args: Any, repeats: int = 3, warm: bool = True) -> Measurement:
    """Build a piece of work in a fresh process and run it there.

    Args:
        make: builds the inputs and returns the work; importable, as a new process imports it.
        args: for ``make``; plain values.
        repeats: timed runs.
        warm: run once untimed before. The peak is always that of the first run: work that needs more memory once will
            need it for every user.

    Raises:
        RuntimeError: the work failed; its error is named, and is the cause.
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
    with suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
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
    return Measurement(statistics.median(seconds), max(seconds) / min(seconds), peak - before, result, before)


def _memory(field: str) -> float:
    """What this process holds (``VmRSS``) or has held at most (``VmHWM``), MiB.

    Without Linux's /proc it is the most that it has held in either case, and NaN where the system does not tell.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / _MIB
    except (OSError, StopIteration):
        return _most_memory()


def _most_memory() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def count_parameters(network: nn.Module) -> int:
    """How many numbers a network has learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_gflop(work: Callable[[], Any]) -> float:
    """Billions of operations of a piece of work, additions and multiplications apart.

    As torch's counter has them: convolutions and matrix products.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


class Point(NamedTuple):
    """What recolouring a photo of one size costs.

    Attributes:
        side: the photo's long side, px.
        pixels: how many it has.
        seconds: the time.
        peak_mib: the most memory held beyond what was there before, MiB; NaN where it cannot be measured.
        before_mib: what the process held before: torch, the network and the photo.
        device_mib: the most that was allocated on the GPU, weights and photo included; None without one.
    """

    side: int
    pixels: int
    seconds: float
    peak_mib: float
    before_mib: float
    device_mib: float | None = None

    @property
    def total_mib(self) -> float:
        """All that is held where memory runs out first: on the GPU, if there is one."""
        return self.before_mib + self.peak_mib if self.device_mib is None else self.device_mib


@dataclass(frozen=True)
class Growth:
    """Cost over the photo's size.

    Attributes:
        points: from small photos to large ones.
        working_size: that of the measurement, see :meth:`deepct.networks.TransferNetwork.recolor`.
        ended: why no larger photo was measured; empty where all were.
    """

    points: Sequence[Point]
    working_size: int | None
    ended: str = ""


class Limit(NamedTuple):
    """The largest photo that fits into a memory.

    Attributes:
        pixels: how many it has.
        measured: it was measured, and more will fit; else it follows from the growth.
    """

    pixels: float
    measured: bool


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: how many it has.
        gflop: of one transfer between photos of 256 x 256 px, with the decoder's pictures where it draws them.
        whole: it sees the whole photo.
        predicted: it sees the photo at the working size, as ``deepct predict`` does.
    """

    parameters: int
    gflop: float
    whole: Growth
    predicted: Growth


def measure_network(config: NetworkConfig, working_size: int | None) -> Cost:
    """Measure a network of random weights, whose cost is that of trained ones, each size in a process of its own.

    On the GPU, where there is one.

    Args:
        config: its shape.
        working_size: that of the second series.
    """
    config = replace(config, pretrained=False)
    network = build_network(config).eval()
    photos = torch.zeros(2, 1, 3, 256, 256)
    gflop = count_gflop(lambda: network(*photos))
    whole = measure_growth(config, None)
    # A photo that is no larger than the working size is seen whole in either case.
    alike = [point for point in whole.points if working_size is None or point.side <= working_size]
    predicted = whole if working_size is None else measure_growth(config, working_size, alike)
    return Cost(count_parameters(network), gflop, whole, predicted)


def measure_growth(config: NetworkConfig, working_size: int | None, known: Sequence[Point] = ()) -> Growth:
    """Recolour larger and larger photos, until they take too long or would not fit into memory.

    Args:
        config: the network's shape.
        working_size: see :meth:`deepct.networks.TransferNetwork.recolor`.
        known: the first sizes, where they have been measured before.
    """
    points = list(known)
    for side in SIDES[len(points) :]:
        if points and (reason := _why_stop(points, side, working_size)):
            return Growth(points, working_size, reason)
        quick = not points or points[-1].seconds < _QUICK
        args = recolor_noise, config, side, working_size
        try:
            cost = measure(*args, repeats=3 if quick else 1, warm=quick or has_gpu())
        except RuntimeError as error:
            return Growth(points, working_size, f"{side} px failed: {error.__cause__}")
        points.append(Point(side, _pixels(side), cost.seconds, cost.peak_mib, cost.before_mib, cost.result))
    return Growth(points, working_size)


def recolor_noise(config: NetworkConfig, side: int, working_size: int | None) -> Callable[[], float | None]:
    """The work of recolouring one photo, from a photo in memory to a photo in memory.

    Args:
        config: the network's shape.
        side: the photo's long side, px.
        working_size: see :meth:`deepct.networks.TransferNetwork.recolor`.

    Returns:
        The work, which gives the most memory that was allocated on the GPU so far, MiB, or None without one.
    """
    device = "cuda" if has_gpu() else "cpu"
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build_network(config).to(device).eval()
    source, reference = (
        torch.randint(256, (1, 3, round(size / 1.5), size), generator=generator, dtype=torch.uint8)
        for size in (side, min(side, REFERENCE_SIDE))
    )

    def work() -> float | None:
        network.recolor(source.to(device), reference.to(device), working_size=working_size).cpu()
        return torch.cuda.max_memory_allocated() / _MIB if device == "cuda" else None

    return work


def find_limit(growth: Growth, memory_mib: float) -> Limit | None:
    """The largest photo that fits into a memory, by a line through the totals over pixels.

    Where the network sees a copy of working size, only photos larger than that tell how memory grows.

    Args:
        growth: what was measured.
        memory_mib: the memory, MiB.

    Returns:
        It, of 0 pixels where not even the network fits. Where memory does not grow measurably, the largest photo that
        was measured to fit; None if there is none such.
    """
    points = [point for point in growth.points if math.isfinite(point.total_mib)]
    rising = [point for point in points if growth.working_size is None or point.side > growth.working_size]
    if len(rising) > 1:
        pixels, totals = (np.array(column) for column in zip(*((p.pixels, p.total_mib) for p in rising), strict=True))
        slope, start = np.polyfit(pixels, totals, 1)
        if slope * _MIB >= _LEAST_GROWTH:
            return Limit(max(0.0, float((memory_mib - start) / slope)), measured=False)
    fitting = [point.pixels for point in points if point.total_mib <= memory_mib]
    return Limit(max(fitting), measured=True) if fitting else None


def has_gpu() -> bool:
    """Whether networks are measured on a GPU."""
    return torch.cuda.is_available()


def total_memory() -> float | None:
    """The memory of the GPU, if there is one, else of this machine, MiB; None where the system does not tell."""
    if has_gpu():
        return torch.cuda.get_device_properties(0).total_memory / _MIB
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MIB
    except (AttributeError, OSError, ValueError):
        return None


def name_processor() -> str:
    """What the processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _pixels(side: int) -> int:
    return side * round(side / 1.5)


def _why_stop(points: Sequence[Point], side: int, working_size: int | None) -> str:
    """Why a photo of this side is not tried after the others; empty if it is."""
    last = points[-1]
    copied = [point.seconds for point in points if working_size is not None and point.side > working_size]
    if last.seconds - sum(copied[:1]) > PATIENCE:
        return f"{side} px was not tried, as {last.side} px took {last.seconds:.0f} s"
    growth = _pixels(side) / last.pixels
    for place, peak, free in (
        ("memory", last.peak_mib, _free_memory()),
        ("the GPU's memory", last.device_mib, torch.cuda.mem_get_info()[0] / _MIB if has_gpu() else None),
    ):
        if peak is not None and free is not None and peak * growth > free:
            needed = f"may take {peak * growth:.0f} MiB and {free:.0f} MiB of {place} are free"
            return f"{side} px was not tried, as it {needed}"
    return ""


def _free_memory() -> float | None:
    """What new processes can take, MiB; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 / _MIB
    except (OSError, StopIteration):
        return None
