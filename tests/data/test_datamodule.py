"""From a folder on disk to batches, for each layout."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from deepct.data.augment import TransferBatch
from deepct.data.datamodule import PairDataModule
from deepct.data.dataset import PairDataset
from deepct.data.prepare import prepare
from deepct.errors import DataError


@pytest.fixture(scope="module")
def photos_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six plain photos of different shapes."""
    root = tmp_path_factory.mktemp("photos")
    for index in range(6):
        photo = np.random.default_rng(index).integers(0, 256, (90 + 5 * index, 120, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / f"photo{index}.png")
    return root


def small(layout: Any, root: Path | None, **changed: Any) -> PairDataModule:
    settings = {"batch_size": 4, "size": 48, "resize": 56, "num_workers": 0, **changed}
    return PairDataModule(layout, None if root is None else str(root), **settings)


def scene_names(module: PairDataModule, split: str) -> set[str]:
    return {pair.scene.name for pair in module.datasets[split].pairs}


@pytest.mark.parametrize(("layout", "labelled"), [("fivek", True), ("photos", False), ("samples", True)])
def test_each_layout_gives_batches_for_every_stage(
    layout: str, labelled: bool, fivek_root: Path, photos_root: Path, samples_root: Path
) -> None:
    root = {"fivek": fivek_root, "photos": photos_root, "samples": samples_root}[layout]
    module = small(layout, root, label_share=1.0)
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        raw = next(iter(loader))
        assert raw["source"].dtype == torch.uint8
        batch = module.on_after_batch_transfer(raw, 0)
        assert isinstance(batch, TransferBatch)
        assert batch.source.shape == batch.reference.shape == batch.target.shape == (4, 3, 48, 48)
        assert batch.source.isfinite().all()
        assert bool((batch.source_labels != 255).any()) is labelled
        assert torch.equal(batch.target[batch.identical], batch.source[batch.identical])
        assert len(set(batch.names)) == 4


def test_the_splits_share_no_scene_and_each_scene_gives_ten_pairs(fivek_root: Path) -> None:
    module = small("fivek", fivek_root, val_fraction=0.34, test_fraction=0.17)
    module.setup("fit")
    train, val, test = (scene_names(module, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (3, 2, 1)
    assert len(train | val | test) == 6
    assert [len(module.datasets[split]) for split in ("train", "val", "test")] == [30, 20, 10]


def test_every_process_finds_the_same_split(fivek_root: Path) -> None:
    first, second, other = (small("fivek", fivek_root, seed=seed) for seed in (0, 0, 2))
    for module in (first, second, other):
        module.setup("test")
    assert scene_names(first, "test") == scene_names(second, "test")
    assert first.datasets["test"].pairs == second.datasets["test"].pairs
    held_out = {frozenset(scene_names(first, split)) for split in ("val", "test")}
    assert held_out != {frozenset(scene_names(other, split)) for split in ("val", "test")}


def test_training_alone_is_augmented_and_shuffled(fivek_root: Path) -> None:
    module = small("fivek", fivek_root, batch_size=40)
    module.setup("fit")
    assert [module.datasets[split].augment for split in ("train", "val", "test")] == [True, False, False]
    loader: Any = module.train_dataloader()
    first = next(iter(loader))["name"]
    loader.sampler.set_epoch(1)
    second = next(iter(loader))["name"]
    assert sorted(first) == sorted(second)
    assert first != second
    in_order = [pair.name for pair in module.datasets["val"].pairs]
    assert [name for batch in module.val_dataloader() for name in batch["name"]] == in_order


def test_the_last_small_training_batch_is_left_out_unless_it_is_the_only_one(fivek_root: Path) -> None:
    module = small("fivek", fivek_root, batch_size=16)
    module.setup("fit")
    assert len(module.datasets["train"]) == 40
    assert len(module.train_dataloader()) == 2
    module.batch_size = 64
    assert len(module.train_dataloader()) == 1
    module.batch_size = 4
    assert sum(len(batch["name"]) for batch in module.val_dataloader()) == len(module.datasets["val"]) == 10


def test_without_masks_nothing_is_labelled(fivek_root: Path) -> None:
    module = small("fivek", fivek_root, masks=None, label_share=1.0)
    module.setup("fit")
    assert (next(iter(module.train_dataloader()))["labels"] == 255).all()


def test_masks_may_lie_elsewhere(fivek_root: Path, photos_root: Path, tmp_path: Path) -> None:
    for index in range(6):
        Image.new("L", (120, 90 + 5 * index), 12).save(tmp_path / f"photo{index}.png")
    module = small("photos", photos_root, masks=str(tmp_path))
    module.setup("validate")
    assert next(iter(module.val_dataloader()))["labels"].unique().tolist() == [12]


@pytest.mark.parametrize(
    ("fractions", "stage", "empty", "counts"),
    [
        ((0.5, 0.5), "fit", "train", "train 0, val 30, test 30"),
        ((0.0, 0.5), "fit", "val", "train 30, val 0, test 30"),
        ((0.0, 0.5), "validate", "val", "train 30, val 0, test 30"),
        ((0.5, 0.0), "test", "test", "train 30, val 30, test 0"),
    ],
)
def test_an_empty_split_is_named_with_all_counts(
    fivek_root: Path, fractions: tuple[float, float], stage: str, empty: str, counts: str
) -> None:
    module = small("fivek", fivek_root, val_fraction=fractions[0], test_fraction=fractions[1])
    with pytest.raises(DataError) as caught:
        module.setup(stage)
    for part in (str(fivek_root), f"no pairs for {empty}", counts, "--data.val_fraction", "--data.test_fraction"):
        assert part in str(caught.value)


def test_an_empty_split_that_a_stage_does_not_need_is_no_error(fivek_root: Path) -> None:
    module = small("fivek", fivek_root, val_fraction=0.5, test_fraction=0.5)
    module.setup("test")
    module.setup("validate")
    assert len(module.datasets["train"]) == 0


def test_an_error_about_the_embedded_photos_names_something_that_exists(
    samples_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(samples_root.parent.parent))
    with pytest.raises(DataError, match="no pairs for val") as caught:
        small("samples", None, val_fraction=0.0).setup("fit")
    assert not str(caught.value).startswith("None")


@pytest.mark.parametrize("layout", ["fivek", "photos"])
def test_a_layout_without_root_asks_for_it(layout: str) -> None:
    with pytest.raises(DataError, match=rf"layout {layout} needs --data\.root"):
        small(layout, None).setup("fit")


def test_a_plain_folder_in_fiveks_layout_points_to_the_other_layout(photos_root: Path) -> None:
    with pytest.raises(DataError, match=r"no folder raw, a, b, c, d, e.*--data\.layout photos"):
        small("fivek", photos_root).setup("fit")


def test_a_bad_photo_is_left_out_before_the_split(fivek_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(fivek_root, tmp_path / "fivek")
    (root / "raw" / "scene0.jpg").write_text("no photo")
    module = small("fivek", Path(root))
    module.setup("fit")
    names = set.union(*(scene_names(module, split) for split in ("train", "val", "test")))
    assert names == {f"scene{index}" for index in range(1, 6)}


def test_a_batch_of_which_nothing_could_be_read_stays_none(fivek_root: Path) -> None:
    assert small("fivek", fivek_root).on_after_batch_transfer(None, 0) is None


def test_a_copy_prepared_too_small_is_pointed_out(
    fivek_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(str(fivek_root), str(tmp_path / "copy"), size=60, workers=0)
    data = PairDataModule("fivek", str(tmp_path / "copy"), size=48, resize=60, num_workers=0)
    data.setup("fit")
    assert "prepared at" not in caplog.text
    data = PairDataModule("fivek", str(tmp_path / "copy"), size=48, resize=64, num_workers=0)
    data.setup("fit")
    assert "prepared at 60 px, and enlarged to 64 px" in caplog.text


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_test_is_over_the_split_that_is_asked_for_without_augmentation(fivek_root: Path, split: str) -> None:
    module = PairDataModule("fivek", str(fivek_root), num_workers=0, split=split)  # type: ignore[arg-type]
    module.setup("fit")
    module.setup("test")
    data = module.test_dataloader().dataset
    assert isinstance(data, PairDataset)
    assert data.pairs == module.datasets[split].pairs
    assert not data.augment
    assert module.datasets["train"].augment


def test_processes_without_a_pair_are_an_error(fivek_root: Path) -> None:
    module = PairDataModule("fivek", str(fivek_root), kinds=["retouch"])
    module.trainer = Mock(world_size=6)
    with pytest.raises(DataError, match="fewer pairs than the 6 processes for val"):
        module.setup("fit")
    module.trainer.world_size = 5
    module.setup("fit")


def test_equal_files_have_one_fingerprint_wherever_they_lie(fivek_root: Path, tmp_path: Path) -> None:
    def describe(root: Path) -> dict[str, Any]:
        module = PairDataModule("fivek", str(root))
        module.setup("fit")
        return module.describe()

    shutil.copytree(fivek_root, tmp_path / "copy")
    assert describe(tmp_path / "copy") == describe(fivek_root)
    with (tmp_path / "copy" / "c" / "scene1.jpg").open("ab") as file:
        file.write(b"x")
    assert describe(tmp_path / "copy")["fingerprint"] != describe(fivek_root)["fingerprint"]


def test_labels_have_names_only_where_they_are_classes() -> None:
    assert PairDataModule("fivek", "x").class_names[2] == "sky"
    assert PairDataModule("photos", "x", masks="regions").class_names[2] == "region 2"
    assert PairDataModule("samples").class_names[2] == "region 2"
