"""The networks, in plain torch."""

from deepct.networks.checkpoint import load_network, read_checkpoint
from deepct.networks.model import (
    WORKING_SIZE,
    ColorTransferNetwork,
    NetworkConfig,
    check_strength,
    check_working_size,
)

__all__ = [
    "WORKING_SIZE",
    "ColorTransferNetwork",
    "NetworkConfig",
    "check_strength",
    "check_working_size",
    "load_network",
    "read_checkpoint",
]
