"""What is measured: each function builds its inputs and returns the work, to be run in a process of its own.

Photos are made from those that scikit-image carries, so that a benchmark needs nothing but the project.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from literal import literal_color_transfer_loss, literal_distillation_step, literal_soft_histogram, literal_transfer
from literal_loader import LiteralDataset
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.matched import match, match_files
from deepct.api import ColorTransfer
from deepct.cli import find_config
from deepct.color import normalized_to_rgb, rgb_to_normalized, rgb_to_uint8, uint8_to_rgb
from deepct.data.augment import TransferBatch
from deepct.data.dataset import PairDataset
from deepct.data.image import read_photo, to_planes
from deepct.data.pairs import AUTO_MASKS, LOOKS, SOURCE, fivek_scenes, make_pairs
from deepct.data.samples import load_sample
from deepct.evaluation.cost import count_gflop, count_parameters
from deepct.histogram import soft_ab_histogram
from deepct.losses import LossWeights
from deepct.modules import Student, Teacher
from deepct.modules.base import study_batch
from deepct.networks import WORKING_SIZE, ColorTransferNetwork, NetworkConfig, build_network
from deepct.output import TransferOutput

Work = Callable[[], Any]
NetworkName = Literal["teacher", "student", "student-fast", "student-map"]


def network_config(name: NetworkName) -> NetworkConfig:
    """The shape that a configuration gives its network."""
    described = yaml.safe_load(find_config(f"configs/{name}.yaml").read_text())
    return NetworkConfig(**described["model"]["init_args"]["network"])


def photo(name: str, long_side: int) -> NDArray[np.uint8]:
    """A photograph of 3 : 2, enlarged and with grain, (H, W, 3) uint8."""
    height = round(long_side / 1.5)
    sample = Image.fromarray(load_sample(name))
    width = min(sample.width, round(sample.height * 1.5))
    sample = sample.crop((0, 0, width, round(width / 1.5))).resize((long_side, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).integers(-4, 5, (256, 256, 1), dtype=np.int16)
    pixels = np.empty((height, long_side, 3), dtype=np.uint8)
    for top in range(0, height, 256):  # in bands: these photos reach 100 megapixels
        band = np.asarray(sample.crop((0, top, long_side, min(top + 256, height)))).astype(np.int16)
        tiled = np.tile(grain, (1, long_side // 256 + 1, 1))[: band.shape[0], :long_side]
        pixels[top : top + 256] = np.clip(band + tiled, 0, 255)
    return pixels


def pair(size: int = 256, labels: int = 8, batch: int = 1) -> TransferBatch:
    """Two photographs, square, each with a label map of so many labels in patches."""
    source, reference = (
        rgb_to_normalized(uint8_to_rgb(to_planes(photo(name, round(size * 1.5))[:size, :size]).unsqueeze(0)))
        for name in ("coffee", "rocket")
    )
    generator = torch.Generator().manual_seed(0)
    maps = [
        F.interpolate(torch.randperm(256, generator=generator).view(1, 1, 16, 16).float() % labels, size=size)[0]
        for _ in range(2)
    ]
    source_labels, reference_labels = (labels.to(torch.uint8).expand(batch, -1, -1) for labels in maps)
    source, reference = source.expand(batch, -1, -1, -1), reference.expand(batch, -1, -1, -1)
    names = [str(index) for index in range(batch)]
    identical = torch.zeros(batch, dtype=torch.bool)
    return TransferBatch(source, reference, reference, source_labels, reference_labels, identical, names)


def soft_histogram_loss(literal: bool, size: int = 256) -> Work:
    """L_hist of one picture and its gradient."""
    pictures = pair(size)
    result, target = pictures.source.clone().requires_grad_(), pictures.target
    soft = literal_soft_histogram if literal else soft_ab_histogram

    def work() -> float:
        result.grad = None
        loss = (soft(result) - soft(target)).square().mean()
        loss.backward()
        return loss.item()

    return work


def distillation_step(literal: bool, name: NetworkName = "student") -> Work:
    """One photo of 256 px with eight labels: the report's teacher, the student's losses and their gradients."""
    torch.manual_seed(0)
    batch = pair()
    teacher = ColorTransferNetwork().requires_grad_(False).eval()
    student = Student(network=network_config(name))
    if literal:
        network = student.network
        return lambda: literal_distillation_step(
            network,
            teacher,
            batch.source,
            batch.reference,
            batch.target,
            batch.identical,
            batch.source_labels,
            batch.reference_labels,
        ).item()

    def teach(batch: TransferBatch, study: Any, sight: Any) -> TransferOutput:
        with torch.no_grad():
            return teacher.transfer(batch.source, study)

    student.teacher = teach  # type: ignore[assignment]
    return lambda: _backward(student, batch)


def student_step(
    literal: bool,
    name: NetworkName = "student",
    channels_last: bool = False,
    half: bool = False,
    compile: bool = False,
) -> Work:
    """The same without the teacher's part: its pictures are made before."""
    torch.manual_seed(0)
    batch = pair()
    student = Student(network=network_config(name), channels_last=channels_last, compile=compile)
    with torch.no_grad():
        taught = ColorTransferNetwork().transfer(batch.source, study_batch(batch, student.network))
    if not literal:
        student.teacher = lambda batch, histograms: taught  # type: ignore[assignment]
        context = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()

        def work() -> float:
            with context:
                return _backward(student, batch)

        return work

    def literal_work() -> float:
        labels = batch.source_labels, batch.reference_labels
        output = literal_transfer(student.network, batch.source, batch.reference, *labels)
        truth = TransferOutput(batch.target, (batch.target,) * len(output.scales))
        losses = [literal_color_transfer_loss(output, t, LossWeights(), batch.identical) for t in (taught, truth)]
        loss = (0.5 * losses[0] + 0.5 * losses[1]).mean()
        loss.backward()
        return loss.item()

    return literal_work


