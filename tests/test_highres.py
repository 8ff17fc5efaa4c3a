"""Photos of any size: what is decided small must hold at full size, without halos, bands or seams."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from torch.nn import functional as F

from deepct import highres
from deepct.color import normalized_to_rgb, rgb_to_normalized, uint8_to_rgb
from deepct.data.image import to_planes
from deepct.data.retouch import EXPERTS
from deepct.data.samples import load_sample
from deepct.errors import ConfigError
from deepct.highres import apply_color_models, fit_color_models, recolor_photo, shrink_photo
from deepct.histogram import UNLABELLED
from deepct.networks import ColorTransferNetwork, NetworkConfig

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)


def random_lab(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_photo(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)


def as_planes(photo: NDArray[np.uint8]) -> Tensor:
    return to_planes(photo).unsqueeze(0)


def decide_and_apply(photo: NDArray[np.uint8], result: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """What becomes of a photo whose result is known at this size alone."""
    scale = long_side / max(photo.shape[:2])
    size = round(photo.shape[0] * scale), round(photo.shape[1] * scale)
    small = [rgb_to_normalized(shrink_photo(as_planes(picture), size)) for picture in (photo, result)]
    return recolor_photo(fit_color_models(*small), as_planes(photo))[0].permute(1, 2, 0).numpy()


def delta_e(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).mean())


def test_an_affine_change_of_colour_is_found_and_applied_everywhere() -> None:
    matrix = torch.tensor([[0.7, 0.1, -0.2], [0.05, 1.2, 0.0], [0.0, -0.3, 0.9]])
    offset = torch.tensor([0.1, -0.05, 0.02])

    def change(lab: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", matrix, lab) + offset.view(3, 1, 1)

    small, full = random_lab(2, 3, 24, 30), random_lab(2, 3, 97, 131, seed=1)
    models = fit_color_models(small, change(small))
    torch.testing.assert_close(models[:, :, :3].mean((-2, -1)), matrix.expand(2, 3, 3), atol=2e-3, rtol=0)
    torch.testing.assert_close(apply_color_models(models, full), change(full), atol=2e-3, rtol=0)


def test_no_change_stays_no_change_where_windows_are_flat_too() -> None:
    lab = random_lab(1, 3, 20, 20)
    lab[..., :10] = 0.25
    full = random_lab(1, 3, 50, 50, seed=1)
    torch.testing.assert_close(apply_color_models(fit_color_models(lab, lab), full), full, atol=1e-5, rtol=0)


@pytest.mark.parametrize("look", "abcde")
def test_a_retouch_that_varies_over_the_photo_is_taken_to_full_size(look: str) -> None:
    """Decided at a quarter of the size; an enlarged result would be some ten times as far from the truth."""
    photo = load_sample("motorcycle_left")
    share = np.linspace(0.2, 1, len(photo))[:, None, None] * photo.mean(2, keepdims=True) / 255
    mixed = (1 - share) * EXPERTS[look].apply(photo) + share * photo
    truth = np.rint(mixed).astype(np.uint8)
    result = decide_and_apply(photo, truth, max(photo.shape) // 4)
    small = shrink_photo(as_planes(truth), (photo.shape[0] // 4, photo.shape[1] // 4))
    enlarged = F.interpolate(small, size=photo.shape[:2], mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0).numpy()
    error = delta_e(truth, result)
    assert error < 1.0
    assert delta_e(truth, np.rint(enlarged * 255).astype(np.uint8)) > 5 * error


@pytest.mark.parametrize("look", "abcde")
def test_no_halo_along_strong_edges(look: str) -> None:
    """Overshoot: how far a pixel leaves the range that the true result has within the reach of the colour models.

    That reach is their window and the enlargement's neighbour: 3 px of the small copy. Edges of some 100 codes and
    more, with grain; 6 codes are what looks that are no affine maps cost grain in flat areas, far from edges too.
    """
    photo = np.full((240, 320, 3), (40, 60, 30), np.uint8)
    photo[:, 160:] = (150, 190, 240)
    photo[120:, 60:100] = (240, 235, 220)
    noise = np.random.default_rng(0).integers(-3, 4, photo.shape)
    photo = (photo + noise).astype(np.uint8)
    truth = EXPERTS[look].apply(photo)
    result = decide_and_apply(photo, truth, 40)
    reach = 2 * 3 * 8 + 1
    planes = as_planes(truth).float()
    highest = F.max_pool2d(planes, reach, stride=1, padding=reach // 2)
    lowest = -F.max_pool2d(-planes, reach, stride=1, padding=reach // 2)
    mine = as_planes(result).float()
    assert max((mine - highest).max().item(), (lowest - mine).max().item()) <= 6


@pytest.mark.parametrize("look", "abcde")
def test_a_flat_sky_stays_free_of_banding(look: str) -> None:
    """Every pixel of a smooth gradient is within a code of the true result, and as many levels are kept."""
    ramp = np.linspace(1, 0, 400)[:, None, None] * np.array([60, 50, 20]) + np.array([110, 150, 220])
    sky = np.broadcast_to(np.rint(ramp), (400, 500, 3)).astype(np.uint8)
    truth = EXPERTS[look].apply(sky)
    result = decide_and_apply(sky, truth, 50)
    assert np.abs(result.astype(int) - truth).max() <= 1
    assert np.abs(np.diff(result.astype(int), axis=0)).max() <= 2
    for channel in range(3):
        levels = len(np.unique(truth[..., channel]))
        assert len(np.unique(result[..., channel])) >= 0.9 * levels


def test_detail_is_the_sources_own() -> None:
    """Grain that the small copy knows nothing of passes with the gain of the colour change around it."""
    smooth = np.broadcast_to(np.linspace(40, 200, 320)[None, :, None], (240, 320, 3))
    grain = np.where(np.indices((240, 320)).sum(0) % 2, 6, -6)[..., None]
    photo = np.rint(smooth + grain).astype(np.uint8)
    darker = np.rint(0.5 * photo.astype(float)).astype(np.uint8)
    result = decide_and_apply(photo, darker, 40).astype(float)
    contrast = np.abs(np.diff(result[..., 0], axis=0))[:, 40:-40].mean()
    assert contrast == pytest.approx(6.0, rel=0.15)


@pytest.mark.parametrize("band", [1, 700, 1 << 30])
def test_bands_do_not_show(band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, small = random_photo(61, 83), random_lab(1, 3, 12, 16)
    models = fit_color_models(small, small.flip(1) * 0.8)
    whole = apply_color_models(models, rgb_to_normalized(uint8_to_rgb(photo)))
    whole = (normalized_to_rgb(whole).clamp(0, 1) * 255).round().to(torch.uint8)
    monkeypatch.setattr(highres, "_BAND", band)
    assert (recolor_photo(models, photo).int() - whole.int()).abs().max() <= 1
    expected = F.adaptive_avg_pool2d(uint8_to_rgb(photo), (12, 16))
    torch.testing.assert_close(shrink_photo(photo, (12, 16)), expected, atol=2e-3, rtol=0)


def test_only_a_band_is_in_flight_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    apply_to_band = highres._apply_to_band
    monkeypatch.setattr(
        highres,
        "_apply_to_band",
        lambda models, band, *rest: sizes.append(band.numel()) or apply_to_band(models, band, *rest),
    )
    photo, small = random_photo(1100, 1000), random_lab(1, 3, 11, 10)
    recolor_photo(fit_color_models(small, small), photo)
    assert sum(sizes) == photo.numel()
    assert max(sizes) <= 3 * highres._BAND


def test_training_reaches_through_the_models() -> None:
    small, full = random_lab(1, 3, 8, 8), random_lab(1, 3, 16, 16, seed=1)
    result = (small * 0.5).requires_grad_()
    small.requires_grad_()
    apply_color_models(fit_color_models(small, result), full).square().mean().backward()
    for tensor in (small, result):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert result.grad.abs().max() > 1e-4


def test_one_colour_photos_and_their_gradients_are_finite() -> None:
    flat = torch.full((1, 3, 9, 9), -0.3, requires_grad=True)
    result = apply_color_models(fit_color_models(flat, torch.full_like(flat, 0.4)), torch.full((1, 3, 30, 30), -0.3))
    torch.testing.assert_close(result, torch.full_like(result, 0.4), atol=1e-5, rtol=0)
    result.sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def network(seed: int = 0, **changes: object) -> ColorTransferNetwork:
    torch.manual_seed(seed)
    return ColorTransferNetwork(NetworkConfig(**{**TINY.as_dict(), "padding": 0, **changes})).eval()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5), (90, 130), (641, 33)])
def test_any_size_is_recoloured(size: tuple[int, int], stride: int) -> None:
    """A network that draws no change gives every photo back, whatever its size."""
    photo, reference = random_photo(*size), random_photo(40, 30, seed=1)
    unchanging = network(stride=stride, residual=True)
    for parameter in unchanging.ctn.refinement.leave[-1].parameters():
        parameter.data.zero_()
    result = unchanging.recolor(photo, reference, working_size=64)
    assert result.shape == photo.shape
    assert (result.int() - photo.int()).abs().max() <= 1


def test_a_long_photo_keeps_some_of_its_shorter_side(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    mine = network()
    ctn = mine.ctn.forward
    monkeypatch.setattr(mine.ctn, "forward", lambda source, *rest: seen.append(source.shape) or ctn(source, *rest))
    mine.recolor(random_photo(64, 2000), random_photo(40, 30), working_size=100)
    assert seen == [(1, 3, 32, 1000)]


def test_a_working_size_below_what_ctn_can_see_is_refused() -> None:
    with pytest.raises(ConfigError, match="working_size must be 32 px or more, or null for full size, got 0"):
        network().recolor(random_photo(40, 40), random_photo(40, 40), working_size=0)


def test_a_photo_no_larger_than_the_working_size_is_drawn_by_ctn_itself() -> None:
    photo, reference = random_photo(60, 80), random_photo(40, 30, seed=1)
    whole = network().recolor(photo, reference)
    assert torch.equal(network().recolor(photo, reference, working_size=80), whole)
    assert not torch.equal(network().recolor(photo, reference, working_size=79), whole)


@pytest.mark.parametrize("stride", [1, 2])
def test_colours_are_decided_at_the_working_size(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    mine = network(stride=stride)
    ctn = mine.ctn.forward
    monkeypatch.setattr(mine.ctn, "forward", lambda source, *rest: seen.append(source.shape) or ctn(source, *rest))
    mine.recolor(random_photo(150, 300), random_photo(40, 30), working_size=100)
    assert seen == [(1, 3, 50 // stride, 100 // stride)]


@pytest.mark.parametrize("stride", [1, 2])
def test_semantic_masks_work_on_any_size(stride: int) -> None:
    """One label everywhere is the global transfer; two labels recolour each half as if it were everywhere."""
    mine = network(stride=stride, residual=True)
    for parameter in mine.parameters():
        parameter.data *= 1.5
    photo, reference = random_photo(192, 256), random_photo(96, 96, seed=1)
    reference[..., :48] //= 4
    global_ = mine.recolor(photo, reference, working_size=96).int()
    one = torch.full((1, 50, 50), 3, dtype=torch.uint8)
    assert (mine.recolor(photo, reference, one, one, working_size=96).int() - global_).abs().max() <= 1
    none = torch.full((1, 50, 50), UNLABELLED, dtype=torch.uint8)
    assert (mine.recolor(photo, reference, none, none, working_size=96).int() - global_).abs().max() <= 1
    two = one.clone()
    two[..., 25:] = 7
    semantic = mine.recolor(photo, reference, two, two, working_size=96).int()
    for half, columns in ((slice(0, 48), slice(0, 64)), (slice(48, 96), slice(192, 256))):
        alone = mine.recolor(photo, reference[..., half], working_size=96).int()
        error, otherwise = ((other - alone)[..., columns].abs().float().mean() for other in (semantic, global_))
        assert error < 0.5 * otherwise


def test_label_maps_may_have_any_size() -> None:
    mine = network(stride=2)
    photo, reference = random_photo(128, 128), random_photo(64, 64, seed=1)
    labels = torch.arange(4, dtype=torch.uint8).view(1, 2, 2)
    enlarged = labels.repeat_interleave(64, 1).repeat_interleave(64, 2)
    small = mine.recolor(photo, reference, labels, labels, working_size=64)
    assert torch.equal(small, mine.recolor(photo, reference, enlarged, enlarged, working_size=64))


@pytest.mark.parametrize("size", [(40, 52), (90, 120)])  # seen whole, and decided at the working size
def test_strength_goes_from_the_source_to_the_full_transfer(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = ColorTransferNetwork(TINY).eval()
    source, reference = random_photo(*size), random_photo(33, 47, seed=1)
    full = network.recolor(source, reference, working_size=60)
    half = network.recolor(source, reference, working_size=60, strength=0.5)
    assert torch.equal(network.recolor(source, reference, working_size=60, strength=0), source)
    assert torch.equal(network.recolor(source, reference, working_size=60, strength=1), full)
    assert (half.double() - (source.double() + full.double()) / 2).abs().max() <= 0.75  # the end is rounded too


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="strength must be from 0"):
        ColorTransferNetwork(TINY).recolor(random_photo(32, 32), random_photo(32, 32), strength=strength)
