"""deepct masks: files, names, folders; every accident; and the same files however it is run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from official_beit import write_official
from PIL import Image

from deepct.cli import main
from deepct.data.image import photo_size, read_photo, to_planes
from deepct.data.masks import check_aspect, find_mask, read_mask, resize_labels

pytest.importorskip("mmseg", reason="needs deepct[masks]")

from deepct.segmentation import Segmenter
from deepct.segmentation.store import MaskFolder

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    grains = np.random.default_rng(seed).integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(grains).resize((width, height), Image.Resampling.BICUBIC))


def save(pixels: NDArray[np.uint8], path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def make_photos(root: Path) -> dict[str, tuple[int, int]]:
    """Twelve photos in three folders, two of one name, one turned by its EXIF; their upright sizes."""
    turned = Image.Exif()
    turned[0x0112] = 6
    save(photo(150, 100, 1), root / "day" / "b.JPG", format="JPEG", exif=turned)
    save(photo(300, 200, 2), root / "day" / "one" / "a.png")
    save(photo(90, 700, 3), root / "long.webp")
    save(photo(60, 50, 4), root / "day" / "a.tif")
    for index in range(8):
        save(photo(100, 150, 10 + index), root / ("a.jpg" if index == 0 else f"night/{index}.jpg"), quality=90)
    sizes = {"day/b": (100, 150), "day/one/a": (300, 200), "long": (90, 700), "day/a": (60, 50), "a": (100, 150)}
    return sizes | {f"night/{index}": (100, 150) for index in range(1, 8)}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """For a model as small as this, threads wait for each other more than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("tiny") / "tiny.pth")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "masks"


def words(photos: Path, out: Path, checkpoint: Path, *more: Any) -> list[str]:
    given = ["masks", "--input", photos, "--output", out, "--checkpoint", checkpoint, "--max-size", 200, *more]
    return [str(word) for word in given]


def masks(photos: Path, out: Path, checkpoint: Path, *more: Any) -> int:
    return main(words(photos, out, checkpoint, "--workers", 0, "--accelerator", "cpu", *more))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is written


