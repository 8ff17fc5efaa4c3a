"""What the networks cost: student and teacher side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

from deepct.data.pool import cores
from deepct.evaluation.cost import (
    REFERENCE_SIDE,
    Cost,
    Growth,
    Point,
    find_limit,
    has_gpu,
    measure_network,
    name_processor,
    total_memory,
)
from deepct.report.figure import Figure, Section, Table, Theme
from deepct.report.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

_MARKERS = "osD^v"
_MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # type: ignore[operator] # deepct.data.image sets it; no more is read
_LACKING = "-"


def costs_section(runs: Sequence[Run], memory: float | None) -> Section:
    """Measure every run's network on this machine, those of one shape once.

    Args:
        runs: the runs.
        memory: the memory, GiB, that the largest photo is to fit into; None: the GPU's, if there is one, else this
            machine's.
    """
    measured: dict[str, Cost] = {}
    costs = []
    for run in runs:
        shape = json.dumps([run.network.as_dict(), run.working_size], sort_keys=True)
        if shape not in measured:
            measured[shape] = measure_network(run.network, run.working_size)
        costs.append(measured[shape])
    memory_mib = total_memory() if memory is None else memory * 1024
    text = [_say_machine(), *_say_ends(runs, costs)]
    if all(math.isnan(_grown(point)) for cost in costs for point in cost.whole.points):
        text.append("Memory cannot be measured on this system; Linux tells it.")
    caption = (
        "Time and peak memory of recolouring one photo, over its megapixels, on logarithmic axes. Solid: the network "
        "sees the whole photo. Dashed: it sees a copy of working size, as deepct predict does it. Memory is "
        f"{_say_memory()}."
    )
    is_measured = any(cost.whole.points for cost in costs)
    return Section(
        "What the networks cost",
        text,
        [Figure("costs", caption, lambda theme: _draw(runs, costs, theme))] if is_measured else [],
        [_summary_table(runs, costs, memory_mib), _sizes_table(runs, costs)],
    )


def _say_machine() -> str:
    device = f"{torch.cuda.get_device_name()}, " if has_gpu() else ""
    return (
        f"Measured on {device}{name_processor()} with {cores()} cores, of which torch uses {torch.get_num_threads()}, "
        f"by torch {torch.__version__} in float32. Each photo was recoloured in a process of its own, from memory to "
        f"memory, by a network of the run's shape with random weights, which costs the same. Photos are of 3 : 2; the "
        f"reference has {REFERENCE_SIDE} px at most."
    )


def _say_memory() -> str:
    if has_gpu():
        return "what was allocated on the GPU at most, with the network and the photo"
    return "the most that the process held beyond what was there before: torch, the network and the photo"


def _say_ends(runs: Sequence[Run], costs: Sequence[Cost]) -> list[str]:
    """Why larger photos were not measured."""
    said = []
    for run, cost in zip(runs, costs, strict=True):
        whole, predicted = cost.whole.ended, cost.predicted.ended
        if whole:
            said.append(f"{run.name}, whole photo: {whole}.")
        if predicted and cost.predicted is not cost.whole:
            said.append(f"{run.name}, as predict does it: {predicted}.")
        if run.working_size is None:
            said.append(f"{run.name} has no working size: predict shows it the whole photo too.")
    return said


def _grown(point: Point) -> float:
    """The memory that is shown of a photo, MiB."""
    return point.peak_mib if point.device_mib is None else point.device_mib


def _rivals(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """The first teacher with each student, by their places."""
    teachers = [place for place, run in enumerate(runs) if run.role == "teacher"]
    return [(teachers[0], place) for place, run in enumerate(runs) if teachers and run.role == "student"]


def _headings(runs: Sequence[Run], first: str) -> list[str]:
    return [first, *(run.name for run in runs), *(f"{runs[a].name} / {runs[b].name}" for a, b in _rivals(runs))]


def _summary_table(runs: Sequence[Run], costs: Sequence[Cost], memory_mib: float | None) -> Table:
    rivals = _rivals(runs)
    parameters, gflop = [cost.parameters for cost in costs], [cost.gflop for cost in costs]
    rows = [
        [
            "parameters",
            *(f"{count:,}" for count in parameters),
            *(_ratio(parameters[a], parameters[b]) for a, b in rivals),
        ],
        ["GFLOP of a 256 px transfer", *(f"{f:.2f}" for f in gflop), *(_ratio(gflop[a], gflop[b]) for a, b in rivals)],
    ]
    caption = "What the networks are, and the largest photo of 3 : 2 that they can recolour."
    if memory_mib is not None:
        for name, growths in _variants(costs).items():
            cells = [_say_limit(growth, memory_mib) for growth in growths]
            rows.append([f"largest photo in {memory_mib / 1024:.4g} GiB, {name}", *cells, *(_LACKING for _ in rivals)])
        held = "on the GPU" if has_gpu() else "of the process, torch and network included"
        caption += f" It follows from a line through the peaks {held}, over pixels; a file's decoding is not counted."
    return Table(caption, _headings(runs, "network"), rows)


def _say_limit(growth: Growth, memory_mib: float) -> str:
    limit = find_limit(growth, memory_mib)
    if limit is None:
        return "not measurable"
    if not limit.pixels:
        return "none: the network alone takes more"
    over = limit.measured or limit.pixels > _MOST_PIXELS
    pixels = min(limit.pixels, _MOST_PIXELS)
    megapixels = format(pixels / 1e6, ".0f" if pixels >= 1e8 else ".3g")
    return f"{'over' if over else 'about'} {megapixels} MP ({math.sqrt(1.5 * pixels):.0f} px)"


def _sizes_table(runs: Sequence[Run], costs: Sequence[Cost]) -> Table:
    rows = []
    for name, growths in _variants(costs).items():
        by_side = [{point.side: point for point in growth.points} for growth in growths]
        for side in sorted({side for points in by_side for side in points}):
            points = [mine.get(side) for mine in by_side]
            pixels = next(point.pixels for point in points if point)
            ratios = [_ratios(points[a], points[b]) for a, b in _rivals(runs)]
            rows.append([f"{name}, {side} px ({pixels / 1e6:.2g} MP)", *map(_say_point, points), *ratios])
    caption = f"Time and peak memory by the photo's long side. Memory is {_say_memory()}."
    return Table(caption, _headings(runs, "photo"), rows)


def _variants(costs: Sequence[Cost]) -> dict[str, list[Growth]]:
    return {"whole": [cost.whole for cost in costs], "as predict does it": [cost.predicted for cost in costs]}


def _say_point(point: Point | None) -> str:
    if point is None:
        return _LACKING
    memory = _grown(point)
    return f"{point.seconds:.2f} s" + ("" if math.isnan(memory) else f", {memory:,.0f} MiB")


def _ratios(a: Point | None, b: Point | None) -> str:
    if a is None or b is None:
        return _LACKING
    memory = _ratio(_grown(a), _grown(b))
    return _ratio(a.seconds, b.seconds) + ("" if memory == _LACKING else f", {memory}")


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.3g} x" if a > 0 and b > 0 else _LACKING


def _draw(runs: Sequence[Run], costs: Sequence[Cost], theme: Theme) -> Plot:
    from matplotlib.figure import Figure as Plot
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    with_memory = any(_grown(point) > 0 for cost in costs for point in cost.whole.points)
    plot = Plot(figsize=(10, 5.4), layout="constrained", facecolor=theme.paper)
    panels = plot.subplots(1, 2 if with_memory else 1, squeeze=False)[0]
    for axes, label, figure in zip(
        panels, ("time, s", "peak memory, MiB"), (lambda p: p.seconds, _grown), strict=False
    ):
        for place, cost in enumerate(costs):
            color = theme.colors[place % len(theme.colors)]
            for growth, dashes in ((cost.predicted, (0, (4, 2))), (cost.whole, "solid")):
                axes.plot(
                    [point.pixels / 1e6 for point in growth.points],
                    [figure(point) for point in growth.points],
                    marker=_MARKERS[place % len(_MARKERS)],
                    markersize=8,
                    linewidth=2.5,
                    linestyle=dashes,
                    color=color,
                )
        axes.set(xscale="log", yscale="log", facecolor=theme.paper)
        axes.set_title(label, fontsize=15, color=theme.ink, loc="left")
        axes.set_xlabel("megapixels", fontsize=14, color=theme.ink)
        axes.grid(which="major", color=theme.faint, linewidth=0.8)
        axes.tick_params(which="both", colors=theme.ink, labelsize=13)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for edge in axes.spines.values():
            edge.set_color(theme.faint)
    keys = [
        Line2D(
            [],
            [],
            color=theme.colors[place % len(theme.colors)],
            marker=_MARKERS[place % len(_MARKERS)],
            label=run.name,
        )
        for place, run in enumerate(runs)
    ]
    keys += [
        Line2D([], [], color=theme.ink, linewidth=2, label="whole photo"),
        Line2D([], [], color=theme.ink, linewidth=2, linestyle=(0, (4, 2)), label="as predict does it"),
    ]
    plot.legend(
        handles=keys,
        loc="outside lower center",
        ncols=min(len(keys), 4),
        fontsize=13,
        labelcolor=theme.ink,
        frameon=False,
    )
    return plot
