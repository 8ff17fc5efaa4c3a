import csv
from pathlib import Path
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from deepct.callbacks import TestResults, ValidationPairs
from deepct.callbacks.pairs import FILE, log_table
from deepct.color import rgb_to_normalized
from deepct.data.augment import TransferBatch
from deepct.modules import TransferModule
from deepct.modules.base import BatchResult


def batch(names: list[str], labelled: bool) -> tuple[BatchResult, TransferBatch]:
    """Pairs whose source is red, whose reference is green and whose result is blue."""
    planes = torch.eye(3).view(3, 1, 3, 1, 1).expand(3, len(names), 3, 8, 8).contiguous()
    source, reference, image = (rgb_to_normalized(plane) for plane in planes)
    labels = torch.full((len(names), 8, 8), 255, dtype=torch.uint8)
    if labelled:
        labels[:, :, :4] = 3
    rows = [{"pair": name, "loss": float(ord(name)), "delta_e": 1.0} for name in names]
    identical = torch.zeros(len(names), dtype=torch.bool)
    given = TransferBatch(source, reference, reference, labels, labels, identical, names)
    return BatchResult(rows=rows, image=image), given


def trainer(folder: Path, names: str) -> Mock:
    made = Mock(spec=L.Trainer, sanity_checking=False, is_global_zero=True, loggers=[], log_dir=str(folder))
    made.global_step, made.fast_dev_run, made.logger = 5, False, Mock()
    made.val_dataloaders = Mock()
    made.val_dataloaders.dataset.pairs = [Mock() for _ in names]
    for pair, name in zip(made.val_dataloaders.dataset.pairs, names, strict=True):
        pair.name = name
    return made


def validated(names: str) -> Mock:
    """A module that has validated these pairs."""
    return Mock(spec=TransferModule, validated=[row for name in names for row in batch([name], False)[0]["rows"]])


def test_every_validation_adds_a_row_for_each_pair(tmp_path: Path) -> None:
    callback, made = ValidationPairs(pictures=2), trainer(tmp_path, "abcd")
    for step in (5, 9):
        made.global_step = step
        callback.on_validation_epoch_start(made, Mock())
        for names in ("dc", "ba"):
            callback.on_validation_batch_end(made, Mock(), *batch([*names], labelled=False), 0)
        callback.on_validation_batch_end(made, Mock(), BatchResult(rows=[], image=None), None, 0)  # type: ignore[arg-type]
        callback.on_validation_end(made, validated("abcd"))
    with (tmp_path / FILE).open() as file:
        rows = [(row["step"], row["pair"], float(row["loss"])) for row in csv.DictReader(file)]
    assert rows == [(step, name, float(ord(name))) for step in ("5", "9") for name in "abcd"]


def test_the_sheet_shows_pairs_spread_over_all_with_their_labels(tmp_path: Path) -> None:
    for labelled, columns in ((False, 3), (True, 4)):
        callback, made = ValidationPairs(pictures=2, size=16), trainer(tmp_path, "abcd")
        callback.on_validation_epoch_start(made, Mock())
        callback.on_validation_batch_end(made, Mock(), *batch([*"abcd"], labelled), 0)
        callback.on_validation_end(made, validated("abcd"))
        with Image.open(tmp_path / "pictures" / "val_pairs-0000005.png") as image:
            sheet = np.asarray(image)
        rows = [
            y for y in range(1, len(sheet)) if (sheet[y, 8] == (255, 0, 0)).all() and (sheet[y - 1, 8] == 255).all()
        ]
        assert len(rows) == 2
        assert sheet.shape[1] == columns * 24 + 8
        colours = [tuple(sheet[rows[0] + 8, 8 + 24 * column + 12]) for column in range(columns)]
        assert colours[:3] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
        if labelled:  # the left half is tinted, the right one bare
            assert tuple(sheet[rows[0] + 8, 8 + 72 + 4]) != (255, 0, 0) == colours[3]


