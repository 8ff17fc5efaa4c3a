"""The networks, in plain torch."""

from deepct.networks.base import WORKING_SIZE, Study, TransferNetwork, check_strength, check_working_size
from deepct.networks.build import build_network
from deepct.networks.checkpoint import WEIGHTS_SUFFIX, load_network, read_checkpoint, shipped_weights
from deepct.networks.colormap import ColorMapNetwork
from deepct.networks.config import NetworkConfig
from deepct.networks.model import ColorTransferNetwork

__all__ = [
    "WEIGHTS_SUFFIX",
    "WORKING_SIZE",
    "ColorMapNetwork",
    "ColorTransferNetwork",
    "NetworkConfig",
    "Study",
    "TransferNetwork",
    "build_network",
    "check_strength",
    "check_working_size",
    "load_network",
    "read_checkpoint",
    "shipped_weights",
]
