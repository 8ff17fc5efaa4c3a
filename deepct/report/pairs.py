"""What the networks make of photos: pairs of like and unlike contents, and label maps' part in it."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.errors import DataError
from deepct.evaluation.lab import Photo
from deepct.evaluation.metrics import delta_e_2000
from deepct.histogram import UNLABELLED
from deepct.report.choice import Pair, embedded_masked, embedded_pairs, folder_masked, folder_pairs
from deepct.report.figure import Figure, Section, Theme
from deepct.report.pictures import Line, Tile, draw_pictures, draw_whole
from deepct.report.results import Results, recolor_pairs
from deepct.report.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

_PAIRS = "Strong, weak and irrelevant pairs"
_NAME = 80  # letters of a line's name
_ACROSS = 4  # pictures side by side, in the figure of label maps
_NO_NETWORK = "So there is nothing to show: no run has a network that can be used."
_TURN = 0.618  # of the colour wheel between one label and the next, so that neighbours never look alike


def pairs_section(runs: Sequence[Run], photos: str | None) -> Section:
    """Strongly, weakly and not related pairs, and what each run's network makes of them.

    Args:
        runs: those without a checkpoint are named, and left out.
        photos: a folder of photos, or one with folders ``in`` and ``ref`` of equal stems; None: embedded photos.

    Raises:
        DataError: there is no such folder, or no pair in it.
    """
    if photos is None:
        pairs, said = embedded_pairs(), ["The pairs are embedded photos, chosen by hand."]
    else:
        pairs, said = folder_pairs(Path(photos))
        chosen = (
            f"The pairs are of {photos}, chosen by their likeness alone: strong are the most alike, weak those about "
            "the median, irrelevant the least alike."
        )
        said = [chosen, *said]
    results = recolor_pairs(runs, pairs)
    text = [*said, *results.problems]
    logged = [_show_panels(run) for run in runs if run.checkpoint is None and run.panels]
    if not results.photos:
        return Section(_PAIRS, text if logged else [*text, _NO_NETWORK], logged)
    headings = ("source", "reference", *(run.name for run in results.runs))
    lines = []
    for number, pair in enumerate(pairs):
        shown: list[Photo | None] = [pair.photos.source, pair.photos.reference]
        shown += [results.photos.get((place, number, False)) for place in range(len(results.runs))]
        above = headings if number == 0 else ("",) * len(headings)
        lines.append(Line([_tile(photo, name) for photo, name in zip(shown, above, strict=True)], _shorten(pair.name)))
    caption = (
        "Source, reference, and what each network makes of them. Likeness compares contents, without colours and "
        "without a network: the correlation of the photos' edge directions (histograms of oriented gradients of "
        "lightness), 1 for equal contents, whichever side is left."
    )
    figure = Figure("pairs", caption, lambda theme: draw_pictures(lines, len(headings), theme), themed=False)
    return Section(_PAIRS, text, [figure, *logged])


def _show_panels(run: Run) -> Figure:
    """What a training without a checkpoint showed of the demo pairs."""

    def draw(_: Theme) -> Plot:
        try:
            return draw_whole([np.asarray(Image.open(path).convert("RGB")) for path in run.panels])
        except OSError as error:
            raise DataError(
                f"{run.panels[0].parent}: a picture cannot be read ({error}); copy the run again"
            ) from error

    caption = (
        f"{run.name}: the embedded demo pairs as the training showed them after its last validation, strong, weak and "
        "irrelevant, and a photo with its hues shifted; below the photos their histograms of ab and L."
    )
    return Figure(f"panels-{run.name}", caption, draw, themed=False)


def masks_section(runs: Sequence[Run], photos: str | None) -> Section:
    """Pairs with label maps, and what each run's network makes of them with the maps and without.

    Args:
        runs: those without a checkpoint are named, and left out.
        photos: a folder of photos with label maps in ``masks``, or one with folders ``in``, ``ref``, ``in_seg`` and
            ``ref_seg``; None, and where no two photos share labels: embedded photos.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    pairs, said = ([], []) if photos is None else folder_masked(Path(photos))
    if photos is not None and not pairs:
        into = "in_seg and ref_seg" if (Path(photos) / "in").is_dir() else "masks"
        said.append(
            f"No two photos of {photos} have label maps that share two labels or more, so embedded photos are shown. "
            f"deepct masks makes label maps; it is to write them into {into} there."
        )
    made = not pairs
    pairs = pairs or embedded_masked()
    results = recolor_pairs(runs, pairs, with_masks=True)
    text = [*said, *results.problems]
    if not results.photos:
        return Section("With label maps and without", [*text, _NO_NETWORK])
    lines = [line for number, pair in enumerate(pairs) for line in _masked_lines(number, pair, results)]
    caption = "Source, reference and their label maps, then what each network makes of them with the maps and without."
    if made:
        caption += (
            " These pairs are made: the label maps are regions of like colour, found without supervision; the "
            "reference is the source itself, mirrored, with two looks in turn on its regions. So the right result is "
            "known, the reference before it was mirrored, and the figures are the mean CIEDE2000 to it: less is better."
        )
    figure = Figure("masks", caption, lambda theme: draw_pictures(lines, _ACROSS, theme), themed=False)
    return Section("With label maps and without", text, [figure])


def _masked_lines(number: int, pair: Pair, results: Results) -> list[Line]:
    photos = pair.photos
    assert photos.labels is not None
    maps = paint_labels(*photos.labels)
    tiles = [
        _tile(photos.source, "source", photos.truth),
        _tile(photos.reference, "reference"),
        _tile(maps[0], "labels of source"),
        _tile(maps[1], "labels of reference"),
    ]
    for place, run in enumerate(results.runs):
        for masked, name in ((True, "with masks"), (False, "without")):
            tiles.append(_tile(results.photos.get((place, number, masked)), f"{run.name}, {name}", photos.truth))
    rows = [tiles[first : first + _ACROSS] for first in range(0, len(tiles), _ACROSS)]
    return [Line(row, "" if place else _shorten(pair.name)) for place, row in enumerate(rows)]


def paint_labels(*maps: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Draw label maps in colours, the same label in one colour, none in pale grey.

    Args:
        maps: (H, W) uint8 each, of any sizes.

    Returns:
        (H, W, 3) uint8 for each.
    """
    colors = np.full((256, 3), 225, dtype=np.uint8)
    labels = sorted({*np.unique(np.concatenate([labels.ravel() for labels in maps]))} - {UNLABELLED})
    for rank, label in enumerate(labels):
        color = colorsys.hsv_to_rgb(0.6 + rank * _TURN, 0.75, (0.95, 0.65)[rank % 2])
        colors[label] = [round(255 * part) for part in color]
    return [colors[labels] for labels in maps]


def _tile(photo: Photo | None, name: str, truth: Photo | None = None) -> Tile:
    """A photo, and how far it is from the truth, where that is known."""
    if photo is None:
        return Tile(None, name, "failed")
    if truth is None:
        return Tile(photo, name)
    return Tile(photo, name, f"ΔE {delta_e_2000(photo / 255.0, truth / 255.0).mean():.1f}")


def _shorten(name: str) -> str:
    return textwrap.shorten(name, _NAME, placeholder=" ...")
