"""Measure deepct beside the method as it is written and beside what a user would take instead: ``make bench``.

Everything is measured in one run, each piece in a process of its own, and kept as JSON under the hardware's name. The
figures of interest are ratios: machines are shared, and absolute times drift.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import cases, labelling
from benchmarks.logged import logging_cost
from benchmarks.measure import measure_command, together
from benchmarks.page import write_page
from benchmarks.quality import compare_sizes
from deepct.evaluation.cost import Measurement, measure, name_processor
from deepct.networks import WORKING_SIZE

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[2] / "docs"
PIXELS = (256, 512, 1024, 2048, 4096, 8192, 12248)
LIMITS = {"literal": 1024, "student": 1024, "hm-mkl-hm": 8192}
"""The longest side, px, at which a method is measured: beyond it takes more memory than this machine may have."""
FIGURES = ("seconds", "spread", "peak_mib")
"""What is kept of a measurement."""

Row = dict[str, Any]


def row(what: str, method: str, measured: Measurement, **more: Any) -> Row:
    """One line of the results."""
    figures = {key: round(value, 4) for key, value in measured._asdict().items() if key in FIGURES}
    print(f"{what:34} {method:28} {measured.seconds:9.3f} s  {measured.peak_mib:8.0f} MiB  x{measured.spread:.2f}")
    return {"what": what, "method": method, **figures, **more}


def networks(folder: Path) -> Iterator[Row]:
    """Parameters and operations."""
    for name in ("teacher", "student", "student-fast", "student-map"):
        yield {"what": "network", "method": name, **cases.network_cost(name)}


def losses(folder: Path) -> Iterator[Row]:
    """The histogram loss of one 256 px picture."""
    for literal, method in ((True, "literal"), (False, "deepct")):
        yield row("histogram loss, 256 px", method, measure(cases.soft_histogram_loss, literal, repeats=7))


def steps(folder: Path) -> Iterator[Row]:
    """Distillation at 256 px."""
    for literal, method in ((True, "literal"), (False, "deepct")):
        measured = measure(cases.distillation_step, literal, repeats=2 if literal else 5, warm=not literal)
        yield row("distillation step, 256 px", method, measured)
    yield row(
        "distillation step, 256 px", "deepct, fast student", measure(cases.distillation_step, False, "student-fast")
    )
    yield row("student alone, 256 px", "literal", measure(cases.student_step, True, repeats=2, warm=False))
    yield row("student alone, 256 px", "deepct", measure(cases.student_step, False))
    measured = measure(cases.student_step, False, "student-fast", repeats=9)
    yield row("student alone, 256 px", "deepct, fast student", measured)


def logging(folder: Path) -> Iterator[Row]:
    """What logging costs a step, with CSV and W&B at once: as often as the configurations say."""
    for config, size, batch, every in (
        ("demo/teacher", 64, 4, 5),
        ("demo/student", 64, 4, 5),
        ("student-map", 40, 32, 50),
    ):
        measured = measure(logging_cost, config, size, batch, every, repeats=1, warm=False)
        what = f"{config}, {batch} x {size} px, logged every {every} steps"
        step = measured._replace(seconds=measured.result["seconds"])
        print(f"{measured.result['ratio'] - 1:+.1%} by logging")
        yield row(what, "step with logging", step, logging_ratio=measured.result["ratio"])


def execution(folder: Path) -> Iterator[Row]:
    """What the switches bring here: channels last, bfloat16, torch.compile."""
    for name in ("student", "student-fast"):
        for method, channels_last, half, fused in (
            ("as it is", False, False, False),
            ("channels last", True, False, False),
            ("bfloat16", False, True, False),
            ("both", True, True, False),
            ("compiled", False, False, True),
        ):
            measured = measure(cases.student_step, False, name, channels_last, half, fused, repeats=5)
            yield row(f"{name} step, 256 px", method, measured)


def gpu(folder: Path) -> Iterator[Row]:
    """A GPU in bfloat16, where there is one: training throughput, and prediction there and back."""
    if not torch.cuda.is_available():
        return
    for name in ("teacher", "student", "student-fast"):
        for photos in (8, 32):
            for channels_last in (False, True):
                measured = measure(cases.training_step, name, photos, "cuda", channels_last, repeats=10)
                method = f"{name}, channels last" if channels_last else name
                speed = {"photos_per_second": photos / measured.seconds, "device_mib": measured.result}
                yield row(f"training step, {photos} x 256 px", method, measured, **speed)
    for long_side in PIXELS:
        measured = measure(cases.recolor_on_gpu, long_side, repeats=5)
        pixels = long_side * round(long_side / 1.5)
        yield row(f"recolour {long_side} px", "student-fast on GPU", measured, pixels=pixels)


def loader(folder: Path) -> Iterator[Row]:
    """Training samples of 12-megapixel scenes, full size and prepared."""
    from deepct.data.prepare import prepare

    original = cases.write_collection(folder / "original")
    start = time.perf_counter()
    prepare(str(original), str(folder / "prepared"))
    seconds = time.perf_counter() - start
    yield row("preparing 2 scenes", "deepct prepare", Measurement(seconds, 1.0, 0.0, None))
    for method, literal, root, count in (
        ("literal", True, original, 6),
        ("deepct, full-size files", False, original, 40),
        ("deepct, prepared", False, folder / "prepared", 400),
    ):
        measured = measure(cases.load_samples, literal, str(root), count)
        yield row(
            f"samples x {count}", method, measured, per_second=count / measured.seconds, sample_bytes=measured.result
        )


def prediction(folder: Path) -> Iterator[Row]:
    """From photo to photo in memory, over sizes."""
    methods = ("literal", "student", "student-fast", "student-map", "mkl", "hm-mkl-hm")
    for long_side in PIXELS:
        for method in methods:
            if long_side > LIMITS.get(method, long_side):
                continue
            slow = long_side > 4096 or (method == "literal" and long_side > 512)
            measured = measure(cases.recolor, method, long_side, repeats=1 if slow else 3, warm=not slow)
            pixels = long_side * round(long_side / 1.5)
            yield row(f"recolour {long_side} px", method, measured, pixels=pixels)


def labels(folder: Path) -> Iterator[Row]:
    """The same over the number of labels."""
    for count in (0, 1, 8, 32, 128):
        measured = measure(cases.recolor, "student-fast", 1024, count, repeats=5)
        yield row("recolour 1024 px", f"{count} labels", measured, labels=count)


def masks(folder: Path) -> Iterator[Row]:
    """Label maps by a narrow BEiT, and where there is a GPU by the real base, both of random weights."""
    small, large = (
        labelling.write_photos(folder / "small", 100, 768),
        labelling.write_photos(folder / "large", 10, 3000),
    )
    works = [("768 x 512 px", small, labelling.SMALL, "cpu"), ("3000 x 2000 px", large, labelling.SMALL, "cpu")]
    if torch.cuda.is_available():
        works += [(f"{size}, base on GPU", photos, labelling.BASE, "cuda") for size, photos, *_ in works]
    for name, photos, sizes, device in works:
        place = folder / name
        place.mkdir()
        checkpoint = labelling.write_model(place, sizes)
        paths = [str(path) for path in (photos, checkpoint, place)]
        count = len([*photos.iterdir()])
        measured = {
            ours: measure(labelling.label, ours, *paths, device, repeats=1, warm=False) for ours in (False, True)
        }
        shared = labelling.agreement(measured[True].result, measured[False].result)
        print(f"{shared:.4%} of the labels alike")
        for ours, method in ((False, "MMSegmentation's loop"), (True, "deepct masks")):
            speed = {"photos_per_second": count / measured[ours].seconds, "agreement": shared}
            yield row(f"label {count} photos, {name}", method, measured[ours], **speed)


def files(folder: Path) -> Iterator[Row]:
    """From a JPEG to a PNG: in a process that runs already, as for each photo of a folder, and with its start."""
    reference = cases.write_photo("rocket", 1024, folder / "reference.jpg")
    for megapixels, long_side in ((24, 6000), (100, 12248)):
        source, result = cases.write_photo("coffee", long_side, folder / f"{megapixels}.jpg"), folder / "result.png"
        methods = ("student-map", "mkl", "hm-mkl-hm") if megapixels == 24 else ("student-map", "mkl")
        for method in methods:
            measured = measure(cases.file_to_file, method, str(source), str(reference), str(result))
            yield row(f"file to file, {megapixels} MP", method, measured, pixels=megapixels * 1e6)
        predict = [sys.executable, "-m", "deepct.cli", "predict"]
        predict += ["--data.source", source, "--data.reference", reference]
        predict += ["--output", folder / f"out-{megapixels}"]
        paths = [str(path) for path in (source, reference, result)]
        script = [
            sys.executable,
            "-c",
            f"from benchmarks.scripted import recolor; recolor(*{paths!r})",
        ]
        match = [sys.executable, "-c", f"from benchmarks.matched import match_files; match_files('mkl', *{paths!r})"]
        rounds = [[measure_command([*map(str, words)], folder) for words in (predict, script, match)] for _ in range(3)]
        kinds = (("deepct predict", "student-map"), ("Python script", "student-map"), ("Python script", "mkl"))
        for (what, method), runs in zip(kinds, zip(*rounds, strict=True), strict=True):
            yield row(f"{what}, {megapixels} MP", method, together(runs), pixels=megapixels * 1e6)


def hardware() -> Row:
    """What it ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": name_processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "working_size": WORKING_SIZE,
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> None:
    """Run the sections that are asked for, all by default, and write results and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    sections: dict[str, Callable[..., Iterator[Row]]] = {
        "networks": networks,
        "losses": losses,
        "loader": loader,
        "files": files,
        "steps": steps,
        "prediction": prediction,
        "labels": labels,
        "masks": masks,
        "logging": logging,
        "execution": execution,
        "gpu": gpu,
    }
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(sections)}; all by default")
    parser.add_argument("--checkpoint", type=Path, help="a trained student: adds the any-size path's quality")
    parser.add_argument("--photos", type=Path, help="real photos for that, of 2 megapixels or more")
    arguments = parser.parse_args()
    chosen = arguments.sections or list(sections)
    unknown = {*chosen} - {*sections}
    if unknown or bool(arguments.checkpoint) != bool(arguments.photos):
        parser.error(f"no section {', '.join(unknown)}" if unknown else "give --checkpoint and --photos, or neither")
    results = {}
    for section in chosen:
        print(f"-- {section}: {(sections[section].__doc__ or '').splitlines()[0]}")
        with tempfile.TemporaryDirectory() as folder:
            results[section] = list(sections[section](Path(folder)))
    if arguments.checkpoint:
        results["quality"] = list(compare_sizes(arguments.checkpoint, arguments.photos))
    if len(chosen) < len(sections):  # figures of several runs are not mixed
        return
    machine = hardware()
    name = f"{machine['device'] or machine['processor']} {machine['cores']} cores".lower().replace(" ", "-")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"hardware": machine, "results": results}, indent=1) + "\n")
    write_page(machine, results, DOCS)
    print(f"results: {path}, {DOCS / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
