import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from deepct.data.image import to_pixels, to_planes
from deepct.data.retouch import EXPERTS
from deepct.data.samples import load_sample
from deepct.errors import DataError
from deepct.networks import NetworkConfig, build_network, load_network, save_network
from deepct.report import choice, pairs
from deepct.report.choice import folder_masked, folder_pairs
from deepct.report.figure import LIGHT, Figure
from deepct.report.likeness import choose_pairs, find_likeness, see_shape
from deepct.report.pairs import masks_section, paint_labels, pairs_section
from deepct.report.pictures import Line, Tile, draw_pictures, fit_tile
from deepct.report.results import recolor_pairs
from deepct.report.runs import Run

pytest.importorskip("matplotlib")

TINY = NetworkConfig(kind="map", map_width=8, histogram_width=8, code_size=6)


def make_run(folder: Path, name: str, seed: int, working_size: int | None = 64) -> Run:
    torch.manual_seed(seed)
    network = build_network(TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # as built, a map changes nothing of its first guess
    path = folder / f"{name}.safetensors"
    save_network(network, path)
    return Run(name, "student", [folder], {}, TINY, working_size, {}, path, [])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    return [make_run(folder, "first", 1), make_run(folder, "second", 2, None)]


def save(path: Path, photo: NDArray[np.uint8], side: int = 96) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(photo)
    image.resize((side, round(side * image.height / image.width))).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("coffee", "chelsea", "rocket", "ihc", "retina"):
        save(tmp_path / "photos" / f"{name}.png", load_sample(name))
    save(tmp_path / "photos" / "zcoffee.png", EXPERTS["a"].apply(load_sample("coffee"))[:, ::-1])
    return tmp_path / "photos"


def shown(figure: Figure) -> list[NDArray[np.uint8]]:
    return [axes.images[0].get_array() for axes in figure.draw(LIGHT).axes]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.draw(LIGHT).texts if text.get_text()]


def test_a_brighter_and_mirrored_photo_is_most_like_itself() -> None:
    photo = load_sample("chelsea")
    shape = see_shape(photo)
    assert find_likeness(shape, shape) == pytest.approx(1.0)
    assert find_likeness(shape, see_shape(photo[:, ::-1].copy())) == pytest.approx(1.0, abs=0.01)
    assert find_likeness(shape, see_shape(EXPERTS["a"].apply(photo))) > 0.9
    assert find_likeness(shape, see_shape(load_sample("rocket"))) < 0.3
    assert find_likeness(shape, see_shape(np.full((30, 40, 3), 9, np.uint8))) == 0.0


def test_most_middling_and_least_alike_pairs_are_chosen() -> None:
    given = [(place, place + 100) for place in range(9)]
    chosen = choose_pairs(given, [0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6])
    assert [kind for kind, *_ in chosen] == ["strong"] * 2 + ["weak"] * 2 + ["irrelevant"] * 2
    assert [likeness for *_, likeness in chosen] == [0.9, 0.8, 0.5, 0.6, 0.1, 0.2]
    assert all(b == a + 100 for _, a, b, _ in chosen)


def test_within_a_kind_no_photo_comes_twice_and_no_pair_is_of_two_kinds() -> None:
    given = [(0, 1), (0, 2), (1, 2), (2, 3)]
    chosen = choose_pairs(given, [0.9, 0.8, 0.1, 0.2])
    assert {(kind, a, b) for kind, a, b, _ in chosen} == {
        ("strong", 0, 1),
        ("strong", 2, 3),
        ("irrelevant", 1, 2),
        ("weak", 0, 2),
    }
    assert choose_pairs([(0, 1)], [0.3]) == [("strong", 0, 1, 0.3)]


def test_a_photo_and_its_mirrored_retouch_are_the_strong_pair_of_a_folder(folder: Path) -> None:
    found, said = folder_pairs(folder)
    assert found[0].name.startswith("strong, likeness 0.")
    assert found[0].name.endswith(": coffee.png, zcoffee.png")
    assert not said
    likenesses = [float(pair.name.split("likeness ")[1].split(":")[0]) for pair in found]
    assert min(likenesses[:1]) > max(likenesses[2:])
    assert found[-1].name.startswith("irrelevant")


def test_given_pairs_are_ranked_by_stem(folder: Path, tmp_path: Path) -> None:
    wild = tmp_path / "wild"
    for stem, source, reference in (("1", "coffee", "rocket"), ("2", "coffee", "zcoffee"), ("3", "ihc", "chelsea")):
        save(wild / "in" / f"{stem}.png", np.asarray(Image.open(folder / f"{source}.png")))
        save(wild / "ref" / f"{stem}.png", np.asarray(Image.open(folder / f"{reference}.png")))
    save(wild / "in" / "4.png", load_sample("rocket"))
    found, said = folder_pairs(wild)
    assert found[0].name.endswith(": 2.png")
    assert {pair.name[-5:] for pair in found} == {"1.png", "2.png", "3.png"}
    assert any("4.png: ref has no photo of its stem" in sentence for sentence in said)


