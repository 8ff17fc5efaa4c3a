"""What teacher and student share: the network, its optimizer, logging, test and prediction."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from deepct.color import delta_e_2000, normalized_to_rgb
from deepct.data.augment import TransferBatch
from deepct.data.folder import PhotoPair, Prediction
from deepct.distributed import gather
from deepct.errors import ConfigError
from deepct.losses import LossTerms, LossWeights, Measured, color_transfer_loss
from deepct.networks import (
    NetworkConfig,
    Study,
    TransferNetwork,
    build_network,
    check_strength,
    check_working_size,
)
from deepct.output import TransferOutput, as_target
from deepct.semantics import Semantics

_SPARSE = 4  # px from one pixel to the next of which a training step tells the colour difference
_WARM_UP = 0.03  # share of a training with falling learning rate in which it rises


class Execution(NamedTuple):
    """How a network is run.

    Attributes:
        working_size: for prediction, see :meth:`deepct.networks.TransferNetwork.recolor`.
        channels_last: keep the channels of a pixel together in memory.
        compile: let torch.compile fuse CTN's operations, which takes a minute or two before the first step.
        semantics: for prediction, how label maps steer the transfer.
        strength: for prediction, how much of the transfer is wanted, from 0 to 1.
    """

    working_size: int | None
    channels_last: bool
    compile: bool
    semantics: Semantics
    strength: float

    def apply(self, network: TransferNetwork) -> TransferNetwork:
        """The network, set to run so.

        Raises:
            ConfigError: the working size is below 32 px, or the strength not from 0 to 1.
        """
        check_working_size(self.working_size)
        check_strength(self.strength)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)
        if self.compile:
            network.ctn.compile()
        return network


class Outcome(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        losses: every loss by name, (B,) each; ``loss`` is the one to minimise.
        image: (B, 3, H, W) normalised Lab, the pictures.
    """

    losses: dict[str, Tensor]
    image: Tensor


class BatchResult(TypedDict):
    """What a validation or test step gives to the callbacks.

    Attributes:
        rows: for each pair of the batch its name (``pair``) and its figures.
        image: (B, 3, H, W) normalised Lab, the pictures; None where no photo could be read.
    """

    rows: list[dict[str, Any]]
    image: Tensor | None


