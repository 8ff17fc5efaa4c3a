import pytest
import torch

from deepct.histogram import soft_ab_histogram
from deepct.losses import LossWeights, color_transfer_loss
from deepct.output import TransferOutput, as_target, resize_to


def random_output(batch: int = 2, seed: int = 0) -> TransferOutput:
    generator = torch.Generator().manual_seed(seed)
    planes = [torch.rand(batch, 3, side, side, generator=generator) * 2 - 1 for side in (4, 8, 16, 16)]
    return TransferOutput(planes[-1], tuple(planes[:-1]))


def test_the_terms_are_those_of_the_report() -> None:
    output, target = random_output(seed=1), random_output(seed=2)
    terms = color_transfer_loss(output, target, LossWeights(7.0, 3.0, 0.5), torch.tensor([False, True]))
    image = (output.image - target.image).square().mean((1, 2, 3)) * torch.tensor([1.0, 0.5])
    histogram = (soft_ab_histogram(output.image) - soft_ab_histogram(target.image)).square().mean((1, 2))
    layers = [(a - b).square().mean((1, 2, 3)) for a, b in zip(output.scales, target.scales, strict=True)]
    multiscale = sum(layers) / 3
    torch.testing.assert_close(terms.image, image)
    torch.testing.assert_close(terms.histogram, 7 * histogram)
    torch.testing.assert_close(terms.multiscale, 3 * multiscale)
    torch.testing.assert_close(terms.total, image + 7 * histogram + 3 * multiscale)


def test_a_perfect_output_costs_nothing() -> None:
    output = random_output()
    perfect = as_target(output.image, output)
    terms = color_transfer_loss(perfect, perfect, LossWeights(), torch.tensor([False, True]))
    assert terms.total.tolist() == [0, 0]


def test_a_target_is_averaged_down_to_each_scale() -> None:
    output = random_output()
    target = as_target(output.image, output)
    expected = output.image.view(2, 3, 4, 4, 4, 4).mean((3, 5))
    torch.testing.assert_close(target.scales[0], expected)
    assert target.scales[2] is target.image


def test_an_image_of_the_right_size_is_not_resized() -> None:
    image = torch.rand(1, 3, 5, 7)
    assert resize_to(image, (5, 7)) is image


def test_outputs_of_different_depth_are_refused() -> None:
    output = random_output()
    with pytest.raises(ValueError, match=r"3 decoder images and its target 0"):
        color_transfer_loss(output, TransferOutput(output.image, ()), LossWeights(), torch.tensor([False, False]))


def test_the_loss_is_computed_in_full_precision_under_autocast() -> None:
    output, target = random_output(seed=1), random_output(seed=2)
    half = TransferOutput(output.image.bfloat16(), tuple(scale.bfloat16() for scale in output.scales))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = color_transfer_loss(half, target, LossWeights(), torch.tensor([False, False]))
    assert terms.total.dtype == torch.float32
