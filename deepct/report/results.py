"""What the runs' networks make of pairs of photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from deepct.data.image import to_pixels, to_planes
from deepct.errors import DeepctError
from deepct.evaluation.lab import Photo
from deepct.evaluation.tracks import Photos
from deepct.networks import TransferNetwork, load_network
from deepct.report.choice import Pair
from deepct.report.runs import Run


@dataclass
class Results:
    """What each network made of each pair.

    Attributes:
        runs: those whose network could be loaded.
        photos: (H, W, 3) uint8 sRGB of the source's size, by the run's place in ``runs``, the pair's place, and whether
            its label maps were used; what failed is not there.
        problems: a sentence for whatever could not be done.
    """

    runs: list[Run] = field(default_factory=list)
    photos: dict[tuple[int, int, bool], Photo] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def recolor_pairs(runs: Sequence[Run], pairs: Sequence[Pair], with_masks: bool = False) -> Results:
    """Recolour every pair by every run's network, one network after the other.

    Args:
        runs: those without a checkpoint, and those whose network fails, cost nothing but their own results.
        pairs: with label maps, where those are to be used.
        with_masks: recolour each pair with its label maps too, and not only without.
    """
    results = Results()
    for run, network in _load(runs, results.problems):
        place = len(results.runs)
        results.runs.append(run)
        for number, pair in enumerate(pairs):
            for masked in (False, True)[: 1 + with_masks]:
                try:
                    photo = _recolor(network, pair.photos, pair.photos.labels if masked else None, run.working_size)
                except Exception as error:  # one pair that is too much for a network must not cost the page
                    reason = str(error) or type(error).__name__
                    results.problems.append(f"{run.name} failed on {pair.name} ({reason}).")
                else:
                    results.photos[place, number, masked] = photo
    return results


def _load(runs: Sequence[Run], problems: list[str]) -> Iterator[tuple[Run, TransferNetwork]]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for run in runs:
        if run.checkpoint is None:
            folders = ", ".join(map(str, run.folders)) or "its folder"
            problems.append(
                f"{run.name} is not shown: no checkpoint of it was found in {folders}. Put its .ckpt into the folder "
                "checkpoints beside its log, and make the report again."
            )
            continue
        try:
            yield run, load_network(run.checkpoint, device)
        except DeepctError as error:
            problems.append(f"{run.name} is not shown: {error}.")


def _recolor(
    network: TransferNetwork,
    photos: Photos,
    labels: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None,
    working_size: int | None,
) -> Photo:
    device = next(network.parameters()).device
    source, reference = (to_planes(photo).unsqueeze(0).to(device) for photo in (photos.source, photos.reference))
    maps = [torch.from_numpy(np.array(plane)).unsqueeze(0).to(device) for plane in labels or ()]
    source_labels, reference_labels = maps or (None, None)
    result = network.recolor(source, reference, source_labels, reference_labels, working_size)
    return to_pixels(result[0])
