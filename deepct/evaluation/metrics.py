"""How close a picture is to the truth, and its colours to the reference's."""

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from deepct.color import rgb_to_normalized, uint8_to_rgb
from deepct.data.image import to_planes
from deepct.evaluation.lab import Photo, photo_to_lab

_LEVELS = 1024
_DIRECTIONS = 64
_PIXELS = 1 << 16  # enough to place a thousand quantiles; sorting them all takes seconds


def delta_e_2000(picture: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.floating]:
    """CIEDE2000 colour difference of each pixel (Sharma et al. 2005), of (H, W, 3) sRGB pictures in [0, 1]."""
    return deltaE_ciede2000(rgb2lab(truth), rgb2lab(picture))


def picture_metrics(picture: Tensor, truth: Tensor) -> dict[str, float]:
    """Compare a picture with the truth.

    Args:
        picture: (3, H, W) sRGB in [0, 1], sides of at least 11 px.
        truth: of the same shape.

    Returns:
        ``psnr`` in dB (infinite for equal pictures), ``ssim`` (Wang et al. 2004: Gaussian window, sigma 1.5, over the
        channels), and the mean, median and 95th percentile of CIEDE2000 over the pixels.
    """
    a, b = (image.detach().cpu().double().numpy().transpose(1, 2, 0) for image in (picture, truth))
    difference = delta_e_2000(a, b)
    with np.errstate(divide="ignore"):
        psnr = peak_signal_noise_ratio(b, a, data_range=1.0)
    ssim = structural_similarity(
        b, a, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return {
        "psnr": float(psnr),
        "ssim": float(ssim),
        "delta_e_mean": float(difference.mean()),
        "delta_e_median": float(np.median(difference)),
        "delta_e_p95": float(np.quantile(difference, 0.95)),
    }


def image_loss(picture: Photo, truth: Photo) -> float:
    """Mean squared error in normalised Lab, as the report counts it, of (H, W, 3) uint8 sRGB pictures."""
    a, b = (rgb_to_normalized(uint8_to_rgb(to_planes(image))) for image in (picture, truth))
    return float(((a - b) ** 2).mean())


def color_quantiles(photo: Photo) -> NDArray[np.float32]:
    """A photo's colours in CIELAB, seen along 64 directions that are always the same.

    Args:
        photo: (H, W, 3) uint8 sRGB; of a large one, 65,536 pixels at even distances count.

    Returns:
        (64, 1024) float32: along each direction the projections' quantiles at (k + 1/2) / 1024.
    """
    directions = np.random.default_rng(0).normal(size=(_DIRECTIONS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    colors = photo_to_lab(photo).reshape(-1, 3)
    if len(colors) > _PIXELS:
        colors = colors[np.linspace(0, len(colors) - 1, _PIXELS).astype(int)]
    ranks = ((np.arange(_LEVELS) + 0.5) / _LEVELS * len(colors)).astype(int)
    return np.stack([np.sort(colors @ direction)[ranks] for direction in directions.astype(np.float32)])


def sliced_wasserstein(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Sliced 1-Wasserstein distance of two photos' colours (Bonneel et al. 2015), in units of delta E 1976.

    It compares how often colours occur and not where. Photos that differ by one shift of all colours are half of it
    apart, the mean of a vector's projections.

    Args:
        a: from :func:`color_quantiles`.
        b: likewise; the photos' sizes may differ.
    """
    return float(np.abs(a - b).mean())
