"""The student: a smaller network that learns from the truth and from a frozen teacher."""

from collections.abc import Hashable, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from deepct.data.augment import TransferBatch
from deepct.errors import CheckpointError
from deepct.losses import LossWeights, Measured
from deepct.modules.base import Execution, Outcome, TransferModule, measured_losses, named_weights, study_batch
from deepct.networks import WORKING_SIZE, NetworkConfig, Study, TransferNetwork, load_network
from deepct.output import TransferOutput, as_target
from deepct.semantics import DEFAULT, Semantics

REPORT_STUDENT = NetworkConfig(encoder_widths=(16, 32, 64, 128, 256), decoder_widths=(256, 128, 64, 64, 64))
"""The report's student."""


class Phase(TypedDict):
    """A stretch of the training with settings of its own, from an epoch on."""

    epoch: int
    alpha: float
    lambda_histogram: float
    lambda_multiscale: float
    identical_weight: float


class FrozenTeacher:
    """A teacher that only speaks.

    It is no submodule of the student: so it is in no checkpoint, no optimizer and no gradient exchange, and no call of
    ``train()`` reaches it.

    Args:
        path: the teacher's checkpoint.
        execution: how its network is run.

    Raises:
        CheckpointError: it cannot be used.
    """

    def __init__(self, path: str, execution: Execution) -> None:
        self.network = execution.apply(load_network(path).requires_grad_(False))

    @torch.no_grad()
    def __call__(self, batch: TransferBatch, study: Study, sight: Hashable) -> TransferOutput:
        """The teacher's output on a batch, which is studied again only where the teacher sees it in another way."""
        self.network.to(batch.source.device)
        if sight != self.network.sight:
            study = study_batch(batch, self.network)
        return self.network.transfer(batch.source, study)


