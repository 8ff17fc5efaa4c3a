from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepct.errors import DataError
from deepct.evaluation.folders import aligned_cases, disjoint_cases, protocol_cases, trust_cases, wild_cases


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


def test_aligned_takes_fiveks_layout(fivek_root: Path) -> None:
    cases, problems = aligned_cases(fivek_root)
    assert not problems
    assert len(cases) == 6 * 5
    assert (cases[0].name, cases[0].source.parent.name, cases[0].target.parent.name) == ("scene0/raw-a", "raw", "a")


def test_aligned_says_which_version_is_missing(tmp_path: Path) -> None:
    touch(tmp_path / "raw", "one.jpg", "two.jpg")
    touch(tmp_path / "c", "one.jpg")
    cases, problems = aligned_cases(tmp_path)
    assert [case.name for case in cases] == ["one/raw-c"]
    assert len(problems) == 1
    assert "two.jpg" in problems[0]


def test_aligned_takes_a_flat_folder(tmp_path: Path) -> None:
    touch(tmp_path, "p__input.png", "p__expert_A.jpg", "p__expert_c.png", "notes.png")
    touch(tmp_path, *(f"q__expert_{look}.jpg" for look in "ABE"), "r__input.png")
    cases, problems = aligned_cases(tmp_path)
    assert [case.name for case in cases] == ["p/input-a", "p/input-c", "q/a-b", "q/b-e", "q/e-a"]
    assert (cases[4].source.name, cases[4].target.name) == ("q__expert_E.jpg", "q__expert_A.jpg")
    assert len(problems) == 1
    assert "r__input.png: there is no other version" in problems[0]


def test_a_folder_of_other_photos_is_no_aligned_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no retouched photos"):
        aligned_cases(touch(tmp_path, "one.png"))


def test_the_protocol_has_as_many_identical_pairs_as_retouches(fivek_root: Path) -> None:
    cases = protocol_cases(aligned_cases(fivek_root)[0])
    assert len(cases) == len({case.name for case in cases}) == 60
    assert sum(case.identical for case in cases) == 30


def test_every_wild_photo_takes_another_one_whatever_else_lies_there(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(12)]
    few, _ = wild_cases(touch(tmp_path / "few", *names))
    assert all(case.source != case.reference for case in few)
    assert len({case.reference for case in few}) > 4
    more, _ = wild_cases(touch(tmp_path / "more", *names, "a-first.png"))
    chosen = {case.source.name: case.reference.name for case in more}
    kept = [case for case in few if chosen[case.source.name] == case.reference.name]
    assert len(kept) >= len(few) - 4
    with pytest.raises(DataError, match="holds one photo"):
        wild_cases(touch(tmp_path / "one", "one.png"))


def test_wild_pairs_are_those_of_in_and_ref_with_maps_where_both_have_them(tmp_path: Path) -> None:
    touch(tmp_path / "in", "1.jpg", "2.jpg", "3.jpg")
    touch(tmp_path / "ref", "1.jpg", "2.jpg")
    touch(tmp_path / "in_seg", "1.png", "2.png")
    touch(tmp_path / "ref_seg", "1.png")
    cases, problems = wild_cases(tmp_path)
    assert [(case.name, case.maps is not None) for case in cases] == [("1", True), ("2", False)]
    assert len(problems) == 1
    assert "3.jpg" in problems[0]


def test_trust_takes_each_photo_of_the_disjoint_and_wild_tracks_once(tmp_path: Path) -> None:
    folder = touch(tmp_path / "photos", "a.png", "b.png")
    cases = [*disjoint_cases(folder), *wild_cases(folder)[0]]
    assert [case.name for case in trust_cases(cases)] == ["photos/a", "photos/b"]
