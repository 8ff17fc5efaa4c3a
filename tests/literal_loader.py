"""The loader as it would be written plainly: what deepct's is held against, in time and in bytes.

For each sample both photos are decoded whole and resized, all that the network will want is counted on the spot, for
all 150 labels, and it leaves as float32, with a mask for each label: 34 MB. Nothing here is deepct's but the files and
their pairs.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import hsv2rgb, rgb2hsv, rgb2lab
from torch import Tensor
from torch.utils.data import Dataset

from deepct.data.masks import read_mask
from deepct.data.pairs import Pair

LABELS = 150
AB_BINS, L_BINS = 64, 8

Floats = NDArray[np.float64]


class LiteralDataset(Dataset[dict[str, Tensor]]):
    """Pairs in FiveK's layout, with the settings of the report: 286 px, 256 px crops, flips, shifts."""

    def __init__(self, pairs: list[Pair], size: int = 256, resize: int = 286) -> None:
        self.pairs = pairs
        self.size = size
        self.resize = resize

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Read one pair.

        Returns:
            source, target: (3, size, size) float32 normalised Lab.
            source_histogram, reference_histogram: (9, 64, 64) float32.
            label_histograms: (150, 9, 64, 64) float32, the reference's.
            masks: (150, size, size) bool, both photos'.
        """
        pair = self.pairs[index]
        look = pair.scene.looks[pair.look]
        assert look is not None
        target = _open(look, self.resize)
        source = target if pair.kind == "identical" else _open(pair.scene.source, self.resize)
        target = target.resize(source.size, Image.Resampling.BILINEAR)
        labels = np.full((source.height, source.width), 255, np.uint8)
        if pair.scene.mask is not None:
            mask = Image.fromarray(read_mask(pair.scene.mask))
            labels = np.asarray(mask.resize(source.size, Image.Resampling.NEAREST))
        rng = np.random.default_rng()
        top, left = rng.integers(source.height - self.size + 1), rng.integers(source.width - self.size + 1)
        step = rng.choice((-1, 1))
        planes = [
            np.asarray(plane)[top : top + self.size, left : left + self.size][:, ::step]
            for plane in (source, target, labels)
        ]
        hue, saturation = rng.uniform(0, 1), max(0.3, rng.uniform(0, 1.2))
        source_lab = _shift(planes[0], hue, saturation)
        target_lab = source_lab if pair.kind == "identical" else _normalised(rgb2lab(planes[1]))
        masks = np.stack([planes[2] == label for label in range(LABELS)])
        everywhere = np.ones((self.size, self.size), bool)
        arrays = {
            "source": source_lab.transpose(2, 0, 1),
            "target": target_lab.transpose(2, 0, 1),
            "source_histogram": _histograms(source_lab, everywhere),
            "reference_histogram": _histograms(target_lab, everywhere),
            "label_histograms": np.stack([_histograms(target_lab, mask) for mask in masks]),
        }
        tensors = {name: torch.tensor(np.ascontiguousarray(array)).float() for name, array in arrays.items()}
        return {**tensors, "masks": torch.tensor(masks)}


def _open(path: object, resize: int) -> Image.Image:
    """The photo at full size, then its shorter side at ``resize`` px."""
    with Image.open(str(path)) as image:
        rgb = image.convert("RGB")
    scale = resize / min(rgb.size)
    return rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BILINEAR)


def _shift(rgb: NDArray[np.uint8], hue: float, saturation: float) -> Floats:
    """Turn the hue, scale the saturation, keep L: (H, W, 3) normalised Lab."""
    hsv = rgb2hsv(rgb)
    hsv[..., 0] = (hsv[..., 0] + hue) % 1
    hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 1)
    lab = rgb2lab(hsv2rgb(hsv))
    lab[..., 0] = rgb2lab(rgb)[..., 0]
    return _normalised(lab)


def _normalised(lab: Floats) -> Floats:
    lightness, a, b = np.moveaxis(lab, -1, 0)
    return np.stack((lightness / 50 - 1, 2 * (a + 86.1830) / 184.4161 - 1, 2 * (b + 107.8573) / 202.3354 - 1), axis=-1)


def _histograms(lab: Floats, mask: NDArray[np.bool_]) -> Floats:
    """(9, 64, 64): the a, b histogram of the pixels in the mask, then that of L, each bin a plane."""
    lightness, a, b = (lab[mask] / 2 + 0.5).T
    count = max(1, len(a))
    ab, _, _ = np.histogram2d(a, b, AB_BINS, ((0, 1), (0, 1)))
    l_counts, _ = np.histogram(lightness, L_BINS, (0, 1))
    tiled = np.tile(l_counts[:, None, None], (1, AB_BINS, AB_BINS))
    return np.concatenate((ab[None], tiled)) / count
