import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from deepct.evaluation.artifacts import NOTICEABLE, banding, new_clipping, structure
from deepct.evaluation.gradings import Grading


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(60, 80, 3)), (2, 2, 0))
    return np.clip(120 + 300 * noise, 5, 250).astype(np.uint8)


def brighten(photo: np.ndarray, stops: float) -> np.ndarray:
    ramp = np.linspace(0, 1, 6)
    flat = np.zeros(3)
    grading = Grading(
        np.full(3, 2.0**stops), np.stack([ramp] * 3), 0.0, 0.5, np.eye(3), 0.0, 1.0, flat, flat, flat, flat + 1
    )
    return grading.apply(photo)


def test_structure_is_whole_in_the_source_and_nearly_so_under_another_exposure(photo: np.ndarray) -> None:
    assert structure(photo, photo) == pytest.approx(1)
    assert structure(brighten(photo, 0.5), photo) > 0.98
    assert structure(brighten(photo, -1), photo) > 0.97


def test_structure_falls_where_detail_is_lost_added_or_inverted(photo: np.ndarray) -> None:
    blurred = gaussian_filter(photo, (4, 4, 0))
    noisy = np.clip(photo + np.random.default_rng(1).normal(0, 30, photo.shape), 0, 255).astype(np.uint8)
    assert structure(blurred, photo) < 0.9
    assert structure(noisy, photo) < 0.9
    assert structure(255 - photo, photo) < 0
    assert structure(np.full_like(photo, 90), photo) < 0.5


def test_structure_is_scikit_images_ssim_of_lightness_of_equal_moments(photo: np.ndarray) -> None:
    result = gaussian_filter(photo, (1, 1, 0)) // 2
    ours, wanted = rgb2lab(result)[..., 0], rgb2lab(photo)[..., 0]
    matched = (ours - ours.mean()) / ours.std() * wanted.std() + wanted.mean()
    expected = structural_similarity(
        matched, wanted, data_range=100, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert structure(result, photo) == pytest.approx(expected, abs=1e-3)


def test_new_clipping_counts_pixels_that_were_not_clipped() -> None:
    source = np.full((10, 10, 3), 100, np.uint8)
    source[0, :, 1] = 255
    result = source.copy()
    assert new_clipping(result, source) == 0
    result[0, :, 0] = 0  # clipped already, in another channel
    result[1, :5, 2] = 255
    result[2, :3] = 0
    assert new_clipping(result, source) == pytest.approx(8 / 100)
    assert new_clipping(source, result) == 0


def test_banding_is_none_in_the_source_and_under_gentle_maps(photo: np.ndarray) -> None:
    ramp = np.repeat(np.arange(40, 200, dtype=np.uint8)[None, :, None].repeat(20, 0), 3, axis=2)
    assert banding(ramp, ramp) == 0
    assert banding(brighten(ramp, 0.5), ramp) == 0
    assert banding(photo, photo) == 0


def test_banding_counts_the_steps_of_a_posterised_ramp() -> None:
    ramp = np.repeat(np.arange(40, 200, dtype=np.uint8)[None, :, None].repeat(20, 0), 3, axis=2)
    posterised = ramp // 16 * 16
    steps = 10  # at 48, 64, ..., 192
    across, along = 20 * 159, 19 * 160
    assert banding(posterised, ramp) == pytest.approx(20 * steps / (across + along))


def test_banding_agrees_with_a_plain_count(photo: np.ndarray) -> None:
    source = (photo // 8 + 100).astype(np.uint8)
    result = np.random.default_rng(2).permutation(256).astype(np.uint8)[source]
    before, after = rgb2lab(source), rgb2lab(result)
    smooth = bands = 0
    height, width, _ = source.shape
    for y in range(height):
        for x in range(width):
            for v, u in ((y + 1, x), (y, x + 1)):
                if v < height and u < width and np.abs(source[y, x].astype(int) - source[v, u]).max() <= 1:
                    smooth += 1
                    grown = np.linalg.norm(after[y, x] - after[v, u]) - np.linalg.norm(before[y, x] - before[v, u])
                    bands += grown > NOTICEABLE
    assert banding(result, source) == pytest.approx(bands / smooth, abs=2e-3)
    assert bands


def test_a_source_without_smooth_passages_has_no_bands() -> None:
    board = (np.indices((12, 12)).sum(0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, -1)
    assert banding(255 - board, board) == 0