class Student(TransferModule):
    """Trained with L = alpha L_soft + (1 - alpha) L_hard (the report, section 3.2).

    L_soft is L_hard with the teacher's picture, its histogram and its decoder's pictures as the target. The defaults
    are the report's.

    Args:
        teacher: the teacher's checkpoint. Needed to fit; not kept in the student's checkpoint, and not needed after.
        network: the network's shape.
        lr: Adam's learning rate.
        betas: Adam's betas.
        anneal: let the learning rate rise over the first 3 % of the steps and fall to nothing along a cosine.
        alpha: weight of the soft loss.
        lambda_histogram: weight of the histogram loss.
        lambda_multiscale: weight of the multi-scale loss; where it is 0 throughout, the decoder's pictures are not
            built.
        identical_weight: weight of the image loss on identical pairs.
        lambda_delta_e: weight of the mean colour difference, in delta E, which the report has not.
        hen_from_teacher: take HEN from the teacher, and freeze it.
        phases: settings that replace alpha, the lambdas and the identical weight from their epoch on.
        working_size: for prediction, the longest side of the copy on which colours are decided, px; null for full size.
        channels_last: keep the channels of a pixel together in memory.
        compile: let torch.compile fuse the networks' operations.
        semantics: for prediction, how label maps steer the transfer.
        strength: for prediction, how much of the transfer is wanted, from 0, the source as it is, to 1.
    """

    def __init__(
        self,
        teacher: str | None = None,
        network: NetworkConfig | dict[str, Any] | None = None,
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.5, 0.999),
        anneal: bool = False,
        alpha: float = 0.5,
        lambda_histogram: float = 10.0,
        lambda_multiscale: float = 10.0,
        identical_weight: float = 0.5,
        lambda_delta_e: float = 0.0,
        hen_from_teacher: bool = False,
        phases: Sequence[Phase] = (),
        working_size: int | None = WORKING_SIZE,
        channels_last: bool = False,
        compile: bool = False,
        semantics: Semantics = DEFAULT,
        strength: float = 1.0,
    ) -> None:
        scales = any(value > 0 for value in (lambda_multiscale, *(phase["lambda_multiscale"] for phase in phases)))
        weights = LossWeights(lambda_histogram, lambda_multiscale, identical_weight, lambda_delta_e)
        execution = Execution(working_size, channels_last, compile, semantics, strength)
        super().__init__(network or REPORT_STUDENT, lr, betas, anneal, weights, scales, execution)
        self.alpha = alpha
        self.hen_from_teacher = hen_from_teacher
        self.phases = sorted(phases, key=lambda phase: phase["epoch"])
        self.teacher_path = teacher
        self.teacher: FrozenTeacher | None = None

    def setup(self, stage: str) -> None:
        """Load the teacher, where there is something to learn from it.

        Raises:
            CheckpointError: the teacher is missing, cannot be used, or lacks what the student is to learn.
        """
        if stage not in ("fit", "validate"):
            return
        if self.teacher_path is None:
            if stage == "fit":
                raise CheckpointError("a student learns from a teacher: give its checkpoint with --model.teacher")
            return
        self.teacher = FrozenTeacher(self.teacher_path, self.execution)
        if self.network.config.scales and not self.teacher.network.config.scales:
            raise CheckpointError(
                f"{self.teacher_path}: a map of colours, or trained with multi-scale weight 0, this teacher has no "
                "decoder pictures to teach; use --model.lambda_multiscale 0 here"
            )
        if self.hen_from_teacher and stage == "fit":
            self._take_hen(self.teacher.network)

    def _take_hen(self, teacher: TransferNetwork) -> None:
        try:
            self.network.hen.load_state_dict(teacher.hen.state_dict())
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.teacher_path}: its HEN does not fit the student's; give both the same histogram_width, "
                "code_size and l_bins, or train the student's own with --model.hen_from_teacher false"
            ) from error
        self.network.hen.requires_grad_(False)

    def current_weights(self) -> tuple[float, LossWeights]:
        """Alpha and the loss weights: this epoch's in training; else the first ones, so that figures compare."""
        alpha, weights = self.alpha, self.weights
        for phase in self.phases if self.training else ():
            if phase["epoch"] <= self.current_epoch:
                alpha = phase["alpha"]
                weights = LossWeights(
                    phase["lambda_histogram"], phase["lambda_multiscale"], phase["identical_weight"], weights.delta_e
                )
        return alpha, weights

    def schedule(self) -> dict[str, float]:
        """As for any network, and alpha."""
        alpha, weights = self.current_weights()
        return {**super().schedule(), "alpha": alpha, **named_weights(weights)}

    def compare(self, batch: TransferBatch) -> Outcome:
        """L, the terms of L_hard and L_soft, and those of the teacher's own L_hard where that is logged.

        A teacher that has no weight is asked for its own losses alone.
        """
        alpha, weights = self.current_weights()
        study = study_batch(batch, self.network)
        output = Measured.of(self.transfer(batch, study))
        truth = Measured.of(as_target(batch.target, output.output))
        losses = measured_losses(output, truth, weights, batch)
        losses["hard_loss"] = losses["loss"]
        if self.teacher is not None and (alpha > 0 or self.is_logged):
            taught = Measured.of(self.teacher(batch, study, self.network.sight))
            if alpha > 0:
                losses |= measured_losses(output, taught, weights, batch, "soft_")
                losses["loss"] = alpha * losses["soft_loss"] + (1 - alpha) * losses["hard_loss"]
            if self.is_logged:
                losses |= self._level(taught, truth, weights, batch)
        return Outcome(losses, output.output.image)

    @torch.no_grad()
    def _level(
        self, taught: Measured, truth: Measured, weights: LossWeights, batch: TransferBatch
    ) -> dict[str, Tensor]:
        """The teacher's own L_hard on the batch, which the student is to reach: ``teacher_loss`` and its terms."""
        if not self.network.config.scales:  # the truth has no decoder's pictures, and they have no weight
            taught = taught._replace(output=taught.output._replace(scales=()))
        truth = truth._replace(output=as_target(batch.target, taught.output))
        return measured_losses(taught, truth, weights, batch, "teacher_")
