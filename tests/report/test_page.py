import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepct.errors import DataError, ImageError
from deepct.report.figure import DARK, LIGHT, Figure, Section, Table, Theme
from deepct.report.page import write_page

pytest.importorskip("matplotlib")

VOID = {"meta", "link", "img", "source"}


class Page(HTMLParser):
    """A page's elements, each closed in its turn."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text())
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def draw(theme: Theme) -> Any:
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(4, 3))
    axes = plot.add_subplot()
    axes.plot([1, 2], [1, 3], color=theme.colors[0], label="a run")
    axes.set_title("A title")
    axes.legend()
    return plot


def fail(theme: Theme) -> Any:
    raise ImageError("a.png: cannot be read; run deepct test again")


SECTIONS = [
    Section(
        "Losses & more",
        ["Plain <text>."],
        [Figure("a chart", 'Its "caption".', draw), Figure("a chart", "Another.", draw)],
        [Table("Numbers.", ["run", "loss", "verdict"], [["<big>", "0.0250", "confirmed"], ["small", "", "nan"]])],
    ),
    Section("Pictures", [], [Figure("picture", "Photos.", draw, themed=False), Figure("lost", "Lost.", fail)]),
]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path, undrawn = write_page("A <report>", SECTIONS, tmp_path)
    assert undrawn == ["The figure lost could not be drawn. a.png: cannot be read; run deepct test again"]
    return path


def test_every_figure_is_written_in_every_version(page: Path) -> None:
    stems = ["a-chart", "a-chart-dark", "a-chart-2", "a-chart-2-dark", "picture"]
    written = {path.name for path in (page.parent / "figures").iterdir()}
    assert written == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    for stem, theme in (("a-chart", LIGHT), ("a-chart-dark", DARK), ("picture", LIGHT)):
        with Image.open(page.parent / f"figures/{stem}.png") as picture:
            paper = np.asarray(picture.convert("RGB"))[0, 0]
        assert "#" + bytes(paper).hex() == theme.paper
        svg = (page.parent / f"figures/{stem}.svg").read_text()
        assert theme.ink in svg
        assert "<text" not in svg


def test_the_page_is_whole_and_needs_no_other_file(page: Path) -> None:
    parsed = Page(page)
    assert parsed.find("html") == [{"lang": "en"}]
    assert parsed.find("link") == [{"rel": "icon", "href": "data:,"}]
    images, sources = parsed.find("img"), parsed.find("source")
    assert len(images) == 3
    assert len(sources) == 2
    assert [image["alt"] for image in images] == ['Its "caption".', "Another.", "Photos."]
    assert {source["media"] for source in sources} == {"(prefers-color-scheme: dark)"}
    for address in [*(image["src"] for image in images), *(source["srcset"] for source in sources)]:
        kind, _, data = address.partition(",")
        if address == images[-1]["src"]:  # photos
            assert kind == "data:image/webp;base64"
            continue
        assert kind == "data:image/svg+xml;base64"
        svg = base64.b64decode(data).decode()
        assert set(re.findall(r'[\w:]+="https?:', svg)) <= {'xmlns="http:', 'xmlns:xlink="http:'}
        assert not re.search(r"<!DOCTYPE|<metadata|@import", svg)
    assert svg == (page.parent / "figures/a-chart-2-dark.svg").read_text()
    text = page.read_text()
    assert not re.search(r"https?:|//|url\(|@import|<script", re.sub('"data:[^"]*"', "", text))
    anchors = {attributes.get("id") for _, attributes in parsed.elements}
    links = [link["href"] for link in parsed.find("a")]
    assert links == ["#part-1", "#part-2"]
    assert {link.removeprefix("#") for link in links} <= anchors


def test_text_is_text(page: Path) -> None:
    text = page.read_text()
    assert "<title>A &lt;report&gt;</title>" in text
    assert "<h2>Losses &amp; more</h2>" in text
    assert "<p>Plain &lt;text&gt;.</p>" in text
    assert '<th scope="row">&lt;big&gt;</th><td class="number">0.0250</td><td>confirmed</td>' in text


def test_a_figure_that_cannot_be_drawn_costs_no_other(page: Path) -> None:
    assert "<p>The figure lost could not be drawn. a.png: cannot be read; run deepct test again</p>" in page.read_text()


def test_the_same_report_is_the_same_files(page: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    write_page("A <report>", SECTIONS, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert len(before) == 11


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be written .*; give another --output"):
        write_page("A report", SECTIONS, tmp_path)


def test_a_browser_opens_it_from_disk_without_complaint(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
    more = "--disable-component-update --disable-sync --window-size=900,1200 --enable-logging=stderr --v=0"
    papers = {}
    for name, scheme in (("light", "1"), ("dark", "0")):
        shot = tmp_path / f"{name}.png"
        folder = f"--user-data-dir={tmp_path / name}"
        scheme = f"--blink-settings=preferredColorScheme={scheme}"
        words = [browser, *flags.split(), *more.split(), folder, scheme, f"--screenshot={shot}", page.as_uri()]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        assert "CONSOLE" not in done.stderr
        with Image.open(shot) as picture:
            shown = np.asarray(picture.convert("RGB"))
        papers[name] = "#" + bytes(shown[0, 0]).hex()
        theme = LIGHT if name == "light" else DARK
        line = np.array([int(theme.colors[0][i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(shown - line).max(axis=-1) < 3).sum() > 100  # the chart of this theme
    assert papers == {"light": LIGHT.paper, "dark": DARK.paper}
