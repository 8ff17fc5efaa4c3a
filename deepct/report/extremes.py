"""Which pairs are hard: the original report's figure 10, and a test of what it found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.errors import ImageError
from deepct.report.figure import Figure, Section, Table, Theme
from deepct.report.runs import Ranking, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

READINGS = {"colors": "colours", "labels": "labels", "edges": "edges, share of pixels"}
"""What is read of a pair, by its column."""

_SPLITS = ("train", "val", "test")
_EXTREMES = [f"{end}-{place}" for end in ("largest", "smallest") for place in (1, 2, 3)]
_FINDINGS = {
    "edges": "Complex scenes are worse: the more edges, the greater the loss",
    "labels": "Complex scenes are worse: the more labels, the greater the loss",
    "colors": "Few colours are better: the more colours, the greater the loss",
}
_MIRRORED = "Mirrored references are worse"
_LEAST_PAIRS = 3
_SURE = 0.05
_NO_CHANGE = 1e-3  # of the loss: less is rounding


class Correlation(NamedTuple):
    """How a reading goes with the loss.

    Attributes:
        n: how many pairs it was tried on.
        rho: Spearman's; NaN where there is none.
        p: how likely at least as much of it is by chance.
        problem: why there is none, else empty.
    """

    n: int
    rho: float
    p: float
    problem: str = ""

    @property
    def verdict(self) -> str:
        """Of a finding that says that the two rise together, in plain words."""
        if self.problem:
            return f"not tested ({self.problem})"
        if self.p >= _SURE:
            return f"not seen here (p = {self.p:.2f})"
        return "confirmed" if self.rho > 0 else "the contrary"


def extremes_section(runs: Sequence[Run]) -> Section:
    """For each run that was tested: its hardest and easiest pairs, and what makes pairs hard."""
    text, figures, tables = [], [], []
    for run in runs:
        ranking = choose_ranking(run)
        if ranking is None:
            continue
        text.append(f"{run.name}: {len(ranking.rows)} pairs of the split {ranking.split}, by their hard loss.")
        extremes = _find_extremes(ranking)
        if extremes:
            figures.append(_picture_extremes(run, ranking, extremes))
            tables.append(_list_extremes(run, extremes))
        else:
            text.append(f"{run.name}: the pictures of its extremes are missing; test it again to have them.")
        if any(_is_varied(_transfers(ranking.rows), key) for key in READINGS):
            figures.append(_chart_readings(run, ranking))
        tables.append(_test_findings(run, ranking))
    if not text:
        text = [
            "No test of these trainings was found. To see their hardest and easiest pairs, run: deepct test "
            "--config CONFIG --data.root DIR --data.split train --ckpt_path CKPT"
        ]
    else:
        text.append(
            "Findings are tested over all these pairs by Spearman's rank correlation with the loss: confirmed, or the "
            f"contrary, where chance alone would do as much in less than {_SURE:.0%} of cases. Identical pairs, which "
            "are no transfer, are left out of this and of the extremes."
        )
    return Section("Largest and smallest losses", text, figures, tables)


def choose_ranking(run: Run) -> Ranking | None:
    """The test on the training photos, which the original report shows; else another one."""
    known = [ranking for ranking in run.rankings if ranking.rows]
    return min(known, key=lambda ranking: (*_SPLITS, ranking.split).index(ranking.split), default=None)


def correlate(readings: NDArray[np.float64], losses: NDArray[np.float64]) -> Correlation:
    """Spearman's rank correlation.

    Args:
        readings: (N,); pairs without are NaN, and do not count.
        losses: (N,); likewise.
    """
    from scipy.stats import spearmanr

    there = np.isfinite(readings) & np.isfinite(losses)
    x, y = readings[there], losses[there]
    if len(x) == 0:
        return Correlation(0, np.nan, np.nan, "not measured")
    if len(x) < _LEAST_PAIRS:
        return Correlation(len(x), np.nan, np.nan, "too few pairs")
    if np.all(x == x[0]):
        return Correlation(len(x), np.nan, np.nan, f"all pairs have {x[0]:g}")
    if np.all(y == y[0]):
        return Correlation(len(x), np.nan, np.nan, "all pairs have the same loss")
    rho, p = spearmanr(x, y)
    return Correlation(len(x), float(rho), float(p))


def correlate_mirroring(rows: Sequence[Mapping[str, Any]]) -> tuple[Correlation, float]:
    """How "is mirrored" goes with the loss over both versions of each pair, and the mean change of the loss.

    How likely it is by chance is told by the pairs' own changes (Wilcoxon's signed ranks).
    """
    from scipy.stats import wilcoxon

    losses, mirrored = _column(rows, "loss"), _column(rows, "mirrored_loss")
    there = np.isfinite(losses) & np.isfinite(mirrored)
    losses, mirrored = losses[there], mirrored[there]
    if not len(losses):
        return Correlation(0, np.nan, np.nan, "not measured"), float("nan")
    change = float((mirrored - losses).mean())
    if np.all(np.abs(mirrored - losses) <= _NO_CHANGE * losses):
        return Correlation(len(losses), 0.0, 1.0), change
    is_mirrored = np.repeat([0.0, 1.0], len(losses))
    found = correlate(is_mirrored, np.concatenate([losses, mirrored]))
    return found._replace(n=len(losses), p=float(wilcoxon(mirrored, losses).pvalue)), change


def cut_strip(path: Path) -> list[NDArray[np.uint8]]:
    """Source, reference and result, (H, W, 3) each, of the strip that they lie in side by side.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        with Image.open(path) as file:
            strip = np.asarray(file.convert("RGB"))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error}); run deepct test again") from error
    width = strip.shape[1] // 3
    return [strip[:, part * width : (part + 1) * width] for part in range(3)]


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """(N,) a column's numbers, NaN where there is none."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], np.float64)


def _is_varied(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """There is something to draw: pairs with a loss differ in this reading."""
    return not correlate(_column(rows, key), _column(rows, "loss")).problem


def _find_extremes(ranking: Ranking) -> dict[str, Mapping[str, Any]]:
    """The rows of the extremes that there are pictures of, by name."""
    named = {name: row for row in ranking.rows for name in str(row.get("extreme") or "").split()}
    return {name: named[name] for name in _EXTREMES if name in named and name in ranking.pictures}


def _transfers(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Without identical pairs, whose losses are a thousandth of the others' whatever they show; else all."""
    return [row for row in rows if "/identical/" not in str(row["pair"])] or rows


