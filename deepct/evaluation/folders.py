"""Which pairs the folders of a user make: cases of each track, and a sentence for whatever makes none."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from deepct.data.files import on_disk
from deepct.data.image import list_photos
from deepct.data.masks import find_mask
from deepct.data.pairs import LOOKS, SOURCE, match_versions
from deepct.errors import DataError
from deepct.evaluation.tracks import AlignedCase, Case, DisjointCase, ProtocolCase, TrustCase, WildCase

_INPUT = "input"
_VERSION = re.compile(r"(?P<scene>.+)__(?:(?P<input>input)|expert_(?P<look>[a-eA-E]))")


def aligned_cases(root: Path) -> tuple[list[AlignedCase], list[str]]:
    """Photos and their retouched versions.

    Args:
        root: a folder in FiveK's layout, ``raw`` and any of ``a`` to ``e`` with files of equal stem, or a flat one of
            ``ID__input.*`` and ``ID__expert_X.*``, X from a to e.

    Returns:
        The pairs: a photo with each of its versions. Where there is no unretouched photo, each version with the next
        one, and the last with the first. Then what is missing.

    Raises:
        DataError: the folder is neither.
    """
    folders = [name for name in (SOURCE, *LOOKS) if (root / name).is_dir()]
    if SOURCE in folders and len(folders) > 1:
        scenes, problems = match_versions({name: list_photos(root / name) for name in folders}, None)
        return [
            AlignedCase(f"{scene.name}/{SOURCE}-{look}", on_disk(scene.source), on_disk(path))
            for scene in scenes
            for look, path in scene.looks.items()
            if path is not None
        ], problems
    by_scene: dict[str, dict[str, Path]] = {}
    for path in list_photos(root):
        match = _VERSION.fullmatch(path.stem)
        if match:
            by_scene.setdefault(match["scene"], {})[match["input"] or match["look"].lower()] = path
    if not by_scene:
        raise DataError(
            f"{root}: holds no retouched photos; the aligned track needs folders {SOURCE} and {', '.join(LOOKS)}, or "
            f"files ID__input.jpg and ID__expert_a.jpg to ID__expert_e.jpg"
        )
    lonely = [f"{next(iter(v.values()))}: there is no other version of it" for v in by_scene.values() if len(v) == 1]
    return [case for scene, versions in by_scene.items() for case in _pair_versions(scene, versions)], lonely


def protocol_cases(aligned: Iterable[AlignedCase]) -> list[ProtocolCase]:
    """The report's protocol on the same photos: a retouch pair and an identical pair of each."""
    return [
        ProtocolCase(f"{case.name}/{kind}", case.source, case.target, kind == "identical")
        for case in aligned
        for kind in ("retouch", "identical")
    ]


def disjoint_cases(folder: Path) -> list[DisjointCase]:
    """Every photo of a folder.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    return [DisjointCase(path.stem, path) for path in list_photos(folder)]


def wild_cases(folder: Path) -> tuple[list[WildCase], list[str]]:
    """Unrelated pairs.

    Args:
        folder: one of photos, each of which takes another one as its reference, at random but always the same; or one
            with folders ``in`` and ``ref`` of equal stems, and region maps in ``in_seg`` and ``ref_seg``.

    Returns:
        The pairs, and what is missing.

    Raises:
        DataError: there is no such folder, or no pair in it.
    """
    if not (folder / "in").is_dir():
        photos = list_photos(folder)
        if len(photos) < 2:
            raise DataError(f"{folder}: holds one photo; the wild track needs two or more, or folders in and ref")
        pairs = [(path, _choose_other(path, photos)) for path in photos]
        return [WildCase(f"{a.stem}__{b.stem}", a, b) for a, b in pairs], []
    references = {path.stem: path for path in list_photos(folder / "ref")}
    sources = list_photos(folder / "in")
    problems = [f"{path}: ref has no photo of its stem" for path in sources if path.stem not in references]
    return [
        WildCase(path.stem, path, references[path.stem], _find_maps(folder, path.stem))
        for path in sources
        if path.stem in references
    ], problems


def trust_cases(others: Iterable[Case]) -> list[TrustCase]:
    """Every photo of the disjoint track and every source of the wild one, once."""
    photos: dict[Path, None] = {}
    for case in others:
        if isinstance(case, DisjointCase):
            photos[case.photo] = None
        elif isinstance(case, WildCase):
            photos[case.source] = None
    return [TrustCase(f"{path.parent.name}/{path.stem}", path) for path in photos]


def _pair_versions(scene: str, versions: dict[str, Path]) -> list[AlignedCase]:
    looks = sorted(versions.keys() - {_INPUT})
    if _INPUT in versions:
        chosen = [(_INPUT, look) for look in looks]
    else:
        chosen = [(a, b) for a, b in zip(looks, looks[1:] + looks[:1], strict=True) if a != b]
    return [AlignedCase(f"{scene}/{a}-{b}", versions[a], versions[b]) for a, b in chosen]


def _choose_other(photo: Path, photos: Sequence[Path]) -> Path:
    """By hash rather than by order, so that a photo more or less moves hardly any other."""
    others = [other for other in photos if other != photo]
    return min(others, key=lambda other: hashlib.sha256(f"{photo.name}/{other.name}".encode()).digest())


def _find_maps(folder: Path, stem: str) -> tuple[Path, Path] | None:
    source, reference = find_mask(folder / "in_seg", stem), find_mask(folder / "ref_seg", stem)
    return (source, reference) if source and reference else None
