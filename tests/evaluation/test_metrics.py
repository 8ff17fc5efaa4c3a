import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from deepct.color import uint8_to_rgb
from deepct.data.image import to_planes
from deepct.evaluation.lab import lab_to_photo, photo_to_lab
from deepct.evaluation.metrics import color_quantiles, image_loss, picture_metrics, sliced_wasserstein


def photo(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_lab_is_scikit_images_and_goes_back() -> None:
    picture = photo(30, 40, 0)
    assert np.allclose(photo_to_lab(picture), rgb2lab(picture), atol=0.01)
    assert np.array_equal(lab_to_photo(photo_to_lab(picture)), picture)


def test_picture_metrics_agree_with_scikit_image() -> None:
    a, b = photo(30, 40, 0), photo(30, 40, 1)
    measured = picture_metrics(*(uint8_to_rgb(to_planes(picture)) for picture in (a, b)))
    assert measured["psnr"] == pytest.approx(peak_signal_noise_ratio(b, a), abs=1e-4)
    difference = deltaE_ciede2000(rgb2lab(b), rgb2lab(a))
    assert measured["delta_e_mean"] == pytest.approx(difference.mean(), abs=1e-3)
    assert measured["delta_e_median"] == pytest.approx(np.median(difference), abs=1e-3)
    assert measured["delta_e_p95"] == pytest.approx(np.percentile(difference, 95), abs=1e-3)


def test_the_image_loss_is_the_mse_of_lab_scaled_by_the_gamuts_bounds() -> None:
    a, b = photo(30, 40, 0), photo(30, 40, 1)
    scale = np.array((100, 184.4161, 202.3354)) / 2
    assert image_loss(a, b) == pytest.approx((((rgb2lab(a) - rgb2lab(b)) / scale) ** 2).mean(), rel=1e-3)
    assert image_loss(a, a) == 0


def test_the_sliced_distance_is_scipys_along_the_directions() -> None:
    a, b = photo(40, 50, 0), photo(64, 33, 1) // 2
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    first, second = (rgb2lab(picture).reshape(-1, 3) for picture in (a, b))
    exact = np.mean([wasserstein_distance(first @ d, second @ d) for d in directions])
    assert sliced_wasserstein(color_quantiles(a), color_quantiles(b)) == pytest.approx(exact, rel=0.01)


def test_the_sliced_distance_knows_no_places() -> None:
    a = photo(40, 50, 0)
    shuffled = np.random.default_rng(1).permutation(a.reshape(-1, 3)).reshape(50, 40, 3)
    assert sliced_wasserstein(color_quantiles(a), color_quantiles(shuffled)) == pytest.approx(0, abs=1e-4)


def test_a_shift_of_all_colors_is_half_of_it_away() -> None:
    grey, lighter = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 150, np.uint8)
    shift = photo_to_lab(lighter)[0, 0, 0] - photo_to_lab(grey)[0, 0, 0]
    assert sliced_wasserstein(color_quantiles(grey), color_quantiles(lighter)) == pytest.approx(shift / 2, rel=0.15)
