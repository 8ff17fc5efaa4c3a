"""Palettes stand for the colours of a photo, and know nothing of where they are."""

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from deepct.color import rgb_to_normalized
from deepct.histogram import LabelMatches, shared_labels
from deepct.palette import draw_palettes, joint_histograms, look_up_shares, pair_palettes, smooth_shares
from deepct.semantics import Semantics, match_labels


def photos(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth random photos in normalised Lab."""
    coarse = torch.rand(batch, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    return rgb_to_normalized(torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear"))


def test_a_palette_has_the_quantiles_of_the_photo() -> None:
    photo = photos(2, 90, 120)
    palettes = draw_palettes(photo)
    assert palettes.shape == (2, 3, 1024)
    for colors, palette in zip(photo.flatten(2), palettes, strict=True):
        for channel, drawn in zip(colors, palette, strict=True):
            assert wasserstein_distance(channel.numpy(), drawn.numpy()) < 0.01


def test_a_palette_is_the_same_wherever_the_colours_stand() -> None:
    photo = photos(1, 70, 90)
    shuffled = photo.flatten(2)[..., torch.randperm(70 * 90)].view_as(photo)
    for other in (photo.flip(-1), shuffled):  # to twelve bits, within which the order is left open
        torch.testing.assert_close(draw_palettes(photo), draw_palettes(other), atol=2**-11, rtol=0)


def test_fewer_pixels_than_colours_are_taken_more_than_once() -> None:
    photo = photos(1, 3, 4)
    palette = draw_palettes(photo)
    assert {tuple(c) for c in palette[0].T.tolist()} == {tuple(c) for c in photo[0].flatten(1).T.tolist()}


def test_labels_have_palettes_of_their_own() -> None:
    photo = photos(2, 40, 60)
    labels = torch.zeros(2, 40, 60, dtype=torch.uint8)
    labels[:, :, 30:] = 7
    labels[0, :10] = 255
    pairs = pair_palettes(photo, photo.flip(0), labels, labels.flip(0))
    assert pairs.source.shape == pairs.reference.shape == (6, 3, 1024)
    assert pairs.rows is not None
    for row in range(6):  # two labels of two photos, then the two photos
        b = row // 2 if row < 4 else row - 4
        inside = labels[b] == (0, 7)[row % 2] if row < 4 else torch.ones(40, 60, dtype=torch.bool)
        torch.testing.assert_close(pairs.source[row].mean(1), photo[b][:, inside].mean(1), atol=5e-3, rtol=0)
        if row < 4:
            assert (pairs.rows[b][inside] == row).all()
    assert (pairs.rows[0, :10] == 4).all()


def test_labels_that_are_taken_together_pool_their_pixels() -> None:
    photo = photos(1, 40, 60)
    source = torch.full((1, 40, 60), 9, dtype=torch.uint8)  # grass, which the reference lacks
    reference = torch.full((1, 40, 60), 2, dtype=torch.uint8)
    reference[:, :, :12], reference[:, :, 50:] = 17, 29  # plant and field
    matches = match_labels(source, reference, Semantics())
    assert matches.mix is not None
    pairs = pair_palettes(photo, photo, source, reference, matches)
    pooled = torch.cat((photo[..., :12], photo[..., 50:]), dim=-1)
    for channel in range(3):
        drawn = pairs.reference[0, channel].numpy()
        assert wasserstein_distance(pooled[0, channel].flatten().numpy(), drawn) < 0.02


def test_one_label_map_alone_is_refused() -> None:
    photo = photos(1, 8, 8)
    with pytest.raises(ValueError, match="both or none"):
        pair_palettes(photo, photo, torch.zeros(1, 8, 8, dtype=torch.uint8))


def test_without_shared_labels_the_photos_are_matched_as_wholes() -> None:
    photo, zero = photos(1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    slots = shared_labels(zero, zero + 1)
    pairs = pair_palettes(photo, photo, zero, zero + 1, LabelMatches(slots, slots))
    assert pairs.rows is None
    assert len(pairs.source) == 1


def test_a_joint_histogram_holds_every_colour() -> None:
    palettes = draw_palettes(photos(3, 40, 60))
    stacks = joint_histograms(palettes)
    assert stacks.shape == (3, 8, 64, 64)
    shares = (stacks / 8) ** 2
    torch.testing.assert_close(shares.sum((1, 2, 3)), torch.ones(3))
    lightness = np.histogram(palettes[1, 0].numpy(), bins=8, range=(-1, 1))[0] / 1024
    torch.testing.assert_close(shares[1].sum((1, 2)), torch.from_numpy(lightness).float())


def test_common_colours_have_larger_shares_than_rare_ones() -> None:
    red, blue, green = (
        rgb_to_normalized(torch.tensor(c).view(1, 3, 1, 1)) for c in ((1.0, 0, 0), (0, 0, 1.0), (0, 1.0, 0))
    )
    palettes = draw_palettes(torch.cat((red.expand(-1, -1, 90, 10), blue.expand(-1, -1, 10, 10)), dim=2))
    asked = torch.cat((red, blue, green), dim=-1).view(1, 1, 3, 3)
    common, rare, absent = look_up_shares(smooth_shares(joint_histograms(palettes)), asked)[0, 0].tolist()
    assert common > rare + 0.5 > absent + 1.0