def test_an_unreadable_photo_is_left_out_and_named(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"no photo")
    found, said = folder_pairs(folder)
    assert len(found) == 6
    assert len(said) == 1
    assert "broken.jpg" in said[0]


def test_many_photos_are_thinned_out_and_it_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MOST", 3)
    found, said = folder_pairs(folder)
    assert said == [f"Of 6 photos in {folder}, 3 were compared."]
    assert len(found) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_a_folder_without_a_pair_is_an_error_that_names_it(tmp_path: Path, count: int, runs: list[Run]) -> None:
    photos = tmp_path / "few"
    photos.mkdir()
    for _ in range(count):
        save(photos / "only.png", load_sample("coffee"))
    with pytest.raises(DataError, match="few"):
        pairs_section(runs, str(photos))
    with pytest.raises(DataError, match="no such folder"):
        masks_section(runs, str(tmp_path / "nowhere"))


def test_the_results_are_those_of_each_runs_network(folder: Path, runs: list[Run]) -> None:
    section = pairs_section(runs, str(folder))
    assert [figure.name for figure in section.figures] == ["pairs"]
    assert not section.figures[0].themed
    found, _ = folder_pairs(folder)
    tiles = shown(section.figures[0])
    assert len(tiles) == len(found) * 4
    size = tiles[0].shape[:2]
    source, reference = found[0].photos[:2]
    for photo, tile in zip((source, reference), tiles[:2], strict=True):
        assert np.array_equal(fit_tile(photo, size), tile)
    results = []
    for run, tile in zip(runs, tiles[2:4], strict=True):
        planes = (to_planes(photo).unsqueeze(0) for photo in (source, reference))
        network = load_network(run.checkpoint or "")
        results.append(to_pixels(network.recolor(*planes, working_size=run.working_size)[0]))
        assert np.array_equal(fit_tile(results[-1], size), tile)
    assert not np.array_equal(*results)
    assert words(section.figures[0])[1:5] == ["source", "reference", "first", "second"]


def test_a_run_without_a_network_is_named_and_the_others_are_shown(runs: list[Run], tmp_path: Path) -> None:
    lost = Run("lost", "teacher", [Path("runs/lost")], {}, TINY, 64, {}, None, [])
    broken = Run("broken", "teacher", [tmp_path], {}, TINY, 64, {}, tmp_path / "gone.ckpt", [])
    section = pairs_section([lost, broken, runs[0]], None)
    assert any("lost is not shown: no checkpoint of it was found in runs/lost" in line for line in section.text)
    assert any("broken is not shown" in line and "gone.ckpt" in line for line in section.text)
    assert len(shown(section.figures[0])) == 4 * 3
    for make in (pairs_section, masks_section):
        alone = make([lost], None)
        assert not alone.figures
        assert "there is nothing to show" in alone.text[-1]


def test_without_a_network_the_panels_that_were_logged_are_shown(runs: list[Run], tmp_path: Path) -> None:
    panels = [np.full((40, width, 3), shade, np.uint8) for width, shade in ((90, 10), (60, 200))]
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, panel in zip(paths, panels, strict=True):
        Image.fromarray(panel).save(path)
    bare = Run("bare", "student", [tmp_path], {}, TINY, 64, {}, None, [], paths)
    alone = pairs_section([bare], None)
    assert [figure.name for figure in alone.figures] == ["panels-bare"]
    assert [figure.name for figure in pairs_section([bare, runs[0]], None).figures] == ["pairs", "panels-bare"]
    drawn = io.BytesIO()
    alone.figures[0].draw(LIGHT).savefig(drawn, format="png")
    pixels = np.asarray(Image.open(drawn).convert("RGB"))
    assert pixels.shape == (80, 90, 3)
    assert (pixels[:40] == 10).all()
    assert (pixels[40:, :60] == 200).all()
    assert (pixels[40:, 60:] == 255).all()
    paths[1].write_bytes(b"no picture")
    with pytest.raises(DataError, match="a picture cannot be read"):
        alone.figures[0].draw(LIGHT)


