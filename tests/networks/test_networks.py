from dataclasses import replace

import pytest
import torch
import torchvision
import yaml
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from deepct.cli import find_config
from deepct.errors import CheckpointError, ConfigError
from deepct.histogram import UNLABELLED, histogram, pair_histograms
from deepct.modules.student import REPORT_STUDENT
from deepct.networks import ColorTransferNetwork, NetworkConfig, load_network
from deepct.networks.conditioning import Codes, ConditionedConv2d, FeatheredMap, RegionMap, Window
from deepct.networks.encoder import HistogramEncoder
from deepct.output import pick_nearest, resize_to

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)


def random_lab(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_labels(*shape: int, classes: int = 5, seed: int = 0) -> Tensor:
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def tiny(**changes) -> ColorTransferNetwork:
    torch.manual_seed(0)
    return ColorTransferNetwork(NetworkConfig(**{**TINY.as_dict(), **changes})).eval()


def parameters_in_millions(config: NetworkConfig) -> float:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ColorTransferNetwork(config).parameters()) / 1e6


def test_the_teacher_has_the_reports_size() -> None:
    assert parameters_in_millions(NetworkConfig()) == pytest.approx(41.0, rel=0.01)


def test_the_student_has_the_reports_size() -> None:
    assert parameters_in_millions(REPORT_STUDENT) == pytest.approx(10.8, rel=0.01)


def test_hen_encodes_stacks_and_none() -> None:
    hen = HistogramEncoder()
    assert hen(torch.rand(3, 9, 64, 64)).shape == (3, 64)
    assert hen(torch.rand(0, 9, 64, 64)).shape == (0, 64)


@pytest.mark.parametrize("bins", [32, 63, 128])
def test_hen_says_that_it_needs_64_bins(bins: int) -> None:
    with pytest.raises(ValueError, match=f"needs 64 ab bins, got {bins}"):
        HistogramEncoder(ab_bins=bins)


