"""How samples reach the devices, and in which order."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from deepct.errors import DataError

NO_PAIR = -1
"""The index that stands for no pair: its sample is None."""


class Draw(NamedTuple):
    """A training sample that is asked for.

    Attributes:
        pair: its index.
        seed: of all that is random about it.
    """

    pair: int
    seed: int


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


def explain_lost_worker(error: RuntimeError) -> DataError | None:
    """What to do where an error says that a loader's process is gone; None where it says something else."""
    if not str(error).startswith("DataLoader worker"):
        return None
    return DataError(
        f"a process that reads photos is gone ({str(error).strip(' .')}): a photo is broken, or the memory too small. "
        "`deepct prepare` names the photos that end their reader, and leaves them out; fewer --data.num_workers take "
        "less memory. A training goes on with --ckpt_path LAST_CKPT"
    )


class Shuffled(DistributedSampler[Draw]):
    """Deal a data set out for training, so that a step holds the same pairs on any number of processes.

    The order and every sample's seed follow from the seed and the epoch alone. What does not fill a step is left out of
    the epoch, unless it is all there is: then each process gets equally many, as many as come out even.

    Args:
        data: the data set, of as many pairs as processes or more.
        batch_size: pairs a step, of each process.
        processes: how many there are.
        rank: this one's number.
        seed: of order and samples.

    Attributes:
        steps: how many an epoch has.
        start: the step with which the next epoch begins; it goes back to 0 once that has begun.
    """

    def __init__(self, data: Dataset[Any], batch_size: int, processes: int, rank: int, seed: int) -> None:
        super().__init__(data, processes, rank, seed=seed)
        self.start = 0
        pairs = len(data)  # type: ignore[arg-type]
        self._share = min(batch_size, pairs // processes)
        self.steps = pairs // self.pairs_per_step
        self.num_samples = self.steps * self._share

    @property
    def pairs_per_step(self) -> int:
        """How many pairs a step has, those of all processes together."""
        return self._share * self.num_replicas

    def __iter__(self) -> Iterator[Draw]:
        start, self.start = self.start, 0
        rng = np.random.default_rng((self.seed, self.epoch))
        pairs = len(self.dataset)  # type: ignore[arg-type]
        order, seeds = rng.permutation(pairs).tolist(), rng.integers(2**31, size=pairs).tolist()
        for step in range(start, self.steps):
            first = step * self.pairs_per_step + self.rank * self._share
            for place in range(first, first + self._share):
                yield Draw(order[place], seeds[place])


class TrainingLoader(WatchedLoader):
    """A loader that can go on in the middle of an epoch; what comes before is not read again.

    It knows its place where its sampler is :class:`Shuffled`, which Lightning replaces to overfit.
    """

    _given: int = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._given = self.sampler.start if isinstance(self.sampler, Shuffled) else 0
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """``pairs``: how many of this epoch were given out, by all processes together."""
        return {"pairs": self._given * self.sampler.pairs_per_step if isinstance(self.sampler, Shuffled) else 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next epoch after so many pairs, rounded down to whole steps."""
        if isinstance(self.sampler, Shuffled):
            self.sampler.start = state["pairs"] // self.sampler.pairs_per_step


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