def training_step(name: NetworkName, photos: int, device: str = "cuda", channels_last: bool = False) -> Work:
    """A whole step in bfloat16, optimizer included, of the teacher or of a student with its teacher.

    Gives the most memory that was allocated on the device, MiB.
    """
    torch.manual_seed(0)
    batch = TransferBatch(*(p.to(device) if isinstance(p, Tensor) else p for p in pair(batch=photos)))
    module: Teacher | Student = Teacher(channels_last=channels_last)
    if name != "teacher":
        teacher = module.network.requires_grad_(False).eval().to(device)
        module = Student(network=network_config(name), channels_last=channels_last)

        def teach(batch: TransferBatch, study: Any, sight: Any) -> TransferOutput:
            with torch.no_grad():
                return teacher.transfer(batch.source, study)

        module.teacher = teach  # type: ignore[assignment]
    module.to(device)
    optimizer = module.configure_optimizers()

    def work() -> float:
        with torch.autocast(device, torch.bfloat16):
            loss = module.compare(batch).losses["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert np.isfinite(loss.item())  # and so waits for the device
        return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0

    return work


def recolor_on_gpu(long_side: int) -> Work:
    """The fast student from a photo in memory to a photo in memory, there and back, in bfloat16."""
    source, reference = (
        to_planes(photo(name, size)).unsqueeze(0)
        for name, size in (("coffee", long_side), ("rocket", min(long_side, 1024)))
    )
    network = ColorTransferNetwork(network_config("student-fast")).eval().to("cuda")

    def work() -> float:
        with torch.autocast("cuda", torch.bfloat16):
            network.recolor(source.to("cuda"), reference.to("cuda"), working_size=WORKING_SIZE).cpu()
        return torch.cuda.max_memory_allocated() / 2**20

    return work


def _backward(student: Student, batch: TransferBatch) -> float:
    student.zero_grad()
    loss = student.compare(batch).losses["loss"].mean()
    loss.backward()
    return loss.item()


def recolor(method: str, long_side: int, labels: int = 0) -> Work:
    """From a photo to a photo in memory, by a network of random weights or by a method of color-matcher.

    Args:
        method: ``literal`` (the report's student, as it is written), ``student`` (deepct's, on the whole photo),
            ``student-fast`` and ``student-map`` (any size), or a method of color-matcher.
        long_side: of the source, px; the reference has 1024 at most.
        labels: of the label maps; 0 for a global transfer.
    """
    source, reference = photo("coffee", long_side), photo("rocket", min(long_side, 1024))
    any_size = method in ("student-fast", "student-map")
    if method not in ("literal", "student") and not any_size:
        return lambda: match(method, source, reference).shape
    torch.manual_seed(0)
    network = build_network(network_config(method if any_size else "student")).eval()  # type: ignore[arg-type]
    planes = to_planes(source).unsqueeze(0), to_planes(reference).unsqueeze(0)
    maps = [pair(256, labels).source_labels[:1] for _ in planes] if labels else []
    if method != "literal":
        working_size = WORKING_SIZE if any_size else None
        return lambda: tuple(network.recolor(*planes, *maps, working_size=working_size).shape)

    def work() -> tuple[int, ...]:
        with torch.inference_mode():
            lab = [rgb_to_normalized(uint8_to_rgb(photo)) for photo in planes]
            return tuple(rgb_to_uint8(normalized_to_rgb(literal_transfer(network, *lab, scales=False).image)).shape)

    return work


def file_to_file(method: str, source: str, reference: str, output: str) -> Work:
    """From a photo's file to a PNG, by the weights that ship or by a method of color-matcher."""
    if method != "student-map":
        return lambda: match_files(method, source, reference, output)
    transfer = ColorTransfer.load()

    def work() -> None:
        result = transfer.transfer(read_photo(source), read_photo(reference))
        Image.fromarray(result).save(output, compress_level=1)

    return work


def write_photo(name: str, long_side: int, path: Path) -> Path:
    """A photo as JPEG."""
    Image.fromarray(photo(name, long_side)).save(path, quality=92)
    return path


def network_cost(name: NetworkName) -> dict[str, float]:
    """Parameters, and GFLOP of a 256 px transfer with the decoder's pictures, deepct's and the literal one.

    Multiplications and additions apart, as torch's counter has them: convolutions and matrix products.
    """
    network = build_network(network_config(name)).eval()
    batch = pair()
    cost = {
        "parameters": count_parameters(network),
        "gflop": count_gflop(lambda: network(batch.source, batch.reference)),
    }
    if isinstance(network, ColorTransferNetwork) and network.config.stride == 1:
        cost["literal_gflop"] = count_gflop(lambda: literal_transfer(network, batch.source, batch.reference))
    return cost


def write_collection(folder: Path, scenes: int = 2) -> Path:
    """Scenes of 12 megapixels in FiveK's layout, with label maps."""
    for scene, name in enumerate(("coffee", "rocket", "astronaut", "chelsea")[:scenes]):
        pixels = photo(name, 4240)
        for version in (SOURCE, *LOOKS):
            (folder / version).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / version / f"{scene}.jpg", quality=92)
        labels = pair(256, 8).source_labels[0].numpy()
        (folder / AUTO_MASKS).mkdir(exist_ok=True)
        Image.fromarray(labels).resize((429, 286), Image.Resampling.NEAREST).save(folder / AUTO_MASKS / f"{scene}.png")
    return folder


def load_samples(literal: bool, root: str, count: int) -> Work:
    """Read training samples in one process, on one core; gives the bytes of the last one's tensors."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    pairs = make_pairs(fivek_scenes(root, AUTO_MASKS))
    data: Any = LiteralDataset(pairs) if literal else PairDataset(pairs, augment=True, label_share=1.0)

    def work() -> int:
        for index in range(count):
            sample = data[index % len(data)]
        return sum(value.numel() * value.element_size() for value in sample.values() if isinstance(value, Tensor))

    return work
