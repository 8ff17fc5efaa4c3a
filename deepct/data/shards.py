"""Shards: many scenes in one file, on a disk of any kind or a server, for data that one machine's disk does not hold.

A shard is a tar in WebDataset's layout, uncompressed: ``SCENE.raw.jpg``, ``SCENE.a.jpg``, ..., ``SCENE.masks.png``, all
of a scene together. ``shards.json`` beside the shards says where in them each file begins, so that any file is one
read, or one request for a range of bytes: samples are drawn as from a folder, and nothing is copied to the disk.
"""

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from deepct.data.files import Packed, fetch
from deepct.data.pairs import AUTO_MASKS, LOOKS, SOURCE, Scene
from deepct.data.pool import work_off, work_off_jobs
from deepct.errors import DataError, DeepctError
from deepct.writing import written_aside

INDEX = "shards.json"
_FORMAT = 1
_SHARD = r"shard-\d+\.tar"
_ADVICE = "give --data.root the folder or address that `deepct prepare --shards` filled"


class ShardSet(NamedTuple):
    """What a folder of shards holds.

    Attributes:
        size: the length of the shorter sides, px.
        scenes: all of them, whose files are :class:`deepct.data.files.Packed`.
    """

    size: int
    scenes: list[Scene]


class _Job(NamedTuple):
    path: Path
    scenes: Sequence[Scene]


def require_webdataset() -> None:
    """Check that WebDataset is there.

    Raises:
        DeepctError: it is not installed.
    """
    if find_spec("webdataset") is None:
        raise DeepctError("writing shards needs WebDataset: pip install 'deepct[streaming]'")


def write_shards(
    folder: Path,
    scenes: Sequence[Scene],
    encode: Callable[[Scene], dict[str, bytes]],
    count: int,
    settings: dict[str, Any],
    workers: int,
) -> Iterator[list[str]]:
    """Write what is not there yet, several shards at once, and then the index.

    Args:
        folder: for the shards.
        scenes: all of them, in their order.
        encode: from a scene to its files, by what is added to its name: ``raw.jpg``; it must be picklable, and raises a
            DeepctError where the scene cannot be read.
        count: scenes of a shard.
        settings: what the index says beside the scenes: ``layout`` and ``size``.
        workers: processes that work at once; 0 works in this one.

    Yields:
        For each shard that was to be written, a sentence for each scene that could not be.

    Raises:
        DataError: the folder cannot be written.
    """
    parts = [scenes[start : start + count] for start in range(0, len(scenes), count)]
    jobs = [_Job(folder / f"shard-{number:06d}.tar", part) for number, part in enumerate(parts)]
    waiting = [job for job in jobs if _list_files(job.path).keys() != {scene.name for scene in job.scenes}]
    yield from work_off_jobs(waiting, partial(_write_shard, encode), workers, partial(_write_survivors, encode))
    index = {**settings, "format": _FORMAT, "shards": {job.path.name: _list_files(job.path) for job in jobs}}
    try:
        with written_aside(folder / INDEX) as aside:
            aside.write_text(json.dumps(index))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error}); mend that and start again to go on") from error


def read_shards(root: str, masks: str | None) -> ShardSet:
    """Find the scenes of a folder of shards.

    Args:
        root: a folder, or an address that begins with http, https, s3 or gs.
        masks: ``auto``: label maps as they are in the shards; None: without.

    Raises:
        DataError: there are no shards, or label maps are asked for that shards cannot have.
    """
    if masks not in (None, "auto"):
        raise DataError(f"shards carry their label maps: --data.masks is auto, or null for none, not {masks}")
    place = root.rstrip("/")
    try:
        index = json.loads(fetch(f"{place}/{INDEX}"))
        if index["format"] != _FORMAT:
            raise DataError(f"{place}/{INDEX}: is of another version of deepct; prepare the shards again")
        if not all(re.fullmatch(_SHARD, shard) for shard in index["shards"]):
            raise ValueError("it names other files")
        looks = LOOKS if index["layout"] == "photos" else ()
        scenes = [
            _find_scene(f"{place}/{shard}", name, files, looks, masks is not None)
            for shard, found in index["shards"].items()
            for name, files in found.items()
        ]
        return ShardSet(int(index["size"]), scenes)
    except (OSError, ImportError) as error:
        raise DataError(f"{place}/{INDEX}: cannot be read ({error}); {_ADVICE}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{place}/{INDEX}: is no index of shards; {_ADVICE}") from error


def _find_scene(shard: str, name: str, files: dict[str, list[int]], looks: Sequence[str], masks: bool) -> Scene:
    packed = {
        part.rpartition(".")[0]: Packed(shard, name, part, int(start), int(size))
        for part, (start, size) in files.items()
    }
    source, mask = packed.pop(SOURCE), packed.pop(AUTO_MASKS, None)
    return Scene(name, source, dict.fromkeys(looks) or dict(packed), mask if masks else None)


def _write_shard(encode: Callable[[Scene], dict[str, bytes]], job: _Job) -> list[str]:
    from webdataset import TarWriter

    problems = []
    try:
        with (
            written_aside(job.path) as aside,
            aside.open("wb") as file,
            TarWriter(file, encoder=False, mtime=0, format="PAX_FORMAT") as shard,
        ):
            for scene in job.scenes:
                try:
                    shard.write({"__key__": scene.name, **encode(scene)})
                except DeepctError as error:
                    problems.append(str(error))
    except OSError as error:
        raise DataError(f"{job.path}: cannot be written ({error}); mend that and start again to go on") from error
    return problems


def _write_survivors(encode: Callable[[Scene], dict[str, bytes]], job: _Job) -> list[str]:
    """Write a shard whose writing ended its process, without the scenes that do so by themselves."""
    lost = list(work_off(job.scenes, partial(_read_in_vain, encode), 1))
    rest = _Job(job.path, [scene for scene, problem in zip(job.scenes, lost, strict=True) if problem is None])
    (problems,) = work_off_jobs([rest], partial(_write_shard, encode), 1, _lose_shard)
    return [*filter(None, lost), *problems]


def _read_in_vain(encode: Callable[[Scene], dict[str, bytes]], scene: Scene) -> None:
    with suppress(DeepctError):  # it is told when the shard is written
        encode(scene)


def _lose_shard(job: _Job) -> list[str]:
    return [f"{job.path}: its writing ends the process; is there too little memory? Fewer workers take less"]


def _list_files(path: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Where the files of each scene of a shard begin, and their sizes; nothing of one that is not whole."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as shard:
            for member in shard:
                name, version, suffix = member.name.rsplit(".", 2)
                found.setdefault(name, {})[f"{version}.{suffix}"] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError, ValueError):
        return {}
    return found
