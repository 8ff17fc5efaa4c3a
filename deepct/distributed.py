"""What the processes of a run know together."""

from typing import TypeVar

import torch.distributed

Item = TypeVar("Item")


def gather(items: list[Item]) -> list[Item]:
    """The items of all processes, in their order; every process must ask."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return items
    parts: list[list[Item]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]
