import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from deepct.data.augment import TransferBatch, prepare_batch
from deepct.data.dataset import PairDataset, collate
from deepct.data.pairs import fivek_scenes, make_pairs
from deepct.errors import CheckpointError, ConfigError
from deepct.histogram import pair_histograms, soft_ab_histogram
from deepct.losses import Measured, color_transfer_loss
from deepct.modules import Student, Teacher, TransferModule
from deepct.modules.base import study_batch
from deepct.networks import NetworkConfig
from deepct.output import as_target

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8),
    decoder_widths=(8, 6, 6, 4, 4),
    refinement_width=4,
    histogram_width=8,
    code_size=6,
    padding=0,
)
SMALL = NetworkConfig(
    encoder_widths=(8, 16, 24, 32, 48),
    decoder_widths=(48, 32, 24, 16, 16),
    refinement_width=16,
    histogram_width=32,
    code_size=16,
    padding=0,
)
PHASES = [
    {"epoch": 2, "alpha": 0.0, "lambda_histogram": 10.0, "lambda_multiscale": 10.0, "identical_weight": 0.5},
    {"epoch": 5, "alpha": 0.0, "lambda_histogram": 1.5, "lambda_multiscale": 0.5, "identical_weight": 1.0},
]


def save(module: TransferModule, path: Path) -> str:
    """What a checkpoint of fit holds, as far as others read it."""
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, path)
    return str(path)


@pytest.fixture
def batch(samples_root: Path) -> TransferBatch:
    """A retouch and an identical pair of the embedded photos."""
    dataset = PairDataset(make_pairs(fivek_scenes(samples_root, "masks"))[4:6], size=64, resize=72)
    collated = collate([dataset[0], dataset[1]])
    assert collated is not None
    return prepare_batch(collated)


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    torch.manual_seed(0)
    return save(Teacher(TINY), tmp_path / "teacher.ckpt")


def test_the_students_loss_weighs_soft_and_hard_by_alpha(batch: TransferBatch, teacher: str) -> None:
    student = Student(teacher, TINY, alpha=0.3)
    student.setup("fit")
    losses = student.compare(batch).losses
    output = student.transfer(batch)
    assert student.teacher is not None
    taught = student.teacher(batch, study_batch(batch, student.network), student.network.sight)
    hard, soft = (
        color_transfer_loss(Measured.of(output), Measured.of(target), student.weights, batch.identical).total
        for target in (as_target(batch.target, output), taught)
    )
    torch.testing.assert_close(losses["loss"], 0.3 * soft + 0.7 * hard)
    torch.testing.assert_close(losses["hard_loss"], hard)
    torch.testing.assert_close(losses["soft_loss"], soft)


