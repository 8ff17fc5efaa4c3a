"""How close a picture is to the truth."""

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor


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
