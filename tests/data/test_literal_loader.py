"""The literal loader counts what deepct's modules count on the device, and carries far more."""

from pathlib import Path

import pytest
import torch
from literal_loader import LiteralDataset

from deepct.data.dataset import PairDataset
from deepct.data.pairs import fivek_scenes, make_pairs
from deepct.histogram import histogram


@pytest.fixture(scope="module")
def sample(fivek_root: Path) -> dict[str, torch.Tensor]:
    return LiteralDataset(make_pairs(fivek_scenes(fivek_root, "masks")))[0]


def test_its_histograms_are_deepcts(sample: dict[str, torch.Tensor]) -> None:
    for photo, counted in (("source", "source_histogram"), ("target", "reference_histogram")):
        ours = histogram(sample[photo].unsqueeze(0))[0]
        assert (ours - sample[counted]).abs().sum() < 0.01  # a pixel or two on the border of a bin
    for label in (0, 25, 50, 75, 100, 125):
        pixels = sample["target"][:, sample["masks"][label]]
        ours = histogram(pixels.view(1, 3, 1, -1))[0]
        assert (ours - sample["label_histograms"][label]).abs().sum() < 0.02
    assert sample["label_histograms"][1].abs().sum() == 0


def test_a_sample_of_deepcts_is_seventy_times_smaller(sample: dict[str, torch.Tensor], fivek_root: Path) -> None:
    ours = PairDataset(make_pairs(fivek_scenes(fivek_root, "masks")))[0]
    assert ours is not None
    small = sum(value.nbytes for value in ours.values() if isinstance(value, torch.Tensor))
    large = sum(value.nbytes for value in sample.values())
    assert 33e6 < large < 35e6
    assert small < 0.5e6
    assert large > 70 * small
