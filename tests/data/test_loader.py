import pytest

from deepct.data.loader import NO_PAIR, EachOnce


@pytest.mark.parametrize(("items", "processes"), [(10, 2), (10, 3), (7, 4), (5, 5), (9, 8)])
def test_each_item_is_dealt_once_and_equally_many_to_all(items: int, processes: int) -> None:
    dealt = [[*EachOnce(range(items), processes, rank)] for rank in range(processes)]  # type: ignore[arg-type]
    assert len({len(mine) for mine in dealt}) == 1
    real = [index for mine in dealt for index in mine if index != NO_PAIR]
    assert sorted(real) == [*range(items)]
    assert all(NO_PAIR not in mine[:-1] for mine in dealt)  # no process is without items