def test_a_network_that_fails_on_a_pair_loses_that_picture_only(
    folder: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = folder_pairs(folder)
    spoilt = [found[0]._replace(photos=found[0].photos._replace(reference=np.zeros((0, 4, 3), np.uint8))), *found[1:3]]
    results = recolor_pairs(runs, spoilt)
    assert set(results.photos) == {(run, pair, False) for run in range(2) for pair in (1, 2)}
    assert [problem.split(" (")[0] for problem in results.problems] == [
        f"{run.name} failed on {found[0].name}" for run in runs
    ]
    monkeypatch.setattr(pairs, "folder_pairs", lambda _: (found, []))
    monkeypatch.setattr(pairs, "recolor_pairs", lambda *_: results)
    section = pairs_section(runs, "photos")
    assert words(section.figures[0]).count("failed") == 2 * len(found) - 4
    assert all(problem in section.text for problem in results.problems)


def test_label_maps_decide_and_the_truth_is_measured(runs: list[Run]) -> None:
    section = masks_section(runs[:1], None)
    assert "These pairs are made" in section.figures[0].caption
    for pair in choice.embedded_masked():
        truth, (labels, mirrored) = pair.photos.truth, pair.photos.labels or ()
        assert truth is not None
        assert np.array_equal(pair.photos.reference, truth[:, ::-1])
        assert np.array_equal(labels, mirrored[:, ::-1])
        warm, split = (EXPERTS[look].apply(pair.photos.source) for look in "be")
        by_look = [(truth == look).all(2) for look in (warm, split)]
        assert (by_look[0] | by_look[1]).all()
        assert all(0.2 < mine.mean() < 0.8 for mine in by_look)
    tiles = shown(section.figures[0])
    assert len(tiles) == 2 * 6
    assert not np.array_equal(tiles[4], tiles[5])
    assert sum(text.startswith("ΔE ") for text in words(section.figures[0])) == 2 * 3
    assert "first, with masks" in words(section.figures[0])


def label_photos(folder: Path, maps: dict[str, NDArray[np.uint8]]) -> None:
    (folder / "masks").mkdir()
    for stem, labels in maps.items():
        with Image.open(folder / f"{stem}.png") as image:
            Image.fromarray(labels).resize(image.size, Image.Resampling.NEAREST).save(folder / "masks" / f"{stem}.png")


def test_of_a_folder_the_pairs_that_share_most_labels_are_shown(folder: Path, runs: list[Run]) -> None:
    halves = np.array([[3, 3], [7, 7]], dtype=np.uint8)
    label_photos(
        folder,
        {
            "coffee": halves,
            "rocket": halves[::-1],
            "ihc": np.array([[3, 7], [3, 9]], dtype=np.uint8),
            "retina": np.full((2, 2), 3, dtype=np.uint8),
            "chelsea": np.array([[3, 3], [7, 255]], dtype=np.uint8),
        },
    )
    found, said = folder_masked(folder)
    assert not said
    assert found[0].name == "coffee.png, rocket.png: 100% of the area in shared labels"
    assert found[1].name == "chelsea.png, ihc.png: 75% of the area in shared labels"
    assert len(found) == 2  # the retina shares one label alone, which tells nothing
    assert found[0].photos.labels is not None
    assert found[0].photos.labels[0].shape == found[0].photos.source.shape[:2]
    section = masks_section(runs[:1], str(folder))
    assert "These pairs are made" not in section.figures[0].caption
    assert len(shown(section.figures[0])) == 2 * 6
    assert not any(text.startswith("ΔE") for text in words(section.figures[0]))


def test_a_label_map_that_does_not_fit_is_left_out_and_named(folder: Path) -> None:
    halves = np.array([[3, 3], [7, 7]], dtype=np.uint8)
    label_photos(folder, dict.fromkeys(("coffee", "rocket", "ihc"), halves))
    Image.fromarray(np.full((90, 30), 200, np.uint8)).save(folder / "masks" / "ihc.png")
    found, said = folder_masked(folder)
    assert len(found) == 1
    assert len(said) == 1
    assert "ihc.png" in said[0]


def test_without_label_maps_embedded_photos_are_shown_and_it_is_said(folder: Path, runs: list[Run]) -> None:
    section = masks_section(runs[:1], str(folder))
    assert "deepct masks" in section.text[0]
    assert "These pairs are made" in section.figures[0].caption


def test_a_label_has_one_color_in_both_maps_and_none_is_grey() -> None:
    first, second = paint_labels(np.array([[3, 7]], np.uint8), np.array([[7, 255], [9, 3]], np.uint8))
    assert np.array_equal(first[0, 1], second[0, 0])
    assert np.array_equal(first[0, 0], second[1, 1])
    assert len({tuple(color) for color in second.reshape(-1, 3)}) == 4
    assert np.ptp(second[0, 1]) == 0


def test_tiles_are_cropped_a_little_and_then_centred_on_white() -> None:
    picture = np.zeros((100, 150, 3), dtype=np.uint8)
    assert not fit_tile(picture, (40, 54)).any()
    tall = fit_tile(picture.transpose(1, 0, 2).copy(), (40, 60))
    assert tall.shape == (40, 60, 3)
    filled = (tall == 0).all(2).any(0)
    assert filled.sum() == 33
    assert (tall[:, :13] == 255).all()


def test_pictures_have_their_own_pixels_at_the_figures_resolution() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (200, 300, 3), dtype=np.uint8) for _ in range(4)]
    plot = draw_pictures([Line([Tile(photo, "one") for photo in photos], "name")], 4, LIGHT)
    file = io.BytesIO()
    plot.savefig(file, format="png")
    with Image.open(file) as image:
        canvas = np.asarray(image)[..., :3]
    for axes in plot.axes:
        box = axes.get_window_extent()
        left, bottom, right, top = (round(edge) for edge in (box.x0, box.y0, box.x1, box.y1))
        drawn = canvas[canvas.shape[0] - top : canvas.shape[0] - bottom, left:right]
        assert np.array_equal(drawn, axes.images[0].get_array())
