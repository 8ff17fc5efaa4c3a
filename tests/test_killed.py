"""Runs that are killed at any moment, and runs that last."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official_beit import write_official
from PIL import Image

ROOT = Path(__file__).parents[1]
FAST = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


def make_photos(folder: Path, count: int, side: int = 96) -> Path:
    """Photos of which some are names of one file."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / f"{index:04d}.jpg"
        if index < 20:
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
        else:
            path.hardlink_to(folder / f"{index % 20:04d}.jpg")
    return folder


def predict_words(root: Path, *more: Any) -> list[str]:
    given = ["--data.source", root / "photos", "--data.reference", root / "photos" / "0000.jpg"]
    return ["predict", *map(str, [*given, "--output", root / "out", *FAST, *more])]


def mask_words(root: Path) -> list[str]:
    given = ["--input", root / "photos", "--output", root / "out", "--checkpoint", root / "tiny.pth"]
    return ["masks", *map(str, [*given, "--accelerator", "cpu", "--max-size", 96, "--workers", 1])]


def start(words: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "deepct.cli", *words], cwd=ROOT, stdout=file, stderr=file)


def pictures(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.png") if not path.name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("command", ["predict", "masks"])
def test_a_killed_run_leaves_whole_pictures_and_the_next_one_ends_it(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    count = 60
    make_photos(tmp_path / "photos", count)
    if command == "masks":
        pytest.importorskip("mmseg", reason="needs deepct[masks]")
        write_official(tmp_path / "tiny.pth")
    words = predict_words(tmp_path) if command == "predict" else mask_words(tmp_path)
    out, log, stopped = tmp_path / "out", tmp_path / "log", 0
    for moment in (1, 15):
        if out.exists():
            for path in pictures(out):
                path.unlink()
        process = start(words, log)
        deadline = time.monotonic() + 120
        while len(pictures(out)) < moment and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        assert process.wait(30) in (-number, 0), log.read_text()
        found = pictures(out)
        stopped += moment <= len(found) < count
        for path in found:
            with Image.open(path) as image:
                image.load()
    assert stopped
    (out / ".left.png.9999999.part").write_bytes(b"half")
    (out / ".0001__0000.png.9999998.part").write_bytes(b"half")
    assert start(words, log).wait(120) == 0, log.read_text()
    assert len(pictures(out)) == count
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]


def test_processes_write_each_photo_once(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 11)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    flags = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-m", "deepct.cli", *predict_words(tmp_path, *flags)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("11 photos written") == 1
    assert done.stdout.count("1 failed:") == done.stdout.count("broken.jpg") == 1
    assert len(pictures(tmp_path / "out")) == len([*(tmp_path / "out").iterdir()]) == 11


@pytest.mark.parametrize("command", ["predict", "masks"])
def test_there_may_be_fewer_photos_than_processes(tmp_path: Path, command: str) -> None:
    make_photos(tmp_path / "photos", 1)
    words = predict_words(tmp_path, "--trainer.devices", "2", "--trainer.strategy", "ddp")
    if command == "masks":
        pytest.importorskip("mmseg", reason="needs deepct[masks]")
        write_official(tmp_path / "tiny.pth")
        words = [*mask_words(tmp_path), "--devices", "2"]
    done = start(words, tmp_path / "log").wait(120)
    assert done == 0, (tmp_path / "log").read_text()
    assert len(pictures(tmp_path / "out")) == 1


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [deeper for child in task.read_text().split() for deeper in family(int(child))]
    return found


def sample(pid: int) -> tuple[float, int]:
    """Memory that the processes hold, MiB, and files that they have open."""
    memory, files = 0.0, 0
    for member in family(pid):
        pages = int(Path(f"/proc/{member}/statm").read_text().split()[1])
        memory += pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        files += len([*Path(f"/proc/{member}/fd").iterdir()])
    return memory, files


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.soak)])
def test_memory_and_open_files_stay_what_they_were(tmp_path: Path, count: int) -> None:
    make_photos(tmp_path / "photos", count)
    process = start(predict_words(tmp_path), tmp_path / "log")
    samples: list[tuple[int, float, int]] = []
    while process.poll() is None:
        try:
            samples.append((len(pictures(tmp_path / "out")), *sample(process.pid)))
        except OSError:  # a process ended meanwhile
            continue
        time.sleep(0.1)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert len(pictures(tmp_path / "out")) == count
    steady = [(memory, files) for written, memory, files in samples if 50 <= written < count - 20]
    assert len(steady) > 10
    memories, files = zip(*steady, strict=True)
    tenth = max(3, len(steady) // 10)
    first, last = np.median(memories[:tenth]), np.median(memories[-tenth:])
    print(f"{count} photos: {first:.0f} MiB after 50, {last:.0f} at the end, {max(memories):.0f} at most")
    print(f"open files: {min(files)} to {max(files)}")
    assert last < 1.05 * first
    assert np.median(files[-tenth:]) <= np.median(files[:tenth])
