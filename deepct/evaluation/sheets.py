"""Contact sheets of a track: source, reference, what each method made, and the truth."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deepct.evaluation.judge import THUMBNAIL, Verdict
from deepct.sheet import Picture, contact_sheet

SHEET_ROWS = 10
"""Pairs on a sheet."""

MOST_SHEETS = 4
"""Sheets of a track; further pairs are not shown."""

_CAPTION = 20
_FIGURES = {"delta_e_mean": "delta E", "swd": "SWD", "mirror_delta_e": "delta E"}
_LAST = "truth"


def draw_sheets(verdicts: Sequence[Verdict]) -> Iterator[Picture]:
    """Draw the pairs of one track, ten on a sheet; under each result its figure.

    The figure is the mean delta E 2000 to the truth, else the colours' distance to the reference, and for photos that
    are their own reference the delta E of the mirrored one.
    """
    for first in range(0, len(verdicts), SHEET_ROWS):
        shown = verdicts[first : first + SHEET_ROWS]
        names = dict.fromkeys(name for verdict in shown for name in verdict.pictures)
        columns = [*(name for name in names if name != _LAST), *(name for name in names if name == _LAST)]
        rows = [[_captioned(verdict, column) for column in columns] for verdict in shown]
        yield contact_sheet(rows, columns, [verdict.case.name for verdict in shown])


def _captioned(verdict: Verdict, column: str) -> Picture:
    """A picture with the method's figure below it; blank where the method failed or does not serve the pair."""
    picture = verdict.pictures.get(column, np.full((THUMBNAIL, 1, 3), 255, np.uint8))
    measures = next((row.measures for row in verdict.rows if row.method == column), {})
    text = next((f"{sign} {measures[name]:.1f}" for name, sign in _FIGURES.items() if name in measures), "")
    image = Image.new("RGB", (picture.shape[1], THUMBNAIL + _CAPTION), (255,) * 3)
    image.paste(Image.fromarray(picture))
    ImageDraw.Draw(image).text((0, THUMBNAIL + 2), text, fill=0, font=ImageFont.load_default(size=14))
    return np.asarray(image)
