from pathlib import Path

import numpy as np
import pytest
from training_logs import EPOCHS, STEPS, make_rows, write_fit

from deepct.report.curves import choose_terms, curves_section, find_level, make_line
from deepct.report.figure import LIGHT, Section
from deepct.report.log import make_series
from deepct.report.runs import read_runs

pytest.importorskip("matplotlib")


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return write_fit(tmp_path / "runs/teacher/version_0", rows=make_rows("Teacher", scale=2.0))


def student(tmp_path: Path, name: str = "student", teacher: Path | None = None, **more: float) -> Path:
    """A student's folder; ``more`` is logged with every step and validation."""
    rows = make_rows("Student")
    for row in rows:
        stage = "train" if "train/hard_loss" in row else "val"
        row |= {f"{stage}/{key}": value * (1 + row["epoch"]) for key, value in more.items()}
    path = str(teacher / "checkpoints/best.ckpt") if teacher else None
    return write_fit(tmp_path / f"runs/{name}/version_0", "Student", rows, teacher=path)


def labels(section: Section, index: int = 0) -> list[list[str]]:
    """What is drawn in each panel of a figure."""
    plot = section.figures[index].draw(LIGHT)
    return [[line.get_label() for line in axes.lines if not line.get_label().startswith("_")] for axes in plot.axes]


def test_the_level_is_the_mean_on_the_students_own_pairs(tmp_path: Path, teacher: Path) -> None:
    runs = read_runs([teacher, student(tmp_path, teacher=teacher, teacher_loss=0.1, teacher_image_loss=0.01)])
    assert find_level(runs[1], runs, "val", "loss") == pytest.approx(0.2)
    assert find_level(runs[1], runs, "train", "image_loss") == pytest.approx(0.02)
    text = " ".join(curves_section(runs).text)
    assert "on the very pairs" in text


def test_losses_at_other_weights_are_no_level(tmp_path: Path, teacher: Path) -> None:
    rows = [
        {
            "epoch": step // 2,
            "step": step,
            "train/hard_loss": 1.0,
            "train/teacher_loss": loss,
            "schedule/lambda_histogram": weight,
        }
        for step, (loss, weight) in enumerate([(8.0, 10.0), (6.0, 10.0), (2.0, 1.5), (4.0, 1.5)])
    ]
    run = read_runs([write_fit(tmp_path / "runs/lean/version_0", "Student", rows)])[0]
    assert find_level(run, [run], "train", "loss") == 3.0


def test_else_it_is_the_last_epoch_of_the_teachers_own_training(tmp_path: Path, teacher: Path) -> None:
    other = write_fit(tmp_path / "runs/other/version_0", rows=make_rows("Teacher", scale=100.0))
    runs = read_runs([other, teacher, student(tmp_path, teacher=teacher)])
    assert find_level(runs[2], runs, "val", "loss") == pytest.approx(2 * 0.5 ** (EPOCHS - 1))
    assert find_level(runs[2], runs, "train", "loss") == pytest.approx(2 * 0.5 ** (EPOCHS - 1))
    assert "last epoch of the teacher's own training" in " ".join(curves_section(runs).text)
    of_nobody = read_runs([other, teacher, student(tmp_path, "lone")])
    assert find_level(of_nobody[2], of_nobody, "val", "loss") is None
    alone = read_runs([teacher, tmp_path / "runs/lone"])
    assert find_level(alone[1], alone, "val", "loss") == pytest.approx(0.5)


def test_terms_that_are_zero_are_passed_over_and_four_remain(tmp_path: Path, teacher: Path) -> None:
    bare = read_runs([teacher])
    assert choose_terms(bare, "train") == ["loss", "image_loss", "histogram_loss", "multiscale_loss"]
    more = read_runs([teacher, student(tmp_path, "a", multiscale_loss=0.0, histogram_loss=0.0, delta_e=3.0)])
    assert choose_terms(more[1:], "val") == ["loss", "image_loss", "delta_e"]
    assert choose_terms(more, "val") == ["loss", "image_loss", "histogram_loss", "multiscale_loss"]
    figure = curves_section(more[1:]).figures[1].draw(LIGHT)
    assert [axes.get_title() for axes in figure.axes] == [
        "Total hard loss", "Image loss (MSE)", "Mean ΔE (CIEDE2000)"
    ]  # fmt: skip


def test_in_training_the_mean_of_each_epoch_is_drawn_over_the_steps() -> None:
    series = make_series([(0, 0, 1.0), (1, 0, 3.0), (2, 1, 5.0), (3, 1, float("nan"))])
    line = make_line(series, "train", over_epochs=True)
    assert line.x.tolist() == [0.5, 1.5]
    assert line.y.tolist() == [2.0, 5.0]
    assert line.faint_x.tolist() == [0.25, 0.75, 1.25, 1.75]
    assert line.faint_y[:3].tolist() == [1.0, 3.0, 5.0]


