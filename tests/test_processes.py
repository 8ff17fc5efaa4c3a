"""A student trained by two processes is the one that a single process trains."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import set_parsing_settings
from test_cli import words
from training import end, newest, start, state

from deepct.cli import main

STEPS = 20
PROBE = ("--trainer.callbacks+", "probes.Look")
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "2")
ONE = ("--data.batch_size", "4")


def seen(folder: Path, rank: int = 0) -> dict[str, Any]:
    return json.loads((folder / f"seen-{rank}.json").read_text())


def batches(*all_seen: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Step, name and digest of each sample that any process saw."""
    return sorted((batch["step"], batch["name"], batch["digest"]) for one in all_seen for batch in one["batches"])


set_parsing_settings(import_path_allowlist=["probes"])


@pytest.mark.parametrize("conf", ["student", "student-map"])
def test_two_processes_train_what_one_does(
    conf: str, fivek_root: Path, trained_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = ("--trainer.max_epochs", "-1", "--trainer.max_steps", str(STEPS), "--trainer.limit_train_batches", "1.0")
    few = ("--data.size", "32", "--data.resize", "36", *length, "--trainer.callbacks+", "probes.Steady")
    training = words("fit", conf, fivek_root, "--model.teacher", trained_teacher, *few, *PROBE)
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    monkeypatch.chdir(two)
    together = start([*training, *TWO])
    one.mkdir()
    monkeypatch.chdir(one)
    assert main([*training, *ONE]) == 0
    end(together)
    alone, first, second = seen(one), seen(two), seen(two, 1)

    assert {batch["step"] for batch in alone["batches"]} == {*range(STEPS)}
    assert len(alone["batches"]) == 4 * STEPS
    assert len(first["batches"]) == len(second["batches"]) == 2 * STEPS
    assert batches(first, second) == batches(alone)

    a, b = (state(newest(folder)) for folder in (one, two))
    assert a["global_step"] == b["global_step"] == STEPS
    initial = torch.load(one / "initial.pt", weights_only=True)
    assert a["state_dict"].keys() == b["state_dict"].keys() == initial.keys()
    assert max((a["state_dict"][name] - value).abs().max() for name, value in initial.items()) > 2e-4
    near = {"rtol": 1e-6, "atol": 1e-5}  # some of HEN's first weights are over 80, where a float's next is 8e-6 away
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(b["state_dict"][name], value, **near, msg=lambda m, n=name: f"{n}: {m}")

    assert alone["find_unused"] is None
    for each in (first, second):
        assert each["find_unused"] is False
        assert each["teachers"] == 0
        assert each["exchanged"] == [each["trained"]] * STEPS
        assert each["trained"] == alone["trained"] > 0
    assert not any(each["without_gradient"] for each in (alone, first, second))


def test_every_conf_gives_every_trained_parameter_a_gradient(
    fivek_root: Path, trained_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confs = [path.stem for path in (Path(__file__).parent / "conf").glob("student*.yaml")]
    assert len(confs) >= 4
    for conf in confs:
        (tmp_path / conf).mkdir()
        monkeypatch.chdir(tmp_path / conf)
        assert main(words("fit", conf, fivek_root, "--model.teacher", trained_teacher, *PROBE)) == 0
        found = seen(tmp_path / conf)
        assert found["trained"] > 0, conf
        assert found["batches"], conf
        assert found["without_gradient"] == [], conf
