"""The folder that ``deepct masks`` writes: palette PNGs, and what they are in ``masks.json``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.data.masks import read_mask
from deepct.errors import DataError, ImageError
from deepct.histogram import UNLABELLED
from deepct.segmentation.resize import Size
from deepct.segmentation.segmenter import Description
from deepct.writing import claim_folder, written_aside

MASKS_FILE = "masks.json"
_CONVENTION = (
    "A PNG's pixels are indices into classes, counted from 0, and not colours: two classes share one colour. ADE20K's "
    "own files count from 1. Resize by the nearest label."
)


@dataclass(frozen=True)
class MaskFolder:
    """Where label maps lie and how they are made.

    Attributes:
        folder: theirs.
        description: the model that makes them.
        max_size: the most that a label map has on the long side, px.
    """

    folder: Path
    description: Description
    max_size: int

    @property
    def settings(self) -> dict[str, Any]:
        """What ``masks.json`` says."""
        made_by = self.description
        return {
            "model": made_by.model,
            "checkpoint": made_by.checkpoint,
            "sha256": made_by.sha256,
            "config_sha256": made_by.config_sha256,
            "network_size": {"scale": list(made_by.scale), "keep_ratio": made_by.keep_ratio},
            "max_size": self.max_size,
            "convention": _CONVENTION,
            "none": UNLABELLED,
            "classes": made_by.classes,
        }

    def open(self) -> None:
        """Make the folder, or check that what it holds was made by this model with these settings.

        Raises:
            DataError: it was made otherwise, holds something else, or cannot be written.
        """
        settings = self.settings

        def differ(before: Any) -> str:
            others = [key for key in settings if key != "checkpoint" and before.get(key) != settings[key]]
            found = ", ".join(f"{key} {_short(before.get(key))} and not {_short(settings[key])}" for key in others)
            return f"its label maps were made with {found}" if others else ""

        claim_folder(self.folder / MASKS_FILE, settings, differ, f"holds no {MASKS_FILE}")

    def write(self, labels: NDArray[np.uint8], path: Path) -> None:
        """Write one label map, (H, W) uint8; it appears under its name when it is whole.

        Raises:
            DataError: it cannot be written.
        """
        image = Image.fromarray(labels)
        image.putpalette(bytes(value for colour in self.description.palette for value in colour).ljust(3 * 256, b"\0"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as aside:
                image.save(aside, "PNG")
        except OSError as error:
            raise DataError(
                f"{self.folder}: cannot be written ({error}); mend that and start again to go on"
            ) from error


def is_whole(path: Path, size: Size) -> bool:
    """Whether a label map of this height and width is there and can be read to its end."""
    if not path.is_file():
        return False
    try:
        return read_mask(path).shape == size
    except ImageError:
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
