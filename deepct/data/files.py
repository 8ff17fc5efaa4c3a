"""Files and folders that deepct makes, and files within files."""

import hashlib
import io
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import psutil

from deepct.errors import DataError

_LEFTOVER = re.compile(r"\..+\.(\d+)\.part", re.DOTALL)
_LONGEST_NAME = 255  # bytes, on the file systems that there are
_REMOTE = ("http", "https", "s3", "gs")
_PAUSES = (1.0, 4.0, 16.0)  # s, after which a server is asked again


@dataclass(frozen=True)
class Packed:
    """A file within another one.

    Attributes:
        shard: path or address of the other.
        stem: what it is called without its version.
        version: ``raw.jpg``, ``masks.png``, ...
        start: where it begins.
        size: in bytes.
    """

    shard: str
    stem: str
    version: str
    start: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}/{self.stem}.{self.version}"


File: TypeAlias = Path | Packed
"""A photo or label map, by itself or within a shard."""


def on_disk(file: File) -> Path:
    """The path of a file that is known to lie by itself, as those of every layout but shards do."""
    assert isinstance(file, Path)
    return file


def opened(file: str | File) -> BinaryIO:
    """A file's bytes, to be read.

    Raises:
        OSError: the file cannot be read, or lies within another one that cannot.
        ValueError: it is a folder, a pipe or a device, which might be read for ever.
    """
    if isinstance(file, Packed):
        return io.BytesIO(_unpack(file))
    if not stat.S_ISREG(Path(file).stat().st_mode):
        raise ValueError("it is no file, but a folder, a pipe or a device")
    return Path(file).open("rb")


def weigh(file: File) -> str:
    """A file's folder, name and size in bytes, the same by itself and within a shard."""
    if isinstance(file, Packed):
        folder, _, suffix = file.version.rpartition(".")
        return f"{folder}/{file.stem}.{suffix} {file.size}"
    return f"{file.parent.name}/{file.name} {file.stat().st_size}"


@lru_cache(maxsize=8)  # a sample asks for the size of a photo, and then for the photo
def _unpack(file: Packed) -> bytes:
    data = fetch(file.shard, file.start, file.size)
    if len(data) != file.size:
        raise OSError(f"{len(data)} bytes came instead of {file.size}; it was changed, or its server gives no ranges")
    return data


def fetch(place: str, start: int = 0, size: int | None = None) -> bytes:
    """Read a file, or bytes of it, from a disk or a server; a server that does not answer is asked four times.

    Args:
        place: a path, or an address that begins with http, https, s3 or gs.
        start: the first byte.
        size: how many there are; None: all that follow.

    Raises:
        OSError: it cannot be read.
        ImportError: the library for its kind of address is missing; names it.
        DataError: the address is of another kind.
    """
    scheme, is_address, _ = place.partition("://")
    if not is_address:
        with Path(place).open("rb") as file:
            file.seek(start)
            return file.read() if size is None else file.read(size)
    if scheme not in _REMOTE or "::" in place:
        raise DataError(f"{place}: addresses begin with {', '.join(f'{kind}://' for kind in _REMOTE)}")
    from fsspec.core import url_to_fs

    for pause in (*_PAUSES, None):
        try:
            # Asked for each time: after a fork, the one from before must not be used.
            files, path = url_to_fs(place)
            data: bytes = files.cat_file(path, start=start, end=None if size is None else start + size)
            return data
        except FileNotFoundError:
            raise
        except Exception as error:  # each kind of server has its own
            if pause is None:
                raise OSError(f"{type(error).__name__}: {error}") from error
            time.sleep(pause)
    raise AssertionError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Another name to write under, of this process alone: the file appears under its own when it is whole."""
    end = f".{os.getpid()}.part"
    aside = path.with_name(f".{path.name}{end}")
    if len(os.fsencode(aside.name)) > _LONGEST_NAME:
        aside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}{end}")
    try:
        aside.unlink(missing_ok=True)  # else it is written through, if it is a link
        yield aside
        aside.replace(path)
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
