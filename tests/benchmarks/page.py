"""From results to a page of tables and a plot, in docs."""

from pathlib import Path
from typing import Any

from deepct.networks import WORKING_SIZE

Row = dict[str, Any]
Results = dict[str, list[Row]]

_NAMES = {
    "literal": "the report's student, as it is written",
    "student": "the report's student in deepct",
    "student-fast": "deepct's fast student",
    "student-map": "deepct's student that ships",
    "mkl": "color-matcher, MKL",
    "hm-mkl-hm": "color-matcher, HM-MKL-HM",
}
_STYLES = {
    "literal": ("#D55E00", "s"),
    "student": ("#E69F00", "D"),
    "student-fast": ("#56B4E9", "o"),
    "student-map": ("#0072B2", "P"),
    "mkl": ("#009E73", "^"),
    "hm-mkl-hm": ("#CC79A7", "v"),
}  # colours that the colour-blind can tell apart (Okabe and Ito), and markers


def write_page(hardware: Row, results: Results, docs: Path) -> None:
    """Write ``benchmarks.md`` and ``benchmarks.svg``."""
    plot(results["prediction"], docs / "benchmarks.svg")
    parts = [
        "# Benchmarks",
        f"`make bench` on {hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, "
        f"{hardware['device'] or 'no GPU'}; torch {hardware['torch']}, {hardware['date']}. Each piece of work ran in a "
        "process of its own; times are medians, *noise* is the slowest of the repeats over the fastest, peak memory is "
        f"what the work holds beyond its inputs. The working size was {hardware['working_size']} px. "
        "*Literal* is the method as it is written, in `tests/literal.py`.",
        "## What must show",
        ratios(results),
        "## Time and memory over the photo's size",
        "![Time and peak memory over megapixels, log-log](benchmarks.svg)",
        growth(results["prediction"]),
        *(
            section
            for name in results
            if results[name]
            for section in (f"## {name.capitalize()}", table(results[name]))
        ),
    ]
    (docs / "benchmarks.md").write_text("\n\n".join(parts) + "\n")


def find(results: Results, section: str, what: str, method: str) -> Row:
    """One row."""
    return next(row for row in results[section] if row["what"] == what and row["method"] == method)


def ratios(results: Results) -> str:
    """The promised ratios, literal over deepct."""
    teacher = next(row for row in results["networks"] if row["method"] == "teacher")
    literal_loader, *_, fast_loader = (row for row in results["loader"] if "per_second" in row)
    loss, step, alone = "histogram loss, 256 px", "distillation step, 256 px", "student alone, 256 px"
    lines = [
        ("loader, samples a second and core", 50, fast_loader["per_second"] / literal_loader["per_second"]),
        ("soft-histogram loss, time", 8, _ratio(results, "losses", loss, "seconds")),
        ("soft-histogram loss, peak memory", 20, _ratio(results, "losses", loss, "peak_mib")),
        ("teacher, FLOPs", 1.6, teacher["literal_gflop"] / teacher["gflop"]),
        ("distillation step, time", 5, _ratio(results, "steps", step, "seconds")),
        ("distillation step, peak memory", 4, _ratio(results, "steps", step, "peak_mib")),
        (
            "fast student alone, forward and backward",
            40,
            _ratio(results, "steps", alone, "seconds", "deepct, fast student"),
        ),
        (
            "recolour 512 px, fast student",
            40,
            _ratio(results, "prediction", "recolour 512 px", "seconds", "student-fast"),
        ),
    ]
    rows = [f"| {what}, literal over deepct | {wanted} x | {ratio:.1f} x |" for what, wanted, ratio in lines]
    rows.append(f"| bytes of a sample | under 1 MB | {fast_loader['sample_bytes'] / 1e6:.2f} MB |")
    by_mkl = {"deepct predict, 24 MP": "Python script, 24 MP"}  # color-matcher is a library
    for what in ("file to file, 24 MP", "Python script, 24 MP", "deepct predict, 24 MP"):
        mine = find(results, "files", what, "student-map")
        mkl = find(results, "files", by_mkl.get(what, what), "mkl")
        figures = [f"{row['seconds']:.1f} s, {row['peak_mib'] / 1024:.2f} GiB" for row in (mine, mkl)]
        rows.append(f"| {what} | color-matcher's MKL ({figures[1]}), 2 GB | {figures[0]} |")
    hundred = find(results, "files", "deepct predict, 100 MP", "student-map")
    rows.append(f"| deepct predict, 100 MP | 4 GB | {hundred['seconds']:.1f} s, {hundred['peak_mib'] / 1024:.2f} GiB |")
    for theirs, ours in zip(*2 * [iter(results.get("masks", []))], strict=True):
        ratio = theirs["seconds"] / ours["seconds"]
        alike = f"{ratio:.1f} x, {ours['agreement']:.2%} of the labels alike"
        rows.append(f"| {ours['what']}, MMSegmentation's loop over deepct masks | 3 x | {alike} |")
    for logged in results.get("logging", []):
        rows.append(f"| logging, {logged['what']} | under 3 % of the step | {logged['logging_ratio'] - 1:+.1%} |")
    if "quality" in results:
        default = next(row for row in results["quality"] if row["method"] == f"{WORKING_SIZE} px")
        rows.append(f"| 2 MP, any-size path to whole photo | delta E under 1.5 | {default['delta_e']:.2f} |")
    return "\n".join(["| what | asked for | measured |", "| --- | --- | --- |", *rows])


