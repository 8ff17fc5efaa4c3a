"""Work on many files in several processes, of which any may die."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from threading import Thread

from deepct.data.pairs import Scene

Work = Callable[[Scene], str | None]
"""What is done to a scene; it returns None, or why the scene cannot be done."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_off(scenes: Sequence[Scene], work: Work, workers: int) -> Iterator[str | None]:
    """What becomes of each scene, in the order in which they end.

    A process can die: of a file that its decoder cannot bear, or for want of memory. The scenes that were being read
    then are tried once more, each alone, so that only the guilty one is lost.

    Args:
        scenes: what to work on.
        work: what to do; it must be picklable.
        workers: processes that work at once; 0 works in this one.
    """
    if not workers:
        yield from map(work, scenes)
        return
    waiting = deque(scenes)
    while waiting:
        running: dict[Future[str | None], Scene] = {}
        try:
            with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
                while waiting or running:
                    while waiting and len(running) < workers:
                        future = pool.submit(work, waiting[0])
                        running[future] = waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        problem = future.result()
                        del running[future]
                        yield problem
        except BrokenProcessPool:
            for scene in running.values():
                yield _work_alone(scene, work)


def _work_alone(scene: Scene, work: Work) -> str | None:
    try:
        with ProcessPoolExecutor(1, initializer=_start_worker) as pool:
            return pool.submit(work, scene).result()
    except BrokenProcessPool:
        return f"{scene.source}: it, or another version, ends the process that reads it; it is broken, or too large"


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C they end what they have begun
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process that is killed cannot tell its workers to end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
