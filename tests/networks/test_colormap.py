"""The network that maps colours."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deepct.color import normalized_to_rgb, rgb_to_normalized, rgb_to_uint8, uint8_to_rgb
from deepct.errors import ConfigError
from deepct.guesses.maps import GUESSES
from deepct.histogram import UNLABELLED
from deepct.networks import ColorMapNetwork, NetworkConfig, build_network
from deepct.semantics import Semantics

TINY = NetworkConfig(kind="map", map_width=8, histogram_width=6, code_size=4)


def photo(seed: int, height: int = 48, width: int = 64) -> Tensor:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    return rgb_to_uint8(torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear"))


@pytest.fixture
def network() -> ColorMapNetwork:
    """One that has weights for everything, as if trained."""
    torch.manual_seed(0)
    network = build_network(TINY)
    assert isinstance(network, ColorMapNetwork)
    with torch.no_grad():
        for linear in (network.ctn.leave.linear, network.ctn.leave.steer):
            linear.weight.normal_(0, 0.3)
    return network.eval()


@pytest.mark.parametrize("mirror", [False, True])
def test_a_photo_that_is_its_own_reference_is_left_alone(network: ColorMapNetwork, mirror: bool) -> None:
    source = photo(0)
    result = network.recolor(source, source.flip(-1) if mirror else source)
    assert (result.int() - source.int()).abs().max() <= 1


def test_untrained_it_leans_to_the_monge_map() -> None:
    torch.manual_seed(0)
    network = build_network(TINY)
    source, reference = (rgb_to_normalized(uint8_to_rgb(photo(seed))) for seed in (0, 1))
    guessed = network.study(source, reference).guesses(source.flatten(2))
    weights = torch.zeros(len(GUESSES)).index_fill(0, torch.tensor(GUESSES.index("monge")), 1.0).softmax(0)
    expected = (weights[:, None, None] * guessed[0]).sum(0)
    torch.testing.assert_close(network(source, reference).image[0].flatten(1), expected)


def test_equal_colours_stay_equal_wherever_they_stand(network: ColorMapNetwork) -> None:
    source, reference = (rgb_to_normalized(uint8_to_rgb(photo(seed))) for seed in (0, 1))
    order = torch.randperm(source[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    image = network(source, reference).image.flatten(2)
    shuffled = network(source.flatten(2)[..., order].view_as(source), reference).image.flatten(2)
    torch.testing.assert_close(shuffled, image[..., order], atol=1e-5, rtol=1e-5)


def test_the_lattice_holds_what_a_photo_becomes(network: ColorMapNetwork) -> None:
    source, reference = photo(0), photo(1)
    colors = uint8_to_rgb(source).flatten(2)[0].T
    exact = network.lattice(source, reference, colors).T.view(1, 3, *source.shape[-2:])
    planes = [rgb_to_normalized(uint8_to_rgb(p)) for p in (source, reference)]
    with torch.no_grad():
        torch.testing.assert_close(exact, normalized_to_rgb(network(*planes).image).clamp(0, 1), atol=1e-4, rtol=0)
    assert (network.recolor(source, reference).int() - rgb_to_uint8(exact).int()).abs().float().mean() < 1.0


def test_large_photos_take_the_map_of_their_working_copy(network: ColorMapNetwork) -> None:
    large, reference = photo(0, 480, 640), photo(1)
    small = network.recolor(large, reference, working_size=64)
    whole = network.recolor(large, reference)
    assert small.shape == large.shape
    assert (small.int() - whole.int()).abs().float().mean() < 3


def test_with_labels_each_region_is_a_transfer_of_its_own(network: ColorMapNetwork) -> None:
    source, reference = photo(0), photo(1)
    labels = torch.zeros(1, 48, 64, dtype=torch.uint8)
    labels[..., 32:] = 5
    hard = Semantics(min_pixels=1, min_share=0.0, min_shared=0.0, feather=0.0)
    result = network.recolor(source, reference, labels, labels, semantics=hard)
    for side in (slice(0, 32), slice(32, 64)):
        alone = network.recolor(source[..., side], reference[..., side])
        assert (result[..., side].int() - alone.int()).abs().max() <= 1
    planes = [rgb_to_normalized(uint8_to_rgb(p)) for p in (source, reference)]
    trained = network(*planes, labels, labels).image
    for side in (slice(0, 32), slice(32, 64)):
        alone = network(*(p[..., side] for p in planes)).image
        torch.testing.assert_close(trained[..., side], alone, atol=1e-4, rtol=1e-4)
    feathered = network.recolor(source, reference, labels, labels)
    assert (feathered[..., 30:34].int() - result[..., 30:34].int()).abs().max() > 0


def test_every_weight_learns_with_labels_and_without(network: ColorMapNetwork) -> None:
    planes = [rgb_to_normalized(uint8_to_rgb(photo(seed))) for seed in (0, 1)]
    labels = torch.full((1, 48, 64), UNLABELLED, dtype=torch.uint8)
    labels[..., :20] = 3
    for maps in ((), (labels, labels)):
        network.zero_grad()
        network(*planes, *maps).image.square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_a_reference_of_one_colour_gives_a_picture(network: ColorMapNetwork) -> None:
    for color in (0, 128, 255):
        reference = torch.full((1, 3, 40, 40), color, dtype=torch.uint8)
        planes = [rgb_to_normalized(uint8_to_rgb(p)) for p in (photo(0), reference)]
        for pair in (planes, planes[::-1]):
            assert network(*pair).image.isfinite().all()
        assert network.recolor(photo(0), reference).shape == (1, 3, 48, 64)


@pytest.mark.parametrize("changes", [{"map_width": 0}, {"histogram_width": 2}, {"l_bins": 0}])
def test_a_map_that_cannot_be_built_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be 1 or more"):
        build_network(replace(TINY, **changes))


def test_many_labels_are_mapped_in_parts(network: ColorMapNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    source, reference = photo(0), photo(1)
    whole = network.recolor(source, reference)
    monkeypatch.setattr("deepct.networks.colormap._PART", 1000)
    assert (network.recolor(source, reference).int() - whole.int()).abs().max() <= 1
