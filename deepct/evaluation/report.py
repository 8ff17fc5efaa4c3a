"""Results as files: a row for each pair, and a table for each track as Markdown and HTML."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deepct.evaluation.judge import Row
from deepct.evaluation.methods import ORACLE
from deepct.sheet import Picture


class Measure(NamedTuple):
    """How a measure is shown.

    Attributes:
        heading: its column's.
        form: a format specification.
        best: 1 where more is better, -1 where less is, 0 where neither.
    """

    heading: str
    form: str
    best: int


MEASURES = {
    "image_loss": Measure("image loss", ".4f", -1),
    "delta_e_mean": Measure("ΔE mean", ".2f", -1),
    "delta_e_median": Measure("ΔE median", ".2f", -1),
    "delta_e_p95": Measure("ΔE p95", ".2f", -1),
    "psnr": Measure("PSNR, dB", ".2f", 1),
    "ssim": Measure("SSIM", ".3f", 1),
    "swd": Measure("to reference, SWD", ".2f", -1),
    "structure": Measure("structure", ".3f", 1),
    "new_clipping": Measure("new clipping", ".1%", -1),
    "banding": Measure("banding", ".2%", -1),
    "identity_delta_e": Measure("ΔE, own reference", ".2f", -1),
    "mirror_delta_e": Measure("ΔE, mirrored", ".2f", -1),
    "mirror_change": Measure("ΔE by mirroring", ".2f", -1),
    "seconds": Measure("time, s", ".2f", 0),
}
"""Every measure, in the order of the columns."""

TRACKS = {
    "aligned": "The reference is the retouched version of the same photo, and the truth.",
    "protocol": "The report's: sources shifted in hue and saturation. The image loss is over all pairs, half of them "
    "identical, of which it counts half; all else is over the retouch pairs.",
    "disjoint": "Two halves of a photo that do not overlap and one grading t: A with the reference t(B) must give "
    "t(A).",
    "wild": "Unrelated photos: no truth. Close to the reference's colours is good while the source's structure stays.",
    "trust": "Photos that are their own reference, as they are and mirrored: nothing may change.",
}
"""The tracks, in their order, and what they are."""

PUBLISHED = {"the report's teacher, published": 0.0028, "the report's student, published": 0.0040}
"""Image losses that the report gives for its own protocol, on its own photos."""

_NOTE = "Means over pairs; the best method of each column is bold, identity and oracles aside."
_ORACLE_NOTE = "An oracle reads which pixel of the reference belongs to which of the source: no method for two photos."
_STYLE = (
    "body{font:15px/1.4 sans-serif;margin:2em;max-width:90em}table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}"
    "th:first-child,td:first-child{text-align:left}img{max-width:100%}"
)


class Table(NamedTuple):
    """One track's means.

    Attributes:
        track: its name.
        headings: of the columns, the method's first.
        lines: the cells of each method, as they are shown.
        bold: for each line, the columns in which it is best.
    """

    track: str
    headings: list[str]
    lines: list[list[str]]
    bold: list[set[int]]


def write_pairs(rows: Sequence[Row], path: Path) -> None:
    """Write every row as CSV: track, pair, method, then each measure, empty where the track has it not."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["track", "pair", "method", *MEASURES])
        for row in rows:
            figures = [f"{row.measures[name]:.6g}" if name in row.measures else "" for name in MEASURES]
            writer.writerow([row.track, row.pair, row.method, *figures])


def make_tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each track that there are rows of."""
    tracks = {row.track for row in rows}
    return [_make_table(track, [row for row in rows if row.track == track]) for track in TRACKS if track in tracks]


def as_markdown(tables: Sequence[Table]) -> str:
    """The tables as a Markdown page."""
    parts = ["# Results of deepct evaluate", _NOTE]
    for table in tables:
        lines = [
            [f"**{cell}**" if column in bold else cell for column, cell in enumerate(line)]
            for line, bold in zip(table.lines, table.bold, strict=True)
        ]
        rule = ["---"] * len(table.headings)
        grid = "\n".join(f"| {' | '.join(cells)} |" for cells in (table.headings, rule, *lines))
        parts += [f"## {table.track}", _about(table), grid]
    return "\n\n".join(parts) + "\n"


def as_html(tables: Sequence[Table], sheets: Mapping[str, Picture]) -> str:
    """The tables, and a contact sheet of each track, as an HTML page that needs no other file."""
    parts = [f"<h1>Results of deepct evaluate</h1><p>{escape(_NOTE)}</p>"]
    for table in tables:
        head = "".join(f"<th>{escape(heading)}</th>" for heading in table.headings)
        body = "".join(
            "<tr>" + "".join(_cell(cell, column in bold) for column, cell in enumerate(line)) + "</tr>"
            for line, bold in zip(table.lines, table.bold, strict=True)
        )
        parts.append(f"<h2>{table.track}</h2><p>{escape(_about(table))}</p><table><tr>{head}</tr>{body}</table>")
        if table.track in sheets:
            parts.append(f'<img alt="contact sheet: {table.track}" src="{_embed(sheets[table.track])}">')
    style = f"<style>{_STYLE}</style>"
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>deepct</title>{style}{"".join(parts)}</html>\n'


def _make_table(track: str, rows: Sequence[Row]) -> Table:
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    shown = [name for name in MEASURES if any(name in row.measures for row in rows)]
    means = {
        method: {
            name: float(np.mean(values))
            for name in shown
            if (values := [row.measures[name] for row in mine if name in row.measures])
        }
        for method, mine in by_method.items()
    }
    best = {}
    for name in shown:
        sign = MEASURES[name].best
        rivals = [means[m][name] for m in means if m not in ("identity", ORACLE) and name in means[m]]
        if sign and rivals:
            best[name] = sign * max(sign * value for value in rivals)
    lines, bold = [], []
    for method, mine in by_method.items():
        figures = [format(means[method][name], MEASURES[name].form) if name in means[method] else "" for name in shown]
        lines.append([f"{method} (oracle)" if method == ORACLE else method, str(len(mine)), *figures])
        is_rival = method not in ("identity", ORACLE)
        bold.append({2 + shown.index(name) for name in best if is_rival and means[method].get(name) == best[name]})
    if track == "protocol":
        for source, loss in PUBLISHED.items():
            blank = [""] * (len(shown) - 1)
            lines.append([source, "", format(loss, MEASURES["image_loss"].form), *blank])
            bold.append(set())
    return Table(track, ["method", "pairs", *(MEASURES[name].heading for name in shown)], lines, bold)


def _about(table: Table) -> str:
    has_oracle = any(line[0].endswith("(oracle)") for line in table.lines)
    return f"{TRACKS[table.track]} {_ORACLE_NOTE}" if has_oracle else TRACKS[table.track]


def _cell(text: str, bold: bool) -> str:
    return f"<td><b>{escape(text)}</b></td>" if bold else f"<td>{escape(text)}</td>"


def _embed(picture: Picture) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
