"""What a report is made of, and how its charts look in light and in dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot


class Theme(NamedTuple):
    """The colours of a figure.

    Attributes:
        name: ``light`` or ``dark``.
        paper: the ground.
        ink: of text and axes.
        faint: of grids and of what stands back.
        colors: of the runs, in their order; they can be told apart by the colour-blind.
    """

    name: str
    paper: str
    ink: str
    faint: str
    colors: tuple[str, ...]


# Okabe and Ito's colours, brighter ones first on dark ground.
LIGHT = Theme("light", "#ffffff", "#1a1a1a", "#c8c8c8", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"))
DARK = Theme("dark", "#15181c", "#e8e8e8", "#4a4f55", ("#56B4E9", "#E69F00", "#2BC79A", "#E3A1C6", "#F0E442"))


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: its files' stem.
        caption: what it shows, one or two sentences.
        draw: draws it in a theme.
        themed: charts have a light and a dark version; pictures are shown on white in both.
    """

    name: str
    caption: str
    draw: Callable[[Theme], Plot]
    themed: bool = True


@dataclass(frozen=True)
class Table:
    """Figures in rows; the first column names the row."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        title: its heading.
        text: paragraphs, plain text. What is lacking, and the command that would bring it, is said here.
        figures: shown in this order.
        tables: likewise, below the figures.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = field(default=())
    tables: Sequence[Table] = field(default=())
