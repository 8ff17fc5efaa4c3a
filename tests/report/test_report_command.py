import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from training_logs import write_fit, write_test

from deepct.cli import main
from deepct.errors import DataError
from deepct.report import report as command
from deepct.report.figure import Section

pytest.importorskip("matplotlib")


def make_part(name: str, lacks: str = "") -> Callable[..., Section]:
    def part(runs: list[object], setting: object) -> Section:
        if lacks:
            raise DataError(lacks)
        return Section(name, [f"{name}: {len(runs)} runs, {setting!r}"])

    return part


@pytest.fixture(autouse=True)
def other_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the parts that run networks."""
    pairs, costs = ModuleType("pairs"), ModuleType("costs")
    pairs.pairs_section, pairs.masks_section = (
        make_part("Pairs", "p.jpg: cannot be read; take it out"),
        make_part("Maps"),
    )
    costs.costs_section = make_part("Costs")
    monkeypatch.setitem(sys.modules, "deepct.report.pairs", pairs)
    monkeypatch.setitem(sys.modules, "deepct.report.costs", costs)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_fit(tmp_path / "runs/big/version_0")
    write_test(folder.with_name("version_1"), folder / "checkpoints/best.ckpt")
    return folder


def test_the_command_writes_page_and_figures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "report"
    words = ["report", str(run), str(run.parent), "--output", str(output), "--photos", "photos", "--memory", "40"]
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert f"written to {output / 'report.html'}" in printed
    assert "1 failed:\n  Pairs: p.jpg: cannot be read; take it out" in printed
    page = (output / "report.html").read_text()
    assert "<h1>Report of big</h1>" in page
    assert "This part could not be made. p.jpg: cannot be read; take it out" in page
    assert "Maps: 1 runs, &#x27;photos&#x27;" in page
    assert "Costs: 1 runs, 40.0" in page
    stems = {path.stem for path in (output / "figures").iterdir()}
    assert {"curves-train", "curves-val", "extremes-big", "readings-big-dark"} <= stems


def test_nothing_that_fails_is_success(run: Path, tmp_path: Path) -> None:
    sys.modules["deepct.report.pairs"].pairs_section = make_part("Pairs")
    assert main(["report", str(run), "--output", str(tmp_path / "out")]) == 0
    assert "Pairs: 1 runs, None" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(("place", "says"), [("file", "is a file; give --output a folder"), ("file/in", "cannot be")])
def test_no_place_for_a_report_is_an_error(
    place: str, says: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["report", str(run), "--output", str(tmp_path / place)]) == 2
    assert f"{tmp_path / place}: {says}" in capsys.readouterr().err


def test_logs_that_cannot_be_used_leave_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]) == 2
    assert "nothing: there is no such folder; give" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_matplotlib_is_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["report", str(run), "--output", str(tmp_path / "out")]) == 2
    assert "pip install 'deepct[report]'" in capsys.readouterr().err


def test_a_run_and_an_output_are_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--output", str(tmp_path)], [str(tmp_path)]):
        with pytest.raises(SystemExit) as stop:
            main(["report", *words])
        assert stop.value.code == 2
    assert "deepct report" in capsys.readouterr().err
