"""deepct against the method as it is written: the same results and gradients, at less cost.

Tensors are compared by their largest difference over the literal one's largest magnitude.
"""

from collections.abc import Iterable

import pytest
import torch
from literal import literal_ctn, literal_distillation_step, literal_transfer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from deepct.data.augment import TransferBatch
from deepct.histogram import UNLABELLED, PairHistograms, pair_histograms
from deepct.modules import Student
from deepct.networks import ColorTransferNetwork, NetworkConfig
from deepct.networks.conditioning import Codes
from deepct.output import TransferOutput

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=5, histogram_width=8, code_size=6
)


def build(seed: int = 0, **changes) -> ColorTransferNetwork:
    torch.manual_seed(seed)
    return ColorTransferNetwork(NetworkConfig(**{**TINY.as_dict(), **changes})).eval()


def random_lab(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_labels(size: tuple[int, int], low: int, high: int, block: int, seed: int) -> Tensor:
    """(2, *size) labels from low to high - 1 in square blocks, and a stripe without label in the first map."""
    coarse = torch.randint(low, high, (2, 1, *size), generator=torch.Generator().manual_seed(seed)).float()
    enlarged = F.interpolate(coarse, scale_factor=block)[:, 0, : size[0], : size[1]].to(torch.uint8)
    enlarged[0, 5:9] = UNLABELLED
    return enlarged


def label_maps(kind: str, size: tuple[int, int], reference_size: tuple[int, int]) -> tuple[Tensor, ...]:
    if kind == "global":
        return ()
    source, reference, block = {
        "few": ((0, 5), (2, 8), 12),  # 0 and 1 only in sources, 5 to 7 only in references
        "many": ((0, 150), (0, 150), 1),
        "none shared": ((0, 4), (4, 8), 12),
    }[kind]
    return random_labels(size, *source, block, seed=5), random_labels(reference_size, *reference, block, seed=6)


def fast_transfer(network: ColorTransferNetwork, source: Tensor, reference: Tensor, *labels: Tensor) -> TransferOutput:
    """The network's forward, but that it takes float64 too, where histograms are float32."""
    counted = pair_histograms(source, reference, *labels)
    own, theirs, maps = (stack.to(source.dtype) for stack in counted[:3])
    return network.transfer(source, PairHistograms(own, theirs, maps, counted.rows))


def assert_close(names: Iterable[str], mine: Iterable[Tensor], literal: Iterable[Tensor], tolerance: float) -> None:
    differences = {
        name: ((ours - theirs).abs().max() / theirs.abs().max()).item()
        for name, ours, theirs in zip(names, mine, literal, strict=True)
    }
    assert {name: value for name, value in differences.items() if not value <= tolerance} == {}


def assert_same(network: ColorTransferNetwork, tolerance: float, source: Tensor, *rest: Tensor) -> None:
    """Pictures of all scales, and the gradients of the source and of every parameter by a random sum of them."""
    source.requires_grad_()
    results = []
    for transfer in (fast_transfer, literal_transfer):
        output = transfer(network, source, *rest)
        pictures = (output.image, *output.scales)
        assert len(pictures) == 6
        torch.manual_seed(1)
        total = sum((picture * torch.randn_like(picture)).mean() for picture in pictures)
        results.append([*pictures, *torch.autograd.grad(total, [source, *network.parameters()])])
    names = ["image", *(f"scale {i}" for i in range(5)), "source", *(name for name, _ in network.named_parameters())]
    assert_close(names, *results, tolerance)


@pytest.mark.parametrize(("padding", "residual"), [(0, False), (32, False), (32, True)])
@pytest.mark.parametrize("kind", ["global", "few", "many", "none shared"])
def test_outputs_and_gradients_are_the_literal_networks(kind: str, padding: int, residual: bool) -> None:
    size, reference_size = (97, 70), (45, 50)
    labels = label_maps(kind, size, reference_size)
    photos = random_lab(2, 3, *size, seed=2), random_lab(2, 3, *reference_size, seed=3)
    assert_same(build(padding=padding, residual=residual), 1e-4, *photos, *labels)


@pytest.mark.parametrize(("encoder", "padding"), [("unet", 0), ("unet", 32), ("mobilenet_v3_small", 0)])
def test_in_double_precision_nothing_differs(encoder: str, padding: int) -> None:
    photos = random_lab(2, 3, 97, 70, seed=2).double(), random_lab(2, 3, 45, 50, seed=3).double()
    assert_same(build(encoder=encoder, padding=padding).double(), 1e-10, *photos)


def test_a_torchvision_encoder_with_labels() -> None:
    """In float64 but for R_t, which deepct convolves in float32: the encoder's kinks amplify rounding."""
    size, reference_size = (64, 70), (45, 50)
    photos = random_lab(2, 3, *size, seed=2).double(), random_lab(2, 3, *reference_size, seed=3).double()
    network = build(encoder="mobilenet_v3_small", padding=0).double()
    assert_same(network, 1e-4, *photos, *label_maps("few", size, reference_size))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", ["few", "none shared"])
def test_a_students_step_is_the_literal_one(kind: str, channels_last: bool) -> None:
    size = (64, 70)
    photos = [random_lab(2, 3, *size, seed=seed) * 0.8 for seed in (2, 3, 4)]
    labels, identical = label_maps(kind, size, size), torch.tensor([False, True])
    teacher = build(seed=1, decoder_widths=(8, 8, 6, 6, 4)).requires_grad_(False)
    student = Student(network=TINY, alpha=0.3, channels_last=channels_last)
    student.teacher = lambda batch, study, sight: teacher.transfer(batch.source, study)
    names, parameters = zip(*student.network.named_parameters(), strict=True)

    fast = student.compare(TransferBatch(*photos, *labels, identical, ["a", "b"])).losses["loss"].mean()
    gradients = torch.autograd.grad(fast, parameters)
    literal = literal_distillation_step(student.network, teacher, *photos, identical, *labels, alpha=0.3)

    assert fast.item() == pytest.approx(literal.item(), rel=1e-5)
    assert_close(names, gradients, [parameter.grad for parameter in parameters], 1e-4)


def test_the_reports_teacher_costs_less_than_the_literal_one() -> None:
    """CTN on 256 px, by FLOPs."""
    with torch.device("meta"):
        network = ColorTransferNetwork()
        source, codes = torch.empty(1, 3, 256, 256), torch.empty(1, 128)
        planes = torch.empty(1, 128, 256, 256)
    with FlopCounterMode(display=False) as fast:
        network.ctn(source, Codes(codes))
    with FlopCounterMode(display=False) as literal:
        literal_ctn(network, source, planes)
    assert literal.get_total_flops() >= 1.6 * fast.get_total_flops()