def test_the_sanity_check_shows_nothing(tmp_path: Path) -> None:
    callback, made = ValidationPairs(), trainer(tmp_path, "a")
    made.sanity_checking = True
    callback.on_validation_epoch_start(made, Mock())
    callback.on_validation_batch_end(made, Mock(), *batch(["a"], labelled=False), 0)
    callback.on_validation_end(made, validated("a"))
    assert not any(tmp_path.iterdir())


def test_a_run_in_the_folder_of_another_begins_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("other,columns\n1,2\n")
    callback, made = ValidationPairs(pictures=0), trainer(tmp_path, "a")
    callback.on_validation_end(made, validated("a"))
    with (tmp_path / FILE).open() as file:
        assert [row["pair"] for row in csv.DictReader(file)] == ["a"]


def test_a_trial_run_writes_nothing(tmp_path: Path) -> None:
    callback, made = ValidationPairs(pictures=0), trainer(tmp_path, "a")
    made.fast_dev_run = True
    callback.on_validation_end(made, validated("a"))
    assert not any(tmp_path.iterdir())


def test_a_table_of_many_pairs_has_the_worst_and_those_with_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setattr("deepct.callbacks.pairs.TABLE_ROWS", 3)
    logger = Mock()
    picture = np.zeros((4, 4, 3), np.uint8)
    rows = [{"pair": name, "loss": float(ord(name))} for name in "abcdef"]
    log_table(logger, "val/pairs", rows, {"b": {"source": picture}}, 7)
    (key, columns, data), _ = logger.log_table.call_args
    assert (key, columns) == ("val/pairs", ["pair", "source", "reference", "result", "loss"])
    assert [row[0] for row in data] == ["b", "f", "e"]
    assert [row[1] is not None for row in data] == [True, False, False]


def test_identical_pairs_and_broken_losses_are_no_extremes(tmp_path: Path) -> None:
    callback, made = TestResults(), trainer(tmp_path, "")
    callback.on_test_epoch_start(made, Mock())
    result, given = batch([*"abcdz"], labelled=False)
    given = given._replace(identical=torch.tensor([True, False, False, False, True]))
    result["rows"][1]["loss"] = float("nan")
    callback.on_test_batch_end(made, Mock(), result, given, 0)
    callback.on_test_epoch_end(made, Mock())
    assert [shown.name for shown in callback._largest] == ["d", "c", "z"]
    assert [shown.name for shown in callback._smallest] == ["c", "d", "a"]
    with (tmp_path / "test.csv").open() as file:
        extremes = {row["pair"]: row["extreme"] for row in csv.DictReader(file)}
    assert extremes == {
        "a": "smallest-3",
        "b": "",
        "c": "largest-2 smallest-1",
        "d": "largest-1 smallest-2",
        "z": "largest-3",
    }


def test_a_test_keeps_the_pairs_of_largest_and_of_smallest_loss(tmp_path: Path) -> None:
    callback, made = TestResults(), trainer(tmp_path, "")
    callback.on_test_epoch_start(made, Mock())
    for names in ("gdb", "ace", "f"):
        callback.on_test_batch_end(made, Mock(), *batch([*names], labelled=False), 0)
    module = Mock()
    callback.on_test_epoch_end(made, module)
    assert [shown.name for shown in callback._largest] == ["g", "f", "e"]
    assert [shown.name for shown in callback._smallest] == ["a", "b", "c"]
    assert sorted(path.name for path in (tmp_path / "extremes").iterdir()) == [
        f"{kind}-{number}.png" for kind in ("largest", "smallest") for number in (1, 2, 3)
    ]
    with Image.open(tmp_path / "extremes" / "largest-1.png") as image:
        strip = np.asarray(image)
    assert [tuple(strip[4, 4 + 8 * part]) for part in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert module.log_dict.call_args.args[0]["test/loss"] == sum(map(ord, "abcdefg")) / 7
