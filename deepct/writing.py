"""Files and folders that deepct makes: whole, or not at all."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from deepct.errors import DataError

_LEFTOVER = re.compile(r"\..+\.(\d+)\.part", re.DOTALL)
_LONGEST_NAME = 255  # bytes, on the file systems that there are


@contextmanager
def written_aside(path: Path, durable: bool = False) -> Iterator[Path]:
    """Another name to write under, of this process alone: the file appears under its own when it is whole.

    Args:
        path: where it is to appear.
        durable: let it reach the disk first, so that it is whole there too if the machine loses its power.
    """
    end = f".{os.getpid()}.part"
    aside = path.with_name(f".{path.name}{end}")
    if len(os.fsencode(aside.name)) > _LONGEST_NAME:
        aside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}{end}")
    try:
        aside.unlink(missing_ok=True)  # else it is written through, if it is a link
        yield aside
        if durable:
            _sync(aside, os.O_RDWR)
        aside.replace(path)
        if durable and hasattr(os, "O_DIRECTORY"):
            _sync(path.parent, os.O_DIRECTORY)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, below: bool) -> None:
    """Take away what a killed run left half-written: files as :func:`written_aside` names them, whose process is gone.

    What cannot be taken away stays: nothing depends on it.

    Args:
        folder: where it is.
        below: look into all folders below it too, of which deepct made every one.
    """
    for place, folders, names in os.walk(folder):
        for name in names:
            found = _LEFTOVER.fullmatch(name)
            if found and not psutil.pid_exists(int(found[1])):
                with suppress(OSError):
                    Path(place, name).unlink()
        if not below:
            folders.clear()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Where deepct keeps what it can make again: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepct"


def claim_folder(path: Path, settings: dict[str, Any], differ: Callable[[Any], str], stranger: str) -> None:
    """Make the folder of what a command writes, or check what lies there; what is half-written goes.

    Args:
        path: the file in the folder that says how its content is made.
        settings: what it says.
        differ: from what the file says to how that differs, in words; empty where the command may go on.
        stranger: what a folder with other content is.

    Raises:
        DataError: it was made otherwise, holds something else, or cannot be read or written.
    """
    folder = path.parent
    try:
        if path.is_file():
            difference = differ(json.loads(path.read_text()))
            if difference:
                raise DataError(f"{folder}: {difference}; give another --output")
        elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise DataError(f"{folder}: is not empty and {stranger}; give --output a new folder")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as aside:
                aside.write_text(json.dumps(settings, indent=1) + "\n")
        remove_leftovers(folder, below=True)
    except (OSError, ValueError, AttributeError) as error:  # the last two: it is no JSON, or no table
        raise DataError(f"{path}: cannot be read or written ({error}); give another --output") from error
