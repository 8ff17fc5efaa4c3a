"""Which photos make a pair, and what is said when they do not."""

import logging
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepct.data.pairs import (
    LOOKS,
    Pair,
    Scene,
    check_scenes,
    fivek_scenes,
    make_pairs,
    photo_scenes,
    split_scenes,
)
from deepct.errors import DataError


@pytest.fixture
def root(fivek_root: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(fivek_root, tmp_path / "fivek"))


def save_photo(path: Path, height: int = 100, width: int = 140) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (200, 100, 50)).save(path)
    return path


def scenes_named(count: int) -> list[Scene]:
    return [Scene(f"scene{index:04d}", Path(f"{index}.jpg"), {"a": None}, None) for index in range(count)]


def test_a_fivek_scene_holds_all_versions_of_one_photo(fivek_root: Path) -> None:
    scenes = fivek_scenes(fivek_root, "masks")
    assert [scene.name for scene in scenes] == [f"scene{index}" for index in range(6)]
    third = scenes[3]
    assert third.source == fivek_root / "raw" / "scene3.jpg"
    assert third.looks == {look: fivek_root / look / "scene3.jpg" for look in "abcde"}
    assert third.mask == fivek_root / "masks" / "scene3.png"
    assert len(third.photos) == 6


def test_versions_match_by_stem_whatever_their_suffix(root: Path) -> None:
    (root / "raw" / "scene0.jpg").rename(root / "raw" / "scene0.JPEG")
    save_photo(root / "c" / "scene0.png")
    (root / "c" / "scene0.jpg").unlink()
    scene = fivek_scenes(root, None)[0]
    assert scene.source.name == "scene0.JPEG"
    assert scene.looks["c"] == root / "c" / "scene0.png"


def test_label_maps_are_optional(fivek_root: Path, tmp_path: Path) -> None:
    assert all(scene.mask is None for scene in fivek_scenes(fivek_root, None))
    with pytest.raises(DataError, match="no such folder of label maps"):
        fivek_scenes(fivek_root, "nonsense")
    (tmp_path / "other.png").touch()
    with pytest.raises(DataError, match="not one label map has the stem of a photo, scene0"):
        fivek_scenes(fivek_root, tmp_path)
    photos = fivek_root / "raw"
    assert all(scene.mask is None for scene in photo_scenes(photos, "auto"))
    assert all(scene.mask is not None for scene in fivek_scenes(fivek_root, "auto"))
    Image.new("L", (70, 50)).save(tmp_path / "scene2.png")
    masks = [scene.mask for scene in fivek_scenes(fivek_root, tmp_path)]
    assert masks == [None, None, tmp_path / "scene2.png", None, None, None]


def test_missing_folders_are_named_with_what_is_there_and_what_else_to_try(root: Path) -> None:
    shutil.rmtree(root / "b")
    shutil.rmtree(root / "e")
    with pytest.raises(DataError) as caught:
        fivek_scenes(root, "masks")
    for part in (f"{root}: no folder b, e;", "found a, c, d, masks, raw", "raw, a, b, c, d, e", "--data.layout photos"):
        assert part in str(caught.value)


def test_a_missing_version_names_its_folder_and_the_raw_photo(root: Path) -> None:
    (root / "d" / "scene4.jpg").unlink()
    with pytest.raises(DataError) as caught:
        fivek_scenes(root, "masks")
    for part in (str(root / "d"), "scene4.jpg", str(root / "raw"), "1 problem(s)", "take the photo out of raw"):
        assert part in str(caught.value)


def test_many_missing_versions_are_counted_and_five_are_spelled_out(root: Path) -> None:
    for look in ("a", "b"):
        for index in range(1, 6):
            (root / look / f"scene{index}.jpg").unlink()
    with pytest.raises(DataError) as caught:
        fivek_scenes(root, "masks")
    message = str(caught.value)
    assert "10 problem(s)" in message
    assert message.count("no version of") == 5
    assert "and 5 more" in message


def test_an_experts_photo_without_a_raw_one_is_no_scene(root: Path) -> None:
    save_photo(root / "a" / "extra.jpg")
    assert len(fivek_scenes(root, "masks")) == 6


@pytest.mark.parametrize("find", [fivek_scenes, photo_scenes])
def test_a_root_that_is_not_there_is_named_with_its_flag(tmp_path: Path, find: type) -> None:
    with pytest.raises(DataError, match=r"nowhere: there is no such folder; --data\.root"):
        find(tmp_path / "nowhere", "masks")


