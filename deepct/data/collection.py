"""What a folder of photos is: FiveK as it is distributed, FiveK in six folders, or any photos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepct.data.image import PHOTO_SUFFIXES, list_photos
from deepct.data.pairs import LOOKS, SOURCE, Scene, mask_folder, match_versions, photo_scenes
from deepct.data.raw import RAW_SUFFIXES, require_rawpy
from deepct.errors import DataError


@dataclass(frozen=True)
class Collection:
    """The scenes of a folder.

    Attributes:
        kind: what it is, in words.
        layout: what ``--data.layout`` calls it.
        scenes: those with all their versions; raw photos and 16-bit TIFFs among them are no trouble.
        problems: a sentence for each version that is missing.
    """

    kind: str
    layout: Literal["fivek", "photos"]
    scenes: list[Scene]
    problems: list[str]


def find_collection(root: str | Path) -> Collection:
    """Find out what a folder holds.

    FiveK's raw photos lie in ``raw_photos/HQ*/photos``, ``raw`` or ``dng``, and each expert's in ``tiff16_a`` or
    ``a``, and so on; two of these folders make it FiveK. Label maps lie in ``masks``.

    Raises:
        DataError: there is no such folder or no photo in it, some of FiveK's folders are missing, two files share a
            stem, or there are raw photos and no rawpy.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; --root names the collection's")
    sources = sorted(root.glob("raw_photos/HQ*/photos")) or _folders(root, SOURCE, "dng")[:1]
    experts = {look: _folders(root, f"tiff16_{look}", look)[:1] for look in LOOKS}
    folders = {SOURCE: sources, **experts}
    missing = [name for name, found in folders.items() if not found]
    if len(missing) > len(folders) - 2:
        return Collection("photos", "photos", photo_scenes(root, "auto"), [])
    if missing:
        raise DataError(
            f"{root}: FiveK without a folder for {', '.join(missing)}; all six versions are needed: raw photos in "
            "raw_photos/HQ*/photos, raw or dng, experts in tiff16_a to tiff16_e or a to e"
        )
    suffixes = PHOTO_SUFFIXES | RAW_SUFFIXES
    versions = {
        name: [photo for folder in found for photo in list_photos(folder, suffixes)] for name, found in folders.items()
    }
    raw = next((photo for photo in versions[SOURCE] if photo.suffix.lower() in RAW_SUFFIXES), None)
    if raw is not None:
        require_rawpy(raw)
    scenes, problems = match_versions(versions, mask_folder(root, "auto"))
    stems = {photo.stem for photo in versions[SOURCE]}
    problems += [
        f"{photo}: there is no raw photo of this stem"
        for look in LOOKS
        for photo in versions[look]
        if photo.stem not in stems
    ]
    distributed = raw is not None or any(found[0].name.startswith("tiff16_") for found in experts.values())
    return Collection("FiveK as distributed" if distributed else "FiveK in six folders", "fivek", scenes, problems)


def _folders(root: Path, *names: str) -> list[Path]:
    return [folder for name in names if (folder := root / name).is_dir()]