def test_each_picture_of_a_step_is_measured_once(
    batch: TransferBatch, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    monkeypatch.setattr(
        "deepct.losses.soft_ab_histogram", lambda image: measured.append(image) or soft_ab_histogram(image)
    )
    student = Student(teacher, TINY)
    student.setup("fit")
    student.compare(batch)
    assert len(measured) == 3  # the student's picture, the teacher's and the truth


def test_a_pairs_histograms_are_counted_once_for_student_and_teacher(
    batch: TransferBatch, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    monkeypatch.setattr(
        "deepct.networks.model.pair_histograms", lambda *given: counted.append(given[-2]) or pair_histograms(*given)
    )
    student = Student(teacher, TINY)
    student.setup("fit")
    student.compare(batch)
    assert counted == [8]
    coarser = Student(teacher, replace(TINY, l_bins=4))
    coarser.setup("fit")
    coarser.compare(batch)
    assert counted == [8, 4, 8]  # the teacher's own, where its bins are others


def test_channels_last_reaches_student_and_teacher(batch: TransferBatch, teacher: str) -> None:
    student = Student(teacher, TINY, channels_last=True)
    student.setup("fit")
    assert student.teacher is not None
    for network in (student.network, student.teacher.network):
        weight = network.ctn.layers[0].fuse[0].weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert not weight.is_contiguous()


@pytest.mark.parametrize("asked", [False, True])
def test_ctn_is_compiled_where_that_is_asked_for(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    teacher = Teacher(TINY, compile=asked)
    assert compiled == [teacher.network.ctn] * asked


def test_a_compiled_network_computes_the_same(batch: TransferBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by torch's compiler, and run as it was traced: its code generator takes minutes here."""
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile_(module, backend="aot_eager"))
    torch.manual_seed(0)
    plain = Teacher(TINY)
    torch.manual_seed(0)
    compiled = Teacher(TINY, compile=True)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    expected, output = plain.transfer(batch), compiled.transfer(batch)
    torch.testing.assert_close(output.image, expected.image, atol=1e-5, rtol=1e-4)


def test_the_frozen_teacher_is_out_of_sight(teacher: str) -> None:
    student = Student(teacher, TINY)
    student.setup("fit")
    student.train()
    assert student.teacher is not None
    network = student.teacher.network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    mine = {id(parameter) for parameter in student.parameters()}
    assert not mine & {id(parameter) for parameter in network.parameters()}
    optimised = {id(p) for group in student.configure_optimizers().param_groups for p in group["params"]}
    assert optimised == mine
    assert all(name.startswith("network.") for name in student.state_dict())


def test_distilling_steps_leave_the_teacher_and_its_norms_bit_equal(batch: TransferBatch, tmp_path: Path) -> None:
    teacher = Teacher({**TINY.as_dict(), "encoder": "mobilenet_v3_small"})  # has running statistics, unlike the U-Net
    student = Student(save(teacher, tmp_path / "teacher.ckpt"), TINY)
    student.setup("fit")
    student.train()
    assert student.teacher is not None
    before = {name: value.clone() for name, value in student.teacher.network.state_dict().items()}
    optimizer = student.configure_optimizers()
    for _ in range(3):
        optimizer.zero_grad()
        student.compare(batch).losses["loss"].mean().backward()
        optimizer.step()
    after = student.teacher.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_hen_can_be_taken_from_the_teacher_and_stays(batch: TransferBatch, teacher: str) -> None:
    torch.manual_seed(1)
    student = Student(teacher, TINY, hen_from_teacher=True)
    student.setup("fit")
    assert student.teacher is not None
    optimizer = student.configure_optimizers()
    student.compare(batch).losses["loss"].mean().backward()
    optimizer.step()
    taken = student.teacher.network.hen.state_dict()
    assert all(torch.equal(value, taken[name]) for name, value in student.network.hen.state_dict().items())
    assert not any(parameter.requires_grad for parameter in student.network.hen.parameters())


def test_a_hen_of_another_size_is_refused_with_what_to_change(teacher: str) -> None:
    student = Student(teacher, {**TINY.as_dict(), "histogram_width": 9}, hen_from_teacher=True)
    with pytest.raises(CheckpointError, match="same histogram_width"):
        student.setup("fit")


@pytest.mark.parametrize(
    ("epoch", "alpha", "multiscale", "identical"),
    [(0, 0.5, 10, 0.5), (1, 0.5, 10, 0.5), (2, 0, 10, 0.5), (6, 0, 0.5, 1)],
)
def test_phases_replace_the_weights_from_their_epoch_on(
    epoch: int, alpha: float, multiscale: float, identical: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = Student(network=TINY, phases=PHASES)
    monkeypatch.setattr(Student, "current_epoch", epoch)
    current, weights = student.current_weights()
    assert (current, weights.multiscale, weights.identical) == (alpha, multiscale, identical)


def test_phases_leave_the_validation_figures_comparable(monkeypatch: pytest.MonkeyPatch) -> None:
    student = Student(network=TINY, phases=PHASES).eval()
    monkeypatch.setattr(Student, "current_epoch", 6)
    assert student.current_weights() == (0.5, (10, 10, 0.5, 0))


def test_a_teacher_without_weight_is_asked_for_its_own_losses_alone(
    batch: TransferBatch, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = Student(teacher, TINY, alpha=0.0)
    student.setup("fit")
    assert student.teacher is not None
    losses = student.compare(batch).losses
    torch.testing.assert_close(losses["loss"], losses["hard_loss"])
    assert "soft_loss" not in losses
    taught = student.teacher(batch, study_batch(batch, student.network), student.network.sight)
    truth = as_target(batch.target, taught)
    wanted = color_transfer_loss(Measured.of(taught), Measured.of(truth), student.weights, batch.identical)
    torch.testing.assert_close(losses["teacher_loss"], wanted.total)
    torch.testing.assert_close(losses["teacher_multiscale_loss"], wanted.multiscale)
    monkeypatch.setattr(Student, "is_logged", False)
    monkeypatch.setattr(student, "teacher", None)  # so asking it would fail
    assert not any(name.startswith("teacher") for name in student.compare(batch).losses)


def test_a_network_keeps_the_heads_that_its_checkpoint_has() -> None:
    trained = Teacher(TINY).hparams["network"]
    assert Teacher(trained, lambda_multiscale=0.0).network.ctn.heads is not None


def test_heads_are_built_only_where_some_phase_uses_them() -> None:
    assert Teacher(TINY, lambda_multiscale=0.0).network.ctn.heads is None
    assert Student(network=TINY, lambda_multiscale=0.0).network.ctn.heads is None
    assert Student(network=TINY, lambda_multiscale=0.0, phases=PHASES).network.ctn.heads is not None


def test_the_defaults_are_the_reports() -> None:
    with torch.device("meta"):
        teacher, student = Teacher(), Student()
    for module in (teacher, student):
        group = module.configure_optimizers().param_groups[0]
        assert (group["lr"], group["betas"]) == (5e-5, (0.5, 0.999))
        assert tuple(module.weights) == (10, 10, 0.5, 0)
    assert student.alpha == 0.5


def overfit(module: TransferModule, batch: TransferBatch) -> tuple[float, float]:
    """The image loss before and after training on one batch alone, until it is under 1/20 or 600 steps are over."""
    module.setup("fit")
    module.train()
    optimizer = module.configure_optimizers()
    history: list[float] = []
    for _ in range(600):
        losses = module.compare(batch).losses
        history.append(float(losses["image_loss"].detach().mean()))
        if history[-1] < history[0] / 20:
            break
        optimizer.zero_grad()
        losses["loss"].mean().backward()
        optimizer.step()
    return history[0], history[-1]


@pytest.mark.slow
def test_teacher_and_student_can_overfit_one_batch(batch: TransferBatch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = Teacher(SMALL, lr=2e-3)
    first, last = overfit(teacher, batch)
    assert last < first / 20
    student = Student(save(teacher, tmp_path / "teacher.ckpt"), SMALL, lr=2e-3)
    first, last = overfit(student, batch)
    assert last < first / 20


def test_the_learning_rate_rises_and_falls_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Teacher(NetworkConfig(kind="map", map_width=4, histogram_width=6, code_size=4), lr=0.01, anneal=True)
    module.trainer = SimpleNamespace(estimated_stepping_batches=200)
    configured = module.configure_optimizers()
    rates = []
    for _ in range(200):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert rates.index(max(rates)) in (5, 6)
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[-1] < 1e-5
    module.trainer = SimpleNamespace(estimated_stepping_batches=math.inf)
    with pytest.raises(ConfigError, match="max_steps"):
        module.configure_optimizers()


def test_what_a_step_draws_follows_from_the_seed_and_its_place_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def draws(seed: int, epoch: int, before: int) -> list[float]:
        monkeypatch.setattr(Teacher, "current_epoch", epoch)
        module = Teacher(TINY)
        torch.manual_seed(seed)
        torch.rand(before)
        module.on_fit_start()
        found = []
        for index in range(3):
            module.on_train_batch_start(None, index)  # type: ignore[arg-type]
            found.append(float(torch.rand(())))
        return found

    first = draws(1, 0, before=0)
    assert draws(1, 0, before=7) == first
    others = [*first, *draws(2, 0, before=0), *draws(1, 1, before=0)]
    assert len({*others}) == 9