def _ratio(results: Results, section: str, what: str, figure: str, method: str = "deepct") -> float:
    return find(results, section, what, "literal")[figure] / find(results, section, what, method)[figure]


def growth(rows: list[Row]) -> str:
    """How time and memory of the student that ships grow from 1 to 100 megapixels."""
    mine = [row for row in rows if row["method"] == "student-map" and row["pixels"] >= 0.6e6]
    small, large = mine[0], mine[-1]
    pixels = large["pixels"] / small["pixels"]
    more = (large["peak_mib"] - small["peak_mib"]) * 2**20 / (large["pixels"] - small["pixels"])
    return (
        f"From {small['pixels'] / 1e6:.1f} to {large['pixels'] / 1e6:.0f} megapixels ({pixels:.0f} times as many) the "
        f"time of the student that ships grows {large['seconds'] / small['seconds']:.0f} times, its memory by "
        f"{more:.1f} bytes a pixel, of which the result itself takes 3."
    )


def table(rows: list[Row]) -> str:
    """All figures of a section."""
    if "gflop" in rows[0]:
        head = "| network | parameters | GFLOP at 256 px | literal |"
        body = [
            f"| {row['method']} | {row['parameters'] / 1e6:.2f} M | {row['gflop']:.1f} | "
            f"{row.get('literal_gflop', float('nan')):.1f} |".replace("nan", "")
            for row in rows
        ]
        return "\n".join([head, "| --- | --- | --- | --- |", *body])
    if "delta_e" in rows[0]:
        head = (
            "| photos | working size | mean delta E 2000 | worst photo | 95 % below | halos | change by the transfer |"
        )
        body = [
            f"| {row['what']} | {row['method']} | {row['delta_e']:.2f} | {row['delta_e_worst']:.2f} | "
            f"{row['delta_e_p95']:.2f} | {row['halos']:.2%} | {row['change']:.1f} |"
            for row in rows
        ]
        return "\n".join([head, "| --- | --- | --- | --- | --- | --- | --- |", *body])
    head = "| work | by | time | noise | peak memory | |"
    body = [
        f"| {row['what']} | {_NAMES.get(row['method'], row['method'])} | {_seconds(row['seconds'])} | "
        f"{row['spread']:.2f} | {row['peak_mib']:.0f} MiB | {_more(row)} |"
        for row in rows
    ]
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *body])


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _noise(spread: float) -> str:
    return "" if spread == 1.0 else f"{spread:.2f}"


def _more(row: Row) -> str:
    if "per_second" in row:
        return f"{row['per_second']:.1f} a second, {row['sample_bytes'] / 1e6:.2f} MB a sample"
    if "agreement" in row:
        return f"{row['photos_per_second']:.2f} photos a second"
    if "logging_ratio" in row:
        return f"{row['logging_ratio'] - 1:+.1%} by logging"
    if "photos_per_second" in row:
        return f"{row['photos_per_second']:.0f} photos a second, {row['device_mib']:.0f} MiB on the device"
    return f"{row['pixels'] / 1e6:.1f} MP" if "pixels" in row else ""


def plot(rows: list[Row], path: Path) -> None:
    """Time and peak memory over megapixels, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for method, (colour, marker) in _STYLES.items():
        mine = [row for row in rows if row["method"] == method]
        megapixels = [row["pixels"] / 1e6 for row in mine]
        for axis, figure_name in zip(axes, ("seconds", "peak_mib"), strict=True):
            values = [row[figure_name] for row in mine]
            axis.loglog(megapixels, values, marker=marker, color=colour, label=_NAMES[method], markersize=5)
    for axis, label in zip(axes, ("time, s", "peak memory beyond the photo, MiB"), strict=True):
        axis.set_xlabel("megapixels")
        axis.set_ylabel(label)
        axis.grid(which="major", alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
