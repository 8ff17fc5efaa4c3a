"""The embedded photos: a small data set in FiveK's shape, made from the photographs that scikit-image carries."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.data.regions import segment
from deepct.data.retouch import EXPERTS
from deepct.writing import cache_folder

SAMPLE_NAMES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "ihc", "motorcycle_left", "retina", "rocket")
"""Colour photographs in scikit-image's wheel (the right view of the motorcycle shows the left one's scene)."""

_LONG_SIDE = 512
_VERSION = 3  # raised whenever what is built changes, so that no old copy is taken for the new one


def load_sample(name: str) -> NDArray[np.uint8]:
    """One photograph of scikit-image, (H, W, 3) uint8 sRGB, at most 512 px on the long side."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    path = next(path for suffix in (".png", ".jpg") if (path := folder / f"{name}{suffix}").is_file())
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    rgb.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(rgb)


def samples_root() -> Path:
    """Where the embedded data set lies."""
    return cache_folder() / f"samples-{_VERSION}"


def build_samples(root: str | Path | None = None) -> Path:
    """Build the embedded data set on first use: ``raw``, five experts ``a`` to ``e``, and ``masks``.

    It is written aside and renamed, so that processes that start together all find it whole.

    Args:
        root: the folder to make; :func:`samples_root` by default.

    Returns:
        The folder.
    """
    root = Path(root) if root is not None else samples_root()
    if root.is_dir() and any(root.iterdir()):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}-"))
    aside.chmod(0o755)
    for folder in ("raw", *EXPERTS, "masks"):
        (aside / folder).mkdir()
    for name in SAMPLE_NAMES:
        photo = load_sample(name)
        _save(photo, aside / "raw" / f"{name}.jpg")
        for expert, look in EXPERTS.items():
            _save(look.apply(photo), aside / expert / f"{name}.jpg")
        Image.fromarray(segment(photo)).save(aside / "masks" / f"{name}.png")
    try:
        aside.rename(root)
    except OSError:
        shutil.rmtree(aside)
        if not root.is_dir():
            raise
        # else another process was faster
    return root


def _save(photo: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(photo).save(path, quality=95, subsampling=0)


class DemoPair(NamedTuple):
    """A source and a reference to watch a training by, (H, W, 3) uint8 sRGB."""

    name: str
    source: NDArray[np.uint8]
    reference: NDArray[np.uint8]


def demo_pairs() -> list[DemoPair]:
    """Four fixed pairs: contents that agree strongly, weakly, or not at all, and a photo with its hues shifted."""
    astronaut = load_sample("astronaut")
    hue, saturation, value = Image.fromarray(astronaut).convert("HSV").split()
    turned = Image.merge("HSV", (hue.point(lambda h: (h + 96) % 256), saturation, value)).convert("RGB")
    return [
        DemoPair("strong", load_sample("motorcycle_left"), EXPERTS["b"].apply(load_sample("motorcycle_right"))),
        DemoPair("weak", load_sample("chelsea"), astronaut),
        DemoPair("none", load_sample("coffee"), load_sample("rocket")),
        DemoPair("hue shift", astronaut, np.asarray(turned)),
    ]
