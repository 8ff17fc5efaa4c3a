"""Samples: what leaves the loader, and that its parts lie on top of each other."""

import itertools
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from deepct.data.dataset import PairDataset, Sample, collate, crop_to_common
from deepct.data.masks import resize_labels
from deepct.data.pairs import Pair, Scene, fivek_scenes, make_pairs, photo_scenes
from deepct.errors import DataError

HEIGHT, WIDTH = 100, 140
BLUE_OF_LOOK = 255


def position_photo(blue: int, border: int = 0) -> NDArray[np.uint8]:
    """Red is twice the row and green the column, counted from inside the border."""
    rows = np.clip(np.arange(HEIGHT + 2 * border) - border, 0, HEIGHT - 1)
    columns = np.clip(np.arange(WIDTH + 2 * border) - border, 0, WIDTH - 1)
    return np.stack(np.broadcast_arrays(2 * rows[:, None], columns, blue), axis=-1).astype(np.uint8)


def position_label(row: Any, column: Any) -> Any:
    return (row // 10) * 14 + column // 10


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Raw with 2 px of border that the look lacks, and a label map of 10 px squares."""
    Image.fromarray(position_photo(0, border=2)).save(tmp_path / "raw.png")
    Image.fromarray(position_photo(BLUE_OF_LOOK)).save(tmp_path / "look.png")
    labels = position_label(*np.mgrid[:HEIGHT, :WIDTH]).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    return Scene("scene", tmp_path / "raw.png", {"a": tmp_path / "look.png"}, tmp_path / "labels.png")


def read(dataset: PairDataset, index: int = 0) -> Sample:
    sample = dataset[index]
    assert sample is not None
    return sample


def training_samples(dataset: PairDataset, count: int) -> list[Sample]:
    torch.manual_seed(0)
    return [read(dataset, index % len(dataset)) for index in range(count)]


def assert_equal(a: Sample, b: Sample) -> None:
    assert a["name"] == b["name"]
    assert a["identical"] == b["identical"]
    for key in ("source", "target", "labels", "shift"):
        assert torch.equal(a[key], b[key]), key  # type: ignore[literal-required]


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("kind", ["retouch", "identical"])
def test_a_sample_is_bytes_of_the_crops_size(scene: Scene, kind: Any, augment: bool) -> None:
    sample = read(PairDataset([Pair(scene, "a", kind)], 64, 80, augment))
    assert sample["source"].shape == sample["target"].shape == (3, 64, 64)
    assert sample["labels"].shape == (64, 64)
    assert {sample[key].dtype for key in ("source", "target", "labels")} == {torch.uint8}
    assert sample["shift"].shape == (2,)
    assert sample["shift"].dtype == torch.float32
    assert sample["identical"] is (kind == "identical")
    assert sample["name"] == f"scene/{kind}/a"


@pytest.mark.parametrize("kind", ["retouch", "identical"])
def test_a_256_px_sample_stays_under_1_mb(scene: Scene, kind: Any) -> None:
    sample = read(PairDataset([Pair(scene, "a", kind)], augment=True))
    assert sample["source"].shape == (3, 256, 256)
    assert len(pickle.dumps(sample)) < 1_000_000
    assert sum(value.untyped_storage().nbytes() for value in sample.values() if isinstance(value, torch.Tensor)) < 1e6


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (40, 900)])
@pytest.mark.parametrize("augment", [False, True])
def test_photos_of_any_shape_give_the_crops_size(tmp_path: Path, size: tuple[int, int], augment: bool) -> None:
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "photo.jpg")
    pairs = make_pairs(photo_scenes(tmp_path, None))
    assert read(PairDataset(pairs, 64, 72, augment))["source"].shape == (3, 64, 64)


def test_an_unscaled_evaluation_crop_is_the_centre_of_photo_look_and_labels(scene: Scene) -> None:
    sample = read(PairDataset([Pair(scene, "a", "retouch")], 64, HEIGHT))
    rows, columns = np.mgrid[18:82, 38:102]
    np.testing.assert_array_equal(sample["source"].numpy(), [2 * rows, columns, 0 * rows])
    np.testing.assert_array_equal(sample["target"].numpy(), [2 * rows, columns, 0 * rows + BLUE_OF_LOOK])
    np.testing.assert_array_equal(sample["labels"].numpy(), position_label(rows, columns))


def test_unscaled_training_crops_and_flips_agree_pixel_for_pixel(scene: Scene) -> None:
    dataset = PairDataset([Pair(scene, "a", "retouch")], 64, HEIGHT, augment=True, label_share=1.0)
    corners, mirrored = set(), 0
    for sample in training_samples(dataset, 30):
        source, target, labels = (sample[key].numpy().astype(int) for key in ("source", "target", "labels"))  # type: ignore[literal-required]
        np.testing.assert_array_equal(source[:2], target[:2])
        np.testing.assert_array_equal(labels, position_label(source[0] // 2, source[1]))
        steps = set(np.diff(source[1], axis=1).ravel())
        assert steps in ({1}, {-1})
        mirrored += steps == {-1}
        corners.add((source[0].min(), source[1].min()))
    assert 5 <= mirrored <= 25
    assert len(corners) > 15


@pytest.mark.parametrize("resize", [50, 200])
def test_scaled_training_crops_agree_within_two_px(scene: Scene, resize: int) -> None:
    dataset = PairDataset([Pair(scene, "a", "retouch")], 40, resize, augment=True, label_share=1.0)
    for sample in training_samples(dataset, 10):
        source, target = sample["source"].numpy().astype(int), sample["target"].numpy().astype(int)
        np.testing.assert_array_equal(source[:2], target[:2])
        label_row, label_column = np.divmod(sample["labels"].numpy().astype(int), 14)
        assert np.abs(10 * label_row + 4.5 - source[0] / 2).max() < 4.5 + 2
        assert np.abs(10 * label_column + 4.5 - source[1]).max() < 4.5 + 2


def test_a_small_label_map_covers_the_whole_photo(scene: Scene, tmp_path: Path) -> None:
    small = position_label(*np.mgrid[5:HEIGHT:10, 5:WIDTH:10]).astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "labels.png")
    sample = read(PairDataset([Pair(scene, "a", "retouch")], 64, HEIGHT))
    np.testing.assert_array_equal(sample["labels"].numpy(), position_label(*np.mgrid[18:82, 38:102]))


def test_an_identical_pair_shows_the_look_twice(scene: Scene) -> None:
    sample = read(PairDataset([Pair(scene, "a", "identical")], 64, HEIGHT))
    assert torch.equal(sample["source"], sample["target"])
    assert set(sample["source"][2].unique().tolist()) == {BLUE_OF_LOOK}


@pytest.mark.parametrize("cells", [4, 200])
def test_big_jpegs_look_as_when_decoded_whole(tmp_path: Path, cells: int) -> None:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    big = coarse.resize((800, 800), Image.Resampling.NEAREST)
    (tmp_path / "jpeg").mkdir()
    (tmp_path / "png").mkdir()
    big.save(tmp_path / "jpeg" / "photo.jpg", quality=95, subsampling=0)
    big.save(tmp_path / "png" / "photo.png")
    jpeg, png = (
        read(PairDataset(make_pairs(photo_scenes(tmp_path / kind, None)), 190, 200))["source"].float()
        for kind in ("jpeg", "png")
    )
    assert (jpeg - png).abs().mean() < 2.0


def test_photos_are_averaged_down_and_interpolated_up(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    pairs = [Pair(Scene("photo", tmp_path / "photo.png", {"a": tmp_path / "photo.png"}, None), "a", "retouch")]
    # Below twice the size a photo is not reduced while it is read.
    areas = photo.repeat(3, 0).repeat(3, 1).reshape(30, 4, 30, 4, 3).mean((1, 3))
    np.testing.assert_allclose(read(PairDataset(pairs, 30, 30))["source"].permute(1, 2, 0), areas, atol=1)
    larger = np.asarray(Image.fromarray(photo).resize((80, 80), Image.Resampling.BILINEAR)).astype(int)
    np.testing.assert_allclose(read(PairDataset(pairs, 80, 80))["source"].permute(1, 2, 0), larger, atol=2)


def test_evaluation_samples_depend_on_the_pair_alone(fivek_root: Path) -> None:
    pairs = make_pairs(fivek_scenes(fivek_root, "masks"))[:12]
    forwards, backwards = PairDataset(pairs, 48, 56), PairDataset(pairs[::-1], 48, 56)
    torch.manual_seed(1)
    first = [read(forwards, index) for index in range(12)]
    torch.manual_seed(2)
    second = [read(backwards, index) for index in range(12)]
    for a, b in zip(first, second[::-1], strict=True):
        assert_equal(a, b)
    assert len({sample["shift"][0].item() for sample in first}) == 12


def test_evaluation_draws_nothing_from_torchs_generator(scene: Scene) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    read(PairDataset([Pair(scene, "a", "retouch")], 64, 80))
    assert torch.equal(torch.get_rng_state(), before)


def test_training_samples_repeat_under_one_seed_and_vary_otherwise(fivek_root: Path) -> None:
    pairs = make_pairs(fivek_scenes(fivek_root, "masks"))
    torch.manual_seed(7)
    first = [read(PairDataset(pairs, 48, 56, augment=True), 3) for _ in range(4)]
    torch.manual_seed(7)
    again = [read(PairDataset(pairs, 48, 56, augment=True), 3) for _ in range(4)]
    for a, b in zip(first, again, strict=True):
        assert_equal(a, b)
    assert len({sample["shift"][0].item() for sample in first}) == 4
    assert len({sample["source"].numpy().tobytes() for sample in first}) > 1


@pytest.mark.parametrize("augment", [False, True])
def test_hue_and_saturation_shifts_stay_in_the_papers_ranges(tmp_path: Path, augment: bool) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    names = [f"{index}" for index in range(200)]
    pairs = [Pair(Scene(name, tmp_path / "photo.png", {"a": None}, None), "a", "retouch") for name in names]
    hue, saturation = torch.stack([s["shift"] for s in training_samples(PairDataset(pairs, 8, 8, augment), 200)]).T
    assert hue.min() >= 0
    assert hue.max() <= 1
    assert hue.min() < 0.05
    assert hue.max() > 0.95
    assert saturation.min() == torch.tensor(0.3)
    assert 1.1 < saturation.max() <= 1.2
    assert (
        0.15 < (saturation == saturation.min()).float().mean() < 0.35
    )  # U(0, 1.2) lies below 0.3 a quarter of the time


@pytest.mark.parametrize(("share", "kept"), [(0.0, {False}), (1.0, {True}), (0.5, {False, True})])
def test_label_share_is_the_share_of_training_samples_with_labels(scene: Scene, share: float, kept: set[bool]) -> None:
    dataset = PairDataset([Pair(scene, "a", "retouch")], 64, 80, augment=True, label_share=share)
    labelled = [bool((sample["labels"] != 255).any()) for sample in training_samples(dataset, 20)]
    assert set(labelled) == kept


def test_evaluation_keeps_every_label_map(scene: Scene) -> None:
    assert (read(PairDataset([Pair(scene, "a", "retouch")], 64, 80, label_share=0.0))["labels"] != 255).all()


def test_a_scene_without_label_map_is_unlabelled(fivek_root: Path) -> None:
    pairs = make_pairs(fivek_scenes(fivek_root, None))
    assert (read(PairDataset(pairs, 48, 56))["labels"] == 255).all()


def test_looks_that_are_not_on_disk_are_retouched_on_the_fly(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name in ("one", "two"):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    dataset = PairDataset(make_pairs(photo_scenes(tmp_path, None)), 40, 40)
    samples = {sample["name"]: sample for sample in map(read, [dataset] * len(dataset), range(len(dataset)))}
    plain = torch.from_numpy(photo[:, 5:45]).permute(2, 0, 1)
    targets, captured = set(), set()
    for scene, look in itertools.product(("one", "two"), "abcde"):
        retouched, identical = (samples[f"{scene}/{kind}/{look}"] for kind in ("retouch", "identical"))
        captured.add(not torch.equal(retouched["source"], plain))
        assert not torch.equal(retouched["target"], retouched["source"])
        assert torch.equal(identical["source"], identical["target"])
        assert not torch.equal(identical["source"], plain)
        targets |= {retouched["target"].numpy().tobytes(), identical["target"].numpy().tobytes()}
    assert len(targets) > 10  # several captured sources have the plain photo as their target
    assert captured == {True, False}


def test_training_draws_a_new_retouch_each_time(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (120, 90, 60)).save(tmp_path / "photo.png")
    dataset = PairDataset(make_pairs(photo_scenes(tmp_path, None))[:1], 40, 40, augment=True)
    assert len({tuple(sample["target"][:, 0, 0].tolist()) for sample in training_samples(dataset, 10)}) > 5


@pytest.fixture
def pairs_with_a_bad_one(fivek_root: Path, tmp_path: Path) -> list[Pair]:
    """The second of three pairs names a file that is no photo."""
    (tmp_path / "bad.jpg").write_text("no photo")
    first, _, third = fivek_scenes(fivek_root, None)[:3]
    bad = Scene("bad", tmp_path / "bad.jpg", {"a": tmp_path / "bad.jpg"}, None)
    return [Pair(scene, "a", "retouch") for scene in (first, bad, third)]


def test_in_training_the_next_pair_takes_an_unreadable_photos_place(
    pairs_with_a_bad_one: list[Pair], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sample = read(PairDataset(pairs_with_a_bad_one, 48, 56, augment=True), 1)
    assert sample["name"] == "scene2/retouch/a"
    assert "bad.jpg" in caplog.text


def test_the_first_pair_takes_the_place_of_an_unreadable_last_one(pairs_with_a_bad_one: list[Pair]) -> None:
    dataset = PairDataset(pairs_with_a_bad_one[:2], 48, 56, augment=True)
    assert read(dataset, 1)["name"] == "scene0/retouch/a"


def test_a_truncated_photo_counts_as_unreadable(pairs_with_a_bad_one: list[Pair]) -> None:
    good, bad, _ = pairs_with_a_bad_one
    data = good.scene.source.read_bytes()
    bad.scene.source.write_bytes(data[: len(data) // 2])
    assert PairDataset([bad], 48, 56)[0] is None


def test_when_no_training_photo_can_be_read_it_is_a_data_error(pairs_with_a_bad_one: list[Pair]) -> None:
    with pytest.raises(DataError, match="not one photo of the training set can be read"):
        PairDataset(pairs_with_a_bad_one[1:2] * 2, 48, 56, augment=True)[0]


def test_in_evaluation_an_unreadable_photo_is_left_out_of_the_batch(
    pairs_with_a_bad_one: list[Pair], caplog: pytest.LogCaptureFixture
) -> None:
    dataset = PairDataset(pairs_with_a_bad_one, 48, 56)
    with caplog.at_level(logging.WARNING):
        samples = [dataset[index] for index in range(3)]
    assert samples[1] is None
    assert "bad.jpg" in caplog.text
    batch = collate(samples)
    assert batch is not None
    assert batch["name"] == ["scene0/retouch/a", "scene2/retouch/a"]
    assert batch["source"].shape == (2, 3, 48, 48)


def test_a_batch_of_nothing_is_none() -> None:
    assert collate([None, None]) is None


def test_a_batch_stacks_bytes_shifts_and_flags(scene: Scene) -> None:
    dataset = PairDataset(make_pairs([scene]), 64, 80)
    batch = collate([dataset[0], dataset[1]])
    assert batch is not None
    assert batch["source"].shape == batch["target"].shape == (2, 3, 64, 64)
    assert batch["source"].dtype == batch["labels"].dtype == torch.uint8
    assert batch["shift"].shape == (2, 2)
    assert batch["identical"].dtype == torch.bool
    assert batch["identical"].tolist() == [False, True]


def test_a_crop_larger_than_the_photo_is_refused_with_both_sizes() -> None:
    with pytest.raises(DataError, match=r"crop of 300 px does not fit photos resized to 286 px.*data\.size"):
        PairDataset([], 300, 286)


@pytest.mark.parametrize(
    ("a", "b"), [((12, 16), (10, 14)), ((10, 14), (12, 16)), ((12, 14), (10, 18)), ((10, 14), (10, 14))]
)
def test_crop_to_common_keeps_the_centre(a: tuple[int, int], b: tuple[int, int]) -> None:
    def centred(height: int, width: int) -> NDArray[np.uint8]:
        rows, columns = np.mgrid[:height, :width]
        return np.stack([rows - height // 2, columns - width // 2, 0 * rows], axis=-1).astype(np.uint8)

    cut_a, cut_b = crop_to_common(centred(*a), centred(*b))
    assert cut_a.shape == cut_b.shape == (min(a[0], b[0]), min(a[1], b[1]), 3)
    np.testing.assert_array_equal(cut_a, cut_b)


@pytest.mark.parametrize("extra", [(1, 0), (0, 1), (3, 1)])
def test_crop_to_common_is_off_by_half_a_px_at_most(extra: tuple[int, int]) -> None:
    big = np.zeros((10 + extra[0], 14 + extra[1], 3), np.uint8)
    big[..., 0], big[..., 1] = np.mgrid[: big.shape[0], : big.shape[1]]
    cut, _ = crop_to_common(big, np.zeros((10, 14, 3), np.uint8))
    assert abs(cut[0, 0, 0] - extra[0] / 2) <= 0.5
    assert abs(cut[0, 0, 1] - extra[1] / 2) <= 0.5


@pytest.mark.parametrize("size", [(7, 5), (14, 10), (21, 15), (3, 2), (1, 1), (20, 13), (6, 11)])
def test_labels_are_resized_to_the_nearest(size: tuple[int, int]) -> None:
    labels = np.arange(35, dtype=np.uint8).reshape(7, 5)
    expected = np.empty(size, np.uint8)
    for row in range(size[0]):
        for column in range(size[1]):
            expected[row, column] = labels[(2 * row + 1) * 7 // (2 * size[0]), (2 * column + 1) * 5 // (2 * size[1])]
    resized = resize_labels(labels, size)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, expected)


def test_versions_of_different_formats_show_the_same_scene(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    photo = coarse.resize((800, 600), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "raw.jpg", quality=98, subsampling=0)
    photo.save(tmp_path / "a.png")
    pair = Pair(Scene("scene", tmp_path / "raw.jpg", {"a": tmp_path / "a.png"}, None), "a", "retouch")
    sample = PairDataset([pair], size=64, resize=72)[0]
    assert sample is not None
    assert (sample["source"].float() - sample["target"].float()).abs().mean() < 3


def gradient_scene(folder: Path, height: int, width: int) -> Scene:
    """A photo whose red and green tell each pixel's place, and a look that adds 20 to blue."""
    down, across = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    source = np.stack((down, across, np.full((height, width), 100)), axis=-1).astype(np.uint8)
    Image.fromarray(source).save(folder / "raw.png")
    Image.fromarray(source + np.array((0, 0, 20), dtype=np.uint8)).save(folder / "a.png")
    Image.fromarray((across // 50).astype(np.uint8)).save(folder / "mask.png")
    return Scene("scene", folder / "raw.png", {"a": folder / "a.png"}, folder / "mask.png")


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize(("height", "width"), [(80, 200), (200, 80)])
def test_disjoint_pairs_show_parts_without_a_pixel_in_common(
    tmp_path: Path, augment: bool, height: int, width: int
) -> None:
    scene = gradient_scene(tmp_path, height, width)
    dataset = PairDataset([Pair(scene, "a", "disjoint")], 24, 80, augment, label_share=1.0, zoom=0.4)
    seen = set()
    for sample in (read(dataset) for _ in range(12)):
        own, theirs = sample["target"], sample["reference"]
        assert torch.equal(own[:2], sample["source"][:2])
        assert ((own[2] == 120) & (theirs[2] == 120) & (sample["source"][2] == 100)).all()
        along = 1 if width > height else 0
        assert own[along].max() < theirs[along].min() or theirs[along].max() < own[along].min()
        assert torch.equal(sample["labels"], own[1] // 50)
        assert torch.equal(sample["reference_labels"], theirs[1] // 50)
        assert sample["shift"].tolist() == [0, 1]
        seen.add(own.numpy().tobytes())
    assert (len(seen) > 6) == augment


def test_both_parts_of_a_disjoint_pair_get_the_same_made_look(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), (120, 90, 60)).save(tmp_path / "photo.png")
    pairs = make_pairs(photo_scenes(tmp_path, None), ["disjoint"])
    targets = set()
    for sample in map(read, [PairDataset(pairs, 16, 60, augment=True)] * 5, range(5)):
        assert torch.equal(sample["target"], sample["reference"])
        targets.add(tuple(sample["target"][:, 0, 0].tolist()))
    assert len(targets) > 3


def test_a_zoomed_sample_picks_the_photos_own_pixels(tmp_path: Path) -> None:
    scene = gradient_scene(tmp_path, 80, 200)
    dataset = PairDataset([Pair(scene, "a", "retouch")], 24, 80, augment=True, label_share=1.0, zoom=0.5)
    spans = []
    for sample in training_samples(dataset, 10):
        assert torch.equal(sample["source"][:2], sample["target"][:2])
        assert torch.equal(sample["labels"], sample["source"][1] // 50)
        assert "reference" not in sample
        spans.append(int(sample["source"][1].max()) - int(sample["source"][1].min()))
    assert min(spans) >= 0.5 * 200 - 8
    assert max(spans) - min(spans) > 20


def test_zoomed_evaluation_shows_the_whole_photo(tmp_path: Path) -> None:
    pair = Pair(gradient_scene(tmp_path, 80, 200), "a", "retouch")
    sample = read(PairDataset([pair], 40, 80, zoom=0.5))
    assert sample["source"][0].unique().tolist() == list(range(1, 80, 2))
    assert sample["source"][1].unique().tolist() == list(range(2, 200, 5))


@pytest.mark.parametrize("settings", [{"zoom": 0.0}, {"zoom": 1.5}, {"shift_share": -0.1}])
def test_shares_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(DataError, match="is a share of"):
        PairDataset([], 24, 80, **settings)


@pytest.mark.parametrize(("share", "shifted"), [(1.0, 40), (0.0, 0)])
def test_a_share_of_the_pairs_is_shifted(tmp_path: Path, share: float, shifted: int) -> None:
    pair = Pair(gradient_scene(tmp_path, 80, 90), "a", "retouch")
    samples = training_samples(PairDataset([pair], 24, 80, augment=True, shift_share=share), 40)
    assert sum(sample["shift"].tolist() != [0, 1] for sample in samples) == shifted
    some = training_samples(PairDataset([pair], 24, 80, augment=True, shift_share=0.5), 40)
    assert 8 < sum(sample["shift"].tolist() != [0, 1] for sample in some) < 32
