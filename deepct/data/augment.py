"""From bytes to what the network sees, a batch at a time on the device."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from deepct.color import normalize_lab, rgb_to_normalized, shift_hue_saturation, uint8_to_rgb


class TransferBatch(NamedTuple):
    """A batch of pairs, ready for the network.

    Attributes:
        source: (B, 3, H, W) normalised Lab, colours shifted.
        reference: (B, 3, H, W) normalised Lab.
        target: (B, 3, H, W) normalised Lab, what the network should give.
        source_labels: (B, H, W) uint8, 255 for no label.
        reference_labels: (B, H, W) uint8.
        identical: (B,) bool, source and target are one picture.
        names: the pairs'.
    """

    source: Tensor
    reference: Tensor
    target: Tensor
    source_labels: Tensor
    reference_labels: Tensor
    identical: Tensor
    names: list[str]


def prepare_batch(batch: dict[str, Any]) -> TransferBatch:
    """Shift the source's hue and saturation, and turn everything into normalised Lab.

    An identical pair's target is the shifted source itself: source, reference and truth are one picture. Every other
    target stays as it was.

    Args:
        batch: collated samples of :class:`deepct.data.dataset.PairDataset`. Where they have no references of their own,
            the reference is the target.
    """
    hue, saturation = batch["shift"].unbind(1)
    source = normalize_lab(shift_hue_saturation(uint8_to_rgb(batch["source"]), hue, saturation))
    target = rgb_to_normalized(uint8_to_rgb(batch["target"]))
    target = torch.where(batch["identical"].view(-1, 1, 1, 1), source, target)
    reference, labels = target, batch["labels"]
    if "reference" in batch:
        own = rgb_to_normalized(uint8_to_rgb(batch["reference"]))
        reference = torch.where(batch["identical"].view(-1, 1, 1, 1), target, own)
    reference_labels = batch.get("reference_labels", labels)
    return TransferBatch(source, reference, target, labels, reference_labels, batch["identical"], batch["name"])
