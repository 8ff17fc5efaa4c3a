from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor

from deepct.ade20k import CLASSES, KIN
from deepct.errors import ConfigError
from deepct.histogram import UNLABELLED, histogram, pair_histograms
from deepct.semantics import AS_REPORTED, Semantics, feather, match_labels

SKY, TREE, GRASS, PERSON, FIELD = (CLASSES.index(name) for name in ("sky", "tree", "grass", "person", "field"))
ALL_SIZES = Semantics(min_pixels=0, min_share=0.0, min_shared=0.0)


def label_map(**pixels: int) -> Tensor:
    """(1, 1, N) labels: so many pixels of each class."""
    numbers = {name: UNLABELLED if name == "none" else CLASSES.index(name) for name in pixels}
    flat = [number for name, number in numbers.items() for _ in range(pixels[name])]
    return torch.tensor(flat, dtype=torch.uint8).view(1, 1, -1)


def matched(source: Tensor, reference: Tensor, semantics: Semantics) -> dict[str, dict[str, float]]:
    """Class by class of the source: the shares of the reference's classes that it takes."""
    matches = match_labels(source, reference, semantics)
    assert matches.mix is not None
    found = {}
    for label in (matches.source.slots[0] >= 0).nonzero().flatten().tolist():
        shares = matches.mix[matches.source.slots[0, label]]
        slots = enumerate(matches.reference.slots[0, :150].tolist())
        theirs = {CLASSES[i]: round(float(shares[slot]), 6) for i, slot in slots if slot >= 0}
        found[CLASSES[label]] = {name: share for name, share in theirs.items() if share > 0}
    return found


def test_the_classes_are_ade20ks() -> None:
    assert len(set(CLASSES)) == 150
    assert [CLASSES[i] for i in (0, 4, 12, 29, 48, 72, 128, 149)] == [
        "wall", "tree", "person", "field", "skyscraper", "palm", "lake", "flag",
    ]  # fmt: skip


def test_a_class_is_of_one_kind_at_most() -> None:
    members = list(chain(*KIN))
    assert len(members) == len(set(members))


def test_equal_labels_match() -> None:
    source, reference = label_map(sky=50, person=50), label_map(person=80, sky=20)
    assert matched(source, reference, ALL_SIZES) == {"sky": {"sky": 1.0}, "person": {"person": 1.0}}


def test_labels_that_look_alike_stand_in_by_their_pixels() -> None:
    source, reference = label_map(grass=60, sky=40), label_map(field=30, tree=10, sky=60)
    assert matched(source, reference, ALL_SIZES) == {"sky": {"sky": 1.0}, "grass": {"field": 0.75, "tree": 0.25}}
    assert matched(source, reference, Semantics(0, 0.0, kin=False)) == {"sky": {"sky": 1.0}}


def test_an_exact_match_needs_no_kin() -> None:
    source, reference = label_map(grass=60, tree=40), label_map(grass=10, field=90)
    assert matched(source, reference, ALL_SIZES) == {"grass": {"grass": 1.0}, "tree": {"grass": 0.1, "field": 0.9}}


@pytest.mark.parametrize(("source_pixels", "reference_pixels"), [(9, 500), (500, 9)])
def test_small_labels_are_not_trusted(source_pixels: int, reference_pixels: int) -> None:
    source = label_map(person=source_pixels, sky=1000 - source_pixels)
    reference = label_map(person=reference_pixels, sky=1000 - reference_pixels)
    for strict in (Semantics(min_pixels=10, min_share=0.0), Semantics(min_pixels=0, min_share=0.01)):
        assert matched(source, reference, strict) == {"sky": {"sky": 1.0}}
    for mild in (Semantics(min_pixels=9, min_share=0.0), Semantics(min_pixels=0, min_share=0.009)):
        assert set(matched(source, reference, mild)) == {"sky", "person"}


def test_kin_too_small_one_by_one_may_be_enough_together() -> None:
    source, reference = label_map(grass=500, sky=500), label_map(field=6, tree=6, sky=988)
    assert matched(source, reference, Semantics(min_pixels=10, min_share=0.0)) == {
        "sky": {"sky": 1.0},
        "grass": {"field": 0.5, "tree": 0.5},
    }


def test_photos_that_share_too_little_are_matched_as_wholes() -> None:
    source, reference = label_map(sky=29, person=71), label_map(sky=50, sea=50)
    assert matched(source, reference, Semantics(0, 0.0, min_shared=0.3)) == {}
    assert set(matched(source, reference, Semantics(0, 0.0, min_shared=0.29))) == {"sky"}


