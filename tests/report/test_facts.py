from pathlib import Path

from training_logs import write_fit, write_test

from deepct.report.facts import facts_section
from deepct.report.runs import read_runs


def test_each_run_has_its_facts(tmp_path: Path) -> None:
    record = {"git": {"commit": "0123456789abcdef", "dirty": True}, "data": {"fingerprint": "f" * 64, "photos": 3}}
    folder = write_fit(tmp_path / "runs/big/version_0", "Student", record=record)
    write_test(folder.with_name("version_1"), folder / "checkpoints/best.ckpt", "val")
    clean = write_fit(
        tmp_path / "runs/clean/version_0", record={"git": {"commit": "abc", "dirty": False}, "data": {"photos": 3}}
    )
    section = facts_section(read_runs([folder, clean]))
    (table,) = section.tables
    assert table.headings[1:8] == ["trained", "network", "epochs", "steps", "git commit", "data", "tests"]
    assert table.rows == [
        ["big", "student", "U-Net, stride 2", "3", "12", "0123456789ab, with changes", "f" * 12, "val (3 pairs)",
         str(folder)],
        ["clean", "teacher", "U-Net, stride 2", "3", "12", "abc", "photos 3", "none", str(clean)],
    ]  # fmt: skip
    assert not section.text


def test_runs_without_a_record_are_named(tmp_path: Path) -> None:
    section = facts_section(read_runs([write_fit(tmp_path / "runs/old/version_0")]))
    assert section.text == ["Without a record of code and data, as earlier versions logged: old."]
    assert section.tables[0].rows[0][5:7] == ["not known", "not known"]
