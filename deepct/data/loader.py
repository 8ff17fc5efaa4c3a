"""How samples reach the devices."""

import time
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, DistributedSampler

NO_PAIR = -1
"""The index that stands for no pair: its sample is None."""


class WatchedLoader(DataLoader[Any]):
    """A loader that knows how long it was waited for.

    Attributes:
        waited: seconds that a training spent waiting for samples, so far.
    """

    waited: float = 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a DataLoader promises its own iterator
        samples = super().__iter__()
        while True:
            start = time.perf_counter()
            try:
                batch = next(samples)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - start
            yield batch


class EachOnce(DistributedSampler[int]):
    """Deal a data set out to several processes, each item once.

    All processes get equally many, as they must to stay in step: where items do not come out even, the last ones of
    some are :data:`NO_PAIR` rather than items that count twice.

    Args:
        data: the data set.
        processes: how many there are.
        rank: this one's number.
    """

    def __init__(self, data: Dataset[Any], processes: int, rank: int) -> None:
        super().__init__(data, processes, rank, shuffle=False)

    def __iter__(self) -> Iterator[int]:
        items = len(self.dataset)  # type: ignore[arg-type]
        dealt = [*range(items), *[NO_PAIR] * (self.total_size - items)]
        return iter(dealt[self.rank : self.total_size : self.num_replicas])