class TransferModule(L.LightningModule):
    """A network in training.

    Its checkpoints describe the network in plain values, and nothing else of the run: no path and no learning rate
    comes back over what the next run asks for.

    Args:
        network: the network's shape, or the same as a dict.
        lr: Adam's learning rate.
        betas: Adam's betas.
        anneal: the learning rate rises over the first steps and falls to nothing along a cosine.
        weights: how the loss's terms add up.
        scales: the multi-scale loss is used at some time; if not, the decoder's pictures are not built, unless the
            network's shape asks for them.
        execution: how the network is run.

    Attributes:
        validated: after a validation, for each pair of all processes its name (``pair``) and its figures.
    """

    def __init__(
        self,
        network: NetworkConfig | dict[str, Any],
        lr: float,
        betas: tuple[float, float],
        anneal: bool,
        weights: LossWeights,
        scales: bool,
        execution: Execution,
    ) -> None:
        super().__init__()
        config = NetworkConfig(**network) if isinstance(network, dict) else network
        config = replace(config, scales=scales if config.scales is None else config.scales)
        self.network = execution.apply(build_network(config))
        self.execution = execution
        self.lr = lr
        self.betas = betas
        self.anneal = anneal
        self.weights = weights
        self.validated: list[dict[str, Any]] = []
        self._seed = 0
        self.save_hyperparameters(
            {
                "_class_path": f"{type(self).__module__}.{type(self).__qualname__}",
                "network": replace(self.network.config, pretrained=False).as_dict(),
            }
        )

    @abstractmethod
    def compare(self, batch: TransferBatch) -> Outcome:
        """Run the network on a batch and measure what it makes of it."""

    def transfer(self, batch: TransferBatch, study: Study | None = None) -> TransferOutput:
        """Run the network on a batch, which may have been studied before."""
        return self.network.transfer(batch.source, study or study_batch(batch, self.network))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over what is to be trained.

        Raises:
            ConfigError: the learning rate is to fall to the end of a training that has none.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=self.lr, betas=self.betas)
        if not self.anneal:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise ConfigError("anneal needs to know where the training ends: give --trainer.max_steps or max_epochs")
        # A schedule that keeps nothing but the step, so that a resumed training may end elsewhere.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _anneal(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume with this run's learning rate: optimizer and schedule would bring back their own."""
        for state in checkpoint.get("optimizer_states", ()):
            for group in state["param_groups"]:
                group |= {name: self.lr for name in ("lr", "initial_lr") if name in group}
        for state in checkpoint.get("lr_schedulers", ()):
            state["base_lrs"] = [self.lr] * len(state["base_lrs"])

    def on_train_start(self) -> None:
        """Resume with the learning rate of the step that comes next: a schedule sets it only after each step."""
        for config in self.trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if not isinstance(schedule, torch.optim.lr_scheduler.LambdaLR):
                continue  # a callback's own, as that of a search for the learning rate
            for group, lr, factor in zip(
                schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
            ):
                group["lr"] = lr * factor(schedule.last_epoch)

    def schedule(self) -> dict[str, float]:
        """What this step is trained with: the learning rate and the weights of the loss."""
        return {"lr": self.trainer.optimizers[0].param_groups[0]["lr"], **named_weights(self.weights)}

    @property
    def is_logged(self) -> bool:
        """Whether this batch's figures will be seen: Lightning would drop those of other training steps, at a price."""
        if not self.training or self._trainer is None:
            return True
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and (self.global_step + 1) % every == 0

    def on_fit_start(self) -> None:
        """Know the run's seed, before steps have seeds of their own."""
        self._seed = torch.initial_seed()

    def on_train_batch_start(self, batch: TransferBatch, batch_idx: int) -> None:
        """Let what a network draws follow from the step alone: some encoders drop paths at random."""
        place = (self._seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: TransferBatch, batch_idx: int) -> Tensor:
        """The mean loss of the batch."""
        outcome = self.compare(batch)
        loss = outcome.losses["loss"].mean()
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        if self.is_logged:
            means = {name: value.detach().mean() for name, value in outcome.losses.items()}
            means["delta_e"] = _mean_delta_e(outcome.image.detach(), batch.target, _SPARSE).mean()
            self.log("delta_e", means["delta_e"], prog_bar=True, logger=False)
            figures = {f"train/{name}": mean for name, mean in means.items()}
            self.log_dict(figures | {f"schedule/{name}": value for name, value in self.schedule().items()})
        return loss

    def validation_step(self, batch: TransferBatch | None, batch_idx: int) -> BatchResult:
        """Each pair's losses; a batch of which no photo could be read is None."""
        if batch is None:
            return BatchResult(rows=[], image=None)
        outcome = self.compare(batch)
        figures = {**outcome.losses, "delta_e": _mean_delta_e(outcome.image, batch.target)}
        rows = _rows(batch.names, figures)
        self.validated += rows
        return BatchResult(rows=rows, image=outcome.image)

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self.validated = []

    def on_validation_epoch_end(self) -> None:
        """Log the means over the pairs of all processes, each of which counts once."""
        self.validated = sorted(gather(self.validated), key=lambda row: row["pair"])
        self.log_dict({f"val/{name}": mean for name, mean in means(self.validated).items()}, sync_dist=True)

    def test_step(self, batch: TransferBatch | None, batch_idx: int) -> BatchResult:
        """For each pair the hard losses, the measures of the pictures, and what makes it hard or easy.

        ``mirrored_loss`` is the hard loss where the reference alone is mirrored, the truth staying as it is.
        """
        from deepct.evaluation.metrics import picture_metrics  # imported here: scikit-image takes a second
        from deepct.evaluation.reading import read_pair

        if batch is None:
            return BatchResult(rows=[], image=None)
        output = self.transfer(batch)
        losses = hard_losses(Measured.of(output), batch, self.weights)
        mirrored = self.transfer(
            batch._replace(reference=batch.reference.flip(-1), reference_labels=batch.reference_labels.flip(-1))
        )
        losses["mirrored_loss"] = hard_losses(Measured.of(mirrored), batch, self.weights)["loss"]
        pictures, truths = (normalized_to_rgb(image.float()).clamp(0.0, 1.0) for image in (output.image, batch.target))
        rows = _rows(batch.names, losses)
        for i, row in enumerate(rows):
            row |= picture_metrics(pictures[i], truths[i])
            row |= read_pair(batch.source[i], batch.reference[i], batch.source_labels[i])
        return BatchResult(rows=rows, image=output.image)

    def predict_step(self, batch: PhotoPair, batch_idx: int) -> Prediction:
        """Recolour one photo; a photo that cannot be done says why and costs no other."""
        if batch.error:
            return Prediction(batch.job, None, batch.error)
        try:
            image = self.network.recolor(
                batch.source,
                batch.reference,
                batch.source_labels,
                batch.reference_labels,
                self.execution.working_size,
                self.execution.semantics,
                self.execution.strength,
                batch.shown,
            )
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            size = "{} x {} px".format(*reversed(batch.source.shape[-2:]))
            reason = str(error).splitlines()[0]
            return Prediction(batch.job, None, f"{batch.job.source}: {size} cannot be recoloured here ({reason})")
        return Prediction(batch.job, image[0].cpu(), "", batch.note)


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of every figure of rows, one a pair; nothing of none."""
    figures = [name for name in rows[0] if name != "pair"] if rows else []
    return {name: sum(row[name] for row in rows) / len(rows) for name in figures}


def _rows(names: Sequence[str], figures: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """One row a pair, of figures (B,) each; one copy from the device for all of them."""
    table = torch.stack(list(figures.values()), 1).tolist()
    return [{"pair": name, **dict(zip(figures, row, strict=True))} for name, row in zip(names, table, strict=True)]


def _mean_delta_e(image: Tensor, target: Tensor, stride: int = 1) -> Tensor:
    """(B,) mean CIEDE2000 of each sample, on every so manieth pixel in both directions."""
    a, b = (picture[..., ::stride, ::stride].float() for picture in (image, target))
    return delta_e_2000(a, b).flatten(1).mean(1)


def lacks_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether the host or a device was out of memory: of RuntimeErrors, that alone is a photo's fault."""
    return isinstance(error, MemoryError) or "memory" in str(error)


