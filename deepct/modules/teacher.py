"""The teacher: the paper's network, trained on the truth."""

from typing import Any

from deepct.data.augment import TransferBatch
from deepct.losses import LossWeights, Measured
from deepct.modules.base import Execution, Outcome, TransferModule, hard_losses
from deepct.networks import WORKING_SIZE, NetworkConfig
from deepct.semantics import DEFAULT, Semantics


class Teacher(TransferModule):
    """Trained with L_hard alone. The defaults are the report's settings (sections 3.2 and 4.1.2).

    Args:
        network: the network's shape.
        lr: Adam's learning rate.
        betas: Adam's betas.
        anneal: let the learning rate rise over the first 3 % of the steps and fall to nothing along a cosine.
        lambda_histogram: weight of the histogram loss.
        lambda_multiscale: weight of the multi-scale loss; at 0 the decoder's pictures are not built.
        identical_weight: weight of the image loss on identical pairs.
        lambda_delta_e: weight of the mean colour difference, in delta E, which the report has not.
        working_size: for prediction, the longest side of the copy on which colours are decided, px; null for full size.
        channels_last: keep the channels of a pixel together in memory.
        compile: let torch.compile fuse the network's operations.
        semantics: for prediction, how label maps steer the transfer.
        strength: for prediction, how much of the transfer is wanted, from 0, the source as it is, to 1.
    """

    def __init__(
        self,
        network: NetworkConfig | dict[str, Any] | None = None,
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.5, 0.999),
        anneal: bool = False,
        lambda_histogram: float = 10.0,
        lambda_multiscale: float = 10.0,
        identical_weight: float = 0.5,
        lambda_delta_e: float = 0.0,
        working_size: int | None = WORKING_SIZE,
        channels_last: bool = False,
        compile: bool = False,
        semantics: Semantics = DEFAULT,
        strength: float = 1.0,
    ) -> None:
        weights = LossWeights(lambda_histogram, lambda_multiscale, identical_weight, lambda_delta_e)
        execution = Execution(working_size, channels_last, compile, semantics, strength)
        super().__init__(network or NetworkConfig(), lr, betas, anneal, weights, lambda_multiscale > 0, execution)

    def compare(self, batch: TransferBatch) -> Outcome:
        """L_hard and its terms."""
        output = self.transfer(batch)
        return Outcome(hard_losses(Measured.of(output), batch, self.weights), output.image)
