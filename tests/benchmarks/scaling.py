"""What docs/scaling.md says, calculated: ``PYTHONPATH=tests python -m benchmarks.scaling`` prints its tables.

Nothing here is measured; what was measured elsewhere is named as such. A step is one batch on each device, forward and
backward of what is trained, forward alone of a frozen teacher, then the gradients' exchange by a ring.
"""

from collections.abc import Sequence
from typing import NamedTuple

BACKWARD = 3.0  # a training step over a forward pass: the gradients by activations and by weights cost one each
PEAK = 149.7e12  # FLOP/s of an A40's tensor cores in half precision, dense, by its data sheet
SINGLE = 37.4e12  # likewise in single precision, in which the maps are trained
UTILISATION = 0.25  # of that peak: assumed; networks of small convolutions reach less
BYTES = 4  # of a gradient: DDP exchanges what is kept in single precision
OVERLAP = 0.5  # share of the exchange that hides behind the backward pass: assumed
LINK_USE = 0.8  # of a link's nominal rate: assumed
PREPARED, FULL_SIZE = 451.0, 27.0  # samples a second and core, measured: docs/benchmarks.md
SAMPLE_FILES = 2 * 30e3  # bytes read for a sample of prepared photos: two JPEGs of 286 px, some 30 kB each (assumed)
FULL_FILES = 2 * 5e6  # two full-size JPEGs (assumed)


class Training(NamedTuple):
    """One configuration: parameters that are trained, and FLOPs of 256 px transfers, both from the README.

    ``batch`` is the pairs of a device and step, as in the configurations.
    """

    name: str
    parameters: float
    own: float
    teacher: float = 0.0
    batch: int = 8
    peak: float = PEAK

    @property
    def flops(self) -> float:
        """Of a step on one device."""
        return self.batch * (BACKWARD * self.own + self.teacher)

    @property
    def seconds(self) -> float:
        """Of a step on one device, without any exchange."""
        return self.flops / (self.peak * UTILISATION)

    @property
    def backward(self) -> float:
        """Of these, those of the backward pass, behind which the exchange can hide."""
        return self.batch * (BACKWARD - 1) * self.own / (self.peak * UTILISATION)


class Link(NamedTuple):
    """What gradients go over between neighbours of the ring, bytes a second in one direction."""

    name: str
    rate: float


TRAININGS = (
    Training("teacher", 40.9e6, 225e9),
    Training("student", 10.8e6, 132e9, 225e9),
    Training("student-fast", 2.0e6, 3.6e9, 225e9),
    Training("teacher-map", 1.3e6, 1.8e9, batch=32, peak=SINGLE),
    Training("student-map", 0.73e6, 0.9e9, 1.8e9, 32, SINGLE),
)
NVLINK = Link("NVLink bridge", 56.25e9)  # joins two A40, no more
LINKS = (
    Link("PCIe 4.0 x16", 31.5e9),
    Link("100 Gb/s", 12.5e9),
    Link("25 Gb/s", 3.125e9),
    Link("10 Gb/s", 1.25e9),
)


def exchanged(training: Training, devices: int) -> float:
    """Bytes that each device sends in a step: a ring sends 2 (n - 1) / n of the gradients."""
    return 2 * (devices - 1) / devices * training.parameters * BYTES


def efficiency(training: Training, devices: int, rate: float) -> float:
    """The share of its time that a device computes, where the ring's slowest link has this rate.

    A ring through all devices enters and leaves a node once, so a node's link carries one device's traffic.
    """
    exchange = exchanged(training, devices) / (rate * LINK_USE)
    return training.seconds / (training.seconds + max(0.0, exchange - OVERLAP * training.backward))


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    return "\n".join([row(*headings), row(*["---"] * len(headings)), *(row(*cells) for cells in rows)])


def steps() -> str:
    """Work and traffic of a step."""
    headings = ["training", "TFLOP a step", "step, ms", "samples a second", "gradients, MB", "sent, of 8, MB"]
    return table(
        headings,
        [
            [
                t.name,
                f"{t.flops / 1e12:.2f}",
                f"{1e3 * t.seconds:.1f}",
                f"{t.batch / t.seconds:.0f}",
                f"{t.parameters * BYTES / 1e6:.1f}",
                f"{exchanged(t, 8) / 1e6:.1f}",
            ]
            for t in TRAININGS
        ],
    )


def links(devices: int, over: Sequence[Link] = LINKS) -> str:
    """How long the exchange takes over each link, and the share of the time that is left to compute."""

    def cell(training: Training, link: Link) -> str:
        seconds = exchanged(training, devices) / (link.rate * LINK_USE)
        return f"{1e3 * seconds:.1f} ms, {efficiency(training, devices, link.rate):.0%}"

    return table(
        ["training", *(link.name for link in over)], [[t.name, *(cell(t, k) for k in over)] for t in TRAININGS]
    )


def loading(devices: int) -> str:
    """What the loader and the disk must give."""
    headings = [
        "training",
        "samples a second",
        "cores, prepared",
        "cores, full size",
        "MB/s, prepared",
        "MB/s, full size",
    ]
    cells = []
    for t in TRAININGS:
        samples = devices * t.batch / t.seconds
        cells.append(
            [
                t.name,
                f"{samples:.0f}",
                f"{samples / PREPARED:.1f}",
                f"{samples / FULL_SIZE:.0f}",
                f"{samples * SAMPLE_FILES / 1e6:.0f}",
                f"{samples * FULL_FILES / 1e6:.0f}",
            ]
        )
    return table(headings, cells)


TABLES = {
    "A step on one A40": steps,
    "The exchange of 2 devices": lambda: links(2, (NVLINK, LINKS[0])),
    "The exchange of 8 devices": lambda: links(8),
    "The exchange of 64 devices": lambda: links(64),
    "What 8 devices read": lambda: loading(8),
}


def main() -> None:
    """Print every table."""
    for title, make in TABLES.items():
        print(f"## {title}\n\n{make()}\n")


if __name__ == "__main__":
    main()
