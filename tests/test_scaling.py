"""The document says what its script calculates."""

import re
from pathlib import Path

import pytest
from benchmarks import scaling

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="the documents are not here")
@pytest.mark.parametrize("title", scaling.TABLES)
def test_each_table_is_what_the_script_prints(title: str) -> None:
    assert scaling.TABLES[title]() in DOCUMENT.read_text()


def test_a_ring_sends_nearly_twice_the_gradients_and_one_device_nothing() -> None:
    teacher = scaling.TRAININGS[0]
    assert scaling.exchanged(teacher, 1) == 0
    assert scaling.exchanged(teacher, 8) == pytest.approx(2 * 7 / 8 * 40.9e6 * 4)
    assert scaling.efficiency(teacher, 1, 1.0) == 1
    assert scaling.efficiency(teacher, 8, 1e6) < 0.01


def test_the_loaders_figures_are_those_that_were_measured() -> None:
    measured = (DOCUMENT.parent / "benchmarks.md").read_text()
    found = dict(re.findall(r"deepct, (full-size files|prepared) \|.*?([\d.]+) a second", measured))
    assert (float(found["prepared"]), float(found["full-size files"])) == (scaling.PREPARED, scaling.FULL_SIZE)