def _read(row: Mapping[str, Any]) -> list[str]:
    """A pair's reading in words, as much as was measured."""
    words = [
        f"{row[key]:.0f} {noun}{'' if row[key] == 1 else 's'}"
        for key, noun in (("colors", "colour"), ("labels", "label"))
        if row.get(key) is not None
    ]
    if row.get("edges") is not None:
        words.append(f"{row['edges']:.0%} edges")
    return words


def _picture_extremes(run: Run, ranking: Ranking, extremes: Mapping[str, Mapping[str, Any]]) -> Figure:
    caption = (
        f"{run.name}: the pairs of largest and of smallest hard loss in the split {ranking.split}. Over each its "
        "loss, under each what was read of it: colours, labels, and the share of pixels on edges."
    )

    def draw(theme: Theme) -> Plot:
        from matplotlib.figure import Figure as Plot

        plot = Plot(figsize=(1.75 * len(extremes) + 0.6, 6.6), layout="constrained")
        grid = plot.subplots(3, len(extremes), squeeze=False)
        for column, (name, row) in enumerate(extremes.items()):
            for axes, picture in zip(grid[:, column], cut_strip(ranking.pictures[name]), strict=True):
                axes.imshow(picture, interpolation="lanczos")
                axes.grid(False)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            place = name.replace("-", " ")
            grid[0, column].set_title(f"{place}\n{row['loss']:#.3g}", fontsize=14, loc="center")
            grid[2, column].set_xlabel("\n".join(_read(row)), fontsize=13)
        for axes, what in zip(grid[:, 0], ("source", "reference", "result"), strict=True):
            axes.set_ylabel(what, fontsize=14)
        return plot

    return Figure(f"extremes-{run.name}", caption, draw, themed=False)


def _list_extremes(run: Run, extremes: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [name.replace("-", " "), str(row["pair"]), f"{row['loss']:#.3g}", ", ".join(_read(row))]
        for name, row in extremes.items()
    ]
    return Table(f"{run.name}: the pairs shown.", ["", "pair", "hard loss", "reading"], rows)


def _chart_readings(run: Run, ranking: Ranking) -> Figure:
    pairs = _transfers(ranking.rows)
    losses = _column(pairs, "loss")
    shown = [key for key in READINGS if _is_varied(pairs, key)]

    def draw(theme: Theme) -> Plot:
        from matplotlib.figure import Figure as Plot

        plot = Plot(figsize=(10, 4.2), layout="constrained")
        grid = plot.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        is_wide = losses[losses > 0].size > 0 and np.nanmax(losses) > 10 * np.nanmin(losses[losses > 0])
        for axes, key in zip(grid, shown, strict=True):
            readings = _column(pairs, key)
            axes.scatter(readings, losses, s=22, color=theme.colors[0], alpha=0.6, linewidths=0, rasterized=True)
            axes.set_title(f"correlation {correlate(readings, losses).rho:+.2f}")
            axes.set_xlabel(READINGS[key])
            axes.locator_params(axis="x", nbins=5, integer=key != "edges")
        grid[0].set_ylabel("hard loss")
        if is_wide:
            grid[0].set_yscale("log")
        return plot

    caption = (
        f"{run.name}: the hard loss of each pair against what was read of it, with Spearman's correlation of the two."
    )
    return Figure(f"readings-{run.name}", caption, draw)


def _test_findings(run: Run, ranking: Ranking) -> Table:
    pairs = _transfers(ranking.rows)
    losses = _column(pairs, "loss")
    rows = [_as_row(finding, correlate(_column(pairs, key), losses), "") for key, finding in _FINDINGS.items()]
    mirroring, change = correlate_mirroring(pairs)
    rows.append(_as_row(_MIRRORED, mirroring, "" if np.isnan(change) else f"{change:+.3g}"))
    return Table(
        f"{run.name}: the original report's findings. A mirrored reference is tried on each pair beside the reference "
        "as it is; the change is that of the loss, in the mean. These networks see a reference's colours and labels, "
        "not where they are, so none is expected.",
        ["finding", "pairs", "correlation", "p", "change", "verdict"],
        rows,
    )


def _as_row(finding: str, found: Correlation, change: str) -> list[str]:
    figures = ["", ""] if found.problem else [f"{found.rho:+.2f}", f"{found.p:.2g}"]
    return [finding, str(found.n), *figures, change, found.verdict]
