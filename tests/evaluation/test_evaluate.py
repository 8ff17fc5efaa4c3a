"""The command end to end, on a few tiny photos."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepct.cli import main
from deepct.evaluation import judge as judging
from deepct.evaluation.judge import judge
from deepct.evaluation.methods import Method
from deepct.evaluation.tracks import TrustCase

FAST = ["identity", "reinhard", "mkl"]


def save(path: Path, seed: int, gain: float = 1.0) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    smooth = np.asarray(Image.fromarray(coarse).resize((72, 48), Image.Resampling.BICUBIC))
    Image.fromarray((smooth * gain).astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folders for all tracks."""
    for seed in range(2):
        save(tmp_path / "plain" / f"{seed}.png", seed)
        save(tmp_path / "aligned" / f"{seed}__input.png", seed, 0.6)
        save(tmp_path / "aligned" / f"{seed}__expert_c.png", seed)
        for folder in ("in", "ref", "in_seg", "ref_seg"):
            save(tmp_path / "wild" / folder / f"{seed}.png", 10 * seed + len(folder))
    return tmp_path


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open() as file:
        return list(csv.DictReader(file))


def run(photos: Path, *more: str | Path, methods: list[str] = FAST) -> int:
    words = ["evaluate", "--output", photos / "results", "--methods", *methods, "--workers", "0", *more]
    return main([str(word) for word in words])


def test_all_tracks_with_a_network(photos: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--disjoint", photos / "plain", "--aligned", photos / "aligned", "--wild", photos / "wild"]
    assert run(photos, *folders, "--checkpoint", f"net={checkpoint}") == 0
    rows = read(photos / "results")
    counts = {track: len([r for r in rows if r["track"] == track]) for track in {r["track"] for r in rows}}
    assert counts == {"aligned": 8, "protocol": 16, "disjoint": 8, "wild": 10, "trust": 16}
    by_key = {(r["track"], r["pair"], r["method"]): r for r in rows}
    assert len(by_key) == len(rows)
    same = by_key["disjoint", "0", "identity"]
    assert (float(same["structure"]), float(same["new_clipping"]), float(same["banding"])) == (1, 0, 0)
    assert float(same["delta_e_mean"]) > 1
    assert all(same[name] for name in ("image_loss", "psnr", "ssim", "delta_e_p95", "swd", "seconds"))
    identical = by_key["protocol", "0/input-c/identical", "net"]
    assert float(identical["image_loss"]) > 0
    assert not identical["delta_e_mean"]
    assert by_key["protocol", "0/input-c/identical", "identity"]["image_loss"] == "0"
    assert not by_key["wild", "0", "net"]["image_loss"]
    assert by_key["wild", "0", "net"]["swd"] != by_key["wild", "0", "net + labels"]["swd"]
    assert float(by_key["trust", "plain/0", "mkl"]["mirror_delta_e"]) < 0.1
    names = {path.name for path in (photos / "results").iterdir()}
    sheets = {f"sheet-{track}-001.png" for track in counts}
    assert names == {"pairs.csv", "results.md", "results.html", *sheets}
    tables = (photos / "results" / "results.md").read_text()
    assert tables in capsys.readouterr().out
    assert [line[3:] for line in tables.splitlines() if line.startswith("## ")] == [
        "aligned", "protocol", "disjoint", "wild", "trust"
    ]  # fmt: skip


def test_a_broken_photo_costs_itself_alone(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "plain" / "broken.jpg").write_bytes(b"no photo")
    assert run(photos, "--disjoint", photos / "plain") == 1
    assert {row["pair"] for row in read(photos / "results")} == {"0", "1", "plain/0", "plain/1"}
    out = capsys.readouterr().out
    assert "2 failed:" in out  # as a disjoint pair, and in trust
    assert "broken.jpg: cannot be read as a photo" in out


def test_a_method_that_fails_costs_itself_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Method, photos: object) -> None:
        raise np.linalg.LinAlgError("no root")

    monkeypatch.setattr(judging.Method, "recolor", fail)
    verdict = judge(TrustCase("0", photos / "plain" / "0.png"), [Method("mkl")], 48)
    assert verdict.problems == ["trust 0: mkl failed (no root)"]
    assert not verdict.rows


def test_processes_give_the_same_figures(photos: Path) -> None:
    few = ["--disjoint", str(photos / "plain"), "--methods", *FAST, "--size", "60"]
    assert main(["evaluate", "--output", str(photos / "one"), "--workers", "0", *few]) == 0
    assert main(["evaluate", "--output", str(photos / "two"), "--workers", "1", *few]) == 0
    one, two = ([{**row, "seconds": ""} for row in read(photos / name)] for name in ("one", "two"))
    assert one == two


def test_results_replace_those_of_a_run_before_but_nothing_else(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, "--disjoint", photos / "plain") == 0
    stale = photos / "results" / "sheet-wild-002.png"
    stale.touch()
    assert run(photos, "--disjoint", photos / "plain") == 0
    assert not stale.exists()
    (photos / "results" / "pairs.csv").unlink()
    assert run(photos, "--disjoint", photos / "plain") == 2
    assert "is not empty and holds no results of deepct" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to judge by"),
        (["--disjoint", "none"], "there is no such folder"),
        (["--disjoint", "plain", "--size", "5"], "give 24 or more"),
        (["--disjoint", "plain", "--checkpoint", "none.ckpt"], "no such"),
        (["--disjoint", "results"], "holds what is to be read"),
    ],
)
def test_what_cannot_be_run_is_said(
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(photos)
    save(photos / "results" / "0.png", 0)
    assert run(photos, *words) == 2
    assert message in capsys.readouterr().err


def test_a_missing_color_matcher_is_said_before_any_work(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "color_matcher", None)
    assert run(photos, "--disjoint", photos / "plain", methods=["hm-mkl-hm"]) == 2
    assert "deepct[evaluate]" in capsys.readouterr().err
    assert not (photos / "results").exists()


def test_pairs_of_one_name_are_refused(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(photos / "other" / "0.png", 5)
    assert run(photos, "--disjoint", photos / "plain", photos / "other") == 2
    assert "2 pairs of the track disjoint would be called 0; rename" in capsys.readouterr().err
