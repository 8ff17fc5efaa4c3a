from pathlib import Path
from typing import Any

import pytest
import torch

from deepct.data.datamodule import PairDataModule
from deepct.data.loader import NO_PAIR, Draw, EachOnce, Shuffled


@pytest.mark.parametrize(("items", "processes"), [(10, 2), (10, 3), (7, 4), (5, 5), (9, 8)])
def test_each_item_is_dealt_once_and_equally_many_to_all(items: int, processes: int) -> None:
    dealt = [[*EachOnce(range(items), processes, rank)] for rank in range(processes)]  # type: ignore[arg-type]
    assert len({len(mine) for mine in dealt}) == 1
    real = [index for mine in dealt for index in mine if index != NO_PAIR]
    assert sorted(real) == [*range(items)]
    assert all(NO_PAIR not in mine[:-1] for mine in dealt)  # no process is without items


def steps(
    items: int, batch_size: int, processes: int, seed: int = 3, epoch: int = 0, start: int = 0
) -> list[set[Draw]]:
    """What all processes together are dealt for each step."""
    dealt = []
    for rank in range(processes):
        order = Shuffled(range(items), batch_size, processes, rank, seed)  # type: ignore[arg-type]
        order.set_epoch(epoch)
        order.start = start
        dealt.append([*order])
        assert len(dealt[-1]) == len(order) - start * batch_size
    own = len(dealt[0]) // (order.steps - start)
    return [{draw for mine in dealt for draw in mine[first : first + own]} for first in range(0, len(dealt[0]), own)]


@pytest.mark.parametrize("items", [24, 29, 12])
@pytest.mark.parametrize("processes", [2, 3, 4, 6, 12])
def test_a_step_holds_the_same_pairs_with_the_same_seeds_on_any_number_of_processes(items: int, processes: int) -> None:
    alone = steps(items, 12, 1)
    assert steps(items, 12 // processes, processes) == alone
    assert all(len(step) == 12 for step in alone)
    pairs = [draw.pair for step in alone for draw in step]
    assert len({*pairs}) == len(pairs) == items // 12 * 12


def test_order_and_seeds_follow_from_seed_and_epoch() -> None:
    first = [*Shuffled(range(40), 4, 1, 0, 5)]  # type: ignore[arg-type]
    assert first == [*Shuffled(range(40), 4, 1, 0, 5)]  # type: ignore[arg-type]
    for seed, epoch in ((6, 0), (5, 1)):
        other = Shuffled(range(40), 4, 1, 0, seed)  # type: ignore[arg-type]
        other.set_epoch(epoch)
        dealt = [*other]
        assert [draw.pair for draw in dealt] != [draw.pair for draw in first]
        assert not {draw.seed for draw in dealt} & {draw.seed for draw in first}
    assert len({draw.seed for draw in first}) == 40


@pytest.mark.parametrize(("items", "processes", "own"), [(5, 1, 5), (5, 2, 2), (7, 3, 2)])
def test_where_a_step_cannot_be_filled_all_get_equally_many(items: int, processes: int, own: int) -> None:
    (only,) = steps(items, 8, processes)
    assert len(only) == own * processes


def test_an_epoch_that_is_begun_later_goes_on_alike_and_the_next_one_is_whole() -> None:
    assert steps(29, 4, 2, start=2) == steps(29, 4, 2)[2:]
    order = Shuffled(range(29), 4, 1, 0, 0)  # type: ignore[arg-type]
    order.start = 5
    assert [len([*order]) for _ in range(2)] == [8, 28]


def epoch(root: Path, number: int = 0, begin: int = 0, **settings: Any) -> list[dict[str, Any]]:
    """The raw batches of an epoch, from a batch on."""
    module = PairDataModule("fivek", str(root), batch_size=4, size=40, resize=48, **settings)
    torch.manual_seed(1)
    module.setup("fit")
    loader: Any = module.train_dataloader()
    loader.sampler.set_epoch(number)
    loader.load_state_dict({"pairs": 4 * begin})
    return [*loader]


def assert_equal(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> None:
    assert len(a) == len(b) > 0
    for left, right in zip(a, b, strict=True):
        assert left["name"] == right["name"]
        for key in left.keys() - {"name"}:
            assert torch.equal(left[key], right[key]), key


def test_samples_do_not_depend_on_the_workers(fivek_root: Path) -> None:
    alone = epoch(fivek_root, num_workers=0)
    for workers in (1, 2):
        assert_equal(epoch(fivek_root, num_workers=workers), alone)
    with pytest.raises(AssertionError):
        assert_equal(epoch(fivek_root, 1, num_workers=0), alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_in_the_middle_of_an_epoch(fivek_root: Path, workers: int) -> None:
    assert_equal(epoch(fivek_root, begin=3, num_workers=workers), epoch(fivek_root, num_workers=0)[3:])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loaders_place_counts_what_was_given_out_and_not_what_was_prefetched(fivek_root: Path, workers: int) -> None:
    module = PairDataModule("fivek", str(fivek_root), batch_size=4, size=40, resize=48, num_workers=workers)
    module.setup("fit")
    loader: Any = module.train_dataloader()
    samples = iter(loader)
    for count in (1, 2, 3):
        next(samples)
        assert loader.state_dict() == {"pairs": 4 * count}
    loader.load_state_dict({"pairs": 11})
    next(iter(loader))
    assert loader.state_dict() == {"pairs": 12}
