"""Work on many files in several processes, of which any may die."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.context import BaseContext
from threading import Thread
from typing import Generic, TypeVar

import torch

from deepct.data.pairs import Scene

Job = TypeVar("Job")
Result = TypeVar("Result")
Work = Callable[[Scene], str | None]
"""What is done to a scene; it returns None, or why the scene cannot be done."""

KILLS = "ends the process that reads it; it is broken, or too large for the memory"
"""What is said of a file that a process did not survive."""


class ReadAhead(Generic[Job, Result]):
    """What a loader of batches is, but that a file which ends its reader costs itself alone.

    Args:
        jobs: what to read.
        read: how; it must be picklable.
        workers: processes that read, each one job ahead; 0 reads in this one.
        lost: what to give for a job that ended its process.
    """

    def __init__(
        self, jobs: Sequence[Job], read: Callable[[Job], Result], workers: int, lost: Callable[[Job], Result]
    ) -> None:
        self.jobs = jobs
        self.read = read
        self.workers = workers
        self.lost = lost

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Result]:
        return work_off_jobs(self.jobs, self.read, self.workers, self.lost)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_off(scenes: Sequence[Scene], work: Work, workers: int) -> Iterator[str | None]:
    """As :func:`work_off_jobs`, on scenes."""
    return work_off_jobs(scenes, work, workers, _lost_scene)


def work_off_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    workers: int,
    lost: Callable[[Job], Result],
    context: BaseContext | None = None,
) -> Iterator[Result]:
    """What becomes of each job, in the order in which they end; one worker ends them in theirs.

    A process can die: of a file that its decoder cannot bear, or for want of memory. The jobs that were being done
    then are tried once more, each alone, so that only the guilty one is lost.

    Args:
        jobs: what to work on.
        work: what to do; it must be picklable.
        workers: processes that work at once; 0 works in this one.
        lost: what to say of a job that ended its process.
        context: how processes start; Python's own way by default.
    """
    if not workers:
        yield from map(work, jobs)
        return
    waiting = deque(jobs)
    while waiting:
        running: dict[Future[Result], Job] = {}
        try:
            with ProcessPoolExecutor(workers, context, _start_worker) as pool:
                while waiting or running:
                    while waiting and len(running) < workers:
                        future = pool.submit(work, waiting[0])
                        running[future] = waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        del running[future]
                        yield result
        except BrokenProcessPool:
            for job in running.values():
                yield _work_alone(job, work, lost, context)


def _work_alone(
    job: Job, work: Callable[[Job], Result], lost: Callable[[Job], Result], context: BaseContext | None
) -> Result:
    try:
        with ProcessPoolExecutor(1, context, _start_worker) as pool:
            return pool.submit(work, job).result()
    except BrokenProcessPool:
        return lost(job)


def _lost_scene(scene: Scene) -> str:
    return f"{scene.source}: it, or another version, {KILLS}"


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C they end what they have begun
    # Processes enough; and the threads of torch and OpenCV do not live on in forked ones.
    torch.set_num_threads(1)
    opencv = sys.modules.get("cv2")  # not imported for this: most photos need it not
    if opencv is not None:
        opencv.setNumThreads(0)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process that is killed cannot tell its workers to end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
