import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepct.evaluation import cost
from deepct.evaluation.cost import (
    Growth,
    Point,
    count_gflop,
    count_parameters,
    find_limit,
    measure,
    measure_growth,
    measure_network,
)
from deepct.networks import NetworkConfig

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)
MIB = 2**20


def hold(mebibytes: int) -> Callable[[], int]:
    return lambda: int(np.ones(mebibytes * MIB, dtype=np.uint8).sum())


def fail() -> Callable[[], None]:
    raise ValueError("no such work")


def points(*peaks: float, sides: tuple[int, ...] = cost.SIDES, seconds: float = 0.1) -> list[Point]:
    return [
        Point(side, side * round(side / 1.5), seconds, peak, 100.0) for side, peak in zip(sides, peaks, strict=False)
    ]


def test_the_peak_of_work_in_its_own_process_is_what_it_holds() -> None:
    measured = measure(hold, 200, repeats=1, warm=False)
    assert measured.result == 200 * MIB
    assert 195 < measured.peak_mib < 240
    assert measured.before_mib > 20


def test_work_that_fails_is_named_with_its_cause() -> None:
    with pytest.raises(RuntimeError, match=r"fail.*no such work") as caught:
        measure(fail)
    assert isinstance(caught.value.__cause__, ValueError)


def test_without_proc_memory_is_the_most_that_was_held_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    held = cost._memory("VmHWM")

    def absent(path: Path, *args: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", absent)
    assert cost._memory("VmRSS") >= held - 1
    assert cost._free_memory() is None
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    assert math.isnan(cost._memory("VmRSS"))


def test_parameters_and_operations_are_counted() -> None:
    layer = nn.Conv2d(3, 5, 3, padding=1)
    assert count_parameters(layer) == 3 * 5 * 9 + 5
    assert count_gflop(lambda: layer(torch.zeros(1, 3, 20, 10))) == pytest.approx(2 * 3 * 5 * 9 * 200 / 1e9)


def test_a_linear_growth_gives_the_largest_photo() -> None:
    bytes_a_pixel = 512
    grown = [p._replace(peak_mib=40 + p.pixels * bytes_a_pixel / MIB) for p in points(*[0] * 4)]
    limit = find_limit(Growth(grown, None), 1024)
    assert limit is not None
    assert not limit.measured
    assert limit.pixels == pytest.approx((1024 - 100 - 40) * MIB / bytes_a_pixel)


def test_on_a_gpu_its_own_memory_is_the_limit() -> None:
    grown = [p._replace(device_mib=p.pixels / MIB * 1000) for p in points(1e6, 1e6, 1e6)]
    limit = find_limit(Growth(grown, None), 1024)
    assert limit is not None
    assert limit.pixels == pytest.approx(1.024 * MIB)


def test_only_photos_above_the_working_size_tell_how_memory_grows() -> None:
    seen = points(0, 500, 1000, 1000 + 3 * 2.0, 1000 + 15 * 2.0)
    limit = find_limit(Growth(seen, 768), 4096)
    assert limit is not None
    slope = (seen[3].peak_mib - 1000) / (seen[3].pixels - seen[2].pixels)
    assert limit.pixels == pytest.approx((4096 - 1100) / slope + seen[2].pixels, rel=0.01)


def test_without_a_growth_the_largest_photo_measured_to_fit_is_a_lower_bound() -> None:
    flat = Growth(points(10, 10, 10), None)
    assert find_limit(flat, 200) == (flat.points[-1].pixels, True)
    assert find_limit(Growth(points(10, 60), 768), 130) == (flat.points[0].pixels, True)
    assert find_limit(flat, 50) is None
    assert find_limit(Growth(points(math.nan, math.nan), None), 1e6) is None


def test_a_memory_that_the_network_alone_exceeds_holds_no_photo() -> None:
    limit = find_limit(Growth(points(0, 10, 40), None), 50)
    assert limit == (0, False)


def fake_measure(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float], peak: float = 1.0) -> list[int]:
    tried = []

    def measured(make: object, config: object, side: int, *args: object, **options: object) -> cost.Measurement:
        tried.append(side)
        return cost.Measurement(seconds(side), 1.0, peak, None)

    monkeypatch.setattr(cost, "measure", measured)
    return tried


def test_measuring_stops_after_a_photo_that_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fake_measure(monkeypatch, lambda side: side / 200)
    growth = measure_growth(TINY, None)
    assert tried == [256, 512, 1024, 2048]
    assert "4096 px was not tried, as 2048 px took 10 s" in growth.ended


def test_what_the_first_copy_of_working_size_took_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fake_measure(monkeypatch, lambda side: 15.0)
    assert not measure_growth(TINY, 768, points(1, 1)).ended
    assert tried == [1024, 2048, 4096]


def test_measuring_stops_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fake_measure(monkeypatch, lambda side: 0.1, peak=300.0)
    monkeypatch.setattr(cost, "_free_memory", lambda: 1000.0)
    assert (
        "512 px was not tried, as it may take 1196 MiB and 1000 MiB of memory are free"
        in measure_growth(TINY, None).ended
    )
    assert tried == [256]


def test_a_size_that_fails_ends_the_growth_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> cost.Measurement:
        raise RuntimeError("measured") from MemoryError("all gone")

    monkeypatch.setattr(cost, "measure", broken)
    growth = measure_growth(TINY, None)
    assert growth.points == []
    assert growth.ended == "256 px failed: all gone"


def test_a_network_is_measured_over_sizes_whole_and_at_its_working_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SIDES", (64, 96))
    measured = measure_network(TINY, 64)
    assert measured.parameters > 1000
    assert measured.gflop > 0.01
    assert [point.side for point in measured.whole.points] == [64, 96]
    assert measured.predicted.points[0] == measured.whole.points[0]
    assert measured.predicted.points[1] != measured.whole.points[1]
    assert all(point.seconds > 0 and point.before_mib > 50 for point in measured.whole.points)
