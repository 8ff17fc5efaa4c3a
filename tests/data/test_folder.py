"""Prediction's photos: who takes whose colours, and what one bad file costs."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from deepct.data.folder import FolderDataModule, Job, PhotoPair, pair_photos, read_pair
from deepct.errors import DataError


def paths(*names: str) -> list[Path]:
    return [Path("some") / name for name in names]


def save_photo(path: Path, height: int = 12, width: int = 18, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(photo).save(path)
    return photo


def save_mask(path: Path, height: int = 6, width: int = 9, label: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height), label).save(path)


@pytest.mark.parametrize("pairing", ["auto", "stem"])
def test_equal_stems_pair_up_whatever_order_and_suffix(pairing: Literal["auto", "stem"]) -> None:
    jobs = pair_photos(paths("a.jpg", "b.png"), paths("c.jpg", "b.jpg", "a.tif"), pairing)
    assert jobs == [Job(Path("some/a.jpg"), Path("some/a.tif")), Job(Path("some/b.png"), Path("some/b.jpg"))]


@pytest.mark.parametrize("references", [("x.jpg",), ("a.jpg", "x.jpg")])
def test_auto_combines_everything_as_soon_as_one_source_is_lonely(references: tuple[str, ...]) -> None:
    jobs = pair_photos(paths("a.jpg", "b.jpg"), paths(*references), "auto")
    names = [(job.source.name, job.reference.name) for job in jobs]
    assert names == [(source, reference) for source in ("a.jpg", "b.jpg") for reference in references]


def test_all_combines_everything_though_stems_match() -> None:
    assert len(pair_photos(paths("a.jpg", "b.jpg"), paths("a.jpg", "b.jpg", "c.jpg"), "all")) == 6


def test_stem_names_a_source_that_is_lonely_and_counts_them() -> None:
    with pytest.raises(DataError, match=r"2 of 3 sources.*b\.jpg.*--data\.pairing all"):
        pair_photos(paths("a.jpg", "b.jpg", "c.jpg"), paths("a.png"), "stem")


def test_a_job_is_read_at_full_size(tmp_path: Path) -> None:
    source = save_photo(tmp_path / "s.png", 12, 18)
    reference = save_photo(tmp_path / "r.png", 20, 10, seed=1)
    pair = read_pair(Job(tmp_path / "s.png", tmp_path / "r.png"))
    assert pair.error == ""
    assert pair.job == Job(tmp_path / "s.png", tmp_path / "r.png")
    assert pair.source.dtype == pair.reference.dtype == torch.uint8
    np.testing.assert_array_equal(pair.source.numpy(), source.transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(pair.reference.numpy(), reference.transpose(2, 0, 1)[None])
    assert pair.source_labels is None
    assert pair.reference_labels is None


@pytest.mark.parametrize("bad", ["source", "reference"])
def test_a_bad_file_fails_its_own_job_alone(tmp_path: Path, bad: str) -> None:
    save_photo(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no photo")
    good = Job(tmp_path / "good.png", tmp_path / "good.png")
    jobs = [good, good._replace(**{bad: tmp_path / "bad.png"}), good]
    before, failed, after = map(read_pair, jobs)
    assert before.error == after.error == ""
    assert failed.error.startswith(f"{tmp_path / 'bad.png'}: cannot be read as a photo")
    assert failed.source.numel() == failed.reference.numel() == 0
    assert failed.source_labels is None


def test_one_reference_serves_many_sources(tmp_path: Path) -> None:
    reference = save_photo(tmp_path / "r.png", seed=9)
    jobs = []
    for index in range(5):
        save_photo(tmp_path / f"{index}.png", seed=index)
        jobs.append(Job(tmp_path / f"{index}.png", tmp_path / "r.png"))
    pairs = [*map(read_pair, jobs)]
    for pair in pairs:
        np.testing.assert_array_equal(pair.reference[0].permute(1, 2, 0).numpy(), reference)
    assert len({pair.source.numpy().tobytes() for pair in pairs}) == 5


def test_references_of_equal_name_are_not_mixed_up(tmp_path: Path) -> None:
    source = save_photo(tmp_path / "s.png")
    for index in range(4):
        save_photo(tmp_path / str(index) / "r.png", seed=index)
    jobs = [Job(tmp_path / "s.png", tmp_path / str(index) / "r.png") for index in (0, 1, 2, 3, 0)]
    references = [read_pair(job).reference for job in jobs]
    assert torch.equal(references[0], references[4])
    assert len({reference.numpy().tobytes() for reference in references}) == 4
    np.testing.assert_array_equal(references[0][0].permute(1, 2, 0).numpy(), source)


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """One source and one reference, each with a label map of half its size."""
    save_photo(tmp_path / "sources" / "s.png", 12, 18)
    save_photo(tmp_path / "references" / "r.png", 20, 10, seed=1)
    save_mask(tmp_path / "source_masks" / "s.png", 6, 9, 7)
    save_mask(tmp_path / "reference_masks" / "r.png", 10, 5, 8)
    return tmp_path


def masked_pair(root: Path) -> PhotoPair:
    job = Job(root / "sources" / "s.png", root / "references" / "r.png")
    return read_pair(job, root / "source_masks", root / "reference_masks")


def test_label_maps_are_found_by_stem_and_keep_their_size(masked: Path) -> None:
    half = np.arange(54, dtype=np.uint8).reshape(6, 9)
    Image.fromarray(half).save(masked / "source_masks" / "s.png")
    pair = masked_pair(masked)
    assert pair.source_labels is not None
    assert pair.reference_labels is not None
    assert pair.source_labels.dtype == torch.uint8
    np.testing.assert_array_equal(pair.source_labels[0].numpy(), half)
    assert pair.reference_labels.shape == (1, 10, 5)
    assert pair.reference_labels.unique().tolist() == [8]


def masked_module(root: Path, **changes: str | None) -> FolderDataModule:
    folders = {name: str(root / name) for name in ("source_masks", "reference_masks")}
    module = FolderDataModule(str(root / "sources"), str(root / "references"), num_workers=0, **{**folders, **changes})
    module.setup("predict")
    return module


def only_pair(module: FolderDataModule) -> PhotoPair:
    return module.on_after_batch_transfer(next(iter(module.predict_dataloader())), 0)


@pytest.mark.parametrize("missing", ["source_masks/s.png", "reference_masks/r.png"])
def test_without_one_of_the_two_label_maps_the_transfer_is_global_and_says_so(masked: Path, missing: str) -> None:
    folder = masked / missing
    folder.rename(folder.with_name("other.png"))
    save_photo(masked / "sources" / "other.png", 12, 18)
    save_photo(masked / "references" / "other.png", 20, 10)
    module = masked_module(masked)
    module.jobs = [job for job in module.jobs if (job.source.name, job.reference.name) == ("s.png", "r.png")]
    pair = only_pair(module)
    assert pair.error == ""
    assert pair.source.shape == (1, 3, 12, 18)
    assert pair.source_labels is None
    assert pair.reference_labels is None
    lacking = masked / ("sources/s.png" if missing.startswith("source") else "references/r.png")
    assert pair.note == f"{lacking}: no label map, so the whole photo was matched with the whole one"


def test_with_both_label_maps_there_is_nothing_to_say(masked: Path) -> None:
    pair = only_pair(masked_module(masked))
    assert pair.note == ""
    assert pair.source_labels is not None
    assert pair.reference_labels is not None


def test_without_mask_folders_there_is_nothing_to_say(masked: Path) -> None:
    pair = only_pair(masked_module(masked, source_masks=None, reference_masks=None))
    assert (pair.note, pair.source_labels, pair.reference_labels) == ("", None, None)


@pytest.mark.parametrize("mask", ["source_masks/s.png", "reference_masks/r.png"])
def test_a_label_map_that_does_not_fit_fails_its_job_by_name(masked: Path, mask: str) -> None:
    save_mask(masked / mask, 9, 9)
    error = masked_pair(masked).error
    assert str(masked / mask) in error
    assert "same aspect ratio" in error


def test_an_empty_label_map_fails_its_job_by_name(masked: Path) -> None:
    (masked / "source_masks" / "s.png").unlink()
    np.save(masked / "source_masks" / "s.npy", np.zeros((5, 0), np.uint8))
    assert "s.npy" in masked_pair(masked).error


def test_folders_become_jobs_and_come_one_at_a_time(masked: Path) -> None:
    save_photo(masked / "sources" / "t.png", 9, 9)
    module = FolderDataModule(
        str(masked / "sources"),
        str(masked / "references"),
        str(masked / "source_masks"),
        str(masked / "reference_masks"),
        num_workers=0,
    )
    module.setup("predict")
    first, second = module.predict_dataloader()
    assert (first.job.source.name, second.job.source.name) == ("s.png", "t.png")
    assert first.source.shape == (1, 3, 12, 18)
    assert first.source_labels is not None
    assert second.source_labels is None
    assert second.reference_labels is not None


def test_single_files_are_jobs_too(masked: Path) -> None:
    source, reference = masked / "sources" / "s.png", masked / "references" / "r.png"
    module = FolderDataModule(str(source), str(reference))
    module.setup("predict")
    assert module.jobs == [Job(source, reference)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": "nowhere"}, r"nowhere: there is no such folder"),
        ({"reference": "nowhere"}, r"nowhere: there is no such folder"),
        ({"source": "empty"}, r"empty: no photo found"),
        ({"source_masks": None}, r"needs --data\.source_masks and --data\.reference_masks; give both or none"),
        ({"reference_masks": None}, r"give both or none"),
        ({"source_masks": "nowhere"}, r"nowhere: there is no such folder of label maps"),
        ({"reference_masks": "nowhere"}, r"nowhere: there is no such folder of label maps"),
        ({"pairing": "stem"}, r"no reference of equal stem, s\.png"),
    ],
)
def test_setup_says_what_is_wrong(masked: Path, changed: dict[str, str | None], message: str) -> None:
    (masked / "empty").mkdir()
    arguments: dict[str, str | None] = {
        "source": "sources",
        "reference": "references",
        "source_masks": "source_masks",
        "reference_masks": "reference_masks",
        "pairing": "auto",
    }
    given = {
        name: value if name == "pairing" or value is None else str(masked / value)
        for name, value in {**arguments, **changed}.items()
    }
    with pytest.raises(DataError, match=message):
        FolderDataModule(**given).setup("predict")  # type: ignore[arg-type]
