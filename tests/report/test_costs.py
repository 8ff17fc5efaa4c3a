from pathlib import Path

import pytest

from deepct.evaluation.cost import Cost, Growth, Point
from deepct.networks import NetworkConfig
from deepct.report import costs
from deepct.report.costs import costs_section
from deepct.report.figure import DARK, LIGHT
from deepct.report.runs import Run

pytest.importorskip("matplotlib")

MIB = 2**20


def run(name: str, role: str, width: int, working_size: int | None = 768) -> Run:
    network = NetworkConfig(refinement_width=width)
    return Run(name, role, [Path("runs")], {}, network, working_size, {}, None, [])  # type: ignore[arg-type]


def growth(heavy: float, working_size: int | None = None, ended: str = "") -> Growth:
    sides = [256, 512] if ended else [256, 512, 1024]
    pixels = [side * round(side / 1.5) for side in sides]
    points = [Point(s, n, heavy * n / 1e6, heavy * n * 1000 / MIB, 100.0) for s, n in zip(sides, pixels, strict=True)]
    return Growth(points, working_size, ended)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    widths: list[int] = []

    def fake(network: NetworkConfig, working_size: int | None) -> Cost:
        widths.append(network.refinement_width)
        heavy = network.refinement_width
        whole = growth(heavy, ended="1024 px was not tried" if heavy > 4 else "")
        return Cost(heavy * 1000, heavy * 1.5, whole, whole if working_size is None else growth(heavy, 2000))

    monkeypatch.setattr(costs, "measure_network", fake)
    return widths


def test_teacher_and_student_stand_side_by_side_with_their_ratio(measured: list[int]) -> None:
    section = costs_section([run("big", "teacher", 8), run("small", "student", 2)], 1.0)
    summary, sizes = section.tables
    assert list(summary.headings) == ["network", "big", "small", "big / small"]
    assert list(summary.rows[0]) == ["parameters", "8,000", "2,000", "4 x"]
    assert list(summary.rows[1]) == ["GFLOP of a 256 px transfer", "12.00", "3.00", "4 x"]
    # 1024 MiB less 100 hold 924 Mi / 1000 / weight pixels.
    assert list(summary.rows[2][1:3]) == ["about 0.121 MP (426 px)", "about 0.484 MP (852 px)"]
    # Never above the working size, so only a bound: the largest that was measured to fit.
    assert summary.rows[3][1].startswith("over 0.0438 MP")
    rows = {row[0]: list(row[1:]) for row in sizes.rows}
    assert rows["whole, 512 px (0.17 MP)"] == ["1.40 s, 1,332 MiB", "0.35 s, 333 MiB", "4 x, 4 x"]
    assert rows["whole, 1024 px (0.7 MP)"] == ["-", "1.40 s, 1,334 MiB", "-"]
    assert any("big, whole photo: 1024 px was not tried" in paragraph for paragraph in section.text)


def test_networks_of_one_shape_are_measured_once(measured: list[int]) -> None:
    costs_section([run("a", "student", 2), run("b", "student", 2), run("c", "student", 2, None)], 1.0)
    assert measured == [2, 2]


def test_without_a_teacher_there_is_no_ratio(measured: list[int]) -> None:
    section = costs_section([run("a", "student", 2), run("b", "student", 3)], 1.0)
    assert all(list(table.headings[1:]) == ["a", "b"] for table in section.tables)


def test_a_memory_that_holds_no_network_holds_no_photo(measured: list[int]) -> None:
    summary = costs_section([run("a", "student", 2)], 0.01).tables[0]
    assert summary.rows[2][1] == "none: the network alone takes more"


def test_the_largest_photo_is_never_beyond_what_can_be_read(measured: list[int]) -> None:
    summary = costs_section([run("a", "student", 2)], 1e6).tables[0]
    assert summary.rows[2][1] == "over 1000 MP (38730 px)"


def test_the_text_names_the_machine(measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "name_processor", lambda: "Abacus 3000")
    assert "Abacus 3000" in costs_section([run("a", "student", 2)], 1.0).text[0]


def test_the_figure_has_a_solid_and_a_dashed_line_for_each_run_in_both_panels(measured: list[int]) -> None:
    figure = costs_section([run("big", "teacher", 8), run("small", "student", 2)], 1.0).figures[0]
    assert figure.themed
    for theme in (LIGHT, DARK):
        plot = figure.draw(theme)
        assert len(plot.axes) == 2
        for axes, height in zip(plot.axes, (2 * 43776 / 1e6, 2 * 43776 * 1000 / MIB), strict=True):
            assert [line.get_color() for line in axes.lines] == [c for c in theme.colors[:2] for _ in range(2)]
            assert [line.get_linestyle() for line in axes.lines] == ["--", "-"] * 2
            assert axes.lines[-1].get_xdata()[0] == pytest.approx(43776 / 1e6)
            assert axes.lines[-1].get_ydata()[0] == pytest.approx(height)


def test_where_memory_is_unknown_time_is_drawn_alone(measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Growth([Point(256, 43776, 1.0, float("nan"), float("nan"))], None)
    monkeypatch.setattr(costs, "measure_network", lambda *_: Cost(1, 1.0, whole, whole))
    section = costs_section([run("a", "student", 2)], 1.0)
    assert len(section.figures[0].draw(LIGHT).axes) == 1
    assert any("Memory cannot be measured" in paragraph for paragraph in section.text)
    assert section.tables[1].rows[0][1] == "1.00 s"
    assert section.tables[0].rows[2][1] == "not measurable"
