from itertools import product

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2hsv, rgb2lab
from torch import Tensor

from deepct import color

EDGES = torch.tensor(list(product((0.0, 0.04045, 0.0404, 0.5, 1.0), repeat=3)), dtype=torch.float64)


def pixels() -> Tensor:
    """Random and edge colours, (3, 1, N) float64."""
    random = torch.rand(5000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.cat((random, EDGES)).T.unsqueeze(1)


def as_image(planes: Tensor) -> np.ndarray:
    return planes.numpy().transpose(1, 2, 0)


def test_rgb_to_lab_agrees_with_scikit_image() -> None:
    rgb = pixels()
    assert np.abs(as_image(color.rgb_to_lab(rgb)) - rgb2lab(as_image(rgb))).max() < 1e-3


def test_rgb_to_lab_agrees_in_float32() -> None:
    rgb = pixels()
    assert np.abs(as_image(color.rgb_to_lab(rgb.float())) - rgb2lab(as_image(rgb))).max() < 1e-3


def test_lab_to_rgb_agrees_with_scikit_image() -> None:
    lab = rgb2lab(as_image(pixels()))
    ours = color.lab_to_rgb(torch.from_numpy(lab.transpose(2, 0, 1)))
    assert np.abs(as_image(ours) - lab2rgb(lab)).max() < 1e-5


def test_lab_and_back_is_the_identity() -> None:
    rgb = pixels()
    assert (color.lab_to_rgb(color.rgb_to_lab(rgb)) - rgb).abs().max() < 1e-5
    assert (color.normalized_to_rgb(color.rgb_to_normalized(rgb)) - rgb).abs().max() < 1e-5


def test_every_8_bit_colour_survives_the_way_there_and_back() -> None:
    levels = torch.arange(0, 256, 5, dtype=torch.uint8)
    image = torch.cartesian_prod(levels, levels, levels).T.reshape(3, -1, len(levels))
    back = color.rgb_to_uint8(color.normalized_to_rgb(color.rgb_to_normalized(color.uint8_to_rgb(image))))
    assert torch.equal(back, image)


def test_normalised_lab_fills_its_range_over_the_srgb_gamut() -> None:
    levels = torch.linspace(0, 1, 33, dtype=torch.float64)
    gamut = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 33, -1)
    planes = color.rgb_to_normalized(gamut).flatten(1)
    torch.testing.assert_close(planes.amin(1), -torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(planes.amax(1), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)


@pytest.mark.parametrize("function", [color.rgb_to_lab, color.lab_to_rgb, color.rgb_to_normalized])
@pytest.mark.parametrize("value", [0.0, 0.0031308, 0.04045, 0.5, 1.0])
def test_gradients_are_finite_everywhere(function, value: float) -> None:
    planes = torch.full((1, 3, 2, 2), value, requires_grad=True)
    function(planes).sum().backward()
    assert torch.isfinite(planes.grad).all()


def test_gradients_are_right() -> None:
    rgb = torch.rand(1, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(color.rgb_to_normalized, rgb)
    assert torch.autograd.gradcheck(color.normalized_to_rgb, color.rgb_to_normalized(rgb).detach().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_colours_keep_full_precision_under_autocast(dtype: torch.dtype) -> None:
    rgb = pixels().float()
    with torch.autocast("cpu", dtype=dtype):
        lab = color.rgb_to_lab(rgb)
        back = color.lab_to_rgb(lab)
    assert np.abs(as_image(lab) - rgb2lab(as_image(rgb.double()))).max() < 1e-3
    assert (back - rgb).abs().max() < 1e-4


def test_hsv_agrees_with_scikit_image_and_inverts() -> None:
    rgb = pixels()
    hsv = color.rgb_to_hsv(rgb)
    assert np.abs(as_image(hsv) - rgb2hsv(as_image(rgb))).max() < 1e-9
    assert (color.hsv_to_rgb(hsv) - rgb).abs().max() < 1e-9


def test_a_shift_keeps_lightness_and_moves_colour() -> None:
    rgb = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    lab = color.rgb_to_lab(rgb)
    shifted = color.shift_hue_saturation(rgb, torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.5]))
    assert torch.equal(shifted[:, 0], lab[:, 0])
    torch.testing.assert_close(shifted[0], lab[0], atol=1e-3, rtol=0)
    assert (shifted[1, 1:] - lab[1, 1:]).abs().mean() > 10


def test_a_half_turn_of_the_hue_makes_red_cyan() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    cyan = color.rgb_to_lab(torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1))
    shifted = color.shift_hue_saturation(red, torch.tensor([0.5]), torch.tensor([1.0]))
    torch.testing.assert_close(shifted[:, 1:], cyan[:, 1:], atol=1e-3, rtol=0)


@pytest.mark.parametrize("planes", [torch.rand(2, 4, 4), torch.rand(4, 4), torch.zeros(3, 2, 2, dtype=torch.uint8)])
def test_wrong_shapes_and_types_are_refused(planes: Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        color.rgb_to_lab(planes)


def test_a_blend_goes_straight_from_every_value_to_every_value() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    photo, end = (plane.expand(3, 256, 256) for plane in torch.meshgrid(values, values, indexing="ij"))
    assert torch.equal(color.blend_into(photo, color.uint8_to_rgb(end), 0.0), photo)
    assert torch.equal(color.blend_into(photo, color.uint8_to_rgb(end), 1.0), end)
    exact = 0.7 * photo.double() + 0.3 * end.double()
    assert (color.blend_into(photo, color.uint8_to_rgb(end), 0.3).double() - exact).abs().max() < 0.5 + 1e-4


def test_a_blend_clips_its_end_before_it_goes_there() -> None:
    photo = torch.full((3, 1, 1), 100, dtype=torch.uint8)
    for beyond, edge in ((9.0, 255), (-9.0, 0)):
        assert (color.blend_into(photo, torch.full((3, 1, 1), beyond), 0.5) == round((100 + edge) / 2)).all()


def test_the_colour_difference_is_ciede2000() -> None:
    generator = torch.Generator().manual_seed(0)
    spread, low = torch.tensor([100.0, 180.0, 200.0]).view(3, 1, 1), torch.tensor([0.0, -90.0, -100.0]).view(3, 1, 1)
    a, b = (torch.rand(3, 60, 80, generator=generator, dtype=torch.float64) * spread + low for _ in range(2))
    b[:, :20] = a[:, :20] + torch.randn(3, 20, 80, generator=generator)  # small differences
    a[1:, 40:50] = 0  # greys
    b[1:, 45:55] = 0
    theirs = deltaE_ciede2000(a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy())
    mine = color.delta_e_2000(color.normalize_lab(a), color.normalize_lab(b))
    assert mine.numpy() == pytest.approx(theirs, abs=1e-9)
    assert not color.delta_e_2000(color.normalize_lab(a), color.normalize_lab(a)).any()
