"""What the processes of a run know together."""

import os
import signal
import threading
from typing import Any, TypeVar

import lightning as L
import torch.distributed

Item = TypeVar("Item")


def end_at_sigterm(trainer: L.Trainer) -> None:
    """Let SIGTERM end this process, and those that it started, at once.

    Lightning takes note of it and ends trainings; predictions would go on.
    """

    def end(number: int, frame: Any) -> None:
        launcher: Any = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        signal.signal(signal.SIGTERM, end)


def gather(items: list[Item]) -> list[Item]:
    """The items of all processes, in their order; every process must ask."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return items
    parts: list[list[Item]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]
