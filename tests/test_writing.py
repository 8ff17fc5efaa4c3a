import os
from pathlib import Path

from deepct.writing import remove_leftovers, written_aside

GONE = 9999999  # more than any process's number


def test_only_what_a_process_that_is_gone_left_half_written_is_taken_away(tmp_path: Path) -> None:
    left = [tmp_path / f".a.png.{GONE}.part", tmp_path / "below" / f".b\n.png.{GONE}.part"]
    kept = [tmp_path / name for name in (".download.part", f".a.png.{os.getpid()}.part", f"a.png.{GONE}.part", "b.png")]
    (tmp_path / "below").mkdir()
    for path in (*left, *kept):
        path.touch()
    remove_leftovers(tmp_path, below=False)
    assert [path.exists() for path in left] == [False, True]
    remove_leftovers(tmp_path, below=True)
    assert not left[1].exists()
    assert all(path.exists() for path in kept)


def test_what_is_written_aside_is_found_by_its_name(tmp_path: Path) -> None:
    for name in ("a.png", "x" * 250):
        with written_aside(tmp_path / name) as aside:
            aside.touch()
            gone = aside.with_name(aside.name.replace(str(os.getpid()), str(GONE)))
            gone.touch()
            remove_leftovers(tmp_path, below=False)
            assert aside.exists()
            assert not gone.exists()
