"""The networks, in plain torch."""

from deepct.networks.checkpoint import WEIGHTS_SUFFIX, load_network, read_checkpoint, save_network, shipped_weights
from deepct.networks.model import (
    WORKING_SIZE,
    ColorTransferNetwork,
    NetworkConfig,
    check_strength,
    check_working_size,
)

__all__ = [
    "WEIGHTS_SUFFIX",
    "WORKING_SIZE",
    "ColorTransferNetwork",
    "NetworkConfig",
    "check_strength",
    "check_working_size",
    "load_network",
    "read_checkpoint",
    "save_network",
    "shipped_weights",
]
