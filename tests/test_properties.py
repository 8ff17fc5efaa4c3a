"""What holds for any input: shapes down to a pixel, one colour, one label or none, and values far out of range."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepct import color, highres, lattice, losses, palette
from deepct.data import retouch
from deepct.data.image import to_pixels
from deepct.evaluation import artifacts, metrics, reading
from deepct.guesses.curves import Curves, ThreeSteps
from deepct.guesses.drift import drift_maps
from deepct.guesses.maps import GUESSES, Guesses, PairGuesses
from deepct.guesses.turn import turn_maps
from deepct.histogram import UNLABELLED, histogram, label_histograms, pair_histograms, shared_labels, soft_ab_histogram
from deepct.lut import ColorLUT
from deepct.monge import count_moments, match_moments, monge_maps
from deepct.networks import NetworkConfig, TransferNetwork, build_network
from deepct.output import TransferOutput, as_target
from deepct.semantics import AS_REPORTED, DEFAULT, Semantics, match_labels, region_shares

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FAST = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
SLOW = settings(FAST, max_examples=25)
LARGEST = 24

FILLS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Any]] = {
    "noise": lambda shape, rng: rng.integers(0, 256, shape),
    "one colour": lambda shape, rng: np.broadcast_to(rng.integers(0, 256, (shape[0], 3, 1, 1)), shape),
    "black": lambda shape, _: np.zeros(shape),
    "white": lambda shape, _: np.full(shape, 255),
    "grey": lambda shape, rng: np.broadcast_to(rng.integers(0, 256, (shape[0], 1, *shape[2:])), shape),
    "pure": lambda shape, rng: rng.integers(0, 2, shape) * 255,
    "nearly one colour": lambda shape, rng: rng.integers(0, 255, (shape[0], 3, 1, 1)) + rng.integers(0, 2, shape),
}
LABELS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Any]] = {
    "none": lambda shape, _: np.full(shape, UNLABELLED),
    "one": lambda shape, rng: np.full(shape, rng.integers(0, 150)),
    "few": lambda shape, rng: rng.integers(0, 3, shape),
    "many": lambda shape, rng: rng.integers(138, 150, shape),
    "holes": lambda shape, rng: np.where(rng.random(shape) < 0.5, 7, UNLABELLED),
}
sides = st.one_of(st.integers(1, 3), st.integers(1, LARGEST))
seeds = st.integers(0, 2**31)


@st.composite
def photos(draw: st.DrawFn, batch: int = 1, least: int = 1) -> Tensor:
    """(batch, 3, H, W) uint8 sRGB."""
    shape = batch, 3, max(least, draw(sides)), max(least, draw(sides))
    fill = draw(st.sampled_from(list(FILLS)))
    return torch.from_numpy(np.array(FILLS[fill](shape, np.random.default_rng(draw(seeds)))).astype(np.uint8))


@st.composite
def label_maps(draw: st.DrawFn, photo: Tensor) -> Tensor:
    """(batch, H, W) uint8."""
    shape = len(photo), *photo.shape[-2:]
    fill = draw(st.sampled_from(list(LABELS)))
    return torch.from_numpy(LABELS[fill](shape, np.random.default_rng(draw(seeds))).astype(np.uint8))


@st.composite
def planes(draw: st.DrawFn, largest: float = 1e4) -> Tensor:
    """(1, 3, H, W) of any numbers up to a size, as a network that fails may give them."""
    shape, reach = (1, 3, draw(sides), draw(sides)), draw(st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 2.0, largest]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return torch.from_numpy(np.random.default_rng(draw(seeds)).uniform(-reach, reach, shape)).to(dtype)


def lab(photo: Tensor) -> Tensor:
    return color.rgb_to_normalized(color.uint8_to_rgb(photo))


def is_finite(*tensors: Tensor) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def drawn(photo: Tensor) -> Tensor:
    return palette.draw_palettes(lab(photo))


@FAST
@given(photos(2))
def test_colours_come_back_from_every_space(photo: Tensor) -> None:
    rgb = color.uint8_to_rgb(photo)
    assert torch.equal(color.rgb_to_uint8(rgb), photo)
    assert torch.equal(color.rgb_to_uint8(color.normalized_to_rgb(color.rgb_to_normalized(rgb))), photo)
    hsv = color.rgb_to_hsv(rgb)
    assert is_finite(hsv)
    assert 0 <= hsv.min() <= hsv.max() <= 1
    assert torch.equal(color.rgb_to_uint8(color.hsv_to_rgb(hsv)), photo)
    assert color.rgb_to_normalized(rgb).abs().max() <= 1.001


@FAST
@given(planes(1e3))
def test_colours_out_of_range_stay_finite_and_so_do_gradients(numbers: Tensor) -> None:
    for convert in (color.rgb_to_normalized, color.normalized_to_rgb, color.rgb_to_hsv):
        given_numbers = numbers.clone().requires_grad_()
        converted = convert(given_numbers)
        converted.sum().backward()
        assert is_finite(converted, given_numbers.grad)
        assert converted.dtype == numbers.dtype
    assert is_finite(color.delta_e_2000(numbers, numbers.flip(-1)))
    assert color.delta_e_2000(numbers, numbers).abs().max() == 0


@FAST
@given(photos(2), st.floats(0, 1, width=32), st.floats(0, 3, width=32))
def test_a_shift_of_hue_keeps_the_lightness(photo: Tensor, hue: float, saturation: float) -> None:
    rgb = color.uint8_to_rgb(photo)
    shifted = color.shift_hue_saturation(rgb, torch.full((2,), hue), torch.full((2,), saturation))
    assert is_finite(shifted)
    assert torch.equal(shifted[:, 0], color.rgb_to_lab(rgb)[:, 0])


@FAST
@given(photos(2), planes(), st.sampled_from([0.0, 0.3, 1.0]))
def test_blending_gives_bytes_whatever_the_result(photo: Tensor, result: Tensor, strength: float) -> None:
    result = result.float().mean((-2, -1), keepdim=True).expand(2, 3, *photo.shape[-2:])
    blended = color.blend_into(photo, result, strength)
    assert blended.dtype == torch.uint8
    assert strength > 0 or torch.equal(blended, photo)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(2, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8)])
@pytest.mark.parametrize("convert", [color.rgb_to_lab, color.lab_to_rgb, color.normalize_lab, color.rgb_to_hsv])
def test_what_is_no_picture_is_refused(convert: Callable[[Tensor], Tensor], bad: Tensor) -> None:
    with pytest.raises(ValueError, match="planes"):
        convert(bad)


@FAST
@given(planes(), st.integers(1, 9), st.integers(1, 9))
def test_shares_of_a_histogram_sum_to_one(numbers: Tensor, ab_bins: int, l_bins: int) -> None:
    stack = histogram(numbers, ab_bins, l_bins)
    assert stack.shape == (1, 1 + l_bins, ab_bins, ab_bins)
    assert is_finite(stack)
    assert stack.min() >= 0
    torch.testing.assert_close(stack[:, 0].sum(), torch.tensor(1.0))
    torch.testing.assert_close(stack[:, 1:, 0, 0].sum(), torch.tensor(1.0))


@FAST
@given(st.data())
def test_each_labels_histogram_is_whole_or_there_is_none(data: st.DataObject) -> None:
    source, reference = data.draw(photos(2)), data.draw(photos(2))
    maps = data.draw(label_maps(source)), data.draw(label_maps(reference))
    slots = shared_labels(*maps)
    stacks = label_histograms(lab(reference), maps[1], slots, 8, 4)
    assert stacks.shape == (slots.total, 5, 8, 8)
    torch.testing.assert_close(stacks[:, 0].sum((-2, -1)), torch.ones(slots.total))
    pair = pair_histograms(lab(source), lab(reference), *maps, 8, 4)
    assert is_finite(pair.source, pair.reference, pair.maps)
    assert pair.rows is None or 0 <= pair.rows.min() <= pair.rows.max() < len(pair.reference)


@FAST
@given(planes(1e30), st.integers(1, 33))
def test_soft_histograms_lose_only_what_is_out_of_range(numbers: Tensor, bins: int) -> None:
    numbers.requires_grad_()
    soft = soft_ab_histogram(numbers, bins)
    soft.square().sum().backward()
    assert is_finite(soft, numbers.grad)
    assert soft.min() >= 0
    assert soft.sum() <= 1.0001
    centred = soft_ab_histogram(torch.zeros_like(numbers), bins)
    torch.testing.assert_close(centred.sum(), torch.ones((), dtype=centred.dtype))


@FAST
@given(planes(1e6), st.booleans())
def test_losses_and_their_gradients_are_finite(numbers: Tensor, identical: bool) -> None:
    numbers.requires_grad_()
    target = numbers.detach().flip(1)
    weights = losses.LossWeights(delta_e=0.02)
    for wanted in (target, numbers.detach()):
        output = losses.Measured.of(TransferOutput(numbers, (numbers,)))
        truth = losses.Measured.of(as_target(wanted, output.output))
        terms = losses.color_transfer_loss(output, truth, weights, torch.tensor([identical]))
        numbers.grad = None
        terms.total.sum().backward()
        assert is_finite(terms.total, numbers.grad)
        assert all(term.min() >= 0 for term in terms)
    assert terms.total.item() == 0


@FAST
@given(st.data())
def test_palettes_hold_colours_of_their_photos(data: st.DataObject) -> None:
    photo = data.draw(photos(2))
    colors = lab(photo)
    labels = data.draw(label_maps(photo))
    slots = shared_labels(labels, labels)
    for drawing, own in (
        (palette.draw_palettes(colors, size=16), colors),
        (palette.draw_palettes(colors, slots.rows(labels), slots.total, 16), colors),
    ):
        assert drawing.shape[1:] == (3, 16)
        assert set(map(tuple, drawing.transpose(1, 2).reshape(-1, 3).tolist())) <= set(
            map(tuple, own.permute(0, 2, 3, 1).reshape(-1, 3).tolist())
        )
    mirrored, own = (palette.draw_palettes(photo).sort(-1).values for photo in (colors.flip(-1), colors))
    # Colours that the order of palettes does not tell apart may take each other's place.
    torch.testing.assert_close(mirrored, own, atol=2**-11, rtol=0)


@FAST
@given(photos(), photos())
def test_what_is_told_of_palettes_is_finite(source: Tensor, reference: Tensor) -> None:
    own, theirs = drawn(source), drawn(reference)
    assert palette.sliced_distance(own, own).item() == 0
    assert palette.sliced_distance(own, theirs) == palette.sliced_distance(theirs, own) >= 0
    joint = palette.joint_histograms(own, 4, 16)
    torch.testing.assert_close((joint / 8).square().sum(), torch.tensor(1.0))
    found = palette.look_up_shares(palette.smooth_shares(joint), theirs.unsqueeze(1) * 3)
    assert is_finite(found)


@SLOW
@given(photos(), photos())
def test_guesses_are_finite_and_leave_a_photo_that_is_its_own_reference(source: Tensor, reference: Tensor) -> None:
    own, theirs = drawn(source), drawn(reference)
    for maps in (match_moments(own, theirs), turn_maps(own, theirs)[0], drift_maps(own, theirs)):
        assert maps.shape == (1, 3, 4)
        assert is_finite(maps)
    guesses = Guesses.between(own, theirs)
    assert is_finite(guesses(own * 2), *guesses.judge(own, theirs))
    same = Guesses.between(own, own)(own)
    assert same.shape[1] == len(GUESSES)
    torch.testing.assert_close(same, own.unsqueeze(1).expand_as(same), atol=5e-3, rtol=0)
    facts = PairGuesses.between(palette.PairPalettes(own, theirs), 4)
    assert is_finite(facts.facts, facts.distance, *facts.shares)


@FAST
@given(photos(), photos(), planes(100.0))
def test_curves_and_moments_take_any_colour(source: Tensor, reference: Tensor, numbers: Tensor) -> None:
    own, theirs, colors = drawn(source), drawn(reference), numbers.float().flatten(2)
    assert is_finite(Curves.between(own, theirs)(colors), *ThreeSteps.between(own, theirs)(colors))
    moments = count_moments(lab(source)), count_moments(lab(reference))
    assert is_finite(monge_maps(*moments))


@FAST
@given(photos(2), st.integers(2, 9), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_lattice_of_the_colours_themselves_changes_nothing(photo: Tensor, size: int, strength: float) -> None:
    table = lattice.lattice_colors(size, torch.device("cpu")).T.view(1, 3, size, size, size).expand(2, -1, -1, -1, -1)
    assert torch.equal(lattice.recolor_by_lattice(table, photo, strength), photo)
    assert is_finite(lattice.look_up(table, color.uint8_to_rgb(photo) * 5 - 2))


@FAST
@given(st.integers(2, 6), seeds, st.text(max_size=300))
def test_a_cube_file_holds_its_table(size: int, seed: int, name: str) -> None:
    table = np.random.default_rng(seed).random((size, size, size, 3), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        stem = "".join(c for c in name if c.isprintable() and c not in "/\\")[:60] or "look"
        path = Path(folder) / f"{stem}.cube"
        ColorLUT(table).save(path)
        lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0].startswith('TITLE "')
    assert all(len(line) < 250 for line in lines)
    assert lines[1] == f"LUT_3D_SIZE {size}"
    numbers = np.array([line.split() for line in lines if line[0].isdigit()], np.float32)
    np.testing.assert_allclose(numbers.reshape(size, size, size, 3).transpose(2, 1, 0, 3), table, atol=1e-6)


@FAST
@given(photos(), sides, sides)
def test_colour_models_of_nothing_change_nothing_at_any_size(photo: Tensor, height: int, width: int) -> None:
    size = min(height, photo.shape[-2]), min(width, photo.shape[-1])
    small = highres.shrink_photo(photo, size)
    assert small.shape[-2:] == size
    working = color.rgb_to_normalized(small)
    models = highres.fit_color_models(working, working)
    assert torch.equal(highres.recolor_photo(models, photo), photo)
    result = torch.rand(working.shape, generator=torch.Generator().manual_seed(0)) * 4 - 2
    models = highres.fit_color_models(working, result)
    applied = highres.apply_color_models(models, lab(photo))
    assert is_finite(models, applied)
    expected = color.rgb_to_uint8(color.normalized_to_rgb(applied)).int()
    assert (highres.recolor_photo(models, photo).int() - expected).abs().max() <= 1


@SLOW
@given(st.data())
def test_matches_take_whole_histograms_and_regions_whole_pixels(data: st.DataObject) -> None:
    source, reference = data.draw(photos(2)), data.draw(photos(2))
    maps = data.draw(label_maps(source)), data.draw(label_maps(reference))
    least = Semantics(min_pixels=0, min_share=0, min_shared=0)
    for semantics in (DEFAULT, AS_REPORTED, least):
        matches = match_labels(*maps, semantics)
        assert matches.mix is not None
        torch.testing.assert_close(matches.mix.sum(1), torch.ones(matches.source.total))
        rows = matches.source.or_wholes(matches.source.rows(maps[0]))
        shares = region_shares(rows, matches.source.total + 2, lab(source), semantics)
        assert is_finite(shares)
        assert shares.min() >= 0
        torch.testing.assert_close(shares.sum(1), torch.ones(2, *source.shape[-2:]))


@FAST
@given(photos(), seeds)
def test_retouches_give_photos(photo: Tensor, seed: int) -> None:
    pixels = to_pixels(photo[0])
    assert np.array_equal(retouch.Retouch().apply(pixels), pixels)
    for draw in (retouch.random_retouch, retouch.faint_retouch, retouch.random_capture):
        result = draw(np.random.default_rng(seed)).apply(pixels)
        assert result.shape == pixels.shape
        assert result.dtype == np.uint8
        assert np.array_equal(result, draw(np.random.default_rng(seed)).apply(pixels))
    extreme = retouch.Retouch(exposure=40, gamma=30, contrast=-5, temperature=2.5, saturation=1e4, hue=1e4)
    assert extreme.apply(pixels).shape == pixels.shape


@FAST
@given(photos(least=11), st.integers(0, 2**31))
def test_measures_are_finite_and_best_of_equal_photos(photo: Tensor, seed: int) -> None:
    one = to_pixels(photo[0])
    other = np.random.default_rng(seed).integers(0, 256, one.shape, dtype=np.uint8)
    rgb = color.uint8_to_rgb(photo[0])
    for figures in (
        metrics.picture_metrics(rgb, color.uint8_to_rgb(torch.from_numpy(other.transpose(2, 0, 1).copy()))),
        {"loss": metrics.image_loss(one, other), "structure": artifacts.structure(one, other)},
        {"structure": artifacts.structure(other, one)},
    ):
        assert all(np.isfinite(figure) for figure in figures.values())
    same = metrics.picture_metrics(rgb, rgb)
    assert (same["psnr"], same["delta_e_mean"], metrics.image_loss(one, one)) == (np.inf, 0.0, 0.0)
    assert same["ssim"] == pytest.approx(1)
    assert artifacts.structure(one, one) == pytest.approx(1)


@FAST
@given(st.data())
def test_readings_of_any_photo_are_shares_and_counts(data: st.DataObject) -> None:
    source, reference = data.draw(photos()), data.draw(photos())
    one = to_pixels(source[0])
    other = one[::-1, ::-1]
    for share in (artifacts.new_clipping(other, one), artifacts.banding(other, one)):
        assert 0 <= share <= 1
    assert artifacts.banding(one, one) == artifacts.new_clipping(one, one) == 0
    quantiles = metrics.color_quantiles(one), metrics.color_quantiles(to_pixels(reference[0]))
    assert np.isfinite(metrics.sliced_wasserstein(*quantiles))
    assert metrics.sliced_wasserstein(quantiles[0], metrics.color_quantiles(np.ascontiguousarray(other))) < 1e-3
    labels = data.draw(label_maps(source))[0]
    read = reading.read_pair(lab(source)[0], lab(reference)[0], labels)
    assert 0 <= read["edges"] <= 1
    assert read["colors"] >= 0
    assert read["labels"] <= 150


def make_network(**shape: Any) -> TransferNetwork:
    """A tiny network whose every weight is random, those that are nought at first too."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(histogram_width=8, code_size=4, **shape)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


