"""The compact copy: every kind of collection, every accident, and that training reads it."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from camera_files import (
    BLUE,
    GREEN,
    PROPHOTO,
    PROPHOTO_GAMMA,
    RED,
    encode_linear,
    prophoto_to_srgb,
    write_dng,
    write_prophoto,
)
from numpy.typing import NDArray
from PIL import Image

from deepct.cli import main
from deepct.data.datamodule import PairDataModule
from deepct.data.image import average_centre, photo_size, read_centre, read_photo
from deepct.data.masks import read_mask, resize_labels
from deepct.data.pairs import Scene, check_scenes, fivek_scenes, photo_scenes
from deepct.data.pool import work_off
from deepct.data.raw import raw_size, read_raw_centre
from deepct.errors import ImageError

VERSIONS = ("raw", "a", "b", "c", "d", "e")
SHARED = Path(__file__).parents[3] / "shared" / "data" / "fivek"


@pytest.fixture
def fivek(fivek_root: Path, tmp_path: Path) -> Path:
    """A copy of the six scenes that may be broken: raw 102 x 142, experts 100 x 140, label maps 50 x 70."""
    return Path(shutil.copytree(fivek_root, tmp_path / "fivek"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def prepare(root: Path, output: Path, *more: Any) -> int:
    words = ["prepare", "--root", root, "--output", output, "--size", 64, "--workers", 0, *more]
    return main([str(word) for word in words])


def smooth(height: int, width: int, seed: int = 0, grain: int = 12) -> NDArray[np.uint8]:
    """Colour noise whose grains are some ``grain`` px wide."""
    grains = np.random.default_rng(seed).integers(0, 256, (height // grain, width // grain, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(grains).resize((width, height), Image.Resampling.BICUBIC))


def save(photo: NDArray[Any], path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(path, **{"quality": 95, "subsampling": 0, **options})
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path)).astype(int)


# Each kind of collection


def test_fivek_in_six_folders_keeps_its_layout_in_one_size(
    fivek: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(fivek, out) == 0
    scenes = [f"scene{index}" for index in range(6)]
    files = {"prepared.json", *(f"masks/{name}.png" for name in scenes)}
    assert {*contents(out)} == files | {f"{version}/{name}.jpg" for version in VERSIONS for name in scenes}
    for path in [*out.glob("*/*.jpg"), *out.glob("*/*.png")]:
        assert photo_size(path) == (64, 90)
    with Image.open(out / "raw" / "scene0.jpg") as image:
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]  # 4:4:4
    assert json.loads((out / "prepared.json").read_text()) == {"layout": "fivek", "size": 64, "quality": 95}
    printed = capsys.readouterr().out
    assert f"{fivek}: FiveK in six folders, 6 scenes" in printed
    assert f"--data.layout fivek --data.root {out}" in printed


def test_photos_stay_a_plain_folder(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "photos"
    save(smooth(120, 200), root / "wide.jpg")
    save(smooth(300, 128), root / "tall.png")
    labels = np.random.default_rng(0).integers(0, 150, (60, 100), dtype=np.uint8)
    save(labels, root / "masks" / "wide.png")
    assert prepare(root, out) == 0
    assert {*contents(out)} == {"prepared.json", "wide.jpg", "tall.jpg", "masks/wide.png"}
    assert photo_size(out / "wide.jpg") == (64, 107)
    assert photo_size(out / "tall.jpg") == (150, 64)
    np.testing.assert_array_equal(read_mask(out / "masks" / "wide.png"), resize_labels(labels, (64, 107)))
    printed = capsys.readouterr().out
    assert f"{root}: photos, 2 scenes" in printed
    assert f"--data.layout photos --data.root {out}" in printed


def expert_values(scene: int, expert: str) -> NDArray[np.float64]:
    """(300, 400, 3) ProPhoto RGB in [0, 1]: saturated and pale, dark and bright."""
    return (smooth(300, 400, seed=100 * scene + ord(expert)) / 255.0) ** 1.3


@pytest.fixture(params=["raw_photos", "raw", "dng"])
def distributed(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two scenes of FiveK as it is distributed; the raw photos are 4 px larger on each side."""
    pytest.importorskip("rawpy")
    root = tmp_path / "fivek_dataset"
    for scene in range(2):
        folder = root / request.param
        if request.param == "raw_photos":
            folder = folder / f"HQa{scene}to{scene}" / "photos"
        folder.mkdir(parents=True, exist_ok=True)
        write_dng(folder / f"a000{scene}-shot.dng", np.full((308, 408, 3), (0.2, 0.5, 0.1)))
        for expert in "abcde":
            (root / f"tiff16_{expert}").mkdir(exist_ok=True)
            values = np.rint(expert_values(scene, expert) * 65535).astype(np.uint16)
            write_prophoto(root / f"tiff16_{expert}" / f"a000{scene}-shot.tif", values)
    return root


