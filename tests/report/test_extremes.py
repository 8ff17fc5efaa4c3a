from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from training_logs import make_strip, write_fit, write_test

from deepct.errors import ImageError
from deepct.report.extremes import choose_ranking, correlate, correlate_mirroring, cut_strip, extremes_section
from deepct.report.figure import LIGHT
from deepct.report.runs import Ranking, Run, read_runs

pytest.importorskip("matplotlib")

RISING = np.arange(1.0, 9.0)


def read_tested(tmp_path: Path, losses: list[float], *splits: str) -> Run:
    """A run with a test of each split."""
    folder = write_fit(tmp_path / "runs/big/version_0")
    for number, split in enumerate(splits or ("train",), start=1):
        write_test(folder.with_name(f"version_{number}"), folder / "checkpoints/best.ckpt", split, losses)
    return read_runs([folder])[0]


def findings(run: Run) -> dict[str, list[str]]:
    table = extremes_section([run]).tables[-1]
    return {
        row[0].split(":")[0] + "|" + row[0].rpartition(" more ")[2].split(",")[0]: list(row[1:]) for row in table.rows
    }


def test_correlations_are_spearmans_with_a_verdict() -> None:
    assert correlate(RISING, RISING**3)[:2] == (8, 1.0)
    assert correlate(RISING, RISING).verdict == "confirmed"
    assert correlate(RISING, -RISING).verdict == "the contrary"
    mixed = np.array([1.0, 8, 2, 7, 3, 6, 4, 5])
    found = correlate(RISING, mixed)
    assert (found.rho, found.p) == pytest.approx(tuple(spearmanr(RISING, mixed)))
    assert found.verdict == f"not seen here (p = {found.p:.2f})"


def test_what_cannot_be_correlated_says_why() -> None:
    assert correlate(np.zeros(8), RISING).verdict == "not tested (all pairs have 0)"
    assert correlate(RISING, np.ones(8)).verdict == "not tested (all pairs have the same loss)"
    assert correlate(RISING[:2], RISING[:2]).verdict == "not tested (too few pairs)"
    assert correlate(np.full(8, np.nan), RISING).verdict == "not tested (not measured)"


def test_pairs_without_a_number_do_not_count() -> None:
    readings, losses = RISING.copy(), RISING.copy()
    readings[7], losses[0] = np.nan, np.inf
    assert correlate(readings, losses)[:2] == (6, pytest.approx(1.0))


def test_mirroring_is_correlated_over_both_versions() -> None:
    rows = [{"loss": loss, "mirrored_loss": loss + 10} for loss in RISING]
    found, change = correlate_mirroring([*rows, {"loss": 99.0, "mirrored_loss": None}, {"loss": 99.0}])
    rho = spearmanr([0] * 8 + [1] * 8, [*RISING, *(RISING + 10)])[0]
    assert (found.n, found.rho, change) == (8, pytest.approx(rho), 10.0)
    assert found.p == pytest.approx(2 / 2**8)  # eight of eight rose
    assert found.verdict == "confirmed"
    spread = [{"loss": loss, "mirrored_loss": 1.1 * loss} for loss in np.geomspace(1, 1e6, 20)]
    assert correlate_mirroring(spread)[0].verdict == "confirmed"  # pair by pair, though the losses differ far more
    alike, rounding = correlate_mirroring([{"loss": loss, "mirrored_loss": loss * (1 + 1e-6)} for loss in RISING])
    assert (alike.rho, alike.verdict) == (0.0, "not seen here (p = 1.00)")
    assert 0 < rounding < 1e-4
    missing, none = correlate_mirroring([{"loss": 1.0}])
    assert missing.verdict == "not tested (not measured)"
    assert np.isnan(none)


def test_identical_pairs_do_not_count(tmp_path: Path) -> None:
    run = read_tested(tmp_path, [3, 1, 2, 5, 4])
    (ranking,) = run.rankings
    same = [{**row, "pair": f"a/identical/{i}", "loss": 1e-6, "colors": 1e6} for i, row in enumerate(ranking.rows)]
    run.rankings = [ranking._replace(rows=[*ranking.rows, *same])]
    assert findings(run)["Few colours are better|colours"][:2] == ["5", "+1.00"]
    run.rankings = [ranking._replace(rows=same)]
    assert findings(run)["Few colours are better|colours"][0] == "5"  # where there are no others