@pytest.mark.parametrize("size", [(32, 32), (32, 200), (97, 33), (64, 64), (130, 61)])
@pytest.mark.parametrize("padding", [0, 32])
def test_photos_of_any_size_from_32_px(size: tuple[int, int], padding: int) -> None:
    height, width = size
    output = tiny(padding=padding)(random_lab(2, 3, *size), random_lab(2, 3, 45, 38))
    assert output.image.shape == (2, 3, height, width)
    assert [tuple(s.shape[-2:]) for s in output.scales] == [(-(-height // n), -(-width // n)) for n in (16, 8, 4, 2, 1)]


@pytest.mark.parametrize("encoder", ["mobilenet_v3_large", "mobilenet_v3_small", "convnext_tiny", "swin_t"])
def test_torchvision_encoders(encoder: str) -> None:
    network = tiny(encoder=encoder, padding=0)
    output = network(
        random_lab(1, 3, 33, 70), random_lab(1, 3, 32, 32), random_labels(1, 33, 70), random_labels(1, 32, 32)
    )
    assert output.image.shape == (1, 3, 33, 70)
    assert len(output.scales) == 5


@pytest.mark.parametrize("semantic", [False, True])
@pytest.mark.parametrize("encoder", ["unet", "mobilenet_v3_large", "mobilenet_v3_small", "convnext_tiny", "swin_t"])
def test_every_parameter_is_trained(encoder: str, semantic: bool) -> None:
    """DDP stops at parameters without a gradient."""
    network = tiny(encoder=encoder, padding=0).train()
    labels = (random_labels(2, 64, 64), random_labels(2, 64, 64)) if semantic else ()
    output = network(random_lab(2, 3, 64, 64), random_lab(2, 3, 64, 64), *labels)
    (output.image.sum() + sum(scale.sum() for scale in output.scales)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_pretrained_asks_torchvision_for_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    build = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: asked.append(weights) or build(name))
    tiny(encoder="mobilenet_v3_small", pretrained=True)
    tiny(encoder="mobilenet_v3_small")
    assert asked == ["DEFAULT", None]


def test_networks_without_scales_have_no_heads() -> None:
    network = tiny(scales=False)
    assert network(random_lab(1, 3, 32, 32), random_lab(1, 3, 32, 32)).scales == ()
    assert not any(name.startswith("ctn.heads") for name, _ in network.named_parameters())


def test_an_unknown_encoder_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"resnet.*unet, mobilenet_v3_large"):
        tiny(encoder="resnet")


def test_the_unet_has_no_pretrained_weights() -> None:
    with pytest.raises(ValueError, match="no pretrained weights"):
        tiny(pretrained=True)


def dense_convolution(layer: ConditionedConv2d, features: Tensor, codes: Codes) -> Tensor:
    """The definition: every code as a plane of its own."""
    size = features.shape[-2:]
    planes = [features, codes.constant[:, :, None, None].expand(-1, -1, *size)]
    if codes.regions is not None:
        planes.append(codes.regions.table[pick_nearest(codes.regions.index, tuple(size))].permute(0, 3, 1, 2))
    return F.conv2d(torch.cat(planes, dim=1), layer.conv.weight, layer.conv.bias, padding=1)


@pytest.mark.parametrize("size", [(3, 3), (3, 17), (16, 24)])
@pytest.mark.parametrize("semantic", [False, True])
def test_codes_are_convolved_exactly(size: tuple[int, int], semantic: bool) -> None:
    torch.manual_seed(0)
    layer = ConditionedConv2d(4, 6, 5)
    features = torch.randn(2, 4, *size, requires_grad=True)
    constant = torch.randn(2, 3 if semantic else 6, requires_grad=True)
    table = torch.randn(7, 3, requires_grad=True)
    index = torch.randint(0, 7, (2, 32, 48))
    codes = Codes(constant, RegionMap(table, index) if semantic else None)
    inputs = [layer.conv.weight, layer.conv.bias, features, constant, *([table] if semantic else [])]
    fast, dense = layer(features, codes), dense_convolution(layer, features, codes)
    torch.testing.assert_close(fast, dense, atol=1e-5, rtol=1e-5)
    probe = torch.randn_like(fast)
    for mine, theirs in zip(
        torch.autograd.grad((fast * probe).sum(), inputs),
        torch.autograd.grad((dense * probe).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def plain_semantic_map(
    network: ColorTransferNetwork, source_labels: Tensor, reference: Tensor, labels: Tensor
) -> Tensor:
    """R_t by a loop over labels: mask, count, encode, place."""
    maps = []
    for photo, source_map, label_map in zip(reference, source_labels, labels, strict=True):
        height, width = source_map.shape
        code = network.hen(histogram(photo.unsqueeze(0)))[0]
        placed = code.view(-1, 1, 1).repeat(1, height, width)
        for label in range(150):
            here, there = source_map == label, label_map == label
            if here.any() and there.any():
                pixels = photo[:, there].view(1, 3, 1, -1)
                placed[:, here] = network.hen(histogram(pixels))[0].unsqueeze(1)
        maps.append(placed)
    return torch.stack(maps)


@pytest.mark.parametrize("window", [None, Window(3, 2, 20, 30, (40, 48))])
def test_a_feathered_map_with_hard_borders_is_the_region_map(window: Window | None) -> None:
    table, index = random_lab(5, 6), random_labels(2, 40, 48).long()
    weight = random_lab(4, 6, 3, 3, seed=1)
    hard = RegionMap(table, index).convolve(weight, (40, 48), window)
    shares = F.one_hot(index, 5).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(FeatheredMap(table, shares).convolve(weight, (40, 48), window), hard)


def test_a_feathered_map_is_a_mixture_of_codes() -> None:
    table, shares = random_lab(3, 6), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    weight = random_lab(4, 6, 3, 3, seed=1)
    dense = torch.einsum("brhw,rc->bchw", shares, table)
    torch.testing.assert_close(
        FeatheredMap(table, shares).convolve(weight, (16, 16)), F.conv2d(dense, weight, padding=1)
    )


def test_the_semantic_map_equals_a_plain_loop_over_labels() -> None:
    network = tiny(padding=32)
    source, reference = random_lab(2, 3, 64, 96), random_lab(2, 3, 50, 40, seed=1)
    source_labels, labels = random_labels(2, 64, 96, classes=6), random_labels(2, 50, 40, classes=4, seed=2)
    source_labels[0, :10] = UNLABELLED
    labels[1, :, :7] = UNLABELLED
    histograms = pair_histograms(source, reference, source_labels, labels)
    codes = network.encode(histograms, histograms.rows)
    assert isinstance(codes.regions, RegionMap)
    ours = codes.regions.table[codes.regions.index].permute(0, 3, 1, 2)[..., 32:-32, 32:-32]
    expected = plain_semantic_map(network, source_labels, reference, labels)
    # HEN may sum in another order for another batch: the codes agree to rounding, the placing exactly.
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    table = codes.regions.table
    nearest = torch.cdist(expected.permute(0, 2, 3, 1).reshape(-1, 6), table).argmin(1)
    assert torch.equal(nearest, codes.regions.index[:, 32:-32, 32:-32].reshape(-1))


def test_masks_without_a_common_label_transfer_globally() -> None:
    network = tiny()
    source, reference = random_lab(1, 3, 40, 40), random_lab(1, 3, 32, 48, seed=1)
    zeros, ones = torch.zeros(1, 40, 40, dtype=torch.uint8), torch.ones(1, 32, 48, dtype=torch.uint8)
    with_masks = network(source, reference, zeros, ones).image
    torch.testing.assert_close(with_masks, network(source, reference).image)


def test_masks_change_the_result_where_labels_have_colours_of_their_own() -> None:
    network = tiny()
    source, reference = random_lab(1, 3, 40, 40), random_lab(1, 3, 40, 40, seed=1)
    reference[..., 20:, 1] += 0.5
    labels = torch.zeros(1, 40, 40, dtype=torch.uint8)
    labels[:, 20:] = 1
    assert not torch.allclose(network(source, reference, labels, labels).image, network(source, reference).image)


def test_one_mask_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="both photos"):
        tiny()(random_lab(1, 3, 32, 32), random_lab(1, 3, 32, 32), source_labels=random_labels(1, 32, 32))


def test_a_batch_gives_what_its_photos_give_alone() -> None:
    network = tiny()
    source, reference = random_lab(3, 3, 40, 52), random_lab(3, 3, 36, 44, seed=1)
    labels, reference_labels = random_labels(3, 40, 52), random_labels(3, 36, 44, seed=1)
    together = network(source, reference, labels, reference_labels).image
    for i in range(3):
        photo = slice(i, i + 1)
        alone = network(source[photo], reference[photo], labels[photo], reference_labels[photo]).image
        torch.testing.assert_close(together[photo], alone, atol=1e-4, rtol=1e-4)


def test_the_reference_decides_the_result() -> None:
    network = tiny()
    source = random_lab(1, 3, 32, 32)
    a, b = (network(source, random_lab(1, 3, 32, 32, seed=seed) * 0.2 + seed - 1.5).image for seed in (1, 2))
    assert (a - b).abs().mean() > 1e-3


def test_a_mirrored_reference_gives_the_same_result() -> None:
    network = tiny()
    source, reference = random_lab(1, 3, 32, 32), random_lab(1, 3, 32, 32, seed=1)
    assert torch.equal(network(source, reference).image, network(source, reference.flip(-1)).image)


def test_load_network_names_what_is_wrong(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_network(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.ckpt: not a checkpoint"):
        load_network(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="does not describe a network"):
        load_network(tmp_path / "other.ckpt")
    described = {"network": TINY.as_dict(), "_class_path": "deepct.modules.teacher.Teacher"}
    torch.save({"state_dict": {}, "hyper_parameters": described}, tmp_path / "empty.ckpt")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_network(tmp_path / "empty.ckpt")
    newer = {**described, "network": {**TINY.as_dict(), "attention": 3}}
    torch.save({"state_dict": {}, "hyper_parameters": newer}, tmp_path / "newer.ckpt")
    with pytest.raises(CheckpointError, match="attention"):
        load_network(tmp_path / "newer.ckpt")


class _Malicious:
    def __reduce__(self) -> tuple:
        return (print, ("this must not run",))


def test_a_checkpoint_runs_no_code(tmp_path, capsys) -> None:
    torch.save({"hyper_parameters": {"network": _Malicious()}}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="can be read safely"):
        load_network(tmp_path / "evil.ckpt")
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("stride", [1, 2])
def test_a_residual_network_draws_changes_of_its_source(stride: int) -> None:
    source, reference = torch.rand(2, 3, 70, 90) * 2 - 1, torch.rand(2, 3, 40, 40) * 2 - 1
    outputs = {}
    for residual in (False, True):
        torch.manual_seed(0)
        network = ColorTransferNetwork(replace(TINY, stride=stride, residual=residual)).eval()
        outputs[residual] = network(source, reference)
    for drawn, picture in zip(outputs[False].scales, outputs[True].scales, strict=True):
        small = resize_to(resize_to(source, (70 // stride, 90 // stride)), drawn.shape[-2:])
        torch.testing.assert_close(picture, drawn + small)
    if stride == 1:
        torch.testing.assert_close(outputs[True].image, outputs[False].image + source)


def test_a_stride_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="stride must be 1 or more, got 0"):
        ColorTransferNetwork(replace(TINY, stride=0))


def test_the_fast_student_keeps_to_its_budget() -> None:
    """A transfer of 256 px, global with the decoder's pictures or by eight labels without them."""
    described = yaml.safe_load(find_config("configs/student-fast.yaml").read_text())["model"]["init_args"]["network"]
    network = ColorTransferNetwork(NetworkConfig(**described)).eval()
    photo = torch.rand(1, 3, 256, 256) * 2 - 1
    labels = (torch.arange(256) // 32).to(torch.uint8).expand(1, 256, 256)
    for given, scales in (((), True), ((labels, labels), False)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(photo, photo, *given, scales=scales)
        assert 3e9 < counter.get_total_flops() <= 4e9
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2e6
