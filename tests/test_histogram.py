import numpy as np
import pytest
import torch
from torch import Tensor

from deepct.histogram import (
    UNLABELLED,
    histogram,
    label_histograms,
    shared_labels,
    soft_ab_histogram,
)


def random_lab(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def numpy_histogram(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The definition: NumPy's histograms over [0, 1], divided by the pixels, L's shares tiled."""
    lightness, a, b = ((plane.astype(np.float64) + 1) / 2 for plane in (lightness, a, b))
    ab = np.histogram2d(a, b, bins=64, range=((0, 1), (0, 1)))[0] / a.size
    light = np.histogram(lightness, bins=8, range=(0, 1))[0] / a.size
    return np.concatenate((ab[None], np.broadcast_to(light[:, None, None], (8, 64, 64))))


def test_histogram_equals_numpys_exactly() -> None:
    lab = random_lab(3, 3, 37, 53)
    lab[0, :, 0, :2] = torch.tensor([-1.0, 1.0])  # both ends of the range
    ours = histogram(lab)
    assert ours.shape == (3, 9, 64, 64)
    for image, stack in zip(lab.numpy(), ours.numpy(), strict=True):
        expected = numpy_histogram(*(plane.ravel() for plane in image))
        np.testing.assert_array_equal(stack, expected.astype(np.float32))


def test_histogram_shares_sum_to_one_and_have_no_gradient() -> None:
    lab = random_lab(2, 3, 16, 16).requires_grad_()
    stack = histogram(lab)
    torch.testing.assert_close(stack[:, 0].sum((1, 2)), torch.ones(2))
    torch.testing.assert_close(stack[:, 1:, 0, 0].sum(1), torch.ones(2))
    assert not stack.requires_grad


def test_colours_beyond_the_gamut_count_in_the_outermost_bins() -> None:
    lab = torch.tensor([5.0, -3.0, 3.0]).view(1, 3, 1, 1)
    stack = histogram(lab)
    assert stack[0, 8, 0, 0] == 1
    assert stack[0, 0, 0, 63] == 1


def test_label_histograms_count_by_the_mask_alone() -> None:
    source_labels = torch.tensor([[[1, 1], [7, UNLABELLED]], [[3, 3], [3, 3]]], dtype=torch.uint8)
    reference = random_lab(2, 3, 20, 30, seed=3)
    reference[0, :, 0, 0] = -1.0  # black by value, yet part of its label
    labels = torch.randint(0, 9, (2, 20, 30), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    labels[1] = 3
    labels[0, 0, 0] = 1
    shared = shared_labels(source_labels, labels)
    stacks = label_histograms(reference, labels, shared)
    assert shared.total == 3
    for row, (photo, label) in enumerate(((0, 1), (0, 7), (1, 3))):
        chosen = reference[photo].numpy()[:, (labels[photo] == label).numpy()]
        np.testing.assert_array_equal(stacks[row].numpy(), numpy_histogram(*chosen).astype(np.float32))
        assert shared.slots[photo, label] == row


def test_only_labels_of_both_photos_are_shared() -> None:
    source = torch.tensor([[[0, 1, 2, UNLABELLED]]], dtype=torch.uint8)
    reference = torch.tensor([[[2, 3, UNLABELLED, 149]]], dtype=torch.uint8)
    shared = shared_labels(source, reference)
    assert shared.total == 1
    assert shared.slots[0, 2] == 0
    assert (shared.slots >= 0).sum() == 1
    assert shared.rows(source).tolist() == [[[-1, -1, 0, -1]]]


def test_photos_without_common_labels_give_no_histogram() -> None:
    empty = torch.full((2, 4, 4), UNLABELLED, dtype=torch.uint8)
    shared = shared_labels(empty, empty)
    assert shared.total == 0
    assert label_histograms(random_lab(2, 3, 4, 4), empty, shared).shape == (0, 9, 64, 64)


def authors_soft_histogram(ab: Tensor, bins: int) -> Tensor:
    """The dense definition: a (bins * bins) x H x W tensor of triangular weights, averaged over the pixels."""
    centres = (torch.arange(bins, dtype=ab.dtype) + 0.5) / bins
    a, b = ab[0] * 0.5 + 0.5, ab[1] * 0.5 + 0.5
    grid_a, grid_b = torch.meshgrid(centres, centres, indexing="ij")
    weight_a = torch.relu(1 - (a[None] - grid_a.reshape(-1, 1, 1)).abs() * bins)
    weight_b = torch.relu(1 - (b[None] - grid_b.reshape(-1, 1, 1)).abs() * bins)
    return (weight_a * weight_b).mean((1, 2)).view(bins, bins)


def test_soft_histogram_equals_the_dense_definition() -> None:
    lab = random_lab(2, 3, 24, 31, seed=5)
    expected = torch.stack([authors_soft_histogram(image[1:], 32) for image in lab])
    torch.testing.assert_close(soft_ab_histogram(lab), expected, atol=1e-6, rtol=0)


def test_soft_histogram_has_the_right_gradient() -> None:
    lab = random_lab(1, 3, 3, 4, seed=6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_ab_histogram(x, bins=5), lab)


def test_soft_histogram_puts_a_bin_centre_into_its_bin() -> None:
    centre = (torch.tensor([3.5, 10.5]) / 32) * 2 - 1
    lab = torch.cat((torch.zeros(1), centre)).view(1, 3, 1, 1)
    soft = soft_ab_histogram(lab)
    assert soft[0, 3, 10] == pytest.approx(1, abs=1e-5)
    assert soft.sum() == pytest.approx(1, abs=1e-5)
