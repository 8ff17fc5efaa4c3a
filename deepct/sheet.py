"""Contact sheets: rows of pictures side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

_GAP = 8
_HEADING = 26
_PAPER = 255


def thumbnail(picture: Picture, height: int) -> Picture:
    """Resize (H, W, 3) uint8 to this height; its aspect ratio stays, but no wider than 2 : 1."""
    width = max(1, min(2 * height, round(picture.shape[1] * height / picture.shape[0])))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def contact_sheet(rows: Sequence[Sequence[Picture]], headings: Sequence[str], names: Sequence[str] = ()) -> Picture:
    """Lay pictures out in rows and columns.

    Args:
        rows: (h, w, 3) uint8 pictures, of one height within a row.
        headings: one for each column.
        names: one for each row, written above it; none by default.

    Returns:
        (H, W, 3) uint8.
    """
    widths = [max(row[column].shape[1] for row in rows) for column in range(len(headings))]
    caption = _HEADING if names else 0
    height = _HEADING + sum(caption + row[0].shape[0] + _GAP for row in rows)
    sheet = Image.new("RGB", (sum(widths) + _GAP * (len(widths) + 1), height), (_PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=16)
    lefts = [_GAP + sum(widths[:column]) + _GAP * column for column in range(len(widths))]
    for left, heading in zip(lefts, headings, strict=True):
        draw.text((left, 3), heading, fill=0, font=font)
    top = _HEADING
    for index, row in enumerate(rows):
        if names:
            draw.text((_GAP, top + 3), names[index], fill=0, font=font)
        for left, picture in zip(lefts, row, strict=True):
            sheet.paste(Image.fromarray(picture), (left, top + caption))
        top += caption + row[0].shape[0] + _GAP
    return np.asarray(sheet)
