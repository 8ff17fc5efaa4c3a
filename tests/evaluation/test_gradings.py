import numpy as np
import pytest

from deepct.evaluation.gradings import Grading, draw_grading

NAMES = [f"photo-{index}" for index in range(200)]


@pytest.fixture(scope="module")
def colors() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def neutral(**changes: object) -> Grading:
    ramp = np.linspace(0, 1, 6)
    same = {
        "gains": np.ones(3), "curves": np.stack([ramp] * 3), "contrast": 0.0, "pivot": 0.5, "crosstalk": np.eye(3),
        "hue": 0.0, "saturation": 1.0, "shadows": np.zeros(3), "highlights": np.zeros(3), "black": np.zeros(3),
        "white": np.ones(3),
    }  # fmt: skip
    return Grading(**{**same, **changes})


def test_a_grading_follows_from_the_name_alone(colors: np.ndarray) -> None:
    first = draw_grading("one").apply(colors)
    np.random.default_rng().random()
    draw_grading("two")
    assert np.array_equal(first, draw_grading("one").apply(colors))
    assert not np.array_equal(first, draw_grading("two").apply(colors))


@pytest.mark.parametrize("name", NAMES[:10])
def test_a_grading_is_one_map_of_colors(colors: np.ndarray, name: str) -> None:
    grading = draw_grading(name)
    order = np.random.default_rng(1).permutation(colors.size // 3)
    flat = colors.reshape(-1, 3)
    assert np.array_equal(grading.apply(flat[order]), grading.apply(flat)[order])


def test_no_grading_leaves_a_photo_as_it_is_and_none_makes_it_flat(colors: np.ndarray) -> None:
    for name in NAMES:
        graded = draw_grading(name).apply(colors)
        assert np.abs(graded.astype(int) - colors).mean() > 4
        assert graded.std() > 15


def test_tone_curves_rise() -> None:
    for name in NAMES:
        assert (np.diff(draw_grading(name).curves, axis=1) > 0).all()


def test_the_neutral_grading_changes_nothing_and_each_part_does_what_it_says(colors: np.ndarray) -> None:
    assert np.array_equal(neutral().apply(colors), colors)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    for part in ({"hue": 2.0}, {"saturation": 0.3}, {"crosstalk": np.full((3, 3), 1 / 3)}):
        assert np.abs(neutral(**part).apply(grey).astype(int) - grey).max() <= 1
        assert not np.array_equal(neutral(**part).apply(colors), colors)
    assert np.ptp(neutral(saturation=0.0).apply(colors), axis=-1).max() <= 1
    assert np.array_equal(neutral(black=np.full(3, 0.2)).apply(grey)[0], [51, 51, 51])
    # a stop: 1 of linear light becomes 2
    assert neutral(gains=np.full(3, 2.0)).apply(np.full((1, 3), 128, np.uint8))[0, 0] == 176
    bent = neutral(contrast=0.5).apply(grey)[:, 0].astype(int)
    assert bent[64] < 64
    assert bent[192] > 192
    assert (bent[0], bent[255]) == (0, 255)