TINY = {"encoder_widths": [4, 4, 6, 6, 8], "decoder_widths": [8, 6, 6, 4, 4], "refinement_width": 4, "padding": 0}
NETWORKS = {
    "map": make_network(kind="map", map_width=6),
    "unet": make_network(**TINY),
    "fast": make_network(**TINY, residual=True, guess=True, stride=2),
}


@pytest.mark.parametrize("name", NETWORKS)
@SLOW
@given(st.data())
def test_networks_recolour_any_photos(name: str, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    monkeypatch.setattr("deepct.networks.colormap.LATTICE_SIZE", 9)  # of the 33 points nothing but time depends
    source, reference = data.draw(photos()), data.draw(photos())
    maps = (data.draw(label_maps(source)), data.draw(label_maps(reference))) if data.draw(st.booleans()) else ()
    strength = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    semantics = data.draw(st.sampled_from([DEFAULT, AS_REPORTED, Semantics(min_pixels=0, min_share=0)]))
    network = NETWORKS[name]
    result = network.recolor(source, reference, *(maps or (None, None)), 32, semantics, strength)
    assert result.shape == source.shape
    assert result.dtype == torch.uint8
    assert strength > 0 or torch.equal(result, source)
    with torch.no_grad():
        assert is_finite(network(lab(source), lab(reference), *maps).image)
