"""A compact, training-size copy of a photo collection."""

import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.data.collection import Collection, find_collection
from deepct.data.files import on_disk
from deepct.data.image import MAX_PIXELS, photo_size, read_centre
from deepct.data.masks import check_aspect, read_mask, resize_labels
from deepct.data.pairs import AUTO_MASKS, SOURCE, Scene, check_sizes
from deepct.data.pool import cores, work_off
from deepct.data.raw import RAW_SUFFIXES, raw_size, read_raw_centre
from deepct.data.shards import read_shards, require_webdataset, write_shards
from deepct.errors import DataError, DeepctError
from deepct.telling import print_failures
from deepct.writing import claim_folder, written_aside

SETTINGS_FILE = "prepared.json"


def prepare(
    root: str,
    output: str,
    size: int = 286,
    workers: int | None = None,
    quality: int = 95,
    max_pixels: int = MAX_PIXELS,
    shards: int | None = None,
) -> int:
    """Make a compact copy of a photo collection to train on, so that no epoch decodes its full-size files again.

    The collection is MIT-Adobe FiveK as distributed (DNG and 16-bit TIFF), FiveK in six folders of photos (raw, a to
    e), or any folder of photos, with label maps in its folder masks. The copy holds JPEG files in the layouts that
    --data.root takes. Started again, a run that was stopped goes on, and files that are there are left alone.

    Args:
        root: Folder of the collection.
        output: Folder for the copy, outside of root.
        size: Length of the shorter side, px; smaller photos keep theirs.
        workers: Processes that work at once, by default one for each core; 0 works in this one.
        quality: Quality of the JPEG files, 1 to 100.
        max_pixels: The most pixels that a photo may have; larger ones fail, for a small file may claim any size.
        shards: Scenes of a shard: one file for so many of them, to be read from a server too, with --data.layout
            shards; by default each photo is a file.

    Returns:
        The exit status: 0, or 1 where some scenes failed.

    Raises:
        DataError: the collection is none, the output is no place for it or was made with other settings, it cannot be
            written, or Ctrl-C stopped the run.
    """
    from tqdm import tqdm

    if size < 1 or not 1 <= quality <= 100 or (workers is not None and workers < 0):
        raise DataError(f"size {size}, quality {quality}, workers {workers}: give 1 or more, 1 to 100, and 0 or more")
    if shards is not None:
        require_webdataset()
        if shards < 1:
            raise DataError(f"shards {shards}: a shard holds 1 scene or more")
    place = Path(output).resolve()
    if Path(root).resolve() in (place, *place.parents):
        raise DataError(f"{output}: lies in the collection {root} itself; give --output a folder outside of it")
    collection = find_collection(root)
    copy = Copy(Path(output), collection.layout, size, quality, shards)
    copy.open()
    print(f"{root}: {collection.kind}, {len(collection.scenes)} scenes")
    if shards is not None:
        return _prepare_shards(copy, collection, shards, cores() if workers is None else workers, max_pixels)
    waiting = [scene for scene in collection.scenes if not all(path.is_file() for path in copy.files(scene).values())]
    problems = list(collection.problems)
    results = work_off(
        waiting, partial(prepare_scene, copy, max_pixels=max_pixels), cores() if workers is None else workers
    )
    try:
        problems += filter(None, tqdm(results, total=len(waiting), unit="scene", disable=None))
    except KeyboardInterrupt:
        raise DataError("stopped; the same command goes on from here") from None
    there = sum(all(path.is_file() for path in copy.files(scene).values()) for scene in collection.scenes)
    print(f"{there} scenes are ready, {len(collection.scenes) - len(waiting)} of them from before")
    if there:
        print(f"train on them: --data.layout {collection.layout} --data.root {output}")
    print_failures(problems)
    return int(bool(problems))