def test_fivek_as_distributed_becomes_srgb(distributed: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(distributed, out, "--quality", 100) == 0
    assert "FiveK as distributed, 2 scenes" in capsys.readouterr().out
    assert {*contents(out)} == {"prepared.json"} | {f"{v}/a000{scene}-shot.jpg" for v in VERSIONS for scene in (0, 1)}
    for scene in (0, 1):
        name = f"a000{scene}-shot.jpg"
        raw = pixels(out / "raw" / name)
        assert raw.shape == (64, 85, 3)
        assert np.abs(raw - encode_linear(np.array((0.2, 0.5, 0.1)))).max() < 2
        for expert in "abcde":
            small = cv2.resize(expert_values(scene, expert), (85, 64), interpolation=cv2.INTER_AREA)
            error = np.abs(pixels(out / expert / name) - prophoto_to_srgb(small))
            assert error.mean() < 1.0  # the JPEG's own included
    module = PairDataModule("fivek", str(out), batch_size=2, size=48, resize=64, num_workers=0)
    module.setup("test")
    assert len(next(iter(module.test_dataloader()))["name"]) == 2


def prophoto_errors(path: Path, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Codes between what is read from a TIFF of these ProPhoto RGB values and floating point throughout."""
    write_prophoto(path, np.rint(values * 65535).astype(np.uint16))
    small = cv2.resize(values, (85, 64), interpolation=cv2.INTER_AREA)
    return np.abs(read_centre(path, (300, 400), (64, 85)) - prophoto_to_srgb(small))


def test_prophoto_of_16_bits_becomes_srgb_within_two_codes(tmp_path: Path) -> None:
    """Measured within sRGB: 0.29 codes on average, most of it the last rounding, and 1.7 at most (a photo: 1.0)."""
    srgb = (10 + 0.92 * smooth(300, 400, grain=40)) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    shares = linear @ np.array((RED, GREEN, BLUE)) @ np.linalg.inv(np.array(PROPHOTO))
    errors = prophoto_errors(tmp_path / "photo.tif", np.clip(shares, 0, 1) ** (1 / PROPHOTO_GAMMA))
    print(f"mean {errors.mean():.3f}, max {errors.max():.2f}")
    assert errors.mean() < 0.35
    assert errors.max() < 2.0


def test_colours_beyond_srgb_are_clipped_within_two_codes_but_for_a_few(tmp_path: Path) -> None:
    """Measured on all of ProPhoto's colours: 0.22 codes on average, 0.8 for 99 %, 2.0 for 99.9 %, and 5.1 at most."""
    errors = prophoto_errors(tmp_path / "photo.tif", expert_values(0, "a"))
    print(f"mean {errors.mean():.3f}, 99 % {np.quantile(errors, 0.99):.2f}, 99.9 % {np.quantile(errors, 0.999):.2f}")
    assert errors.mean() < 0.3
    assert np.quantile(errors, 0.99) < 1.0
    assert np.quantile(errors, 0.999) < 2.5


def test_faint_16_bit_shades_are_averaged_before_they_are_rounded(tmp_path: Path) -> None:
    """Stripes that 8 bits would round to 100 and 101 average to what lies between, for each of two ratios."""
    deep = np.full((64, 64, 3), 100 * 257, np.uint16)
    deep[:32, ::4] += 140  # a quarter of them, just above half a code: 100.14, rounded first 100.25
    deep[32:, ::2] += 257 + 120  # half of them: 100.73, rounded first 100.5
    write_tiff = pytest.importorskip("tifffile").imwrite
    write_tiff(tmp_path / "deep.tif", deep, photometric="rgb")
    small = read_centre(tmp_path / "deep.tif", (64, 64), (8, 8))
    assert {*small[:4].ravel()} == {100}
    assert {*small[4:].ravel()} == {101}


def dng_picture() -> NDArray[np.float64]:
    """(240, 320, 3) linear sRGB: a different colour in each quarter."""
    linear = np.empty((240, 320, 3))
    linear[:120, :160], linear[:120, 160:] = (0.7, 0.3, 0.6), (0.2, 0.5, 0.1)
    linear[120:, :160], linear[120:, 160:] = (0.1, 0.2, 0.6), (0.05, 0.05, 0.05)
    return linear


@pytest.mark.parametrize("size", [240, 100, 60])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (8, 1), (3, 2), (6, 3)])
def test_a_dng_is_developed_under_its_cameras_white_balance_and_upright(
    tmp_path: Path, orientation: int, turns: int, size: int
) -> None:
    pytest.importorskip("rawpy")
    path = tmp_path / "shot.dng"
    write_dng(path, dng_picture(), orientation)
    full = raw_size(path)
    assert full == ((320, 240) if turns % 2 else (240, 320))
    scale = size / 240
    developed = read_raw_centre(path, full, (round(full[0] * scale), round(full[1] * scale)))
    expected = np.rot90(encode_linear(dng_picture()), turns)
    for row, column in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        ours = developed[int(developed.shape[0] * row), int(developed.shape[1] * column)]
        assert np.abs(ours - expected[int(full[0] * row), int(full[1] * column)]).max() < 1.5


