"""What teacher and student share: the network, its optimizer, logging, test and prediction."""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from deepct.color import normalized_to_rgb
from deepct.data.augment import TransferBatch
from deepct.data.folder import PhotoPair, Prediction
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
        self.save_hyperparameters(
            {
                "_class_path": f"{type(self).__module__}.{type(self).__qualname__}",
                "network": replace(self.network.config, pretrained=False).as_dict(),
            }
        )

    @abstractmethod
    def losses(self, batch: TransferBatch) -> dict[str, Tensor]:
        """Every loss of a batch by name, (B,) each; ``loss`` is the one to minimise."""

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

    def training_step(self, batch: TransferBatch, batch_idx: int) -> Tensor:
        """The mean loss of the batch."""
        return self._log_losses("train", batch)

    def validation_step(self, batch: TransferBatch | None, batch_idx: int) -> None:
        """Log the losses; a batch of which no photo could be read is None."""
        if batch is not None:
            self._log_losses("val", batch)

    def _log_losses(self, stage: str, batch: TransferBatch) -> Tensor:
        means = {name: value.mean() for name, value in self.losses(batch).items()}
        self.log_dict(
            {f"{stage}/{name}": value.detach() for name, value in means.items()},
            on_step=stage == "train",
            on_epoch=stage != "train",
            sync_dist=stage != "train",
            batch_size=len(batch.names),
        )
        if stage == "train":
            self.log("loss", means["loss"].detach(), prog_bar=True, logger=False)
        return means["loss"]

    def test_step(self, batch: TransferBatch | None, batch_idx: int) -> dict[str, Any]:
        """``rows``: for each pair its figures, the hard losses and the measures of the pictures."""
        from deepct.evaluation.metrics import picture_metrics  # imported here: scikit-image takes a second

        if batch is None:
            return {"rows": []}
        output = self.transfer(batch)
        losses = hard_losses(Measured.of(output), batch, self.weights)
        pictures, truths = (normalized_to_rgb(image.float()).clamp(0.0, 1.0) for image in (output.image, batch.target))
        rows = [
            {
                "pair": name,
                **{key: float(value[i]) for key, value in losses.items()},
                **picture_metrics(pictures[i], truths[i]),
            }
            for i, name in enumerate(batch.names)
        ]
        return {"rows": rows}

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
            )
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            size = "{} x {} px".format(*reversed(batch.source.shape[-2:]))
            reason = str(error).splitlines()[0]
            return Prediction(batch.job, None, f"{batch.job.source}: {size} cannot be recoloured here ({reason})")
        return Prediction(batch.job, image[0].cpu(), "", batch.note)


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


def hard_losses(output: Measured, batch: TransferBatch, weights: LossWeights) -> dict[str, Tensor]:
    """L_hard and its terms, (B,) each."""
    target = Measured.of(as_target(batch.target, output.output))
    terms = color_transfer_loss(output, target, weights, batch.identical)
    return {"loss": terms.total, **named(terms)}
