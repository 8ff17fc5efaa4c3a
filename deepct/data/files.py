"""Files that are read, by themselves, within others, or from a server."""

import io
import stat
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeAlias

from deepct.errors import DataError

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
