"""The closed-form maps, each against what it promises."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from deepct.color import denormalize_lab, normalize_lab, normalized_to_rgb, rgb_to_normalized
from deepct.guesses.curves import Curves
from deepct.guesses.maps import FACTS, GUESSES, Guesses
from deepct.palette import draw_palettes, sliced_distance


def palette(seed: int, low: float = 0.1, high: float = 0.9) -> Tensor:
    """(1, 3, N) of a smooth random photo."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * (high - low) + low
    return draw_palettes(rgb_to_normalized(torch.nn.functional.interpolate(coarse, (60, 60), mode="bilinear")))


def turn(colors: Tensor, angle: float) -> Tensor:
    """Turn (1, 3, N) normalised Lab about grey."""
    lightness, a, b = denormalize_lab(colors.unsqueeze(-1)).squeeze(-1).unbind(1)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = torch.stack((lightness, cos * a - sin * b, sin * a + cos * b), dim=1)
    return normalize_lab(turned.unsqueeze(-1)).squeeze(-1)


def moments(colors: Tensor) -> tuple[Tensor, Tensor]:
    return colors.mean(-1), torch.cov(colors[0])


def test_each_guess_leaves_a_photo_alone_that_is_its_own_reference() -> None:
    source = palette(0)
    torch.testing.assert_close(
        Guesses.between(source, source)(source), source.unsqueeze(1).expand(-1, len(GUESSES), -1, -1), atol=1e-4, rtol=0
    )


def test_each_guess_keeps_its_promise() -> None:
    source, reference = palette(0, 0.3, 0.7), palette(1)
    made = dict(zip(GUESSES, Guesses.between(source, reference)(source).unbind(1), strict=True))
    assert torch.equal(made["identity"], source)
    (mean, covariance), (wanted_mean, wanted_covariance) = moments(made["reinhard"]), moments(reference)
    torch.testing.assert_close(mean, wanted_mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(covariance.diag().sqrt(), wanted_covariance.diag().sqrt(), atol=5e-3, rtol=0)
    mean, covariance = moments(made["monge"])
    torch.testing.assert_close(mean, wanted_mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(covariance, wanted_covariance, atol=2e-3, rtol=0)
    for name in ("curves", "three steps", "registered, three steps"):
        rgb, wanted = (normalized_to_rgb(x.unsqueeze(-1)).squeeze().clamp(0, 1) for x in (made[name], reference))
        for channel in range(3):
            assert wasserstein_distance(rgb[channel].numpy(), wanted[channel].numpy()) < 0.01, name
    assert sliced_distance(made["three steps"], reference) < sliced_distance(made["curves"], reference)


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi, -2.0])
def test_registration_finds_the_turn_of_hues(angle: float) -> None:
    reference = palette(3)
    source = turn(reference, -angle)
    guesses = Guesses.between(source, reference)
    registered = guesses(source)[:, GUESSES.index("registered")]
    assert (registered - reference).abs().mean() < 0.02  # turns are tried in steps of 15 degrees
    away = (guesses.turn.item() - angle + math.pi) % (2 * math.pi) - math.pi
    assert abs(away) < math.pi / 12


def test_curves_keep_distances_beyond_the_outermost_quantiles() -> None:
    source = torch.rand(1, 3, 512) * 0.5 + 0.25
    curves = Curves.between(source, source + 0.1)
    colors = torch.tensor([0.0, 0.5, 1.0]).expand(1, 3, 3)
    torch.testing.assert_close(curves(colors), colors + 0.1, atol=1e-5, rtol=0)


def test_the_sliced_distance_is_scipys() -> None:
    a, b = palette(0), palette(1)
    from deepct.palette import _DIRECTIONS

    units = [denormalize_lab(x.unsqueeze(-1)).squeeze(-1)[0] for x in (a, b)]
    expected = sum(wasserstein_distance(*((d @ x).numpy() for x in units)) for d in _DIRECTIONS) / len(_DIRECTIONS)
    assert sliced_distance(a, b).item() == pytest.approx(expected, rel=1e-4)


def test_photos_of_one_colour_give_finite_maps() -> None:
    grey = rgb_to_normalized(torch.full((1, 3, 8, 8), 0.5))
    flat, source = draw_palettes(grey), palette(0)
    for a, b in ((flat, source), (source, flat), (flat, flat), (draw_palettes(grey * 0 - 1), source)):
        guesses = Guesses.between(a, b)
        facts, distance = guesses.judge(a, b)
        assert facts.shape == (1, FACTS)
        assert all(x.isfinite().all() for x in (guesses(source), facts, distance))
