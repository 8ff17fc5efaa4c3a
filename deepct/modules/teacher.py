"""The teacher: the paper's network, trained on the truth."""

from typing import Any

from torch import Tensor

from deepct.data.augment import TransferBatch
from deepct.losses import LossWeights, Measured
from deepct.modules.base import TransferModule, hard_losses
from deepct.networks import NetworkConfig


class Teacher(TransferModule):
    """Trained with L_hard alone. The defaults are the report's settings (sections 3.2 and 4.1.2).

    Args:
        network: the network's shape.
        lr: Adam's learning rate.
        betas: Adam's betas.
        lambda_histogram: weight of the histogram loss.
        lambda_multiscale: weight of the multi-scale loss; at 0 the decoder's pictures are not built.
        identical_weight: weight of the image loss on identical pairs.
    """

    def __init__(
        self,
        network: NetworkConfig | dict[str, Any] | None = None,
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.5, 0.999),
        lambda_histogram: float = 10.0,
        lambda_multiscale: float = 10.0,
        identical_weight: float = 0.5,
    ) -> None:
        weights = LossWeights(lambda_histogram, lambda_multiscale, identical_weight)
        super().__init__(network or NetworkConfig(), lr, betas, weights, scales=lambda_multiscale > 0)

    def losses(self, batch: TransferBatch) -> dict[str, Tensor]:
        """L_hard and its terms."""
        return hard_losses(Measured.of(self.transfer(batch)), batch, self.weights)
