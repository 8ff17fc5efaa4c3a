"""Label maps: ``deepct masks`` beside MMSegmentation's own loop, from the same files to PNGs.

The network's convolutions cost both the same. What deepct saves is 150 classes enlarged to the photo's size, summed and
compared there (most of it, with a narrow network), attention's table of scores, and on a CPU the waiting of cores for
each other. The wider the network, the nearer a CPU's ratio comes to 1; on a GPU half precision and batches remain.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from official_beit import write_official
from PIL import Image

from benchmarks.cases import photo
from deepct.data.masks import read_mask, resize_labels

SMALL = {"embedding": 64, "depth": 4, "heads": 4, "window": 512, "channels": 64, "auxiliary": 32}
"""BEiT with UPerNet at its published window and number of classes, but narrow: what a CPU can do a hundred times."""
BASE = {"embedding": 768, "depth": 12, "heads": 12, "window": 512, "channels": 768, "auxiliary": 256}


def write_model(folder: Path, sizes: dict[str, int]) -> Path:
    """A checkpoint of random weights in the official layout."""
    return write_official(folder / "model.pth", **sizes)


def write_photos(folder: Path, count: int, long_side: int) -> Path:
    """Different photos of 3 : 2, as JPEG."""
    folder.mkdir()
    names = ("coffee", "rocket", "astronaut", "chelsea")
    pictures = [photo(name, long_side) for name in names]
    for index in range(count):
        turn = index // len(names)
        pixels = np.roll(pictures[index % len(names)], (17 * turn, 31 * turn), (0, 1))
        Image.fromarray(pixels).save(folder / f"{index:03d}.jpg", quality=92)
    return folder


def label(ours: bool, photos: str, checkpoint: str, output: str, device: str) -> Callable[[], str]:
    """From a folder of JPEG files and a checkpoint to a folder of PNGs, whose name the work gives."""
    return (label_by_deepct if ours else label_by_mmseg)(photos, checkpoint, output, device)


def label_by_deepct(photos: str, checkpoint: str, output: str, device: str) -> Callable[[], str]:
    """The command, in a process that runs already."""
    from deepct.segmentation.backend import require_mmseg
    from deepct.segmentation.precompute import masks

    require_mmseg()  # and so imports it, as the other does

    def work() -> str:
        folder = tempfile.mkdtemp(dir=output)
        assert masks(photos, folder, checkpoint, accelerator="gpu" if device == "cuda" else "cpu", devices=1) == 0
        return folder

    return work


def label_by_mmseg(photos: str, checkpoint: str, output: str, device: str) -> Callable[[], str]:
    """``inference_model`` for one photo after the other, as its documentation has it."""
    from mmengine import Config
    from mmengine.registry import init_default_scope
    from mmseg.apis import inference_model

    from deepct.segmentation.architecture import beit_config, find_architecture
    from deepct.segmentation.backend import build_network, require_mmseg
    from deepct.segmentation.checkpoint import load_strictly, read_checkpoint

    require_mmseg()
    init_default_scope("mmseg")

    def work() -> str:
        weights = read_checkpoint(checkpoint)
        beit = find_architecture(weights)
        model: Any = build_network(beit_config(beit))
        load_strictly(model, weights)
        resize = {"type": "Resize", "scale": beit.scale, "keep_ratio": True}
        model.cfg = Config({"test_pipeline": [{"type": "LoadImageFromFile"}, resize, {"type": "PackSegInputs"}]})
        model.to(device)
        folder = Path(tempfile.mkdtemp(dir=output))
        for path in sorted(Path(photos).iterdir()):
            labels = inference_model(model, str(path)).pred_sem_seg.data[0]
            Image.fromarray(labels.to(torch.uint8).cpu().numpy()).save(folder / f"{path.stem}.png")
        return str(folder)

    return work


def agreement(ours: str, theirs: str) -> float:
    """The share of pixels that two folders of label maps have alike, at the size of the first."""
    shares = []
    for path in sorted(Path(ours).glob("*.png")):
        labels = read_mask(path)
        other = resize_labels(read_mask(Path(theirs) / path.name), labels.shape)
        shares.append((labels == other).mean())
    return float(np.mean(shares))
