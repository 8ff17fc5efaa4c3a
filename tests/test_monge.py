import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from deepct.histogram import UNLABELLED, pair_histograms
from deepct.monge import count_moments, monge_maps


def colors(count: int, seed: int, spread: float = 0.2) -> Tensor:
    """(1, 3, 1, count) correlated colours."""
    generator = torch.Generator().manual_seed(seed)
    mixing, mean = torch.randn(3, 3, generator=generator), torch.rand(3, 1, generator=generator) - 0.5
    mixing = torch.eye(3) + 0.4 * mixing
    return (mean + spread * mixing @ torch.randn(3, count, generator=generator)).view(1, 3, 1, count)


def apply(maps: Tensor, photo: Tensor) -> Tensor:
    return (maps[0, :, :3] @ photo.flatten(2)[0] + maps[0, :, 3:]).view_as(photo)


def test_the_map_is_the_closed_form_of_the_paper() -> None:
    source, reference = colors(5000, 0), colors(3000, 1)
    x, y = (photo.flatten(2)[0].double().numpy() for photo in (source, reference))
    first, second = (np.cov(z, bias=True) + 1e-4 * np.eye(3) for z in (x, y))
    root = sqrtm(first)
    inverse = np.linalg.inv(root)
    weights = inverse @ sqrtm(root @ second @ root) @ inverse
    assert 1 / 3 < np.linalg.eigvalsh(weights).min() < np.linalg.eigvalsh(weights).max() < 3  # else it were clamped
    expected = np.concatenate((weights, (y.mean(1) - weights @ x.mean(1))[:, None]), axis=1)
    found = monge_maps(count_moments(source), count_moments(reference))[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_mean_and_covariance_become_the_references() -> None:
    source, reference = colors(5000, 0), colors(3000, 1)
    result = apply(monge_maps(count_moments(source), count_moments(reference)), source)
    mine, wanted = result.flatten(2)[0], reference.flatten(2)[0]
    torch.testing.assert_close(mine.mean(1), wanted.mean(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(mine), torch.cov(wanted), atol=2e-3, rtol=0)


def test_a_photo_that_is_its_own_reference_mirrored_keeps_its_colours() -> None:
    photo = colors(4000, 2).view(1, 3, 50, 80)
    maps = monge_maps(count_moments(photo), count_moments(photo.flip(3)))
    torch.testing.assert_close(maps, torch.eye(3, 4).unsqueeze(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("source_spread", "reference_spread"), [(0.0, 0.3), (1e-3, 0.3), (0.3, 0.0)])
def test_contrasts_grow_and_shrink_within_bounds(source_spread: float, reference_spread: float) -> None:
    source, reference = colors(1000, 3, source_spread), colors(1000, 4, reference_spread)
    maps = monge_maps(count_moments(source), count_moments(reference))
    gains = torch.linalg.eigvalsh(maps[0, :, :3])
    assert float(gains.min()) >= 1 / 3 - 1e-5
    assert float(gains.max()) <= 3 + 1e-5
    torch.testing.assert_close(apply(maps, source).mean((0, 2, 3)), reference.mean((0, 2, 3)), atol=1e-3, rtol=0)


def test_moments_by_row_are_those_of_its_pixels_alone() -> None:
    photo = torch.cat((colors(600, 5), colors(600, 6)))
    rows = torch.randint(-1, 3, (2, 1, 600), generator=torch.Generator().manual_seed(7))
    rows[1] += 3 * (rows[1] >= 0)
    moments = count_moments(photo, rows, 7)
    for index, row in ((0, 0), (0, 2), (1, 4)):
        alone = photo[index : index + 1, :, :, rows[index, 0] == row]
        torch.testing.assert_close(moments[row], count_moments(alone)[0])
    assert torch.equal(moments[6], torch.zeros(3, 4))


def test_a_pair_has_a_map_for_each_label_and_one_for_the_whole() -> None:
    source, reference = colors(800, 8).view(1, 3, 20, 40), colors(800, 9).view(1, 3, 20, 40)
    labels = torch.full((1, 20, 40), 3, dtype=torch.uint8)
    labels[..., 15:] = 9
    labels[:, :4] = UNLABELLED
    found = pair_histograms(source, reference, labels, labels.flip(1))
    assert found.maps.shape == (3, 3, 4)
    for row, label in enumerate((3, 9)):
        here, there = (
            photo[:, :, labels_[0] == label].unsqueeze(2)
            for photo, labels_ in ((source, labels), (reference, labels.flip(1)))
        )
        torch.testing.assert_close(found.maps[row], monge_maps(count_moments(here), count_moments(there))[0])
    torch.testing.assert_close(found.maps[2], monge_maps(count_moments(source), count_moments(reference))[0])
    torch.testing.assert_close(pair_histograms(source, reference).maps, found.maps[2:])
