"""How the losses fell: the original report's figures 4 and 5, students as lines and the teacher as a level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepct.report.figure import Figure, Section, Table, Theme
from deepct.report.log import as_dict, find_place
from deepct.report.runs import Run, Series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

Values = NDArray[np.float64]

TERMS = {
    "loss": "Total hard loss",
    "image_loss": "Image loss (MSE)",
    "histogram_loss": "Histogram loss",
    "multiscale_loss": "Multi-scale loss",
    "delta_e_loss": "ΔE loss",
    "delta_e": "Mean ΔE (CIEDE2000)",
}
"""What may be drawn, in this order, by its key in a teacher's logs."""

_STAGES = {"train": "training", "val": "validation"}
_PANELS = 4
_STRETCHES = 40  # of a training of one epoch, each with a mean
_FAINT_POINTS = 1500  # more would be ink on ink, and megabytes
_LOG_RANGE = 10.0
_LEGEND_WIDTH = 70  # characters
_DASHES = ("-", (0, (6, 1.5, 1.5, 1.5)), (0, (2, 1)))


class Line(NamedTuple):
    """One run's values of one term.

    Attributes:
        x: (N,) epochs or steps.
        y: (N,) means.
        faint_x, faint_y: (M,) what was averaged; empty where nothing was.
    """

    x: Values
    y: Values
    faint_x: Values
    faint_y: Values


class Level(NamedTuple):
    """Where a student's teacher stands.

    Attributes:
        value: mean over the same pairs, or of the teacher's own last epoch.
        owners: the indices of the runs that it is the teacher of.
    """

    value: float
    owners: list[int]


class Panel(NamedTuple):
    """One chart: a line for each run that logged the term, by its index."""

    title: str
    lines: Mapping[int, Line]
    levels: Sequence[Level]


def curves_section(runs: Sequence[Run]) -> Section:
    """Losses in training and validation, and where they ended."""
    figures, tables, lacking = [], [], []
    over_epochs = all(_count_epochs(run) > 1 for run in runs)
    for stage, name in _STAGES.items():
        terms = choose_terms(runs, stage)
        if not terms:
            lacking.append(f"No losses of the {name} photos were logged.")
            continue
        panels = [_make_panel(runs, stage, term, over_epochs) for term in terms]
        figures.append(_make_figure(runs, stage, panels, over_epochs))
        tables.append(_make_table(runs, stage, terms, over_epochs))
    return Section("Losses", [*_explain(runs, over_epochs), *lacking], figures, tables)


def choose_terms(runs: Sequence[Run], stage: str) -> list[str]:
    """The first four of :data:`TERMS` that some run logged other than as zero."""
    used = [
        term
        for term in TERMS
        if any((series := get_series(run, stage, term)) is not None and np.any(series.values != 0) for run in runs)
    ]
    return used[:_PANELS]


def get_series(run: Run, stage: str, term: str) -> Series | None:
    """A term of the hard loss, which a student logs beside the loss that it minimises."""
    return run.history.get(f"{stage}/{_own_key(run, term)}")


def find_level(run: Run, runs: Sequence[Run], stage: str, term: str) -> float | None:
    """What a student's teacher reaches: on the student's own pairs where that was logged, else as its training ended.

    In training it is that at the loss's last weights.

    Args:
        run: a student.
        runs: among which its teacher may be.
        stage: ``train`` or ``val``.
        term: a key of :data:`TERMS`.
    """
    same_pairs = run.history.get(f"{stage}/teacher_{term}")
    if same_pairs is not None:
        return _mean(
            same_pairs.values[same_pairs.steps >= _last_change(run)] if stage == "train" else same_pairs.values
        )
    teacher = _find_teacher(run, runs)
    series = get_series(teacher, stage, term) if teacher else None
    return None if series is None else _mean(series.values[series.epochs == series.epochs[-1]])


