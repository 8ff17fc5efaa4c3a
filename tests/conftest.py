"""Fixtures that several test files share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FIVEK_SCENES = 6


@pytest.fixture(scope="session")
def fivek_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes in FiveK's layout: raw 102 x 142, experts 100 x 140, label maps 50 x 70. Copy it to change it."""
    root = tmp_path_factory.mktemp("fivek")
    for folder in ("raw", "a", "b", "c", "d", "e", "masks"):
        (root / folder).mkdir()
    for index in range(FIVEK_SCENES):
        rng = np.random.default_rng(index)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        raw = np.asarray(coarse.resize((142, 102), Image.Resampling.BICUBIC))
        Image.fromarray(raw).save(root / "raw" / f"scene{index}.jpg", quality=95)
        for expert, gain in zip("abcde", (0.5, 0.7, 0.9, 1.1, 1.3), strict=True):
            version = np.clip(raw[1:-1, 1:-1] * gain, 0, 255).astype(np.uint8)
            Image.fromarray(version).save(root / expert / f"scene{index}.jpg", quality=95)
        labels = rng.integers(0, 6, (5, 7), dtype=np.uint8).repeat(10, axis=0).repeat(10, axis=1)
        Image.fromarray(labels * 25).save(root / "masks" / f"scene{index}.png")
    return root


@pytest.fixture(scope="session")
def samples_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The embedded photos, built once below a cache folder that belongs to the tests."""
    from deepct.data.samples import build_samples

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield build_samples()


@pytest.fixture
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of commands, which write where they are run."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def trained_teacher(fivek_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny teacher."""
    from test_cli import best, words

    from deepct.cli import main

    folder = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(words("fit", "teacher", fivek_root)) == 0
    return best(folder)
