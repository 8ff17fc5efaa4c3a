"""The report as one HTML page that needs no other file, and its figures as files."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from deepct.errors import DataError
from deepct.report.figure import DARK, LIGHT, Figure, Section, Table, Theme
from deepct.report.style import DPI, make_style

PAGE = "report.html"
FIGURES = "figures"

_STYLE = """
:root{color-scheme:light dark;--paper:#ffffff;--ink:#1a1a1a;--soft:#5c5c5c;--line:#dcdcdc;--link:#0072B2}
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e8e8e8;--soft:#a8adb3;--line:#363b41;--link:#56B4E9}}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;max-width:68rem;
padding:1.5rem clamp(.9rem,3vw,2.5rem) 4rem}
h1{overflow-wrap:anywhere;font-size:1.9rem;line-height:1.2;margin:.5rem 0 1rem}
h2{font-size:1.35rem;margin:3rem 0 .6rem;padding-top:.9rem;border-top:1px solid var(--line)}
p{max-width:46rem;margin:.6rem 0;overflow-wrap:anywhere}
a{color:var(--link)}
nav ol{display:flex;flex-wrap:wrap;gap:.2rem 2.2rem;list-style-position:inside;padding:0;margin:.5rem 0}
figure{margin:1.8rem 0}
figure img{display:block;width:100%;height:auto}
.chart img{max-width:62rem}
.picture img{background:#fff;padding:.6rem;border:1px solid var(--line);border-radius:.5rem}
figcaption,caption{color:var(--soft);font-size:.92rem;text-align:left;max-width:46rem;padding:.5rem 0}
.table{overflow-x:auto;margin:1.8rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.38rem .8rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{color:var(--soft);font-weight:600;white-space:nowrap}
tbody th{font-weight:500;min-width:11rem}
.number{text-align:right;white-space:nowrap}
"""

_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( ?\S{0,3})?|nan|")


def write_page(title: str, sections: Sequence[Section], output: Path) -> tuple[Path, list[str]]:
    """Write ``report.html``, and each figure below ``figures`` as PNG and SVG, charts in light and in dark.

    A figure that cannot be drawn leaves a sentence in its place.

    Args:
        title: the page's.
        sections: its parts.
        output: an existing folder.

    Returns:
        The page, and a sentence for each figure that could not be drawn.

    Raises:
        DataError: the folder cannot be written.
    """
    names: set[str] = set()
    parts, problems = [], []
    try:
        (output / FIGURES).mkdir(exist_ok=True)
        for number, section in enumerate(sections, start=1):
            figures = []
            for figure in section.figures:
                name = _name(figure, names)
                try:
                    figures.append(_write_figure(figure, name, output / FIGURES))
                except OSError:
                    raise
                except Exception as error:  # one figure must not cost the others
                    problem = f"The figure {name} could not be drawn. {str(error) or type(error).__name__}"
                    figures.append(f"<p>{escape(problem)}</p>")
                    problems.append(problem)
            parts.append(_lay_out(section, f"part-{number}", figures))
        page = output / PAGE
        page.write_text(_frame(title, sections, parts), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{output}: cannot be written ({error}); give another --output") from error
    return page, problems


def _name(figure: Figure, taken: set[str]) -> str:
    """A stem for the figure's files that no other figure has."""
    stem = re.sub(r"[^\w.-]+", "-", figure.name).strip("-")
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _write_figure(figure: Figure, name: str, folder: Path) -> str:
    """Write a figure's files.

    Returns:
        It as HTML.
    """
    themes = (LIGHT, DARK) if figure.themed else (LIGHT,)
    embedded = []
    for theme in themes:
        svg, png = _render(figure, theme)
        path = folder / (name if theme is LIGHT else f"{name}-{theme.name}")
        path.with_name(f"{path.name}.svg").write_bytes(svg)
        path.with_name(f"{path.name}.png").write_bytes(png)
        embedded.append(_embed("svg+xml", svg) if figure.themed else _embed("webp", _as_webp(png)))
    image = f'<img alt="{escape(figure.caption)}" src="{embedded[0]}">'
    if figure.themed:
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="{embedded[1]}">'
        image = f"<picture>{dark}{image}</picture>"
    kind = "chart" if figure.themed else "picture"
    return f'<figure class="{kind}" id="{name}">{image}<figcaption>{escape(figure.caption)}</figcaption></figure>'


def _render(figure: Figure, theme: Theme) -> tuple[bytes, bytes]:
    """The figure as SVG and as PNG."""
    import matplotlib

    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(make_style(theme)):
        plot = figure.draw(theme)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        dpi = DPI if figure.themed else "figure"  # pictures are laid out to the pixel
        plot.savefig(svg, format="svg", dpi=dpi, facecolor=theme.paper, metadata=nothing)
        plot.savefig(png, format="png", dpi=dpi, facecolor=theme.paper, metadata={"Software": None})
    return re.sub(rb"<!DOCTYPE[^>]*>\s*", b"", svg.getvalue()), png.getvalue()


def _embed(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _as_webp(png: bytes) -> bytes:
    """Photos as the page carries them: a tenth of what the figure's files take."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(file, "WEBP", quality=90, method=4)
    return file.getvalue()


def _frame(title: str, sections: Sequence[Section], parts: Sequence[str]) -> str:
    links = "".join(
        f'<li><a href="#part-{number}">{escape(section.title)}</a></li>'
        for number, section in enumerate(sections, start=1)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f'<header><h1>{escape(title)}</h1>\n<nav aria-label="Contents"><ol>{links}</ol></nav></header>\n<main>\n'
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _lay_out(section: Section, anchor: str, figures: Sequence[str]) -> str:
    text = [f"<p>{escape(paragraph)}</p>" for paragraph in section.text]
    tables = [_as_html(table) for table in section.tables]
    return "\n".join(
        [f'<section id="{anchor}">', f"<h2>{escape(section.title)}</h2>", *text, *figures, *tables, "</section>"]
    )


def _as_html(table: Table) -> str:
    columns = range(1, len(table.headings))
    numeric = {column for column in columns if all(_NUMBER.fullmatch(row[column]) for row in table.rows)}

    def attribute(column: int) -> str:
        return ' class="number"' if column in numeric else ""

    head = "".join(f'<th scope="col"{attribute(i)}>{escape(cell)}</th>' for i, cell in enumerate(table.headings))
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{attribute(column)}>{escape(row[column])}</td>" for column in columns)
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
