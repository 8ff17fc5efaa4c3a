"""The embedded photos, and the retouches that give them their experts."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from deepct.data import samples
from deepct.data.image import read_photo
from deepct.data.masks import read_mask
from deepct.data.pairs import check_scenes, fivek_scenes
from deepct.data.regions import segment
from deepct.data.retouch import EXPERTS, Retouch, faint_retouch, random_capture, random_retouch
from deepct.data.samples import SAMPLE_NAMES, build_samples, demo_pairs, load_sample

LEAST_DELTA_E = 4.0
"""Mean over the photos by which any two of the five experts differ at least; 2 is what an eye notices side by side."""


def every_level() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.stat().st_size) for p in root.rglob("*")}


def test_the_embedded_photos_are_a_fivek_folder_that_passes_every_check(
    samples_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenes = check_scenes(fivek_scenes(samples_root, "masks"))
    assert [scene.name for scene in scenes] == sorted(SAMPLE_NAMES)
    assert all(scene.mask is not None for scene in scenes)
    assert not caplog.records


def test_they_lie_below_the_cache_folder(samples_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(samples_root.parent.parent))
    assert samples.samples_root() == samples_root
    assert samples_root.parent.name == "deepct"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert samples.samples_root() == Path.home() / ".cache" / "deepct" / samples_root.name


def test_a_second_build_touches_nothing(samples_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(samples_root.parent)
    monkeypatch.setattr(samples, "load_sample", lambda name: pytest.fail(f"{name} was read again"))
    assert build_samples(samples_root) == samples_root
    assert snapshot(samples_root.parent) == before


def test_the_photos_are_colour_and_of_sensible_size() -> None:
    for name in SAMPLE_NAMES:
        photo = load_sample(name)
        assert photo.dtype == np.uint8
        assert photo.shape[2] == 3
        assert 128 <= min(photo.shape[:2]) <= max(photo.shape[:2]) <= 512
        assert np.ptp(photo.astype(int), axis=2).mean() > 2


def test_the_five_experts_are_distinct(samples_root: Path) -> None:
    labs = {
        expert: [rgb2lab(read_photo(samples_root / expert / f"{name}.jpg")[::4, ::4]) for name in sorted(SAMPLE_NAMES)]
        for expert in ("raw", *EXPERTS)
    }
    assert len(EXPERTS) == 5
    for one, other in combinations(labs, 2):
        differences = [deltaE_ciede2000(a, b).mean() for a, b in zip(labs[one], labs[other], strict=True)]
        assert np.mean(differences) > LEAST_DELTA_E, (one, other)


def test_label_maps_fit_their_photos_and_divide_them(samples_root: Path) -> None:
    for name in SAMPLE_NAMES:
        labels = read_mask(samples_root / "masks" / f"{name}.png")
        assert labels.shape == read_photo(samples_root / "raw" / f"{name}.jpg").shape[:2]
        assert 2 <= len(np.unique(labels)) <= 6
        assert labels.max() <= 5


def test_segment_separates_what_differs_in_colour() -> None:
    photo = np.zeros((60, 80, 3), np.uint8)
    photo[:, :40], photo[:, 40:] = (200, 30, 30), (30, 30, 200)
    labels = segment(photo, 2)
    assert labels.dtype == np.uint8
    assert labels.max() <= 1
    assert len(np.unique(labels[:, 5:35])) == len(np.unique(labels[:, 45:75])) == 1
    assert labels[30, 20] != labels[30, 60]
    np.testing.assert_array_equal(segment(photo, 2), labels)


@pytest.fixture
def one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SAMPLE_NAMES", ("rocket",))


@pytest.mark.usefixtures("one_sample")
def test_a_build_fills_an_empty_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "new" / "data"
    root.mkdir(parents=True)
    assert build_samples(root) == root
    assert [path.name for path in root.parent.iterdir()] == ["data"]
    assert sorted(path.name for path in root.iterdir()) == ["a", "b", "c", "d", "e", "masks", "raw"]
    assert (root / "e" / "rocket.jpg").is_file()


@pytest.mark.usefixtures("one_sample")
def test_of_two_builds_at_once_the_first_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"

    def segment_while_another_finishes(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        root.mkdir()
        (root / "theirs").touch()
        return np.zeros(photo.shape[:2], np.uint8)

    monkeypatch.setattr(samples, "segment", segment_while_another_finishes)
    assert build_samples(root) == root
    assert [path.name for path in root.iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_retouch_changes_nothing_by_default() -> None:
    photo = every_level()
    greys = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    np.testing.assert_array_equal(Retouch().apply(photo), photo)
    np.testing.assert_array_equal(Retouch().apply(greys), greys)


@pytest.mark.parametrize(
    ("look", "brighter"),
    [(Retouch(exposure=0.5), True), (Retouch(exposure=-0.5), False), (Retouch(gamma=0.8), True)],
    ids=["exposure up", "exposure down", "gamma"],
)
def test_exposure_and_gamma_move_the_brightness(look: Retouch, brighter: bool) -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    assert bool((look.apply(grey) > grey).all()) is brighter


def test_no_saturation_is_grey_and_more_is_more_colourful() -> None:
    photo = np.full((2, 2, 3), (150, 100, 80), np.uint8)
    assert np.ptp(Retouch(saturation=0.0).apply(photo), axis=2).max() == 0
    assert np.ptp(Retouch(saturation=1.5).apply(photo), axis=2).min() > 70


def test_temperature_goes_to_amber_and_tint_to_magenta() -> None:
    grey = np.full((1, 1, 3), 128, np.uint8)
    red, _, blue = Retouch(temperature=1.0).apply(grey)[0, 0].astype(int)
    assert red > 128 > blue
    red, green, _ = Retouch(tint=1.0).apply(grey)[0, 0].astype(int)
    assert red == 128 > green


def test_split_toning_moves_its_own_end_of_the_scale() -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(Retouch(shadows=(0.2, 0, 0)).apply(ends), [[[51, 0, 0], [255, 255, 255]]])
    np.testing.assert_array_equal(Retouch(highlights=(0, -0.2, 0)).apply(ends), [[[0, 0, 0], [255, 204, 255]]])


def test_a_retouch_leaves_its_input_alone() -> None:
    photo = every_level()
    EXPERTS["e"].apply(photo)
    np.testing.assert_array_equal(photo, every_level())


@pytest.mark.parametrize("draw", [random_retouch, faint_retouch, random_capture])
def test_random_retouches_repeat_under_one_seed_and_differ_otherwise(draw: Callable[..., Retouch]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    looks, again = ([draw(np.random.default_rng(seed)).apply(photo) for seed in range(20)] for _ in range(2))
    np.testing.assert_array_equal(looks, again)
    assert len({look.tobytes() for look in looks}) == 20


def test_random_looks_reach_far() -> None:
    photo = np.random.default_rng(0).integers(60, 200, (8, 8, 3), dtype=np.uint8)
    looks = np.stack([random_retouch(np.random.default_rng(seed)).apply(photo) for seed in range(300)]).astype(int)
    brightness = looks.mean((1, 2, 3))
    colorfulness = np.ptp(looks, axis=3).mean((1, 2))
    assert brightness.min() < 30  # night
    assert brightness.max() > 190
    assert colorfulness.min() < 8  # nearly black and white
    assert abs(brightness.mean() - photo.mean()) < 25


def test_captures_are_darker_and_paler_than_the_photo() -> None:
    photo = np.random.default_rng(0).integers(40, 200, (8, 8, 3), dtype=np.uint8)
    for seed in range(10):
        captured = random_capture(np.random.default_rng(seed)).apply(photo).astype(int)
        assert captured.mean() < photo.mean()
        assert np.ptp(captured, axis=2).mean() < np.ptp(photo.astype(int), axis=2).mean()


def test_curves_hue_crosstalk_and_fade_do_what_they_say() -> None:
    ramp = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    curves = np.array([[0, 0.25, 1.0], [0, 0.5, 1.0], [0, 0.75, 1.0]])
    bent = Retouch(curves=curves).apply(ramp)[:, 0].astype(int)
    assert bent[0].tolist() == [0, 0, 0]
    assert bent[255].tolist() == [255, 255, 255]
    np.testing.assert_allclose(bent[128], [64, 128, 191], atol=2)
    assert (np.diff(bent, axis=0) >= 0).all()
    np.testing.assert_array_equal(Retouch(hue=1.0).apply(ramp), ramp)
    red = np.array([[[200, 50, 50]]], dtype=np.uint8)
    np.testing.assert_allclose(Retouch(hue=2 * np.pi / 3).apply(red)[0, 0], [50, 200, 50], atol=1)
    mixed = Retouch(crosstalk=np.array([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(mixed.apply(ramp), ramp)
    np.testing.assert_allclose(mixed.apply(red)[0, 0], [185, 50, 50], atol=1)
    faded = Retouch(black=(0.1, 0.1, 0.2), white=(0.9, 0.8, 0.9)).apply(ramp)
    np.testing.assert_allclose(faded[[0, 255], 0], [[25.5, 25.5, 51], [229.5, 204, 229.5]], atol=1)


def test_demo_pairs_are_four_different_pairs_that_never_change() -> None:
    pairs = demo_pairs()
    assert [pair.name for pair in pairs] == ["strong", "weak", "none", "hue shift"]
    for pair, again in zip(pairs, demo_pairs(), strict=True):
        for photo in (pair.source, pair.reference):
            assert photo.dtype == np.uint8
            assert photo.ndim == 3
            assert photo.shape[2] == 3
        assert pair.source.shape != pair.reference.shape or (pair.source != pair.reference).any()
        np.testing.assert_array_equal(pair.source, again.source)
        np.testing.assert_array_equal(pair.reference, again.reference)


def test_the_hue_shift_pair_keeps_the_brightest_channel() -> None:
    pair = demo_pairs()[-1]
    source, reference = (
        np.asarray(Image.fromarray(photo).convert("HSV")).astype(int) for photo in (pair.source, pair.reference)
    )
    assert np.abs(source[..., 2] - reference[..., 2]).max() <= 1
    vivid = (source[..., 1] > 128) & (source[..., 2] > 128)
    turned = (reference[..., 0] - source[..., 0])[vivid] % 256
    assert np.abs(np.median(turned) - 96) <= 2
