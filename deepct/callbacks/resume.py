"""How a training goes on from where a checkpoint was written."""

from typing import Any

import lightning as L

from deepct.data.loader import TrainingLoader


class Resume(L.Callback):
    """Go on with the very step that would have come next.

    Lightning counts epochs and batches in several places, and which of them a checkpoint has already counted depends on
    whether it was written after a step, a validation or an epoch. Resumed as they are, some skip an epoch or train on a
    batch beyond an epoch's end, and a loader's place is lost where a schedule asked for the loader first. So the counts
    are brought into one of two states: so many whole epochs, or so many and some batches of the next.
    """

    def __init__(self) -> None:
        self._pairs: int | None = None
        self._is_first = False

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Bring the counts into order; a checkpoint that does not know its place keeps Lightning's."""
        loops = checkpoint["loops"]["fit_loop"]
        places = loops["state_dict"].get("combined_loader")
        if not places or trainer.state.fn != "fit":
            return
        batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        started = epochs["current"]["started"]
        order = trainer.datamodule.training_order()  # type: ignore[attr-defined]  # a checkpoint with a place has one
        begun = places[0]["pairs"] // order.pairs_per_step
        is_between = not places[0]["pairs"] and epochs["current"]["processed"] == started
        is_whole = batches["is_last_batch"] or begun == order.steps or is_between
        begun = 0 if is_whole else begun
        self._pairs = places[0]["pairs"] = begun * order.pairs_per_step
        done = started if is_whole else started - 1
        for count in ("total", "current"):
            _set(epochs[count], ready=done + bool(begun), done=done)
            seen = begun if count == "current" else batches["total"]["processed"]
            _set(batches[count], ready=seen, done=seen)
            validated = loops["epoch_loop.val_loop.batch_progress"][count]
            _set(validated, ready=validated["processed"], done=validated["processed"])
        batches["is_last_batch"] = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the loader its place."""
        if self._pairs is not None and isinstance(trainer.train_dataloader, TrainingLoader):
            trainer.train_dataloader.load_state_dict({"pairs": self._pairs})
            if not self._pairs:
                trainer.fit_loop.epoch_loop.restarting = False
            self._is_first = True
        self._pairs = None

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Log under the step's own number; Lightning is one off after some checkpoints."""
        if self._is_first:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
            self._is_first = False


def _set(count: dict[str, int], ready: int, done: int) -> None:
    count |= {"ready": ready, "started": ready, "processed": done, "completed": done}