def test_pixels_without_label_match_nothing() -> None:
    both = label_map(none=90, sky=10)
    assert matched(both, both, ALL_SIZES) == {"sky": {"sky": 1.0}}
    assert matched(both, both, Semantics(0, 0.0, min_shared=0.2)) == {}


def test_mixed_histograms_are_those_of_the_pixels_together() -> None:
    generator = torch.Generator().manual_seed(0)
    lab = torch.rand(2, 3, 1, 100, generator=generator) * 2 - 1
    source = torch.cat((label_map(grass=60, sky=40), label_map(sky=100)))
    reference = torch.cat((label_map(field=30, tree=10, sky=60), label_map(person=50, sky=50)))
    matches = match_labels(source, reference, ALL_SIZES)
    found = pair_histograms(lab, lab, source, reference, matches=matches)
    assert found.rows is not None
    for photo, label, pixels in ((0, GRASS, slice(0, 40)), (0, SKY, slice(40, 100)), (1, SKY, slice(50, 100))):
        row = matches.source.slots[photo, label]
        torch.testing.assert_close(found.reference[row], histogram(lab[photo : photo + 1, ..., pixels])[0])
        assert (found.rows[photo][source[photo] == label] == row).all()


def test_as_reported_is_what_no_matches_give() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 9, (2, 2, 12, 12), generator=generator).to(torch.uint8)
    lab = torch.rand(2, 3, 12, 12, generator=generator) * 2 - 1
    plain = pair_histograms(lab, lab, labels[0], labels[1])
    same = pair_histograms(lab, lab, labels[0], labels[1], matches=match_labels(labels[0], labels[1], AS_REPORTED))
    torch.testing.assert_close(same.reference, plain.reference)
    assert plain.rows is not None
    assert same.rows is not None
    assert torch.equal(same.rows, plain.rows)


def test_nothing_in_common_is_no_match() -> None:
    source, reference = label_map(sky=100), label_map(person=100)
    lab = torch.zeros(1, 3, 1, 100)
    found = pair_histograms(lab, lab, source, reference, matches=match_labels(source, reference))
    assert found.rows is None
    assert len(found.reference) == 1


def halves(width: int, height: int = 40, shift: int = 0) -> Tensor:
    """(1, 2, H, W) shares: left and right half, hard."""
    left = (torch.arange(width) < width // 2 + shift).float().expand(height, width)
    return torch.stack((left, 1 - left)).unsqueeze(0)


def test_regions_blend_where_the_photo_shows_no_edge() -> None:
    soft = feather(halves(200), torch.zeros(1, 3, 40, 200), Semantics(feather=0.05))
    profile = soft[0, 0, 20]
    assert float(profile.diff().abs().max()) < 0.06  # the hard border's is 1
    assert (profile.diff() <= 1e-6).all()
    spread = -(profile.diff() * (torch.arange(1, 200) - 100) ** 2).sum()
    assert float(spread) == pytest.approx(10**2, rel=0.15)  # a standard deviation of 0.05 x 200 px
    torch.testing.assert_close(soft.sum(1), torch.ones(1, 40, 200))


def test_regions_meet_at_the_photos_edge_though_the_label_map_misses_it() -> None:
    photo = halves(200)[:, :1].expand(1, 3, 40, 200) - 0.5
    missed = halves(200, shift=2)
    profile = feather(missed, photo, Semantics(feather=0.05))[0, 0, 20]
    assert float(profile[99] - profile[100]) > 0.6  # the step is where the photo's is
    assert float((profile[101:].diff()).abs().max()) < 0.1  # and no more where the label map's was


def test_feathering_keeps_many_regions_apart() -> None:
    labels = torch.from_numpy(np.arange(20).repeat(10)).expand(30, 200)
    shares = torch.nn.functional.one_hot(labels, 20).permute(2, 0, 1).float().unsqueeze(0)
    photo = torch.linspace(-1, 1, 200).expand(1, 3, 30, 200)
    soft = feather(shares, photo, Semantics(feather=0.01))
    assert torch.equal(soft.argmax(1)[0, :, 5::10], labels[:, 5::10])
    torch.testing.assert_close(soft.sum(1), torch.ones(1, 30, 200))


@pytest.mark.parametrize("setting", [{"min_share": 1.5}, {"min_shared": -0.1}, {"feather": 2.0}, {"min_pixels": -1}])
def test_settings_out_of_range_are_refused_by_name(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Semantics(**setting)  # type: ignore[arg-type]