def _anneal(way: float) -> float:
    """The learning rate's factor, from 0 at the training's start and 1 at the end of the warm-up to 0 at its end."""
    if way < _WARM_UP:
        return (way + 0.04 * (_WARM_UP - way)) / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (way - _WARM_UP) / (1 - _WARM_UP)))


def study_batch(batch: TransferBatch, network: TransferNetwork) -> Study:
    """What a network needs to know of a batch."""
    return network.study(batch.source, batch.reference, batch.source_labels, batch.reference_labels)


def named(terms: LossTerms, prefix: str = "") -> dict[str, Tensor]:
    """The terms by the names that they are logged under."""
    return {
        f"{prefix}image_loss": terms.image,
        f"{prefix}histogram_loss": terms.histogram,
        f"{prefix}multiscale_loss": terms.multiscale,
        f"{prefix}delta_e_loss": terms.delta_e,
    }


def named_weights(weights: LossWeights) -> dict[str, float]:
    """The weights by the names of the settings that they come from."""
    return {
        "lambda_histogram": weights.histogram,
        "lambda_multiscale": weights.multiscale,
        "lambda_delta_e": weights.delta_e,
        "identical_weight": weights.identical,
    }


def hard_losses(output: Measured, batch: TransferBatch, weights: LossWeights) -> dict[str, Tensor]:
    """L_hard and its terms, (B,) each."""
    target = Measured.of(as_target(batch.target, output.output))
    return measured_losses(output, target, weights, batch)


def measured_losses(
    output: Measured, target: Measured, weights: LossWeights, batch: TransferBatch, prefix: str = ""
) -> dict[str, Tensor]:
    """A loss and its terms, (B,) each, by the names that they are logged under."""
    terms = color_transfer_loss(output, target, weights, batch.identical)
    return {f"{prefix}loss": terms.total, **named(terms, prefix)}
