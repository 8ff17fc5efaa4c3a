"""A photo that ends the process which reads it, as a broken decoder or a want of memory does, costs itself alone."""

import os
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest
from official_beit import write_official
from test_cli import words
from test_killed import FAST, make_photos, pictures

from deepct.cli import main
from deepct.data import image
from deepct.data.files import File, opened

DEADLY = "0003.jpg"
OTHERS = ["0000", "0001", "0002", "0004", "0005", "0006"]


def let_die(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let files of these names be read by nobody but this process."""
    here = os.getpid()

    def deadly(file: str | File) -> Any:
        if Path(str(file)).name in names and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return opened(file)

    monkeypatch.setattr(image, "opened", deadly)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of which one ends its reader."""
    let_die(monkeypatch, DEADLY)
    return make_photos(tmp_path / "photos", len(OTHERS) + 1)


def run(*words: Any) -> int:
    return main([str(word) for word in words])


def assert_told(said: str, path: Path) -> None:
    assert "1 failed:" in said
    assert f"{path}: " in said
    assert "ends the process that reads it; it is broken, or too large" in said


@pytest.mark.parametrize("workers", [1, 3])
def test_predict(photos: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data.source", photos, "--data.reference", photos / "0000.jpg", "--data.num_workers", workers]
    assert run("predict", *given, "--output", tmp_path / "out", *FAST) == 1
    assert sorted(path.name[:4] for path in pictures(tmp_path / "out")) == OTHERS
    assert_told(capsys.readouterr().out, photos / DEADLY)


def test_predict_with_a_deadly_reference(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "references").mkdir()
    for name in ("0000.jpg", DEADLY):
        (tmp_path / "references" / name).hardlink_to(photos / name)
    given = ["--data.source", photos / "0001.jpg", "--data.reference", tmp_path / "references"]
    assert run("predict", *given, "--output", tmp_path / "out", *FAST) == 1
    assert len(pictures(tmp_path / "out")) == 1
    assert f"{photos / '0001.jpg'}: it, or {tmp_path / 'references' / DEADLY}, ends" in capsys.readouterr().out


def test_masks(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mmseg", reason="needs deepct[masks]")
    write_official(tmp_path / "tiny.pth")
    given = ["--input", photos, "--checkpoint", tmp_path / "tiny.pth", "--max-size", 96, "--accelerator", "cpu"]
    assert run("masks", *given, "--output", tmp_path / "out", "--batch-size", 3, "--workers", 2) == 1
    assert sorted(path.stem for path in pictures(tmp_path / "out")) == OTHERS
    assert_told(capsys.readouterr().out, photos / DEADLY)


@pytest.mark.parametrize("shards", [(), ("--shards", "4")])
def test_prepare(photos: Path, tmp_path: Path, shards: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    if shards:
        pytest.importorskip("webdataset", reason="needs deepct[streaming]")
    given = ["--root", photos, "--output", tmp_path / "out", "--size", 32, "--workers", 2]
    assert run("prepare", *given, *shards) == 1
    if shards:
        names = []
        for path in (tmp_path / "out").glob("*.tar"):
            with tarfile.open(path) as shard:
                names += shard.getnames()
    else:
        names = [path.name for path in (tmp_path / "out").rglob("0*.jpg")]
    assert sorted({name[:4] for name in names}) == OTHERS
    assert_told(capsys.readouterr().out, photos / DEADLY)


def test_fit_says_what_to_do(
    photos: Path, in_an_empty_folder: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    let_die(monkeypatch, *(path.name for path in photos.iterdir()))  # whichever are for training
    small = ["--data.size", "32", "--data.resize", "36", "--data.num_workers", "1"]
    assert main([*words("fit", "teacher-photos", photos, *small), "--data.root", str(photos)]) == 2
    said = capsys.readouterr().err
    assert "deepct: error: a process that reads photos is gone (DataLoader worker" in said
    assert "`deepct prepare` names the photos that end their reader" in said