@pytest.mark.parametrize("folder", ["raw", "c"])
def test_an_empty_version_folder_is_a_data_error_that_names_it(root: Path, folder: str) -> None:
    for path in (root / folder).iterdir():
        path.unlink()
    with pytest.raises(DataError, match=rf"fivek/{folder}: no photo found"):
        fivek_scenes(root, "masks")


def test_two_photos_of_one_stem_are_both_named(root: Path) -> None:
    save_photo(root / "raw" / "scene1.png")
    with pytest.raises(DataError, match=r"raw: scene1\.jpg and scene1\.png share one stem"):
        fivek_scenes(root, "masks")


def test_photo_scenes_have_looks_to_be_made_and_their_label_maps(tmp_path: Path) -> None:
    save_photo(tmp_path / "two.jpg")
    save_photo(tmp_path / "one.png")
    save_photo(tmp_path / "below" / "three.jpg")
    (tmp_path / "masks").mkdir()
    Image.new("L", (14, 10)).save(tmp_path / "masks" / "two.png")
    one, two = photo_scenes(tmp_path, "masks")
    assert (one.name, one.source, one.mask) == ("one", tmp_path / "one.png", None)
    assert (two.name, two.mask) == ("two", tmp_path / "masks" / "two.png")
    assert one.looks == dict.fromkeys(LOOKS)
    assert two.photos == [tmp_path / "two.jpg"]


def test_photo_scenes_of_an_empty_folder_are_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photo found"):
        photo_scenes(tmp_path, None)


