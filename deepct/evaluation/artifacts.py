"""What a transfer did to the source beyond its colours. All pictures are (H, W, 3) uint8 sRGB of one size."""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from deepct.evaluation.lab import Lab, Photo, photo_to_lab

NOTICEABLE = 2.3
"""A just noticeable difference in CIELAB, delta E 1976 (Mahy, Van Eycken and Oosterlinck 1994)."""


def structure(result: Photo, source: Photo) -> float:
    """SSIM of L, once the result's mean and standard deviation of L have been given the source's; 1 at best.

    SSIM is that of Wang et al. 2004 (Gaussian window, sigma 1.5) over a range of 100. Matching the moments is ours:
    more or less light and contrast all over cost little; lost, added and inverted detail is what counts. Sides of at
    least 11 px.
    """
    ours, wanted = photo_to_lab(result)[..., 0], photo_to_lab(source)[..., 0]
    ours, wanted = ours.astype(np.float64), wanted.astype(np.float64)
    spread = ours.std()
    gain = wanted.std() / spread if spread > 0 else 0.0
    matched = (ours - ours.mean()) * gain + wanted.mean()
    similarity = structural_similarity(
        wanted, matched, data_range=100.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(similarity)


def new_clipping(result: Photo, source: Photo) -> float:
    """Share of the pixels with a channel at 0 or 255, of those where the source has none."""
    return float((_clipped(result) & ~_clipped(source)).mean())


def banding(result: Photo, source: Photo) -> float:
    """Share of the source's smooth passages that show a step in the result; 0 at best. The definition is ours.

    A smooth passage is two neighbouring pixels, side by side or one above the other, whose channels differ by one code
    at most, the finest step that 8 bits have. It shows a step where the result's colours lie further apart than the
    source's, in delta E 1976, by more than a noticeable difference: bands, posterised gradients, noise made visible. 0
    also where the source has no such passage.
    """
    before, after = photo_to_lab(source), photo_to_lab(result)
    steps = smooth = 0
    for axis in (0, 1):
        passages = (np.abs(np.diff(source.astype(np.int16), axis=axis)) <= 1).all(-1)
        steps += int((passages & (_steps(after, axis) - _steps(before, axis) > NOTICEABLE)).sum())
        smooth += int(passages.sum())
    return steps / smooth if smooth else 0.0


def _clipped(photo: Photo) -> NDArray[np.bool_]:
    return ((photo == 0) | (photo == 255)).any(-1)


def _steps(lab: Lab, axis: int) -> NDArray[np.float32]:
    return np.linalg.norm(np.diff(lab, axis=axis), axis=-1)
