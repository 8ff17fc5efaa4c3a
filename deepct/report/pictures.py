"""Figures of pictures: lines of tiles, and words above and below them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.report.figure import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

_WIDTH = 10.0  # in, of a figure
_GAP = 0.1  # in, around tiles
_FONT = 13  # pt
_LINE = 0.25  # in, the height of a line of words
_LETTER = 0.095  # in, the width of a letter
_WIDEST = 360  # px, of a tile
_PIXELS = 900_000  # of all tiles: as PNGs within an SVG they take up to three bytes each
_KEPT = 0.8  # of a picture's side, at least, where it is cropped towards the tiles' shape


class Tile(NamedTuple):
    """One picture.

    Attributes:
        picture: (H, W, 3) uint8; None leaves the place blank.
        above: what it is.
        below: what is measured of it.
    """

    picture: NDArray[np.uint8] | None
    above: str = ""
    below: str = ""


@dataclass(frozen=True)
class Line:
    """Tiles side by side.

    Attributes:
        tiles: no more than a figure has columns.
        name: what they share, above them.
    """

    tiles: Sequence[Tile]
    name: str = ""


def draw_whole(pictures: Sequence[NDArray[np.uint8]]) -> Plot:
    """Draw pictures one below the other, pixel by pixel.

    Args:
        pictures: (H, W, 3) uint8 each.
    """
    from matplotlib.figure import Figure as Plot

    width = max(picture.shape[1] for picture in pictures)
    whole = np.concatenate(
        [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    )
    dpi = width / _WIDTH
    plot = Plot(figsize=(_WIDTH, len(whole) / dpi), dpi=dpi)
    plot.figimage(whole)
    return plot


def draw_pictures(lines: Sequence[Line], columns: int, theme: Theme) -> Plot:
    """Draw tiles of one width, and within a line of one shape, towards which its pictures are cropped a little.

    At the figure's own resolution each tile has the very pixels that are kept of its picture.

    Args:
        lines: the rows, with one picture at least.
        columns: how many tiles fit side by side.
        theme: the colours.
    """
    from matplotlib.figure import Figure as Plot

    shown = sum(sum(tile.picture is not None for tile in line.tiles) / _aspect(line) for line in lines)
    width = round(min(_WIDEST, (_PIXELS / shown) ** 0.5))
    gap = round(_GAP / _WIDTH * columns * width)
    across = columns * (width + gap) - gap
    dpi = across / _WIDTH
    step = round(_LINE * dpi)
    letters = max(1, int(width / dpi / _LETTER))
    blocks = [
        _Block(line, [(_wrap(tile.above, letters), _wrap(tile.below, letters)) for tile in line.tiles])
        for line in lines
    ]
    heights = [round(width / _aspect(line)) for line in lines]
    down = sum(block.lines * step + height + gap for block, height in zip(blocks, heights, strict=True))
    plot = Plot(figsize=(_WIDTH, down / dpi), dpi=dpi, facecolor=theme.paper)

    def write(text: str, left: int, y: int, side: str, weight: str = "normal") -> None:
        place = left / across, y / down
        plot.text(*place, text, va=side, fontweight=weight, fontsize=_FONT, color=theme.ink, linespacing=1.15)

    top = down
    for block, height in zip(blocks, heights, strict=True):
        if block.line.name:
            write(block.line.name, 0, top - step + gap // 2, "baseline", "bold")
        top -= block.above * step
        for column, (tile, (above, below)) in enumerate(zip(block.line.tiles, block.words, strict=True)):
            left = column * (width + gap)
            write(above, left, top + gap // 2, "baseline")
            write(below, left, top - height - gap // 3, "top")
            if tile.picture is not None:
                axes = plot.add_axes((left / across, (top - height) / down, width / across, height / down))
                axes.imshow(fit_tile(tile.picture, (height, width)), aspect="auto")
                axes.set_axis_off()
        top -= height + gap + block.below * step
    return plot


def fit_tile(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring a picture to a tile's shape: crop it by a fifth of a side at most, and centre what is left on white.

    Args:
        picture: (H, W, 3) uint8.
        size: height and width, px.

    Returns:
        (*size, 3) uint8.
    """
    image, (height, width) = Image.fromarray(picture), size
    wider = image.width / image.height / (width / height)
    kept_width, kept_height = image.width * max(_KEPT, min(1, 1 / wider)), image.height * max(_KEPT, min(1, wider))
    left, top = (image.width - kept_width) / 2, (image.height - kept_height) / 2
    scale = min(width / kept_width, height / kept_height)
    fitted = max(1, round(kept_width * scale)), max(1, round(kept_height * scale))
    box = left, top, left + kept_width, top + kept_height
    small = image.resize(fitted, Image.Resampling.HAMMING, box)  # Lanczos would ring at the borders of label maps
    tile = Image.new("RGB", (width, height), (255, 255, 255))
    tile.paste(small, ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return np.asarray(tile)


class _Block(NamedTuple):
    """A line with its words, broken to fit above and below its tiles."""

    line: Line
    words: Sequence[tuple[str, str]]

    @property
    def above(self) -> int:
        """Lines of words above the tiles."""
        return bool(self.line.name) + max(_count(above) for above, _ in self.words)

    @property
    def below(self) -> int:
        return max(_count(below) for _, below in self.words)

    @property
    def lines(self) -> int:
        return self.above + self.below


def _aspect(line: Line) -> float:
    """The shape of a line's tiles: that of its middle picture, but no portrait, which would take too much room."""
    shapes = [tile.picture.shape for tile in line.tiles if tile.picture is not None]
    return max(1.0, float(np.median([width / height for height, width, _ in shapes or [(2, 3, 3)]])))


def _wrap(text: str, letters: int) -> str:
    return "\n".join(textwrap.wrap(text, letters))


def _count(text: str) -> int:
    return len(text.splitlines())
