"""Common colours are brought together, whatever else the photos show."""

import pytest
import torch
from torch import Tensor

from deepct.guesses.drift import drift_maps
from deepct.highres import apply_affine
from deepct.monge import count_moments, monge_maps


def clouds(seed: int, middles: tuple[tuple[float, float, float], ...]) -> Tensor:
    """(1, 3, 1200) normalised Lab about some middles."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.tensor(m).view(3, 1) + 0.04 * torch.randn(3, 1200 // len(middles), generator=generator) for m in middles
    ]
    return torch.cat(parts, dim=1).unsqueeze(0)


LOOK = torch.tensor([[[1.05, 0.0, 0.0, 0.03], [0.0, 0.95, 0.0, 0.02], [0.0, 0.02, 1.0, -0.03]]])
GRASS, SKY, SKIN = (-0.2, -0.25, 0.4), (0.5, -0.1, -0.2), (0.2, 0.1, 0.25)


def apply(maps: Tensor, colors: Tensor) -> Tensor:
    return apply_affine(maps.unsqueeze(-1), colors)


@pytest.mark.parametrize(
    ("source", "reference"),
    [((GRASS, SKY, SKIN), (GRASS, SKY)), ((GRASS, SKY), (GRASS, SKY, SKIN)), ((GRASS, GRASS, SKY), (GRASS, SKY, SKY))],
)
def test_shares_and_strangers_do_not_lead_it_astray(source: tuple, reference: tuple) -> None:
    before, after = clouds(0, source), apply(LOOK, clouds(1, reference))
    shared = before[..., : 800 if SKIN in source else 1200]
    drifted = apply(drift_maps(before, after), shared)
    moments = (count_moments(colors.unsqueeze(-1)) for colors in (before, after))
    monge = apply(monge_maps(*moments), shared)
    truth = apply(LOOK, shared)
    assert (drifted - truth).abs().mean() < 0.5 * (monge - truth).abs().mean()
    assert (drifted - truth).abs().mean() < 0.9 * (shared - truth).abs().mean()


def test_equal_palettes_are_left_alone() -> None:
    palette = clouds(0, (GRASS, SKY, SKIN))
    torch.testing.assert_close(apply(drift_maps(palette, palette), palette), palette)


def test_palettes_of_one_colour_and_far_apart_give_finite_maps() -> None:
    black, white = (torch.full((1, 3, 1200), level) for level in (-1.0, 1.0))
    for pair in ((black, black), (black, white), (black, clouds(0, (SKY, SKIN, GRASS)))):
        assert drift_maps(*pair).isfinite().all()