def test_every_photo_gets_a_palette_png_in_a_tree_like_the_inputs(
    tmp_path: Path, out: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = make_photos(tmp_path / "photos")
    assert masks(tmp_path / "photos", out, tiny) == 0
    assert {*contents(out)} == {"masks.json", *(f"{name}.png" for name in sizes)}
    segmenter = Segmenter.load(tiny)
    varied = 0
    for name, (height, width) in sizes.items():
        with Image.open(out / f"{name}.png") as image:
            assert image.mode == "P"
            assert image.getpalette()[:9] == [120, 120, 120, 180, 120, 120, 6, 230, 230]
            assert image.getpalette()[450:] == [0] * (3 * 256 - 450)
        labels = read_mask(out / f"{name}.png")
        assert labels.shape == (height, width) if max(height, width) <= 200 else 190 <= max(labels.shape) <= 200
        (source,) = (tmp_path / "photos").glob(f"{name}.*")
        check_aspect(out / f"{name}.png", labels.shape, source, (height, width))
        assert photo_size(source) == (height, width)
        assert find_mask(out / Path(name).parent, source.stem) == out / f"{name}.png"
        own = segmenter.segment(to_planes(read_photo(source)))[0].numpy()
        assert (resize_labels(own, labels.shape) == labels).mean() > 0.95  # those decoded at half size differ a little
        varied += len(np.unique(labels)) > 2
    assert varied > len(sizes) / 2
    assert (out / "a.png").read_bytes() != (out / "day" / "a.png").read_bytes()
    printed = capsys.readouterr().out
    assert "12 label maps written" in printed
    assert "photos a second" in printed


def test_masks_json_says_what_they_are(photos: Path, out: Path, tiny: Path) -> None:
    import hashlib

    assert masks(photos, out, tiny) == 0
    said = json.loads((out / "masks.json").read_text())
    assert said["sha256"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert said["checkpoint"] == "tiny.pth"
    assert said["model"] == "BEiT 16 x 4 with UPerNet, windows of 64 px"
    assert (len(said["classes"]), said["classes"][2], said["classes"][7]) == (150, "sky", "bed")
    assert (said["none"], said["max_size"]) == (255, 200)
    assert said["network_size"] == {"scale": [256, 64], "keep_ratio": True}
    assert "indices into classes, counted from 0" in said["convention"]


def test_label_maps_may_lie_among_the_photos(photos: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As data layouts have them: in a folder masks."""
    assert masks(photos, photos / "masks", tiny) == 0
    assert masks(photos, photos / "masks", tiny) == 0
    assert masks(photos, photos / "others", tiny, "--max_size", 50) == 0
    printed = capsys.readouterr().out
    assert printed.count("12 photos") == 3
    assert {*contents(photos / "masks")} == {*contents(photos / "others")}


# Going on


def test_a_second_run_computes_nothing(
    photos: Path, out: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert masks(photos, out, tiny) == 0
    monkeypatch.setattr("deepct.segmentation.jobs.read_photo", lambda *_: pytest.fail("read again"))
    assert masks(photos, out, tiny) == 0
    assert "12 label maps are there" in capsys.readouterr().out


def test_what_is_missing_broken_or_of_another_size_is_made_again_and_nothing_else(
    photos: Path, out: Path, tiny: Path
) -> None:
    assert masks(photos, out, tiny) == 0
    whole = contents(out)
    (out / "day" / "b.png").unlink()
    (out / "night" / "3.png").write_bytes(whole["night/3.png"][:-30])
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(out / "a.png")
    (out / "night" / ".4.png.9999999.part").write_bytes(b"of a run that was killed")
    (out / "night" / "4.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in (out / "night" / "1.png", out / "long.png")}
    assert masks(photos, out, tiny) == 0
    assert contents(out) == whole
    assert {path: path.stat().st_mtime_ns for path in before} == before


SLOWLY = """
import sys, time
from deepct.segmentation.store import MaskFolder
write = MaskFolder.write
def write_slowly(*args):
    write(*args)
    time.sleep(0.3)
MaskFolder.write = write_slowly
from deepct.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on_and_ends_as_one_run_does(
    photos: Path, out: Path, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert masks(photos, tmp_path / "one run", tiny) == 0
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", SLOWLY, *words(photos, out, tiny, "--workers", 1, "--accelerator", "cpu")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        for _ in range(6000):
            if len([*out.rglob("*.png")]) >= 3 or process.poll() is not None:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = [*out.rglob("*.png")]
    assert 3 <= len(there) < 12, (tmp_path / "log").read_text()
    before = {path: path.stat().st_mtime_ns for path in there}
    capsys.readouterr()
    assert masks(photos, out, tiny) == 0
    assert f"{12 - len(there)} label maps written" in capsys.readouterr().out
    assert contents(out) == contents(tmp_path / "one run")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_two_processes_write_what_one_does(photos: Path, out: Path, tmp_path: Path, tiny: Path) -> None:
    for name in ("night/2.jpg", "night/5.jpg"):
        broken = photos / name
        broken.write_bytes(broken.read_bytes()[:900])
    assert masks(photos, tmp_path / "one", tiny, "--batch_size", 2) == 1
    more = ["--workers", 1, "--accelerator", "cpu", "--devices", 2, "--batch_size", 2]
    command = [sys.executable, "-m", "deepct.cli", *words(photos, out, tiny, *more)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 1, process.stderr
    assert contents(out) == contents(tmp_path / "one")
    assert len(contents(out)) == 1 + 10
    assert process.stdout.count("10 label maps written") == 1
    assert "2 failed" in process.stdout
    assert all(process.stdout.count(f"{photos / f'night/{index}.jpg'}: cannot be read") == 1 for index in (2, 5))


def test_processes_share_batches_none_twice_and_none_lost(photos: Path, out: Path, tiny: Path) -> None:
    """More processes than batches too: some get none."""
    from types import SimpleNamespace

    from deepct.segmentation.jobs import find_photos, make_plan
    from deepct.segmentation.precompute import MaskData

    segmenter = Segmenter.load(tiny)
    folder = MaskFolder(out, segmenter.description, 200)
    plan = make_plan(find_photos(photos, out), photos, folder, segmenter.network_size, 4)
    assert [len(batch) for batch in plan.batches].count(4) == 2
    for size in (1, 2, 3, 16):
        dealt = []
        for rank in range(size):
            data = MaskData(plan.batches if rank == 0 else [], 0)
            strategy = SimpleNamespace(broadcast=lambda _: plan.batches)
            data.trainer = SimpleNamespace(strategy=strategy, global_rank=rank, world_size=size)  # type: ignore[assignment]
            data.setup("predict")
            dealt += [job.photo for batch in data.batches for job in batch]
        assert len(dealt) == len({*dealt}) == 12


def test_half_precision_changes_few_labels(photos: Path, out: Path, tmp_path: Path, tiny: Path) -> None:
    assert masks(photos, tmp_path / "full", tiny) == 0
    assert masks(photos, out, tiny, "--precision", "bf16-mixed") == 0
    shares = [(read_mask(path) == read_mask(out / path.name)).mean() for path in (tmp_path / "full").glob("*.png")]
    assert 0.8 < np.mean(shares) < 1  # of weights that are random, and so undecided


# Bad files among good ones


def test_photos_that_cannot_be_read_are_listed_and_the_rest_is_done(
    photos: Path, out: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (photos / "night" / "2.jpg").read_bytes()
    (photos / "night" / "2.jpg").write_bytes(whole[:900])  # its header is fine
    (photos / "night" / "text.jpg").write_text("no photo")
    assert masks(photos, out, tiny) == 1
    printed = capsys.readouterr().out
    assert "2 failed:" in printed
    assert f"{photos / 'night' / '2.jpg'}: cannot be read as a photo" in printed
    assert f"{photos / 'night' / 'text.jpg'}: cannot be read as a photo" in printed
    assert len([*out.rglob("*.png")]) == 11
    (photos / "night" / "2.jpg").write_bytes(whole)
    (photos / "night" / "text.jpg").unlink()
    assert masks(photos, out, tiny) == 0
    assert len([*out.rglob("*.png")]) == 12


def test_a_batch_of_bad_photos_is_no_trouble(tmp_path: Path, out: Path, tiny: Path) -> None:
    for name in ("a", "b"):
        path = save(photo(100, 150), tmp_path / "photos" / f"{name}.jpg")
        path.write_bytes(path.read_bytes()[:900])
    assert masks(tmp_path / "photos", out, tiny) == 1
    assert not [*out.rglob("*.png")]


def test_a_full_disk_stops_the_run_and_says_so(
    photos: Path, out: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert masks(photos, out, tiny) == 2
    assert f"{out}: cannot be written ([Errno 28] No space left on device)" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    photos: Path, out: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("deepct.segmentation.precompute.MaskMaker.predict_step", stop)
        handler = signal.getsignal(signal.SIGINT)
        assert masks(photos, out, tiny) == 2
        signal.signal(signal.SIGINT, handler)
    assert "the same command goes on from here" in capsys.readouterr().err
    assert masks(photos, out, tiny) == 0


# What is refused before anything is written


def test_a_folder_goes_on_with_its_own_model_and_settings_only(
    photos: Path, out: Path, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert masks(photos, out, tiny) == 0
    before = contents(out)
    assert masks(photos, out, write_official(tmp_path / "tiny.pth", seed=1)) == 2
    assert "were made with sha256 " in capsys.readouterr().err
    assert masks(photos, out, tiny, "--max_size", 100) == 2
    assert "were made with max_size 200 and not 100; give another --output" in capsys.readouterr().err
    (tmp_path / "renamed.pth").write_bytes(tiny.read_bytes())
    assert masks(photos, out, tmp_path / "renamed.pth") == 0
    assert contents(out) == before


def test_equal_stems_in_one_folder_are_named(
    photos: Path, out: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(photo(60, 60), photos / "night" / "3.png")
    assert masks(photos, out, tiny) == 2
    assert f"{photos / 'night'}: 3.jpg and 3.png share one stem" in capsys.readouterr().err
    assert not out.exists()


def test_places_that_cannot_be_used_are_named(
    photos: Path, out: Path, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, target, message in (
        (tmp_path / "nowhere", out, "nowhere: there is no such folder; --input"),
        (empty, out, "no photo found in it and below"),
        (photos, photos, "holds the photos; give --output another folder"),
        (photos, photos / "night", "is not empty and holds no masks.json"),
        (photos, tiny, "cannot be read or written"),
    ):
        assert masks(source, target, tiny) == 2
        assert message in capsys.readouterr().err
    out.mkdir()
    for text in ("{", "[]"):
        (out / "masks.json").write_text(text)
        assert masks(photos, out, tiny) == 2
        assert "masks.json: cannot be read or written" in capsys.readouterr().err


def test_settings_that_cannot_be_are_named(
    photos: Path, out: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag, value, message in (
        ("--max_size", 0, "give 1, 1 and 0 or more"),
        ("--batch_size", 0, "give 1, 1 and 0 or more"),
        ("--workers", -1, "give 1, 1 and 0 or more"),
        ("--sha256", "00", "its SHA-256 is"),
        ("--devices", 0, "to run on what is here: --accelerator auto"),
        ("--checkpoint", "none.pth", "none.pth: cannot be read"),
    ):
        assert masks(photos, out, tiny, flag, value) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()


def test_without_the_extra_the_command_says_what_to_install(
    photos: Path, out: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deepct.segmentation.backend.find_spec", lambda name: None)
    assert masks(photos, out, tiny) == 2
    message = capsys.readouterr().err
    assert "pip install 'deepct[masks]'" in message
    assert "onedl-mmsegmentation" in message


def test_the_commands_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["masks", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for part in ("deepct masks", "--input", "--config", "--sha256", "--max_size", "--devices", "--precision", "768"):
        assert part in printed


def test_mmsegmentation_is_imported_by_no_other_command() -> None:
    imports = "import sys, deepct.cli, deepct.api, deepct.runner, deepct.segmentation.precompute"
    code = f"{imports}; deepct.cli.main(['--help']); sys.exit('mmseg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not (SHARED / "bsds_val").is_dir(), reason="needs the photos that development has")
def test_real_photos(tmp_path: Path, out: Path, tiny: Path) -> None:
    real = [*sorted((SHARED / "bsds_val").glob("*.*"))[:6], *sorted((SHARED / "fivek" / "raw").glob("*.*"))[:1]]
    for index, path in enumerate(real):
        folder = tmp_path / "photos" / str(index % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path)
    assert masks(tmp_path / "photos", out, tiny) == 0
    for index, path in enumerate(real):
        labels = read_mask(out / str(index % 2) / f"{path.stem}.png")
        check_aspect(out, labels.shape, path, photo_size(path))
        assert len(np.unique(labels)) > 1
