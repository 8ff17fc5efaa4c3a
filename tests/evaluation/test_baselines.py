from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from deepct.evaluation.baselines import histogram_matching, identity, idt, mkl, reinhard
from deepct.evaluation.lab import lab_to_photo, photo_to_lab

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def photo(height: int, width: int, seed: int, color: tuple[float, ...] = (55, 0, 0), spread: float = 6) -> np.ndarray:
    """A cloud of correlated colors well inside the gamut, so that nothing is clipped."""
    rng = np.random.default_rng(seed)
    mixed = rng.uniform(-1, 1, (height, width, 3)) @ (spread * rng.normal(0, 1, (3, 3)))
    return lab_to_photo((mixed.clip(-15, 15) + np.array(color)).astype(np.float32))


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    return photo(60, 80, 1), photo(70, 50, 2, (48, 8, 12))


def colors(picture: np.ndarray) -> np.ndarray:
    return photo_to_lab(picture).reshape(-1, 3)


def test_identity_is_the_source(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert np.array_equal(identity(*pair), pair[0])


def test_reinhard_matches_means_and_standard_deviations(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result, wanted = colors(reinhard(*pair)), colors(pair[1])
    assert np.allclose(result.mean(0), wanted.mean(0), atol=0.1)
    assert np.allclose(result.std(0), wanted.std(0), atol=0.1)


def test_mkl_matches_mean_and_covariance_by_a_symmetric_map(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result, wanted = colors(mkl(*pair)), colors(pair[1])
    assert np.allclose(result.mean(0), wanted.mean(0), atol=0.1)
    assert np.allclose(np.cov(result.T), np.cov(wanted.T), atol=0.6)
    source = colors(pair[0])
    weights = np.linalg.lstsq(source - source.mean(0), result - result.mean(0))[0]
    assert np.allclose(weights, weights.T, atol=0.02)
    assert (np.linalg.eigvalsh((weights + weights.T) / 2) > 0).all()


def test_mkl_gains_are_free() -> None:
    calm, lively = photo(60, 80, 1, spread=1), photo(60, 80, 1, spread=5)
    assert np.allclose(colors(mkl(calm, lively)).std(0), colors(lively).std(0), rtol=0.1)
    assert (colors(lively).std(0) > 4 * colors(calm).std(0)).all()


def test_histogram_matching_matches_every_marginal(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result = histogram_matching(*pair)
    for channel in range(3):
        assert wasserstein_distance(result[..., channel].ravel(), pair[1][..., channel].ravel()) < 1


def test_idt_matches_the_whole_distribution(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result, wanted, source = (colors(picture) for picture in (idt(*pair), pair[1], pair[0]))
    for direction in np.random.default_rng(5).normal(size=(10, 3)):
        direction /= np.linalg.norm(direction)
        distance = wasserstein_distance(result @ direction, wanted @ direction)
        assert distance < 0.3
        assert distance < wasserstein_distance(source @ direction, wanted @ direction)


@pytest.mark.parametrize("method", [reinhard, mkl, histogram_matching, idt])
def test_a_photo_that_is_its_own_reference_mirrored_keeps_its_colors(
    pair: tuple[np.ndarray, np.ndarray], method: Method
) -> None:
    assert np.abs(method(pair[0], pair[0][:, ::-1]).astype(int) - pair[0]).max() <= 1


@pytest.mark.parametrize("method", [reinhard, mkl, histogram_matching, idt])
def test_photos_of_one_color_are_no_trouble(pair: tuple[np.ndarray, np.ndarray], method: Method) -> None:
    flat = np.full((20, 30, 3), (90, 120, 60), np.uint8)
    assert np.abs(method(pair[0], flat).astype(int) - flat[0, 0]).max() <= 1
    assert method(flat, pair[0]).shape == flat.shape
    grey = np.repeat(pair[0][..., :1], 3, axis=-1)
    assert method(grey, pair[1]).shape == grey.shape


@pytest.mark.parametrize("method", [reinhard, mkl, histogram_matching, idt])
def test_the_same_pair_gives_the_same_picture(pair: tuple[np.ndarray, np.ndarray], method: Method) -> None:
    first = method(*pair)
    assert first.dtype == np.uint8
    assert first.shape == pair[0].shape
    assert np.array_equal(first, method(*pair))
