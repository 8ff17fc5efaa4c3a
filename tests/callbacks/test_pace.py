import time
from unittest.mock import Mock

import lightning as L
import pytest
import torch

from deepct.callbacks import Pace
from deepct.data.augment import TransferBatch
from deepct.data.loader import WatchedLoader


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_speed_and_waiting_are_those_of_the_steps_without_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, loader = Clock(monkeypatch), Mock(spec=WatchedLoader, waited=5.0)
    trainer = Mock(spec=L.Trainer, world_size=2, train_dataloader=loader)
    trainer.log_every_n_steps, trainer.global_step = 2, 0
    batch = Mock(spec=TransferBatch, names=["a", "b", "c"])
    module, pace = Mock(device=torch.device("cpu")), Pace()
    pace.on_train_epoch_start(trainer, module)
    for step in (1, 2, 3, 4):
        clock.now += 2.0
        loader.waited += 0.5
        if step == 3:
            pace.on_validation_start(trainer, module)
            clock.now += 1000.0
            pace.on_validation_end(trainer, module)
        clock.now += 1.0
        loader.waited += 0.25
        pace.on_train_batch_end(trainer, module, None, batch, 2 * step - 2)  # its gradients are kept for the next one
        trainer.global_step = step
        clock.now -= 1.0
        loader.waited -= 0.25
        pace.on_train_batch_end(trainer, module, None, batch, 2 * step - 1)
    assert module.log_dict.call_count == 2  # every second step
    for (figures,), _ in module.log_dict.call_args_list:
        assert figures["pace/photos_per_second"] == pytest.approx(
            2 * 2 * 3 / 2.0
        )  # two processes, three photos, two seconds
        assert figures["pace/data_share"] == pytest.approx(0.25)
        assert 0.01 < figures["memory/host_gib"] < 100
        assert "memory/device_gib" not in figures
    assert module.log.call_args.kwargs == {"prog_bar": True, "logger": False}


def test_the_loader_counts_the_time_that_it_is_waited_for() -> None:
    class Slow(torch.utils.data.Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            time.sleep(0.05)
            return index

    loader = WatchedLoader(Slow())
    for epoch in (1, 2):
        for _ in loader:
            time.sleep(0.1)  # a step: not the loader's fault
        assert 0.2 * epoch <= loader.waited < 0.36 * epoch
