"""What users have without a network: classical transfers, each in a few lines.

All take a source and a reference of any sizes, (H, W, 3) uint8 sRGB, and give the recoloured source in its own size.
Colours that leave sRGB are clipped.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import special_ortho_group
from skimage.exposure import match_histograms

from deepct.evaluation.lab import Photo, lab_to_photo, photo_to_lab

_LEAST_SPREAD = 0.1
"""Standard deviation in CIELAB below which a direction of colours counts as constant: 8 bits resolve no less."""

_ROTATIONS = 20
_LEVELS = 1025


def identity(source: Photo, reference: Photo) -> Photo:
    """The source as it is: what every other method has to be better than."""
    return source


def reinhard(source: Photo, reference: Photo) -> Photo:
    """Means and standard deviations of L, a and b (Reinhard et al. 2001, there in l-alpha-beta; here in CIELAB)."""
    ours, theirs = photo_to_lab(source), photo_to_lab(reference)
    gains = theirs.std((0, 1)) / np.maximum(ours.std((0, 1)), _LEAST_SPREAD)
    return lab_to_photo((ours - ours.mean((0, 1))) * gains + theirs.mean((0, 1)))


def histogram_matching(source: Photo, reference: Photo) -> Photo:
    """The histograms of red, green and blue, each by itself, in sRGB as encoded (scikit-image's match_histograms)."""
    matched = match_histograms(source.astype(np.float64), reference.astype(np.float64), channel_axis=-1)
    return np.rint(matched).astype(np.uint8)


def mkl(source: Photo, reference: Photo) -> Photo:
    """Mean and covariance in CIELAB by the linear map that moves colours least (Pitié and Kokaram 2007).

    Its gains are free, unlike those of the guess in :mod:`deepct.monge`.
    """
    ours, theirs = (photo_to_lab(photo).reshape(-1, 3).astype(np.float64) for photo in (source, reference))
    root, inverse = _roots(np.cov(ours.T))
    between, _ = _roots(root @ np.cov(theirs.T) @ root, least=0.0)
    matched = (ours - ours.mean(0)) @ (inverse @ between @ inverse) + theirs.mean(0)
    return lab_to_photo(matched.reshape(source.shape).astype(np.float32))


def idt(source: Photo, reference: Photo) -> Photo:
    """Iterative distribution transfer in CIELAB (Pitié, Kokaram and Dahyot 2007), without their regraining.

    In twenty random bases, the same ones for every pair, the marginals are matched one after another.
    """
    ours, theirs = (photo_to_lab(photo).reshape(-1, 3) for photo in (source, reference))
    for basis in special_ortho_group.rvs(3, size=_ROTATIONS, random_state=0).astype(np.float32):
        turned, target = ours @ basis, theirs @ basis
        matched = [np.interp(x, _quantiles(x), _quantiles(y)) for x, y in zip(turned.T, target.T, strict=True)]
        ours = np.stack(matched, axis=1).astype(np.float32) @ basis.T
    return lab_to_photo(ours.reshape(source.shape))


def _quantiles(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evenly spaced ones, from the least value to the greatest."""
    ranks = np.linspace(0, values.size - 1, _LEVELS).round().astype(int)
    return np.sort(values)[ranks]


def _roots(
    matrix: NDArray[np.float64], least: float = _LEAST_SPREAD
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The square root of a symmetric matrix and its inverse, eigenvalues of the root at least ``least``."""
    values, axes = np.linalg.eigh(matrix)
    roots = np.sqrt(np.maximum(values, 0.0)).clip(max(least, 1e-12))
    return axes * roots @ axes.T, axes / roots @ axes.T
