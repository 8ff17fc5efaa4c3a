from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepct.ade20k import KIN
from deepct.errors import DataError, ImageError
from deepct.evaluation.gradings import draw_grading
from deepct.evaluation.lab import photo_to_lab
from deepct.evaluation.regions import COLORS, read_regions
from deepct.evaluation.tracks import (
    AlignedCase,
    DisjointCase,
    ProtocolCase,
    TrustCase,
    WildCase,
    halve,
    read_versions,
    shift,
)


def save(path: Path, height: int, width: int, seed: int = 0) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize(("height", "width"), [(90, 121), (121, 90), (50, 50), (300, 24)])
def test_halves_do_not_overlap_and_leave_a_gap(height: int, width: int) -> None:
    places = np.arange(height * width * 3).reshape(height, width, 3)
    first, second = halve(places)
    assert first.shape == second.shape
    assert not set(first.ravel()) & set(second.ravel())
    assert first.size + second.size < places.size
    assert min(first.shape[:2]) >= min(height, width) // 2 - 2
    assert first[0, 0, 0] == 0
    assert second[-1, -1, -1] == places.max()


def test_disjoint_is_one_grading_of_both_halves_and_follows_from_the_name(tmp_path: Path) -> None:
    photos = DisjointCase("a", save(tmp_path / "a.png", 80, 120)).read(768)
    original = halve(np.asarray(Image.open(tmp_path / "a.png")))
    assert np.array_equal(photos.source, original[0])
    assert np.array_equal(photos.reference, draw_grading("a").apply(original[1]))
    assert np.array_equal(photos.truth, draw_grading("a").apply(original[0]))
    elsewhere = DisjointCase("a", save(tmp_path / "b" / "a.png", 80, 120)).read(768)
    assert all(np.array_equal(x, y) for x, y in zip(photos[:3], elsewhere[:3], strict=True))


def test_photos_are_shrunk_to_the_size_and_never_enlarged(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 80, 120)
    assert TrustCase("a", path).read(60).source.shape == (40, 60, 3)
    assert TrustCase("a", path).read(500).source.shape == (80, 120, 3)


def test_versions_of_nearly_one_size_are_cropped_about_the_centre(tmp_path: Path) -> None:
    raw = np.asarray(Image.open(save(tmp_path / "raw.png", 102, 142)))
    Image.fromarray(raw[1:-1, 1:-1]).save(tmp_path / "a.png")
    photos = AlignedCase("x", tmp_path / "raw.png", tmp_path / "a.png").read(768)
    assert np.array_equal(photos.source, photos.reference)
    assert photos.truth is photos.reference


def test_a_smaller_copy_is_a_version_too_but_no_other_photo(tmp_path: Path) -> None:
    large, small = save(tmp_path / "large.png", 100, 150), save(tmp_path / "small.png", 60, 90)
    first, second = read_versions(large, small, 768)
    assert first.shape == second.shape == (60, 90, 3)
    assert np.abs(first.astype(int) - second).mean() < 8
    with pytest.raises(DataError, match="versions of one scene"):
        read_versions(large, save(tmp_path / "other.png", 90, 90), 768)


def test_the_shift_keeps_lightness_turns_hue_and_follows_from_the_name() -> None:
    # faint colors: whatever their hue becomes, sRGB holds them
    photo = (128 + np.random.default_rng(0).integers(-12, 13, (20, 30, 3))).astype(np.uint8)
    shifted = shift(photo, "one")
    before, after = photo_to_lab(photo), photo_to_lab(shifted)
    assert np.abs(before[..., 0] - after[..., 0]).max() < 0.6
    assert np.abs(before[..., 1:] - after[..., 1:]).mean() > 1
    assert np.array_equal(shifted, shift(photo, "one"))
    assert not np.array_equal(shifted, shift(photo, "two"))


def test_the_protocols_pairs(tmp_path: Path) -> None:
    files = save(tmp_path / "raw.png", 80, 120), save(tmp_path / "a.png", 80, 120, seed=1)
    retouch = ProtocolCase("x/retouch", *files, identical=False).read(768)
    assert np.array_equal(retouch.source, shift(np.asarray(Image.open(files[0])), "x/retouch"))
    assert np.array_equal(retouch.truth, np.asarray(Image.open(files[1])))
    identical = ProtocolCase("x/identical", *files, identical=True).read(768)
    assert np.array_equal(identical.source, shift(np.asarray(Image.open(files[1])), "x/identical"))
    assert identical.source is identical.reference is identical.truth


def test_a_photo_too_small_to_judge_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "small.png", 40, 44)
    with pytest.raises(ImageError, match=r"small\.png: 2. x 40 px are left"):
        DisjointCase("small", path).read(768)


def test_region_colors_snap_to_the_nearest_and_stand_for_no_kin(tmp_path: Path) -> None:
    painted = np.array(list(COLORS.values()), dtype=np.uint8)[None].repeat(2, 0)
    painted[1] = np.clip(painted[1].astype(int) + np.random.default_rng(0).integers(-40, 41, (9, 3)), 0, 255)
    Image.fromarray(painted).save(tmp_path / "map.png")
    labels = read_regions(tmp_path / "map.png")
    assert np.array_equal(labels[0], labels[1])
    assert len(set(labels[0])) == 9
    assert not {label for group in KIN for label in group} & set(labels.ravel().tolist())


def test_region_maps_may_be_label_maps_or_grey_pictures(tmp_path: Path) -> None:
    labels = np.array([[3, 3, 7]], dtype=np.uint8)
    palette = Image.fromarray(labels, "P")
    palette.putpalette([0] * 768)
    palette.save(tmp_path / "labels.png")
    assert np.array_equal(read_regions(tmp_path / "labels.png"), labels)
    Image.fromarray(np.array([[0, 9, 250]], dtype=np.uint8)).save(tmp_path / "grey.png")
    black, nearly, white = read_regions(tmp_path / "grey.png")[0]
    assert black == nearly != white


def test_wild_pairs_bring_their_maps_at_the_photos_size(tmp_path: Path) -> None:
    files = save(tmp_path / "in.png", 80, 120), save(tmp_path / "ref.png", 60, 100, seed=1)
    maps = save(tmp_path / "in_seg.png", 40, 60), save(tmp_path / "ref_seg.png", 60, 100)
    photos = WildCase("x", *files, maps).read(50)
    assert photos.truth is None
    assert [labels.shape for labels in photos.labels] == [photos.source.shape[:2], photos.reference.shape[:2]]
    assert WildCase("x", *files).read(50).labels is None
    with pytest.raises(ImageError, match=r"in_seg\.png .* needs the same aspect ratio"):
        WildCase("x", *files, (save(tmp_path / "in_seg.png", 40, 40), maps[1])).read(50)