def make_line(series: Series, stage: str, over_epochs: bool) -> Line:
    """A series as it is drawn.

    In training it is the mean of each epoch over the steps behind; of a training of one epoch, the means of stretches.

    Args:
        series: one value for each step or each validation.
        stage: ``train`` or ``val``.
        over_epochs: x counts epochs, those that have gone by; else steps.
    """
    place = _place_in_epochs(series.epochs, at_end=stage == "val") if over_epochs else series.steps.astype(float)
    if stage == "val":
        return Line(place, series.values, np.empty(0), np.empty(0))
    stretches = np.arange(len(place)) * min(_STRETCHES, len(place)) // len(place)
    groups = series.epochs if over_epochs else stretches
    kinds = np.unique(groups)
    x = np.array([place[groups == kind].mean() for kind in kinds])
    y = np.array([_mean(series.values[groups == kind]) for kind in kinds])
    if len(kinds) == len(place):
        return Line(x, y, np.empty(0), np.empty(0))
    stride = -(-len(place) // _FAINT_POINTS)
    return Line(x, y, place[::stride], series.values[::stride])


def _last_change(run: Run) -> int:
    """The step from which the weights of the loss stay as they are: losses before are on another scale."""
    steps = [0]
    for key, series in run.history.items():
        if key.startswith(("schedule/lambda_", "schedule/identical_")):
            others = series.steps[series.values != series.values[-1]]
            steps.append(int(others[-1]) + 1 if len(others) else 0)
    return max(steps)


def _own_key(run: Run, term: str) -> str:
    return "hard_loss" if run.role == "student" and term == "loss" else term


def _count_epochs(run: Run) -> int:
    return max(
        len(np.unique(series.epochs)) for key, series in run.history.items() if key.startswith(("train/", "val/"))
    )


def _mean(values: Values) -> float:
    """The mean of what is a number; NaN where nothing is."""
    numbers = values[np.isfinite(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")


def _place_in_epochs(epochs: NDArray[np.int64], at_end: bool) -> Values:
    """Where each value stands among its epoch's, spread evenly: in the middle of its share, or at the end."""
    counts = np.unique(epochs, return_counts=True)[1]
    ranks = np.concatenate([np.arange(count) for count in counts])
    return epochs + (ranks + (1.0 if at_end else 0.5)) / np.repeat(counts, counts)


def _find_teacher(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run whose folder holds the student's teacher; where that cannot be found, the only teacher there is."""
    teachers = [other for other in runs if other.role == "teacher"]
    named = as_dict(as_dict(run.config.get("model")).get("init_args")).get("teacher")
    place = find_place(named, run.folders[0]) if named else None
    if place is None:
        return teachers[0] if len(teachers) == 1 else None
    own = (t for t in teachers if any(folder.resolve() in place.parents for folder in t.folders))
    return next(own, None)


def _find_levels(runs: Sequence[Run], stage: str, term: str) -> list[Level]:
    levels: list[Level] = []
    for index, run in enumerate(runs):
        value = find_level(run, runs, stage, term) if run.role == "student" else None
        if value is None or not np.isfinite(value):
            continue
        same = next((level for level in levels if np.isclose(level.value, value, rtol=1e-3)), None)
        if same:
            same.owners.append(index)
        else:
            levels.append(Level(value, [index]))
    return levels


def _make_panel(runs: Sequence[Run], stage: str, term: str, over_epochs: bool) -> Panel:
    found = {index: get_series(run, stage, term) for index, run in enumerate(runs)}
    lines = {index: make_line(series, stage, over_epochs) for index, series in found.items() if series is not None}
    return Panel(TERMS[term], lines, _find_levels(runs, stage, term))


def _make_figure(runs: Sequence[Run], stage: str, panels: Sequence[Panel], over_epochs: bool) -> Figure:
    behind = ""
    if stage == "train":
        behind = " Lines are the means of each epoch," if over_epochs else " Lines are the means of stretches of steps,"
        behind += " single steps faint behind them."
    level = " Dashed: the teacher." if any(panel.levels for panel in panels) else ""
    caption = f"The hard loss and its terms on the {_STAGES[stage]} photos.{behind}{level}"
    names = [_as_label(run.name) for run in runs]

    def draw(theme: Theme) -> Plot:
        return _draw(theme, names, panels, "epochs trained" if over_epochs else "steps")

    return Figure(f"curves-{stage}", caption, draw)


def _as_label(name: str) -> str:
    """A run's name as matplotlib shows it: a dollar would start a formula, and a line in front hides from legends."""
    return name.replace("$", r"\$").lstrip("_")


def _draw(theme: Theme, names: Sequence[str], panels: Sequence[Panel], unit: str) -> Plot:
    from matplotlib.figure import Figure as Plot

    rows = -(-len(panels) // 2)
    plot = Plot(layout="constrained")
    legend: dict[str, Artist] = {}
    for index, panel in enumerate(panels):
        axes = plot.add_subplot(rows, 2, index + 1)
        _draw_panel(axes, theme, names, panel)
        if index >= len(panels) - 2:
            axes.set_xlabel(unit)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            legend.setdefault(label, handle)
    columns = min(max(1, _LEGEND_WIDTH // max(map(len, legend))), len(legend), 4)
    plot.legend(legend.values(), list(legend), loc="outside upper center", ncols=columns)
    plot.set_size_inches(10, 3.6 * rows + 0.3 * -(-len(legend) // columns) + 0.3)
    return plot


def _draw_panel(axes: Axes, theme: Theme, names: Sequence[str], panel: Panel) -> None:
    for index, line in panel.lines.items():
        color, dashes = _look(theme, index)
        axes.plot(line.faint_x, line.faint_y, ".", color=color, alpha=0.5, markersize=4, markeredgewidth=0)
        marker = "o" if len(line.x) < 12 else None
        axes.plot(line.x, line.y, color=color, linestyle=dashes, marker=marker, markersize=5, label=names[index])
    for level in panel.levels:
        alone = len(panel.levels) == 1
        color = theme.ink if alone else _look(theme, level.owners[0])[0]
        label = (
            "the teacher's level"
            if alone
            else f"level of the teacher of {', '.join(names[owner] for owner in level.owners)}"
        )
        axes.axhline(level.value, color=color, linestyle="--", linewidth=1.6, label=label)
    axes.set_title(panel.title)
    axes.locator_params(axis="x", integer=True)
    low, high = _find_range(panel)
    if low > 0 and high > _LOG_RANGE * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
    elif high > low:
        margin = 0.06 * (high - low)
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_formatter("{x:.3g}")


def _find_range(panel: Panel) -> tuple[float, float]:
    """What the axis must show: every line and level, and the middle half of the steps behind."""
    parts = [np.array([level.value for level in panel.levels])]
    for line in panel.lines.values():
        parts.append(line.y[np.isfinite(line.y)])
        behind = line.faint_y[np.isfinite(line.faint_y)]
        if len(behind):
            parts.append(np.percentile(behind, [25, 75]))
    shown = np.concatenate(parts)
    return (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 0.0)


def _look(theme: Theme, index: int) -> tuple[str, object]:
    """A run's colour, and its dashes where there are more runs than colours."""
    return theme.colors[index % len(theme.colors)], _DASHES[index // len(theme.colors) % len(_DASHES)]


def _make_table(runs: Sequence[Run], stage: str, terms: Iterable[str], over_epochs: bool) -> Table:
    rows = []
    for run in runs:
        for term in terms:
            series = get_series(run, stage, term)
            if series is None:
                continue
            values = make_line(series, stage, over_epochs).y
            best = np.nanmin(values) if np.isfinite(values).any() else float("nan")
            level = find_level(run, runs, stage, term) if run.role == "student" else None
            of_teacher = ["", ""] if not level else [f"{level:#.3g}", f"{values[-1] / level:.2f}"]
            rows.append([f"{run.name}: {TERMS[term]}", f"{values[-1]:#.3g}", f"{best:#.3g}", *of_teacher])
    kind = "the means of epochs" if over_epochs else "the means of stretches of steps"
    return Table(
        f"On the {_STAGES[stage]} photos, of {kind if stage == 'train' else 'all validations'}.",
        ["loss", "last", "best", "teacher", "last ÷ teacher"],
        rows,
    )


def _explain(runs: Sequence[Run], over_epochs: bool) -> list[str]:
    text = [
        "The hard loss compares a result with the truth: it is what a teacher minimises, and a part of what a student "
        "does. Losses have no unit; less is better."
    ]
    students = [run for run in runs if run.role == "student"]
    if any(any("/teacher_" in key for key in run.history) for run in students):
        text.append("The dashed level is the teacher's mean loss on the very pairs that the student saw.")
    elif any(_find_teacher(run, runs) for run in students):
        text.append("The dashed level is the last epoch of the teacher's own training.")
    elif students:
        text.append("The teacher's level is not known; give the teacher's folder too, and it is drawn.")
    if not over_epochs:
        text.append("A training of one epoch is drawn over its steps, and so are all beside it.")
    return text
