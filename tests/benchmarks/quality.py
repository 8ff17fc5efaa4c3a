"""How the any-size path compares with the network on the whole photo: needs a trained student and real photos."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from torch.nn import functional as F

from deepct.data.image import list_photos, photo_size, read_photo, to_planes
from deepct.networks import load_network

WORKING_SIZES = (384, 512, 640, 768, 1024)
MEGAPIXELS = 2.0


def compare_sizes(checkpoint: Path, folder: Path, most: int = 12) -> Iterator[dict[str, Any]]:
    """A row for each working size: delta E 2000 to the whole photo's result, and halos.

    The photos of at least 1.8 megapixels, at 2, each with the one before as its reference. A halo is a pixel beyond the
    range that the whole photo's result has within three pixels of the working copy around it, by more than 6 codes.
    """
    network = load_network(checkpoint)
    photos = _two_megapixels(list_photos(folder), most)
    if len(photos) < 2:
        raise SystemExit(f"{folder}: two photos of {MEGAPIXELS} megapixels or more are needed; give others as --photos")
    figures: dict[int, list[tuple[float, ...]]] = {size: [] for size in WORKING_SIZES}
    for index, photo in enumerate(photos):
        source, reference = (to_planes(p).unsqueeze(0) for p in (photo, photos[index - 1]))
        whole = network.recolor(source, reference)
        change = _delta_e(source, whole).mean()
        for size in WORKING_SIZES:
            result = network.recolor(source, reference, working_size=size)
            error = _delta_e(whole, result)
            halo = _overshoot(result, whole, reach=round(3 * network.config.stride * max(source.shape) / size))
            figures[size].append((error.mean(), np.quantile(error, 0.95), (halo > 6).float().mean().item(), change))
    for size, rows in figures.items():
        mean, p95, halos, change = np.mean(rows, axis=0).tolist()
        print(
            f"working size {size:5}: delta E {mean:.2f}, 95 % below {p95:.2f}, halos {halos:.2%}, change {change:.1f}"
        )
        yield {
            "what": f"{len(rows)} photos of {MEGAPIXELS:.0f} MP",
            "method": f"{size} px",
            "delta_e": mean,
            "delta_e_p95": p95,
            "delta_e_worst": max(row[0] for row in rows),
            "halos": halos,
            "change": change,
        }


def _two_megapixels(paths: Sequence[Path], most: int) -> list[NDArray[np.uint8]]:
    photos = []
    for path in paths:
        height, width = photo_size(path)
        scale = (MEGAPIXELS * 1e6 / (height * width)) ** 0.5
        if scale < 1.05 and len(photos) < most:
            size = round(width * scale), round(height * scale)
            photos.append(np.asarray(Image.fromarray(read_photo(path)).resize(size, Image.Resampling.LANCZOS)))
    return photos


def _delta_e(a: Tensor, b: Tensor) -> NDArray[np.float64]:
    return deltaE_ciede2000(*(rgb2lab(picture[0].permute(1, 2, 0).numpy()) for picture in (a, b)))


def _overshoot(result: Tensor, whole: Tensor, reach: int) -> Tensor:
    """By how many codes each pixel leaves the range of the other result around it."""
    side = 2 * reach + 1
    planes, mine = whole.float(), result.float()
    highest = F.max_pool2d(F.max_pool2d(planes, (side, 1), 1, (reach, 0)), (1, side), 1, (0, reach))
    lowest = -F.max_pool2d(F.max_pool2d(-planes, (side, 1), 1, (reach, 0)), (1, side), 1, (0, reach))
    return torch.maximum(mine - highest, lowest - mine).clamp(min=0).amax(1)