def test_good_scenes_pass_the_check_unchanged_and_silently(fivek_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenes = fivek_scenes(fivek_root, "masks")
    assert check_scenes(scenes) == scenes
    assert not caplog.records


@pytest.mark.parametrize("folder", ["raw", "e"])
def test_an_unreadable_photo_costs_its_scene_alone(root: Path, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    (root / folder / "scene2.jpg").write_text("no photo")
    with caplog.at_level(logging.WARNING):
        good = check_scenes(fivek_scenes(root, "masks"))
    assert [scene.name for scene in good] == ["scene0", "scene1", "scene3", "scene4", "scene5"]
    assert str(root / folder / "scene2.jpg") in caplog.text
    assert len(caplog.records) == 1


def test_when_nothing_can_be_read_the_first_reason_is_given(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("no photo")
    with pytest.raises(DataError, match=r"none of the 2 scenes can be read.*a\.jpg: cannot be read as a photo"):
        check_scenes(photo_scenes(tmp_path, None))


@pytest.mark.parametrize("size", [(100, 140), (103, 143), (100, 138), (105, 146)])
def test_versions_may_differ_by_a_few_px(root: Path, size: tuple[int, int]) -> None:
    save_photo(root / "b" / "scene5.jpg", *size)
    assert len(check_scenes(fivek_scenes(root, "masks"))) == 6


@pytest.mark.parametrize("size", [(110, 140), (100, 130), (50, 70), (140, 100)])
def test_versions_that_differ_by_more_are_named_with_their_sizes(root: Path, size: tuple[int, int]) -> None:
    save_photo(root / "b" / "scene5.jpg", *size)
    with pytest.raises(DataError) as caught:
        check_scenes(fivek_scenes(root, "masks"))
    for part in (
        f"{root / 'raw' / 'scene5.jpg'} has 142 x 102 px",
        f"{root / 'b' / 'scene5.jpg'} has {size[1]} x {size[0]} px",
        "at most 3%",
    ):
        assert part in str(caught.value)


def test_sizes_are_compared_upright(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 140)).save(root / "b" / "scene5.jpg", exif=exif)
    assert len(check_scenes(fivek_scenes(root, "masks"))) == 6


def test_a_label_map_of_another_aspect_ratio_names_both_files(root: Path) -> None:
    Image.new("L", (60, 60)).save(root / "masks" / "scene1.png")
    with pytest.raises(DataError) as caught:
        check_scenes(fivek_scenes(root, "masks"))
    for part in (str(root / "masks" / "scene1.png"), "60 x 60 px", str(root / "raw" / "scene1.jpg"), "142 x 102 px"):
        assert part in str(caught.value)


def test_a_label_out_of_range_names_its_file(root: Path) -> None:
    Image.new("L", (70, 50), 150).save(root / "masks" / "scene1.png")
    with pytest.raises(DataError, match=r"masks/scene1\.png: label 150 is out of range"):
        check_scenes(fivek_scenes(root, "masks"))


def test_an_empty_label_map_is_a_data_error(root: Path) -> None:
    (root / "masks" / "scene1.png").unlink()
    np.save(root / "masks" / "scene1.npy", np.zeros((50, 0), np.uint8))
    with pytest.raises(DataError, match=r"masks/scene1\.npy"):
        check_scenes(fivek_scenes(root, "masks"))


def test_every_bad_scene_is_listed_in_one_error(root: Path) -> None:
    save_photo(root / "b" / "scene0.jpg", 50, 70)
    (root / "masks" / "scene1.png").write_text("no label map")
    with pytest.raises(DataError) as caught:
        check_scenes(fivek_scenes(root, "masks"))
    for part in ("2 problem(s)", "scene0.jpg", "scene1.png: cannot be read as a label map"):
        assert part in str(caught.value)


def test_some_missing_label_maps_are_counted_in_a_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "masks" / "scene1.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(check_scenes(fivek_scenes(root, "masks"))) == 6
    assert "1 of 6 scenes have no label map" in caplog.text


def test_no_label_maps_at_all_are_no_warning(fivek_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_scenes(fivek_scenes(fivek_root, None))
    assert not caplog.records


@pytest.mark.parametrize(
    ("count", "val", "test", "sizes"),
    [
        (5000, 0.05, 0.05, (4500, 250, 250)),
        (5000, 0.1, 0.02, (4400, 500, 100)),
        (5000, 0.0, 0.0, (5000, 0, 0)),
        (5000, 0.0, 0.05, (4750, 0, 250)),
        (10, 0.05, 0.05, (8, 1, 1)),
        (3, 0.01, 0.01, (1, 1, 1)),
        (3, 0.5, 0.5, (0, 2, 1)),
    ],
)
def test_the_split_has_the_right_counts(count: int, val: float, test: float, sizes: tuple[int, ...]) -> None:
    assert tuple(map(len, split_scenes(scenes_named(count), val, test, 0))) == sizes


@pytest.mark.parametrize(("count", "val", "test"), [(4, 0.9, 0.1), (10, 0.95, 0.05), (2, 0.75, 0.25)])
def test_a_fraction_above_0_gives_at_least_one_scene(count: int, val: float, test: float) -> None:
    _, in_val, in_test = split_scenes(scenes_named(count), val, test, 0)
    assert in_val
    assert in_test


@pytest.mark.parametrize("count", [3, 7, 64, 501])
def test_the_split_is_disjoint_and_complete(count: int) -> None:
    scenes = scenes_named(count)
    parts = split_scenes(scenes, 0.2, 0.1, 3)
    names = [scene.name for part in parts for scene in part]
    assert len(names) == count
    assert set(names) == {scene.name for scene in scenes}


def test_the_split_is_the_same_for_one_seed_whatever_the_order() -> None:
    scenes = scenes_named(100)
    shuffled = random.Random(1).sample(scenes, 100)
    assert split_scenes(scenes, 0.1, 0.1, 5) == split_scenes(shuffled, 0.1, 0.1, 5)
    assert [scene.name for scene in scenes] == [f"scene{index:04d}" for index in range(100)]


def test_another_seed_is_another_split() -> None:
    scenes = scenes_named(100)
    held_out = [frozenset(scene.name for scene in split_scenes(scenes, 0.1, 0.1, seed)[1]) for seed in range(5)]
    assert len(set(held_out)) == 5


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.6, 0.5), (1.1, 0.0)])
def test_impossible_fractions_are_named(val: float, test: float) -> None:
    with pytest.raises(DataError, match=rf"val_fraction {val} and test_fraction {test}"):
        split_scenes(scenes_named(10), val, test, 0)


def test_each_look_makes_a_retouch_pair_and_an_identical_pair(fivek_root: Path) -> None:
    pairs = make_pairs(fivek_scenes(fivek_root, None))
    assert len(pairs) == 6 * 5 * 2
    assert len({pair.name for pair in pairs}) == len(pairs)
    first = {(pair.look, pair.kind) for pair in pairs if pair.scene.name == "scene0"}
    assert first == {(look, kind) for look in LOOKS for kind in ("retouch", "identical")}


def test_a_pairs_name_tells_scene_kind_and_look() -> None:
    assert Pair(scenes_named(1)[0], "c", "identical").name == "scene0000/identical/c"


def test_pairs_of_one_scene_never_fall_on_two_sides() -> None:
    sides = [{pair.scene.name for pair in make_pairs(part)} for part in split_scenes(scenes_named(23), 0.2, 0.2, 0)]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides)) == 23
