import numpy as np
import pytest
import torch
from skimage.color import deltaE_cie76
from torch.nn import functional as F

from deepct.color import denormalize_lab
from deepct.histogram import soft_ab_histogram
from deepct.losses import LossTerms, LossWeights, Measured, color_transfer_loss, delta_e_error
from deepct.output import TransferOutput, as_target, match_scales, resize_to


def random_output(batch: int = 2, seed: int = 0) -> TransferOutput:
    generator = torch.Generator().manual_seed(seed)
    planes = [torch.rand(batch, 3, side, side, generator=generator) * 2 - 1 for side in (4, 8, 16, 16)]
    return TransferOutput(planes[-1], tuple(planes[:-1]))


def loss(
    output: TransferOutput,
    target: TransferOutput,
    weights: LossWeights = LossWeights(),  # noqa: B008 - it cannot be changed
    identical: tuple[bool, bool] = (False, False),
) -> LossTerms:
    return color_transfer_loss(Measured.of(output), Measured.of(target), weights, torch.tensor(identical))


def test_the_terms_are_those_of_the_report() -> None:
    output, target = random_output(seed=1), random_output(seed=2)
    terms = loss(output, target, LossWeights(7.0, 3.0, 0.5), (False, True))
    image = (output.image - target.image).square().mean((1, 2, 3)) * torch.tensor([1.0, 0.5])
    histogram = (soft_ab_histogram(output.image) - soft_ab_histogram(target.image)).square().mean((1, 2))
    layers = [(a - b).square().mean((1, 2, 3)) for a, b in zip(output.scales, target.scales, strict=True)]
    multiscale = sum(layers) / 3
    torch.testing.assert_close(terms.image, image)
    torch.testing.assert_close(terms.histogram, 7 * histogram, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms.multiscale, 3 * multiscale)
    torch.testing.assert_close(terms.total, image + 7 * histogram + 3 * multiscale)


def test_a_perfect_output_costs_nothing() -> None:
    output = random_output()
    perfect = as_target(output.image, output)
    terms = loss(perfect, perfect, identical=(False, True))
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


def at_strides(strides: tuple[int, ...], side: tuple[int, int] = (256, 256), seed: int = 0) -> TransferOutput:
    """What a network gives whose decoder draws at these strides."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [tuple(-(-length // stride) for length in side) for stride in (1, *strides)]
    image, *scales = (torch.rand(2, 3, *size, generator=generator) for size in sizes)
    return TransferOutput(image, tuple(scales))


@pytest.mark.parametrize("side", [(256, 256), (97, 133), (40, 33)])
def test_a_coarser_student_is_compared_with_pictures_of_its_sizes(side: tuple[int, int]) -> None:
    student, teacher = at_strides((32, 16, 8, 4, 2), side), at_strides((16, 8, 4, 2, 1), side, seed=1)
    coarsest, *rest = match_scales(teacher, student)
    torch.testing.assert_close(coarsest, F.adaptive_avg_pool2d(teacher.scales[0], student.scales[0].shape[-2:]))
    assert all(mine is theirs for mine, theirs in zip(rest, teacher.scales[:4], strict=True))


def test_a_student_of_odd_stride_is_compared_with_the_next_larger_pictures() -> None:
    student, teacher = at_strides((48, 24, 12, 6, 3)), at_strides((16, 8, 4, 2, 1), seed=1)
    matched = match_scales(teacher, student)
    larger = [teacher.scales[i] for i in (0, 0, 1, 2, 3)]
    for picture, mine, theirs in zip(matched, student.scales, larger, strict=True):
        assert torch.equal(picture, F.adaptive_avg_pool2d(theirs, mine.shape[-2:]))


def test_a_student_finer_than_its_teacher_is_compared_with_the_teachers_full_picture() -> None:
    student, teacher = at_strides((16, 8, 4, 2, 1)), at_strides((32, 16, 8, 4, 2), seed=1)
    assert match_scales(teacher, student)[-1] is teacher.image


def test_equal_networks_are_compared_layer_by_layer() -> None:
    student, teacher = at_strides((16, 8, 4, 2, 1), (3, 2)), at_strides((16, 8, 4, 2, 1), (3, 2), seed=1)
    assert match_scales(teacher, student) is teacher.scales


def test_the_loss_matches_scales() -> None:
    student, teacher = at_strides((32, 16, 8, 4, 2)), at_strides((16, 8, 4, 2, 1), seed=1)
    matched = TransferOutput(teacher.image, match_scales(teacher, student))
    assert torch.equal(loss(student, teacher).multiscale, loss(student, matched).multiscale)


def test_a_teacher_without_pictures_is_refused() -> None:
    output = random_output()
    with pytest.raises(ValueError, match=r"3 decoder images and its target 0"):
        loss(output, TransferOutput(output.image, ()))


def test_a_student_without_pictures_learns_from_a_teacher_that_has_them() -> None:
    target = random_output()
    assert loss(TransferOutput(target.image, ()), target).total.tolist() == [0, 0]


def test_double_precision_is_kept() -> None:
    image = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    nudged = TransferOutput(image + 1e-9 + 1.0, ())
    assert loss(TransferOutput(image + 1.0, ()), nudged).image.tolist() == pytest.approx([1e-18, 1e-18], rel=1e-3)


def test_the_loss_is_computed_in_full_precision_under_autocast() -> None:
    output, target = random_output(seed=1), random_output(seed=2)
    half = TransferOutput(output.image.bfloat16(), tuple(scale.bfloat16() for scale in output.scales))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = loss(half, target)
    assert terms.total.dtype == torch.float32


def test_delta_e_error_is_cie76_with_less_chroma() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 3, 6, 5, generator=generator) * 2 - 1 for _ in range(2))
    scale = np.array([1, 0.75, 0.75])
    lab = [denormalize_lab(x).permute(0, 2, 3, 1).numpy() * scale for x in (a, b)]
    expected = deltaE_cie76(*lab).mean((1, 2))
    np.testing.assert_allclose(delta_e_error(a, b), expected, rtol=0.02)  # it is smooth within a delta E
    assert torch.equal(delta_e_error(a, a), torch.zeros(2))


def test_the_delta_e_loss_counts_by_its_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    output, target = (
        Measured.of(TransferOutput(torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1, ())) for _ in range(2)
    )
    identical = torch.zeros(2, dtype=torch.bool)
    without, with_it = (
        color_transfer_loss(output, target, LossWeights(0, 0, delta_e=weight), identical) for weight in (0.0, 0.5)
    )
    assert torch.equal(without.delta_e, torch.zeros(2))
    torch.testing.assert_close(
        with_it.total - without.total, 0.5 * delta_e_error(output.output.image, target.output.image)
    )
