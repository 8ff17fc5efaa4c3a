import subprocess
from pathlib import Path

from deepct.callbacks.record import git_state


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_codes_own_repository(tmp_path: Path) -> None:
    package = tmp_path / "deepct"
    package.mkdir()
    assert git_state(package) is None
    (package / "a.py").write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    assert git_state(package) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    (package / "a.py").write_text("2\n")
    assert git_state(package) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": True}


def test_a_package_installed_within_anothers_repository_has_no_commit(tmp_path: Path) -> None:
    package = tmp_path / "venv" / "site-packages" / "deepct"
    package.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    assert git_state(package) is None
