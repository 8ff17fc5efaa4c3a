"""A training that goes astray ends with a sentence, and with the checkpoints from before."""

import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from jsonargparse import set_parsing_settings
from probes import checkpoints
from test_cli import words
from training import end, newest, start, state

from deepct.callbacks import Guard
from deepct.cli import main
from deepct.data.augment import TransferBatch
from deepct.errors import TrainingError

STEPS = 4  # an epoch
set_parsing_settings(import_path_allowlist=["probes"])


pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture
def training(fivek_root: Path) -> list[str]:
    """The words of a training of two epochs of four steps."""
    return words("fit", "teacher-map", fivek_root, "--trainer.limit_train_batches", str(STEPS))


def spoil(what: str, step: int, rank: int = 0) -> list[str]:
    settings = {"what": what, "step": step, "rank": rank}
    flags = [(f"--trainer.callbacks.{name}", str(value)) for name, value in settings.items()]
    return ["--trainer.callbacks+", "probes.Spoil", *(word for flag in flags for word in flag)]


def assert_kept(folder: Path) -> None:
    """The checkpoints are those that there were when the training was spoilt: of the first epoch's end."""
    before = json.loads(Path("kept.json").read_text())
    assert {Path(path).name for path in before} == {"best.ckpt", "last.ckpt"}
    assert checkpoints() == before
    assert state(newest(folder))["global_step"] == STEPS
    assert all(value.isfinite().all() for value in state(newest(folder))["state_dict"].values())


@pytest.mark.parametrize(("what", "says"), [("loss", "the loss is"), ("gradient", "the gradients are")])
def test_a_step_that_is_not_finite_ends_the_training(
    what: str, says: str, training: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*training, *spoil(what, STEPS + 1)]) == 2
    err = capsys.readouterr().err
    names = json.loads(Path("names-0.json").read_text())
    assert len(names) == 2
    assert f"deepct: error: step {STEPS + 1}: {says} not finite on {', '.join(names)}; " in err
    assert "--ckpt_path LAST_CKPT" in err
    assert "Traceback" not in err
    assert_kept(tmp_path)


def test_a_weight_that_is_not_finite_gets_into_no_checkpoint(
    training: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*training, *spoil("weight", STEPS)]) == 2
    err = capsys.readouterr().err
    assert f"deepct: error: step {STEPS}: network." in err
    assert "is not finite, so no checkpoint is written" in err
    assert "Traceback" not in err
    assert checkpoints() == {}


def test_a_loss_of_the_second_process_ends_both(training: list[str], tmp_path: Path) -> None:
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "1")
    _, err = end(start([*training, *two, *spoil("loss", STEPS + 1, 1)]), 2)
    (name,) = json.loads(Path("names-1.json").read_text())
    assert f"deepct: error: step {STEPS + 1}: the loss is not finite on {name}; " in err
    assert "Traceback" not in err
    assert_kept(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_ends_the_training_and_leaves_the_checkpoint_from_before(
    training: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = Path.write_bytes
    before: list[dict[str, str]] = []

    def write_to_full(self: Path, data: Any) -> int:
        """Full from when the first epoch's checkpoints are written."""
        if len(checkpoints()) < 2:
            return write(self, data)
        before.append(checkpoints())
        return write(Path("/dev/full"), data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_to_full)
        assert main([*training, "--trainer.max_epochs", "3"]) == 2
    err = capsys.readouterr().err
    assert "cannot be written (No space left on device), so the training has ended; make room" in err
    assert "Traceback" not in err
    assert len(before) == 1
    assert {Path(path).name for path in before[0]} == {"best.ckpt", "last.ckpt"}
    assert checkpoints() == before[0]
    kept = newest(tmp_path)
    assert state(kept)["global_step"] == STEPS
    assert main([*training, "--ckpt_path", str(kept)]) == 0
    assert state(newest(tmp_path))["global_step"] == 2 * STEPS


def test_a_loss_that_explodes_ends_before_the_weights_change() -> None:
    watch, trainer = Guard(), Mock(spec=L.Trainer, global_step=7)
    trainer.precision_plugin = Mock(scaler=object())
    module, optimizer = Mock(spec=L.LightningModule), Mock()

    def step(loss: float) -> None:
        watch.on_train_batch_start(trainer, module, Mock(spec=TransferBatch, names=["lake/retouch/a"]), 0)
        watch.on_before_backward(trainer, module, torch.tensor(loss))
        watch.on_before_optimizer_step(trainer, module, optimizer)

    watch._kept = time.monotonic()
    for loss in (1e-7, 0.5, *[1e-5, 0.05, 0.08, 2.0] * 5):  # identical pairs, and others
        step(loss)
    with pytest.raises(TrainingError, match=r"step 7: the loss is 9e\+05, of 2 at most before, on lake/retouch/a; "):
        step(9e5)