def prepared_size(root: str | Path) -> int | None:
    """The length of the shorter sides in a copy that deepct made, px; None of any other folder."""
    try:
        size: int = json.loads((Path(root) / SETTINGS_FILE).read_text())["size"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return size


@dataclass(frozen=True)
class Copy:
    """Where a copy lies and how it is made.

    Attributes:
        folder: the copy's.
        layout: ``fivek`` or ``photos``.
        size: length of the shorter side, px.
        quality: of the JPEG files.
        shards: scenes of a shard; None: each photo is a file.
    """

    folder: Path
    layout: str
    size: int
    quality: int
    shards: int | None = None

    def open(self) -> None:
        """Make the folder, or check that what it holds was made with these settings.

        Raises:
            DataError: it was made with others, holds something else, or cannot be written.
        """
        settings: dict[str, Any] = {"layout": self.layout, "size": self.size, "quality": self.quality}
        if self.shards is not None:
            settings["shards"] = self.shards
        claim_folder(
            self.folder / SETTINGS_FILE,
            settings,
            lambda before: "" if before == settings else f"was made with {before}, not {settings}",
            "no copy made by deepct",
        )

    def files(self, scene: Scene) -> dict[str, Path]:
        """What becomes of a scene: its versions and label map, by name, and the source, which makes a scene, last."""
        names = [name for name, path in scene.looks.items() if path is not None]
        files = {name: self.folder / name / f"{scene.name}.jpg" for name in names}
        if scene.mask is not None:
            files[AUTO_MASKS] = self.folder / AUTO_MASKS / f"{scene.name}.png"
        files[SOURCE] = (self.folder / SOURCE if names else self.folder) / f"{scene.name}.jpg"
        return files


def prepare_scene(copy: Copy, scene: Scene, max_pixels: int = MAX_PIXELS) -> str | None:
    """Write one scene's files: all versions cut about the centre to their common size, then resized alike.

    Args:
        copy: where to.
        scene: the scene.
        max_pixels: the most pixels that a photo may have.

    Returns:
        None, or why the scene cannot be read; nothing of it is written then.

    Raises:
        DataError: the copy cannot be written.
    """
    try:
        pictures = _make_pictures(copy, scene, max_pixels)
    except DeepctError as error:
        return str(error)
    try:
        for name, path in copy.files(scene).items():
            path.parent.mkdir(exist_ok=True)
            with written_aside(path) as aside:
                _save(pictures[name], name, copy.quality, aside)
    except OSError as error:
        raise DataError(f"{copy.folder}: cannot be written ({error}); mend that and start again to go on") from error
    return None


def encode_scene(copy: Copy, scene: Scene, max_pixels: int = MAX_PIXELS) -> dict[str, bytes]:
    """One scene's files, ``raw.jpg`` and so on.

    Raises:
        DeepctError: the scene cannot be read.
    """
    encoded = {}
    for name, picture in _make_pictures(copy, scene, max_pixels).items():
        file = io.BytesIO()
        _save(picture, name, copy.quality, file)
        encoded[f"{name}.{'png' if name == AUTO_MASKS else 'jpg'}"] = file.getvalue()
    return encoded


def _prepare_shards(copy: Copy, collection: Collection, count: int, workers: int, max_pixels: int) -> int:
    from tqdm import tqdm

    settings = {"layout": copy.layout, "size": copy.size}
    problems = list(collection.problems)
    encode = partial(encode_scene, copy, max_pixels=max_pixels)
    results = write_shards(copy.folder, collection.scenes, encode, count, settings, workers)
    try:
        for found in tqdm(results, unit="shard", disable=None):
            problems += found
    except KeyboardInterrupt:
        raise DataError("stopped; the same command goes on from here") from None
    print(f"{len(read_shards(str(copy.folder), None).scenes)} scenes are ready")
    print(f"train on them: --data.layout shards --data.root {copy.folder}, or wherever you put the folder")
    print_failures(problems)
    return int(bool(problems))


def _make_pictures(copy: Copy, scene: Scene, max_pixels: int) -> dict[str, NDArray[np.uint8]]:
    """All versions, and the label map, at one size."""
    paths = {**{name: path for name, path in scene.looks.items() if path is not None}, SOURCE: scene.source}
    sizes = {path: _size(on_disk(path), max_pixels) for path in scene.photos}
    check_sizes(sizes)
    height, width = (min(sides) for sides in zip(*sizes.values(), strict=True))
    size = _shrink(height, width, copy.size)
    pictures = {name: _read(on_disk(path), (height, width), size, max_pixels) for name, path in paths.items()}
    if scene.mask is not None:
        labels = read_mask(scene.mask)
        check_aspect(scene.mask, labels.shape, scene.source, sizes[scene.source])
        pictures[AUTO_MASKS] = resize_labels(labels, size)
    return pictures


def _save(picture: NDArray[np.uint8], name: str, quality: int, file: Path | io.BytesIO) -> None:
    kind = "PNG" if name == AUTO_MASKS else "JPEG"
    Image.fromarray(picture).save(file, kind, quality=quality, subsampling=0)


def _size(path: Path, max_pixels: int) -> tuple[int, int]:
    return raw_size(path) if path.suffix.lower() in RAW_SUFFIXES else photo_size(path, max_pixels)


def _read(path: Path, crop: tuple[int, int], size: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    if path.suffix.lower() in RAW_SUFFIXES:
        return read_raw_centre(path, crop, size)
    return read_centre(path, crop, size, max_pixels)


def _shrink(height: int, width: int, side: int) -> tuple[int, int]:
    """The size whose shorter side is ``side``, unless it is shorter already."""
    shorter = min(height, width)
    return (height, width) if shorter <= side else (round(height * side / shorter), round(width * side / shorter))