def test_validations_stand_where_their_epoch_ends() -> None:
    line = make_line(make_series([(9, 0, 3.0), (19, 1, 2.0), (24, 2, 1.0), (29, 2, 0.5)]), "val", over_epochs=True)
    assert line.x.tolist() == [1.0, 2.0, 2.5, 3.0]
    assert line.y.tolist() == [3.0, 2.0, 1.0, 0.5]
    assert not len(line.faint_x)


def test_a_training_of_one_epoch_is_drawn_over_steps(tmp_path: Path, teacher: Path) -> None:
    rows = [{"epoch": 0, "step": step, "train/loss": float(step)} for step in range(0, 400, 2)]
    runs = read_runs([teacher, write_fit(tmp_path / "runs/short/version_0", rows=rows)])
    plot = curves_section(runs).figures[0].draw(LIGHT)
    assert plot.axes[-1].get_xlabel() == "steps"
    lines = {line.get_label(): line for line in plot.axes[0].lines}
    assert lines["short"].get_xdata()[:2].tolist() == [4.0, 14.0]
    assert lines["short"].get_ydata()[-1] == 394.0
    assert "over its steps" in " ".join(curves_section(runs).text)
    assert curves_section(runs[:1]).figures[0].draw(LIGHT).axes[-1].get_xlabel() == "epochs trained"


def test_long_series_are_thinned_behind_but_not_in_the_mean() -> None:
    line = make_line(make_series([(step, step // 5000, float(step)) for step in range(10000)]), "train", True)
    assert line.y.tolist() == [2499.5, 7499.5]
    assert 1000 < len(line.faint_x) <= 1500


def test_each_panel_has_a_line_for_each_run_and_the_level(tmp_path: Path, teacher: Path) -> None:
    section = curves_section(read_runs([teacher, student(tmp_path, teacher=teacher)]))
    assert [figure.name for figure in section.figures] == ["curves-train", "curves-val"]
    assert labels(section) == labels(section, 1) == [["teacher", "student", "the teacher's level"]] * 4


def test_levels_of_several_teachers_name_their_students(tmp_path: Path) -> None:
    runs = read_runs([student(tmp_path, name, teacher_loss=level) for name, level in (("a", 1), ("b", 1), ("c", 2))])
    assert labels(curves_section(runs))[0] == [
        "a",
        "b",
        "c",
        "level of the teacher of a, b",
        "level of the teacher of c",
    ]
    assert labels(curves_section(runs))[1] == ["a", "b", "c"]


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    section = curves_section(read_runs([write_fit(tmp_path / "runs/_$a$/version_0")]))
    (text,) = section.figures[0].draw(LIGHT).legends[0].get_texts()
    assert text.get_text() == r"\$a\$"


def test_the_scale_is_logarithmic_where_the_range_calls_for_it(tmp_path: Path) -> None:
    rows = [{"epoch": e, "step": e, "val/loss": v, "val/image_loss": w} for e, v, w in [(0, 1, 1.0), (1, 0.01, 0.5)]]
    (section,) = [curves_section(read_runs([write_fit(tmp_path / "runs/a/version_0", rows=rows)]))]
    plot = section.figures[0].draw(LIGHT)
    assert [axes.get_yscale() for axes in plot.axes] == ["log", "linear"]
    assert "No losses of the training photos were logged." in section.text


def test_the_table_gives_last_best_and_the_ratio(tmp_path: Path, teacher: Path) -> None:
    path = student(tmp_path, teacher=teacher, teacher_loss=0.1)
    rows = [row for row in make_rows("Teacher") if row["epoch"] != 1]
    worse = write_fit(
        tmp_path / "runs/worse/version_0", rows=[*rows, {"epoch": 3, "step": 99, "val/loss": float("nan")}]
    )
    section = curves_section(read_runs([path, worse]))
    table = {row[0]: list(row[1:]) for row in section.tables[1].rows}
    assert table["student: Total hard loss"] == ["0.250", "0.250", "0.200", "1.25"]
    assert table["student: Image loss (MSE)"] == ["0.0833", "0.0833", "", ""]
    assert table["worse: Total hard loss"] == ["nan", "0.250", "", ""]
    train = {row[0]: list(row[1:]) for row in section.tables[0].rows}
    assert train["student: Total hard loss"][:2] == ["0.250", "0.250"]


def test_values_that_are_no_numbers_cost_no_figure(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "step": epoch, "train/loss": np.nan, "val/loss": np.inf} for epoch in range(2 * STEPS)]
    section = curves_section(read_runs([write_fit(tmp_path / "runs/a/version_0", rows=rows)]))
    assert labels(section) == labels(section, 1) == [["a"]]
    assert section.tables[0].rows == [["a: Total hard loss", "nan", "nan", "", ""]]