def test_a_dng_of_no_great_size_keeps_its_detail(tmp_path: Path) -> None:
    """Stripes of 2 px that lie across the 2 x 2 blocks: as blocks they would all be one grey."""
    pytest.importorskip("rawpy")
    stripes = np.where((np.arange(120) + 1) // 2 % 2, 0.8, 0.05)[None, :, None]
    write_dng(tmp_path / "shot.dng", np.broadcast_to(stripes, (90, 120, 3)))
    assert read_raw_centre(tmp_path / "shot.dng", (90, 120), (90, 120))[20:-20, 20:-20].std(1).min() > 40
    assert read_raw_centre(tmp_path / "shot.dng", (90, 120), (22, 30))[5:-5, 5:-5].std(1).max() < 5


def test_a_broken_dng_is_named(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    path = tmp_path / "shot.dng"
    write_dng(path, dng_picture())
    whole = path.read_bytes()
    path.write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"shot\.dng: cannot be read as a photo"):
        raw_size(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"shot\.dng: cannot be read as a photo"):
        read_raw_centre(path, (240, 320), (60, 80))


def test_without_rawpy_a_dng_says_what_to_install(
    fivek: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (fivek / "raw" / "scene0.jpg").rename(fivek / "raw" / "scene0.dng")
    monkeypatch.setattr("deepct.data.raw.find_spec", lambda name: None)
    assert prepare(fivek, out) == 2
    assert "scene0.dng: reading raw photos needs rawpy: pip install 'deepct[raw]'" in capsys.readouterr().err


# Geometry


def test_versions_lie_on_top_of_each_other_whatever_their_borders(tmp_path: Path, out: Path) -> None:
    """Raw has 5 rows and 7 columns more on each side: no multiple of the fractions at which JPEGs are decoded."""
    scene = smooth(650, 874, grain=30)
    for version in VERSIONS:
        photo = scene if version == "raw" else scene[5:-5, 7:-7]
        save(photo, tmp_path / "fivek" / version / "one.jpg", quality=100)
    assert prepare(tmp_path / "fivek", out, "--quality", 100) == 0
    expected = cv2.resize(scene[5:-5, 7:-7], (86, 64), interpolation=cv2.INTER_AREA).astype(int)
    raw = pixels(out / "raw" / "one.jpg")
    assert raw.shape == expected.shape
    expert = pixels(out / "a" / "one.jpg")
    assert np.abs(raw - expert).mean() < 1.2
    for version in (raw, expert):
        error = np.abs(version - expected).mean()
        for moved in (scene[6:-4, 7:-7], scene[4:-6, 7:-7], scene[5:-5, 8:-6], scene[5:-5, 6:-8]):  # a tenth of a px
            other = cv2.resize(moved, (86, 64), interpolation=cv2.INTER_AREA)
            assert np.abs(version - other).mean() > 2 * error


@pytest.mark.parametrize("fraction", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("full", "crop", "size"),
    [((64, 96), (64, 96), (16, 24)), ((67, 93), (59, 85), (7, 11)), ((64, 88), (41, 70), (5, 8))],
)
def test_areas_end_where_they_should_between_pixels(
    fraction: int, full: tuple[int, int], crop: tuple[int, int], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    reduced = rng.integers(0, 256, (-(-full[0] // fraction), -(-full[1] // fraction), 3)).astype(np.uint8)
    fine = reduced.repeat(fraction, 0).repeat(fraction, 1)[: full[0], : full[1]]
    top, left = ((whole - part) // 2 for whole, part in zip(full, crop, strict=True))
    centre = fine[top : top + crop[0], left : left + crop[1]].astype(float)
    # By definition: each pixel split into size x size equal parts, and their means.
    split = centre.repeat(size[0], 0).repeat(size[1], 1)
    expected = split.reshape(size[0], crop[0], size[1], crop[1], 3).mean((1, 3))
    ours = average_centre(reduced, full, crop, size)
    assert ours.dtype == np.uint8
    assert np.abs(ours - expected).max() < 0.51


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_whole_areas_are_opencvs(dtype: Any, channels: tuple[int, ...]) -> None:
    photo = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (60, 90, *channels)).astype(dtype)
    expected: Any = cv2.resize(photo, (34, 23), interpolation=cv2.INTER_AREA)
    assert np.abs(average_centre(photo, (60, 90), (60, 90), (23, 34)) - expected.astype(float)).max() <= 1


def test_small_photos_are_not_enlarged(tmp_path: Path, out: Path) -> None:
    photo = smooth(60, 80)
    save(photo, tmp_path / "photos" / "small.png")
    assert prepare(tmp_path / "photos", out, "--quality", 100) == 0
    assert np.abs(pixels(out / "small.jpg") - photo).max() < 8


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_photos_are_stored_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(smooth(120, 200), tmp_path / f"photo.{suffix}", exif=exif)
    upright = read_photo(path)
    height, width = upright.shape[:2]
    small = read_centre(path, (height - 20, width - 20), (height // 4, width // 4))
    expected = cv2.resize(upright[10:-10, 10:-10], (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    assert np.abs(small - expected.astype(int)).mean() < 1.0


# Stopping and going on


@pytest.mark.parametrize("files", [19, 21])  # of seven a scene: the third scene's fifth, and its last
def test_a_killed_run_leaves_whole_scenes_and_the_next_one_goes_on(
    fivek: Path,
    out: Path,
    tmp_path: Path,
    files: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(fivek, tmp_path / "one run")
    saved = []
    whole_save = Image.Image.save

    def save_until_killed(image: Image.Image, path: Path, *args: Any, **options: Any) -> None:
        whole_save(image, path, *args, **options)
        saved.append(path)
        if len(saved) == files:
            path.write_bytes(path.read_bytes()[:100])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_until_killed)
        assert prepare(fivek, out) == 2
    assert "stopped; the same command goes on from here" in capsys.readouterr().err
    scenes = fivek_scenes(out, "auto")
    assert len(check_scenes(scenes)) == len(scenes) == 2
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/scene[01].*")}
    assert len(before) == 14
    capsys.readouterr()
    assert prepare(fivek, out) == 0
    assert "6 scenes are ready, 2 of them from before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(out) == contents(tmp_path / "one run")


def test_a_second_run_reads_no_photo(fivek: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(fivek, out)
    monkeypatch.setattr("deepct.data.prepare.prepare_scene", lambda *_: pytest.fail("read again"))
    assert prepare(fivek, out) == 0


def test_several_processes_write_the_same_files(fivek: Path, out: Path, tmp_path: Path) -> None:
    assert prepare(fivek, tmp_path / "one") == prepare(fivek, out, "--workers", 2) == 0
    assert contents(out) == contents(tmp_path / "one")


def _die_of(name: str, scene: Scene) -> str | None:
    if scene.name == name:
        os._exit(1)
    return f"{scene.name} done"


def test_a_file_that_kills_its_process_costs_its_scene_alone() -> None:
    scenes = [Scene(f"{index}", Path(f"{index}.dng"), {}, None) for index in range(12)]
    results = {*work_off(scenes, partial(_die_of, "4"), 2)}
    done = {f"{index} done" for index in range(12) if index != 4}
    (problem,) = results - done
    assert problem is not None
    assert problem.startswith("4.dng: it, or another version, ends the process")
    assert len(results) == 12


# Bad files among good ones


def _truncate(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _break_an_expert(root: Path) -> tuple[str, str]:
    return "scene2", f"{_truncate(root / 'c' / 'scene2.jpg')}: cannot be read as a photo"


def _take_an_expert_away(root: Path) -> tuple[str, str]:
    (root / "d" / "scene2.jpg").unlink()
    return "scene2", f"{root / 'd'}: no version of scene2.jpg, which {root / 'raw'} holds"


def _take_the_raw_photo_away(root: Path) -> tuple[str, str]:
    (root / "raw" / "scene2.jpg").unlink()
    return "scene2", f"{root / 'e' / 'scene2.jpg'}: there is no raw photo of this stem"


def _crop_an_expert(root: Path) -> tuple[str, str]:
    save(smooth(90, 140), root / "b" / "scene2.jpg")
    return "scene2", f"{root / 'b' / 'scene2.jpg'} has 140 x 90 px; versions of one scene may differ"


def _break_a_label_map(root: Path) -> tuple[str, str]:
    (root / "masks" / "scene2.png").write_text("no label map")
    return "scene2", f"{root / 'masks' / 'scene2.png'}: cannot be read as a label map"


def _turn_a_label_map(root: Path) -> tuple[str, str]:
    save(np.zeros((70, 50), np.uint8), root / "masks" / "scene2.png")
    return "scene2", f"{root / 'masks' / 'scene2.png'} has 50 x 70 px"


@pytest.mark.parametrize(
    "harm",
    [
        _break_an_expert,
        _take_an_expert_away,
        _take_the_raw_photo_away,
        _crop_an_expert,
        _break_a_label_map,
        _turn_a_label_map,
    ],
)
def test_a_bad_scene_is_named_the_others_are_done_and_mending_it_completes_the_copy(
    fivek: Path,
    fivek_root: Path,
    out: Path,
    harm: Callable[[Path], tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, sentence = harm(fivek)
    assert prepare(fivek, out) == 1
    printed = capsys.readouterr().out
    assert sentence in printed
    assert "5 scenes are ready" in printed
    assert not [path for path in contents(out) if name in path]
    assert len(check_scenes(fivek_scenes(out, "auto"))) == 5
    shutil.copytree(fivek_root, fivek, dirs_exist_ok=True)
    assert prepare(fivek, out) == 0
    assert len(check_scenes(fivek_scenes(out, "auto"))) == 6


def test_a_bad_photo_among_good_ones_is_named(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "xyz":
        save(smooth(96, 120), tmp_path / "photos" / f"{name}.jpg")
    _truncate(tmp_path / "photos" / "y.jpg")
    assert prepare(tmp_path / "photos", out) == 1
    assert f"1 failed:\n  {tmp_path / 'photos' / 'y.jpg'}: cannot be read" in capsys.readouterr().out
    assert [scene.name for scene in photo_scenes(out, None)] == ["x", "z"]


def test_a_full_disk_stops_the_run_and_says_so(
    fivek: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert prepare(fivek, out) == 2
    assert f"{out}: cannot be written ([Errno 28] No space left on device)" in capsys.readouterr().err


# What is refused before anything is written


@pytest.mark.parametrize("place", [".", "small", "raw/small", "../fivek"])
def test_the_collection_itself_is_no_place_for_the_copy(
    fivek: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(fivek)
    assert prepare(fivek, fivek / place) == 2
    assert "lies in the collection" in capsys.readouterr().err
    assert contents(fivek) == before


def test_a_link_into_the_collection_is_seen_through(fivek: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out.symlink_to(fivek)
    assert prepare(fivek, out) == 2
    assert "lies in the collection" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value"), [("--size", 80), ("--quality", 90)])
def test_a_copy_goes_on_with_its_own_settings_only(
    fivek: Path, out: Path, flag: str, value: int, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(fivek, out)
    before = contents(out)
    assert prepare(fivek, out, flag, value) == 2
    message = capsys.readouterr().err
    assert f"'{flag[2:]}': {value}" in message
    assert "give another --output" in message
    assert contents(out) == before


def test_a_copy_of_another_layout_is_not_added_to(fivek: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(fivek, out)
    assert prepare(fivek / "raw", out) == 2
    assert "'layout': 'photos'" in capsys.readouterr().err


def test_a_folder_of_other_things_is_left_alone(fivek: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(smooth(60, 60), out / "raw" / "scene0.jpg")
    assert prepare(fivek, out) == 2
    assert "is not empty and no copy made by deepct" in capsys.readouterr().err
    assert {*contents(out)} == {"raw/scene0.jpg"}


def test_an_output_that_is_a_file_or_a_broken_copy_is_refused(
    fivek: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text("a file")
    assert prepare(fivek, out) == 2
    assert "cannot be read or written" in capsys.readouterr().err
    out.unlink()
    out.mkdir()
    (out / "prepared.json").write_text("{")
    assert prepare(fivek, out) == 2
    assert "prepared.json: cannot be read or written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [("--size", 0), ("--quality", 0), ("--quality", 101), ("--workers", -1)],
    ids=lambda more: f"{more[0]}{more[1]}",
)
def test_impossible_settings_are_refused(
    fivek: Path, out: Path, more: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(fivek, out, *more) == 2
    assert "give 1 or more, 1 to 100, and 0 or more" in capsys.readouterr().err
    assert not out.exists()


def test_a_collection_that_is_not_there_is_named(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(tmp_path / "nowhere", out) == 2
    assert "nowhere: there is no such folder; --root" in capsys.readouterr().err
    assert not out.exists()


def test_fivek_with_some_experts_only_says_which_are_missing(
    fivek: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for expert in "abde":
        shutil.rmtree(fivek / expert)
    (fivek / "c").rename(fivek / "tiff16_c")
    assert prepare(fivek, out) == 2
    assert "FiveK without a folder for a, b, d, e; all six" in capsys.readouterr().err


def test_two_files_of_one_stem_are_named(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in ("jpg", "png"):
        save(smooth(60, 60), tmp_path / "photos" / f"x.{suffix}")
    assert prepare(tmp_path / "photos", out) == 2
    assert "x.jpg and x.png share one stem" in capsys.readouterr().err
    fivek = tmp_path / "fivek"
    for folder in ("raw_photos/HQa1to1/photos", "raw_photos/HQa2to2/photos", *(f"tiff16_{look}" for look in "abcde")):
        save(smooth(60, 60), fivek / folder / "a0001.jpg")
    assert prepare(fivek, out) == 2
    message = capsys.readouterr().err
    assert all(f"raw_photos/HQa{part}to{part}/photos" in message for part in (1, 2))


# Training on it


@pytest.mark.parametrize("layout", ["fivek", "photos"])
def test_the_data_module_reads_the_copy_without_a_complaint(
    fivek: Path, out: Path, layout: Any, caplog: pytest.LogCaptureFixture
) -> None:
    root = fivek if layout == "fivek" else fivek / "raw"
    if layout == "photos":
        shutil.copytree(fivek / "masks", root / "masks")
    assert prepare(root, out) == 0
    module = PairDataModule(layout, str(out), batch_size=4, size=48, resize=64, label_share=1.0, num_workers=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch["source"].shape == (4, 3, 48, 48)
    assert (batch["labels"] != 255).any()
    assert not caplog.records


@pytest.mark.parametrize("kind", ["retouch", "identical"])
def test_samples_of_the_copy_are_those_of_the_collection(fivek: Path, out: Path, kind: str) -> None:
    prepare(fivek, out, "--quality", 100)
    samples = []
    for root in (fivek, out):
        module = PairDataModule("fivek", str(root), size=48, resize=64, num_workers=0)
        module.setup("test")
        dataset = module.datasets["test"]
        samples.append([sample for sample in map(dataset.__getitem__, range(len(dataset))) if kind in sample["name"]])
    for ours, theirs in zip(*samples, strict=True):
        assert ours["name"] == theirs["name"]
        assert torch.equal(ours["shift"], theirs["shift"])
        # From the collection a map is resized twice, to the photo and then with it: borders may fall a pixel apart.
        assert (ours["labels"] == theirs["labels"]).float().mean() > 0.9
        for part in ("source", "target"):
            assert (ours[part].float() - theirs[part].float()).abs().mean() < 1.0


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the photos of FiveK")
def test_real_photos_of_fivek(out: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for version in VERSIONS:
        (root / version).mkdir(parents=True)
        (root / version / "one.jpg").symlink_to(next((SHARED / version).glob("a0030*")))
    (root / "masks").mkdir()
    (root / "masks" / "one.npy").symlink_to(next((SHARED / "masks_as_published").glob("a0030*")))  # a pickle
    assert prepare(root, out, "--size", 286) == 0
    assert {photo_size(path) for path in out.glob("*/*.*")} == {(286, 429)}
    shades = {version: pixels(out / version / "one.jpg").mean(2) for version in ("raw", "a")}
    edges = {version: np.diff(shade, axis=1)[:, 1:-1] for version, shade in shades.items()}

    def agreement(offset: int) -> float:
        moved = np.roll(edges["a"], offset, axis=1)
        return float(np.corrcoef(edges["raw"].ravel(), moved.ravel())[0, 1])

    assert agreement(0) > max(agreement(-1), agreement(1))
    assert set(np.unique(read_mask(out / "masks" / "one.png"))) <= set(np.unique(read_mask(root / "masks" / "one.npy")))


def test_the_commands_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for part in ("deepct prepare", "--root", "--output", "--size", "--workers", "--quality", "default: 286"):
        assert part in printed


def test_a_forgotten_flag_is_asked_for(fivek: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "--root", str(fivek)])
    assert stop.value.code == 2
    assert "output" in capsys.readouterr().err