def test_the_reports_findings_are_tested_over_all_pairs(tmp_path: Path) -> None:
    found = findings(read_tested(tmp_path, [3, 1, 2, 5, 4, 6, 8, 7]))
    assert found["Few colours are better|colours"] == ["8", "+1.00", "0", "", "confirmed"]
    assert found["Complex scenes are worse|edges"][-1] == "the contrary"
    assert found["Complex scenes are worse|labels"] == ["8", "", "", "", "not tested (all pairs have 2)"]
    assert found["Mirrored references are worse|Mirrored references are worse"][3] == "+0.5"


def test_the_training_photos_are_preferred(tmp_path: Path) -> None:
    run = read_tested(tmp_path, [1, 2, 3], "test", "train", "val")
    assert choose_ranking(run).split == "train"
    assert "big: 3 pairs of the split train" in extremes_section([run]).text[0]
    run.rankings = [ranking._replace(rows=[]) if ranking.split == "train" else ranking for ranking in run.rankings]
    assert choose_ranking(run).split == "val"


def test_extremes_are_shown_with_loss_and_reading(tmp_path: Path) -> None:
    run = read_tested(tmp_path, [3, 1, 2, float("nan")])
    section = extremes_section([run])
    figure = next(figure for figure in section.figures if figure.name == "extremes-big")
    assert not figure.themed
    plot = figure.draw(LIGHT)
    assert len(plot.axes) == 6  # of six extremes two have pictures here
    assert [plot.axes[i].get_title() for i in (0, 1)] == ["largest 1\n3.00", "smallest 1\n1.00"]
    assert plot.axes[4].get_xlabel() == "300 colours\n2 labels\n3% edges"
    assert [plot.axes[i].get_ylabel() for i in (0, 2, 4)] == ["source", "reference", "result"]
    for row, color in zip((0, 2, 4), np.eye(3), strict=True):
        assert (plot.axes[row].images[0].get_array() == 255 * color).all()
    shown = next(table for table in section.tables if table.caption.endswith("the pairs shown."))
    assert [list(row[:3]) for row in shown.rows] == [["largest 1", "pair0", "3.00"], ["smallest 1", "pair1", "1.00"]]


def test_readings_that_differ_are_charted(tmp_path: Path) -> None:
    run = read_tested(tmp_path, [3, 1, 2, 40])
    figure = next(figure for figure in extremes_section([run]).figures if figure.name == "readings-big")
    plot = figure.draw(LIGHT)
    assert [axes.get_xlabel() for axes in plot.axes] == ["colours", "edges, share of pixels"]
    assert plot.axes[0].get_title() == "correlation +1.00"
    assert plot.axes[0].get_yscale() == "log"
    assert plot.axes[0].collections[0].get_offsets().tolist() == [[300, 3], [100, 1], [200, 2], [4000, 40]]


def test_nothing_to_chart_is_no_chart(tmp_path: Path) -> None:
    run = read_tested(tmp_path, [1, 2])
    run.rankings = [Ranking("val", run.rankings[0].rows, {})]
    section = extremes_section([run])
    assert section.figures == []
    assert any("the pictures of its extremes are missing" in text for text in section.text)


def test_where_nothing_was_tested_the_command_is_given(tmp_path: Path) -> None:
    section = extremes_section(read_runs([write_fit(tmp_path / "runs/big/version_0")]))
    assert "deepct test --config CONFIG --data.root DIR --data.split train --ckpt_path CKPT" in section.text[0]
    assert not section.figures
    assert not section.tables


def test_a_strip_is_cut_in_three(tmp_path: Path) -> None:
    Image.fromarray(make_strip()).save(tmp_path / "strip.png")
    parts = cut_strip(tmp_path / "strip.png")
    assert [part.shape for part in parts] == [(20, 20, 3)] * 3
    assert [part[0, 0].tolist() for part in parts] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    (tmp_path / "strip.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"strip.png: cannot be read .*; run deepct test again"):
        cut_strip(tmp_path / "strip.png")
