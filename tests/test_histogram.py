import numpy as np
import pytest
import torch
from literal import literal_soft_histogram
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


def colours(bins: int = 32) -> Tensor:
    """Random colours in and beyond the range, and all pairs of ends, centres, edges and far values; (2, 3, H, W)."""
    special = [
        -1e30,
        -1.5,
        -1 - 1 / bins,
        -1.0,
        -1 + 1 / bins,
        -1 + 2 / bins,
        0.0,
        1 - 1 / bins,
        1.0,
        1 + 1 / bins,
        1e30,
    ]
    corners = torch.cartesian_prod(torch.tensor([0.0]), torch.tensor(special), torch.tensor(special)).T
    lab = random_lab(2, 3, 24, 31, seed=5) * 1.2
    lab[0].view(3, -1)[:, : corners.shape[1]] = corners
    return lab


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_histogram_equals_the_dense_definition(dtype: torch.dtype) -> None:
    lab = colours().to(dtype)
    assert soft_ab_histogram(lab).dtype == dtype
    torch.testing.assert_close(soft_ab_histogram(lab), literal_soft_histogram(lab), atol=1e-6, rtol=0)


def test_soft_histogram_has_the_dense_definitions_gradient() -> None:
    lab = (random_lab(2, 3, 24, 31, seed=5) * 1.2).requires_grad_()
    probe = random_lab(2, 32, 32, seed=6)
    ours, dense = (
        torch.autograd.grad((soft(lab) * probe).sum(), lab)[0] for soft in (soft_ab_histogram, literal_soft_histogram)
    )
    assert dense.abs().max() > 1e-3
    torch.testing.assert_close(ours, dense, atol=1e-7, rtol=0)


def test_soft_histogram_has_the_right_gradient() -> None:
    lab = (random_lab(2, 3, 3, 4, seed=6) * 1.3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_ab_histogram(x, bins=5), lab)


def test_soft_histogram_has_finite_gradients_on_its_kinks() -> None:
    lab = colours().requires_grad_()
    (soft_ab_histogram(lab) * random_lab(2, 32, 32, seed=6)).sum().backward()
    assert lab.grad.isfinite().all()
    assert lab.grad.abs().max() <= 2 * 16 / (24 * 31)  # the steepest weight, per pixel
    beyond = (lab.detach()[:, 1:].abs() > 1 + 1 / 32).any(1)
    assert beyond.any()
    assert lab.grad[:, 1:].transpose(0, 1)[:, beyond].abs().max() == 0


def test_soft_histogram_of_millions_of_pixels_keeps_its_digits() -> None:
    lab = torch.tensor([0.0, 0.123, -0.456]).view(1, 3, 1, 1).expand(1, 3, 2048, 2048)
    expected = soft_ab_histogram(lab[..., :1, :1].double())
    torch.testing.assert_close(soft_ab_histogram(lab).double(), expected, rtol=1e-5, atol=1e-9)


def test_soft_histogram_puts_a_bin_centre_into_its_bin() -> None:
    centre = (torch.tensor([3.5, 10.5]) / 32) * 2 - 1
    lab = torch.cat((torch.zeros(1), centre)).view(1, 3, 1, 1)
    soft = soft_ab_histogram(lab)
    assert soft[0, 3, 10] == pytest.approx(1, abs=1e-5)
    assert soft.sum() == pytest.approx(1, abs=1e-5)
