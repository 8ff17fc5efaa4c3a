import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepct.data.datamodule import PairDataModule
from deepct.data.masks import read_mask
from deepct.data.pairs import photo_scenes
from deepct.data.regions import build_regions, regions_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of 240 x 300 px: coarse noise, enlarged."""
    root = tmp_path / "photos"
    root.mkdir()
    for index in range(12):
        coarse = np.random.default_rng(index).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((300, 240), Image.Resampling.BICUBIC).save(root / f"p{index}.png")
    return root


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_region_is_of_one_colour(photos: Path) -> None:
    build_regions(photo_scenes(photos, None), regions_folder(photos), 0)
    counts = set()
    for path in photos.iterdir():
        labels = read_mask(regions_folder(photos) / path.name)
        assert labels.shape == (192, 240)
        pixels = np.asarray(Image.open(path).resize((240, 192), Image.Resampling.BOX)).astype(float)
        shown, sizes = np.unique(labels, return_counts=True)
        within = np.average([pixels[labels == label].var(0).sum() for label in shown], weights=sizes)
        assert within < 0.85 * pixels.reshape(-1, 3).var(0).sum()
        counts.add(len(shown))
    assert counts <= set(range(2, 9))
    assert len(counts) > 1  # photos differ in how finely they are divided


def test_regions_are_found_once_and_again_when_the_photo_changes(photos: Path) -> None:
    scenes, folder = photo_scenes(photos, None), regions_folder(photos)
    build_regions(scenes, folder, 2)
    assert {path.name for path in folder.iterdir()} == {path.name for path in photos.iterdir()}
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    changed = folder / "p3.png"
    os.utime(photos / "p3.png", ns=(before[changed] + 10**9,) * 2)
    (folder / "p5.png").unlink()
    build_regions(scenes, folder, 0)
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.name for path in before if after[path] != before[path]} == {"p3.png", "p5.png"}


def test_an_unreadable_photo_costs_itself_alone(photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no photo")
    build_regions(photo_scenes(photos, None), regions_folder(photos), 2)
    assert len(list(regions_folder(photos).iterdir())) == 12


def test_a_training_takes_regions_for_label_maps(photos: Path) -> None:
    module = PairDataModule("photos", str(photos), "regions", 4, size=96, resize=100, label_share=1.0, num_workers=0)
    module.prepare_data()
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert (batch["labels"] < 8).all()
    assert len(batch["labels"].unique()) > 1


def test_each_data_set_has_regions_of_its_own(photos: Path, tmp_path: Path) -> None:
    assert regions_folder(photos) == regions_folder(photos / ".." / "photos")
    assert regions_folder(photos) != regions_folder(tmp_path)
