"""Bytes to what the network sees."""

from typing import Any

import pytest
import torch

from deepct.color import rgb_to_normalized, uint8_to_rgb
from deepct.data.augment import TransferBatch, prepare_batch


def a_batch(hue: float = 0.4, saturation: float = 0.7, seed: int = 0) -> dict[str, Any]:
    """A retouch pair and an identical pair, both shifted alike."""
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.randint(256, (2, 2, 3, 10, 12), dtype=torch.uint8, generator=generator)
    target[1] = source[1]
    return {
        "source": source,
        "target": target,
        "labels": torch.randint(150, (2, 10, 12), dtype=torch.uint8, generator=generator),
        "shift": torch.tensor([[hue, saturation]] * 2),
        "identical": torch.tensor([False, True]),
        "name": ["one", "two"],
    }


def unshifted(photos: torch.Tensor) -> torch.Tensor:
    return rgb_to_normalized(uint8_to_rgb(photos))


def test_everything_is_float_normalised_lab_and_labels_stay_bytes() -> None:
    batch = a_batch()
    prepared = prepare_batch(batch)
    assert isinstance(prepared, TransferBatch)
    for planes in (prepared.source, prepared.reference, prepared.target):
        assert planes.shape == (2, 3, 10, 12)
        assert planes.dtype == torch.float32
        assert planes.abs().max() <= 1.001
    assert torch.equal(prepared.source_labels, batch["labels"])
    assert torch.equal(prepared.reference_labels, batch["labels"])
    assert prepared.source_labels.dtype == torch.uint8
    assert prepared.identical.tolist() == [False, True]
    assert prepared.names == ["one", "two"]


def test_an_identical_pairs_target_and_reference_are_the_shifted_source() -> None:
    batch = a_batch()
    prepared = prepare_batch(batch)
    assert torch.equal(prepared.target[1], prepared.source[1])
    assert torch.equal(prepared.reference[1], prepared.source[1])
    assert (prepared.target[1] - unshifted(batch["target"])[1]).abs().max() > 0.1


def test_a_retouch_pairs_target_and_reference_are_not_shifted() -> None:
    batch = a_batch()
    prepared = prepare_batch(batch)
    assert torch.equal(prepared.target[0], unshifted(batch["target"])[0])
    assert torch.equal(prepared.reference[0], prepared.target[0])


@pytest.mark.parametrize(("hue", "saturation"), [(0.5, 1.0), (0.1, 1.2), (0.9, 0.3), (0.0, 0.3)])
def test_the_shift_keeps_the_sources_lightness_and_changes_its_colours(hue: float, saturation: float) -> None:
    batch = a_batch(hue, saturation)
    before, after = unshifted(batch["source"]), prepare_batch(batch).source
    assert torch.equal(after[:, 0], before[:, 0])
    assert (after[:, 1:] - before[:, 1:]).abs().mean() > 0.05


@pytest.mark.parametrize("hue", [0.0, 1.0])
def test_no_shift_leaves_the_photo_unchanged(hue: float) -> None:
    batch = a_batch(hue, 1.0)
    torch.testing.assert_close(prepare_batch(batch).source, unshifted(batch["source"]), atol=1e-4, rtol=0)


def test_a_smaller_saturation_brings_colours_towards_grey() -> None:
    batch = a_batch(0.0, 0.3)
    grey = unshifted(torch.full((1, 3, 1, 1), 128, dtype=torch.uint8))[:, 1:]
    before = (unshifted(batch["source"])[:, 1:] - grey).norm(dim=1).mean()
    after = (prepare_batch(batch).source[:, 1:] - grey).norm(dim=1).mean()
    assert after < 0.6 * before


def test_every_photo_takes_its_own_shift() -> None:
    batch = a_batch()
    batch["source"][1] = batch["source"][0]
    batch["shift"] = torch.tensor([[0.0, 1.0], [0.5, 1.0]])
    source = prepare_batch(batch).source
    torch.testing.assert_close(source[0], unshifted(batch["source"])[0], atol=1e-4, rtol=0)
    assert (source[1] - source[0]).abs().max() > 0.1


def test_grey_stays_grey_under_any_shift() -> None:
    batch = a_batch(0.3, 1.2)
    batch["source"] = batch["source"][:, :1].expand(-1, 3, -1, -1).contiguous()
    torch.testing.assert_close(prepare_batch(batch).source, unshifted(batch["source"]), atol=1e-4, rtol=0)


def test_the_bytes_are_left_alone() -> None:
    batch, untouched = a_batch(), a_batch()
    prepare_batch(batch)
    for key in ("source", "target", "labels", "shift", "identical"):
        assert torch.equal(batch[key], untouched[key]), key
