"""Label maps for photos that have none: regions of like colour, found without supervision, to train the semantic path.

What a region shows does not matter there: source and reference are two versions of one scene and share its map, so any
partition of the scene tells the network which of the reference's colours belong where.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.data.files import on_disk
from deepct.data.image import read_photo
from deepct.data.pairs import Scene
from deepct.data.pool import cores, work_off
from deepct.errors import DataError, ImageError
from deepct.writing import cache_folder, written_aside

_SHORT_SIDE = 192  # px, at which regions are found
_FEWEST, _MOST = 2, 8
_VERSION = 1  # raised whenever the regions change


def segment(photo: NDArray[np.uint8], labels: int = 6) -> NDArray[np.uint8]:
    """A label map computed from the photo: SLIC regions, grouped by the k-means of their mean Lab colours.

    Args:
        photo: (H, W, 3) uint8 sRGB.
        labels: the most labels there may be.

    Returns:
        (H, W) uint8, 0 to labels - 1.
    """
    from scipy.cluster.vq import kmeans2
    from skimage.color import rgb2lab
    from skimage.segmentation import slic

    regions = slic(photo, n_segments=150, compactness=10, start_label=0)
    lab = rgb2lab(photo).reshape(-1, 3)
    counts = np.bincount(regions.ravel())
    means = np.stack([np.bincount(regions.ravel(), weights=plane) / counts for plane in lab.T], axis=1)
    _, group = kmeans2(means, min(labels, len(means)), minit="++", rng=0)
    return group.astype(np.uint8)[regions]


def regions_folder(root: str | Path) -> Path:
    """Where the regions of a data set are kept."""
    name = hashlib.sha256(os.fsencode(Path(root).resolve())).hexdigest()[:16]
    return cache_folder() / f"regions-{_VERSION}" / name


def build_regions(scenes: Sequence[Scene], folder: Path, workers: int | None = None) -> None:
    """Find the regions of every scene that has none in the folder, or whose photo is newer.

    Scenes that cannot be read are passed over: the data module tells of them.

    Args:
        scenes: the scenes.
        folder: made where it does not exist; ``STEM.png`` for each scene.
        workers: processes that work at once, by default one for each core; 0 works in this one.

    Raises:
        DataError: the folder cannot be written.
    """
    from tqdm import tqdm

    waiting = [scene for scene in scenes if not _is_fresh(folder / f"{scene.name}.png", on_disk(scene.source))]
    if not waiting:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made ({error}); set XDG_CACHE_HOME to a folder for caches") from error
    results = work_off(waiting, partial(write_regions, folder), cores() if workers is None else workers)
    for _ in tqdm(results, total=len(waiting), desc="finding regions", unit="photo", disable=None):
        pass


def write_regions(folder: Path, scene: Scene) -> str | None:
    """Find one scene's regions and write them.

    Returns:
        None, or why the photo cannot be read.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        photo = Image.fromarray(read_photo(scene.source))
    except ImageError as error:
        return str(error)
    scale = min(1.0, _SHORT_SIDE / min(photo.size))
    small = photo.resize(
        (max(1, round(photo.width * scale)), max(1, round(photo.height * scale))), Image.Resampling.BOX
    )
    count = _FEWEST + int(hashlib.sha256(os.fsencode(scene.name)).hexdigest(), 16) % (_MOST - _FEWEST + 1)
    try:
        with written_aside(folder / f"{scene.name}.png") as aside:
            Image.fromarray(segment(np.asarray(small), count)).save(aside, "PNG")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error})") from error
    return None


def _is_fresh(mask: Path, photo: Path) -> bool:
    try:
        return mask.stat().st_mtime >= photo.stat().st_mtime
    except OSError:
        return False
