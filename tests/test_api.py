import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deepct
from deepct import ColorTransfer
from deepct.errors import CheckpointError, ConfigError
from deepct.modules import Student
from deepct.networks import NetworkConfig

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    student = Student(network=TINY)
    path = tmp_path_factory.mktemp("api") / "student.ckpt"
    torch.save({"state_dict": student.state_dict(), "hyper_parameters": dict(student.hparams)}, path)
    return path


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_arrays_and_images_give_the_same_result_in_their_own_form(checkpoint: Path) -> None:
    transfer = ColorTransfer.load(checkpoint)
    source, reference = photo(40, 52), photo(33, 47, seed=1)
    array = transfer.transfer(source, reference)
    image = transfer.transfer(Image.fromarray(source), Image.fromarray(reference))
    assert isinstance(image, Image.Image)
    assert array.dtype == np.uint8
    assert array.shape == source.shape
    assert np.array_equal(np.asarray(image), array)


def test_an_image_is_turned_upright(checkpoint: Path) -> None:
    transfer = ColorTransfer.load(checkpoint)
    lying = Image.fromarray(np.rot90(photo(40, 52)))
    lying.getexif()[0x0112] = 6
    assert np.array_equal(
        np.asarray(transfer.transfer(lying, Image.fromarray(photo(33, 47, 1)))),
        transfer.transfer(photo(40, 52), photo(33, 47, 1)),
    )


def test_label_maps_steer_the_transfer(checkpoint: Path) -> None:
    transfer = ColorTransfer.load(checkpoint)
    source, reference = photo(40, 40), photo(40, 40, seed=1)
    reference[20:] //= 4
    labels = np.zeros((40, 40), dtype=np.int64)
    labels[20:] = 1
    assert not np.array_equal(
        transfer.transfer(source, reference, labels, labels), transfer.transfer(source, reference)
    )


@pytest.mark.parametrize("wrong", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_wrong_arrays_are_refused_by_name(checkpoint: Path, wrong: np.ndarray) -> None:
    transfer = ColorTransfer.load(checkpoint)
    with pytest.raises(ValueError, match="reference must be"):
        transfer.transfer(photo(32, 32), wrong)


@pytest.mark.parametrize("labels", [np.zeros((31, 32), np.uint8), np.full((32, 32), 300), np.zeros((32, 32))])
def test_wrong_label_maps_are_refused_by_name(checkpoint: Path, labels: np.ndarray) -> None:
    transfer = ColorTransfer.load(checkpoint)
    with pytest.raises(ValueError, match="source_labels must be integers"):
        transfer.transfer(photo(32, 32), photo(32, 32), labels, labels)


def test_a_missing_checkpoint_is_an_error_of_deepct(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        ColorTransfer.load(tmp_path / "none.ckpt")


def test_importing_deepct_stays_light() -> None:
    code = "import sys, deepct; sys.exit(bool({'torch', 'lightning', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = deepct.nonsense


def test_a_label_map_may_be_smaller_than_its_photo(checkpoint: Path) -> None:
    transfer = ColorTransfer.load(checkpoint)
    source, reference = photo(40, 60), photo(40, 60, seed=1)
    labels = np.arange(6).reshape(2, 3)
    full = labels.repeat(20, 0).repeat(20, 1)
    small = transfer.transfer(source, reference, labels, labels)
    assert np.array_equal(small, transfer.transfer(source, reference, full, full))


def test_a_large_photo_is_decided_at_the_working_size(checkpoint: Path) -> None:
    source, reference = photo(90, 120), photo(33, 47, seed=1)
    whole = ColorTransfer.load(checkpoint, working_size=None).transfer(source, reference)
    large = ColorTransfer.load(checkpoint, working_size=60).transfer(source, reference)
    assert large.shape == whole.shape
    assert not np.array_equal(large, whole)
    assert np.array_equal(ColorTransfer.load(checkpoint, working_size=120).transfer(source, reference), whole)
    assert np.array_equal(ColorTransfer.load(checkpoint).transfer(source, reference), whole)


def test_strength_is_chosen_for_each_transfer(checkpoint: Path) -> None:
    transfer = ColorTransfer.load(checkpoint)
    source, reference = photo(40, 52), photo(33, 47, seed=1)
    full = transfer.transfer(source, reference).astype(float)
    half = transfer.transfer(source, reference, strength=0.5)
    assert np.abs(half - (source + full) / 2).max() <= 0.75  # the full transfer is rounded, and the half
    assert np.array_equal(transfer.transfer(source, reference, strength=0), source)
    with pytest.raises(ConfigError, match=r"strength must be from 0, .* got 1\.5"):
        transfer.transfer(source, reference, strength=1.5)
