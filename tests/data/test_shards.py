"""Many scenes in one file, from a folder and from a server: the same training as from single files."""

import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deepct.cli import main
from deepct.data import files
from deepct.data.datamodule import PairDataModule
from deepct.data.shards import read_shards
from deepct.errors import DataError

webdataset = pytest.importorskip("webdataset")

CONF = Path(__file__).parents[1] / "conf"


def prepare(root: Path, output: Path, *more: Any) -> int:
    words = ["prepare", "--root", root, "--output", output, "--size", 64, "--workers", 0, *more]
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def copies(fivek_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six scenes as files, and in shards of four and two."""
    folder = tmp_path_factory.mktemp("copies")
    assert prepare(fivek_root, folder / "files") == 0
    assert prepare(fivek_root, folder / "shards", "--shards", 4, "--workers", 2) == 0
    return folder / "files", folder / "shards"


class Ranges(SimpleHTTPRequestHandler):
    """A server that gives ranges of bytes, and now and then nothing."""

    fails = 0

    def do_GET(self) -> None:
        if Ranges.fails:
            Ranges.fails -= 1
            self.send_error(503)
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, _, last = self.headers.get("Range", f"bytes=0-{len(data) - 1}").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(copies: tuple[Path, Path]) -> Iterator[str]:
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(copies[1])))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()


def module(layout: Any, root: Any, **changed: Any) -> PairDataModule:
    settings = {"batch_size": 4, "size": 48, "resize": 56, "num_workers": 0, "val_fraction": 0.3, **changed}
    made = PairDataModule(layout, str(root), **settings)
    made.prepare_data()
    made.setup("fit")
    return made


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key] for key, value in a.items()
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("place", ["folder", "server"])
@pytest.mark.parametrize("kinds", [("retouch", "identical"), ("retouch", "disjoint")])
def test_every_sample_is_that_of_single_files(
    kinds: Any, place: str, workers: int, copies: tuple[Path, Path], server: str
) -> None:
    root = server if place == "server" else copies[1]
    shards = module("shards", root, kinds=kinds, num_workers=workers)
    single = module("fivek", copies[0], kinds=kinds)
    for split in ("train", "val", "test"):
        assert [p.name for p in shards.datasets[split].pairs] == [p.name for p in single.datasets[split].pairs]
    assert shards.describe() == single.describe()
    assert all(equal(*both) for both in zip(shards.val_dataloader(), single.val_dataloader(), strict=True))
    drawn = [name for batch in shards.train_dataloader() for name in batch["name"]]
    assert len(set(drawn)) == len(drawn) == len(shards.datasets["train"]) // 4 * 4
    for index in range(len(shards.datasets["train"])):
        samples = []
        for data in (shards.datasets["train"], single.datasets["train"]):
            torch.manual_seed(index)
            samples.append(data[index])
        assert equal(*samples)


def test_photos_without_versions_are_retouched_on_the_fly(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(5):
        photo = np.random.default_rng(index).integers(0, 256, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(photo).save(tmp_path / "photos" / f"a.photo {index}.png")
    assert prepare(tmp_path / "photos", tmp_path / "single") == 0
    assert prepare(tmp_path / "photos", tmp_path / "shards", "--shards", 2) == 0
    shards, single = module("shards", tmp_path / "shards"), module("photos", tmp_path / "single")
    assert {pair.look for pair in shards.datasets["train"].pairs} == set("abcde")
    assert all(equal(*both) for both in zip(shards.val_dataloader(), single.val_dataloader(), strict=True))


def test_webdataset_reads_the_shards(copies: tuple[Path, Path]) -> None:
    paths = sorted(str(path) for path in copies[1].glob("*.tar"))
    samples = list(webdataset.WebDataset(paths, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"scene{index}" for index in range(6)]
    assert samples[0]["raw.jpg"] == (copies[0] / "raw" / "scene0.jpg").read_bytes()
    assert samples[5]["masks.png"] == (copies[0] / "masks" / "scene5.png").read_bytes()


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_files(
    fivek_root: Path, copies: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert prepare(fivek_root, out, "--shards", 4) == 0
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    assert whole == {path.name: path.read_bytes() for path in copies[1].iterdir()}
    (out / "shards.json").unlink()
    (out / "shard-000001.tar").write_bytes(whole["shard-000001.tar"][:2000])
    before = (out / "shard-000000.tar").stat().st_mtime_ns
    assert prepare(fivek_root, out, "--shards", 4) == 0
    assert whole == {path.name: path.read_bytes() for path in out.iterdir()}
    assert (out / "shard-000000.tar").stat().st_mtime_ns == before
    assert prepare(fivek_root, out, "--shards", 3) == 2


def test_a_scene_that_cannot_be_read_is_named_each_time_and_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.new("RGB", (70, 80), (index, 0, 0)).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "1.png").write_bytes(b"broken")
    for _ in range(2):
        assert prepare(tmp_path / "photos", tmp_path / "out", "--shards", 2) == 1
        printed = capsys.readouterr().out
        assert "2 scenes are ready" in printed
        assert "1.png: cannot be read" in printed
    assert [scene.name for scene in read_shards(str(tmp_path / "out"), None).scenes] == ["0", "2"]


def test_a_server_that_fails_for_a_while_costs_no_sample(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(files.time, "sleep", waits.append)
    shards = module("shards", server)
    files._unpack.cache_clear()
    Ranges.fails = 2
    assert shards.datasets["val"][0] is not None
    assert waits == [1.0, 4.0]
    Ranges.fails = 1000
    files._unpack.cache_clear()
    try:
        assert shards.datasets["val"][0] is None
    finally:
        Ranges.fails = 0


def test_a_shard_that_is_cut_leaves_out_its_own_scenes_by_name(
    copies: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in copies[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: None if path.suffix == ".json" else 1024])
    shards = module("shards", tmp_path)
    files._unpack.cache_clear()
    assert shards.datasets["val"][0] is None
    assert "shard-00000" in caplog.text
    assert "bytes came instead of" in caplog.text


@pytest.mark.parametrize(
    "root", ["pipe:touch canary", "file:///tmp", "simplecache::http://127.0.0.1:1", "github://a:b@/", "ftp://x", "none"]
)
def test_other_addresses_are_refused_and_run_nothing(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"addresses begin with|cannot be read"):
        read_shards(root, "auto")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{}",
        "[" * 20_000,
        '{"format": 1, "layout": "fivek", "size": 1, "shards": {"shard-0.tar": {"b": {}}}}',
        '{"format": 1, "layout": "fivek", "size": 1, "shards": {"shard-0.tar": {"b": {"raw.jpg": "text"}}}}',
        '{"format": 1, "layout": "fivek", "size": 1, "shards": {"shard-0.tar": [1]}}',
        '{"format": 2, "layout": "fivek", "size": 1, "shards": {}}',
    ],
    ids=range(8),
)
def test_what_is_no_index_is_refused(index: str, tmp_path: Path) -> None:
    (tmp_path / "shards.json").write_text(index)
    with pytest.raises(DataError, match=r"shards\.json: is (no index|of another version)"):
        read_shards(str(tmp_path), "auto")


@pytest.mark.parametrize("name", ["../../outside", "/etc"])
def test_an_index_names_no_file_outside_its_folder(name: str, copies: tuple[Path, Path], tmp_path: Path) -> None:
    index = json.loads((copies[1] / "shards.json").read_text())
    index["shards"][name] = index["shards"].pop("shard-000000.tar")
    (tmp_path / "shards.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="is no index of shards"):
        read_shards(str(tmp_path), "auto")


def test_label_maps_are_those_of_the_shards_or_none(copies: tuple[Path, Path]) -> None:
    assert all(scene.mask for scene in read_shards(str(copies[1]), "auto").scenes)
    assert not any(scene.mask for scene in read_shards(str(copies[1]), None).scenes)
    with pytest.raises(DataError, match="shards carry their label maps"):
        module("shards", copies[1], masks="regions")


def test_without_webdataset_it_says_what_to_install(
    fivek_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deepct.data.shards.find_spec", lambda _: None)
    assert prepare(fivek_root, tmp_path / "out", "--shards", 2) == 2
    assert "pip install 'deepct[streaming]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_training_does_not_import_webdataset(copies: tuple[Path, Path]) -> None:
    code = (
        "import sys; from deepct.data.shards import read_shards; "
        f"read_shards({str(copies[1])!r}, 'auto'); sys.exit('webdataset' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_on_shards_counts_each_validation_pair_once(
    processes: int, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.yaml").write_text("trainer:\n  callbacks:\n    - class_path: deepct.callbacks.ValidationPairs\n")
    words = [
        *("fit", "--config", CONF / "base.yaml", "--config", CONF / "teacher-map.yaml", "--config", "pairs.yaml"),
        *("--data.layout", "shards", "--data.root", server, "--data.num_workers", 1, "--data.kinds", "[retouch]"),
        *("--data.val_fraction", 0.1, "--trainer.limit_val_batches", 1.0, "--trainer.max_epochs", 1),
        *("--data.resize", 60, "--data.size", 32, "--trainer.devices", processes),
        *(("--trainer.strategy", "ddp") if processes > 1 else ()),
    ]
    subprocess.run([sys.executable, "-m", "deepct.cli", *map(str, words)], check=True, timeout=300)
    lines = next(tmp_path.glob("runs/run/*/val-pairs.csv")).read_text().splitlines()
    assert len(lines) == 1 + 5
    assert len(set(lines)) == 6


def test_shards_are_plain_tars(copies: tuple[Path, Path]) -> None:
    with tarfile.open(copies[1] / "shard-000000.tar") as shard:
        names = shard.getnames()
    assert len(names) == 4 * 7
    assert "scene3.masks.png" in names
