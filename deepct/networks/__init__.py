"""The networks, in plain torch."""

from deepct.networks.checkpoint import load_network, read_checkpoint
from deepct.networks.model import ColorTransferNetwork, NetworkConfig

__all__ = ["ColorTransferNetwork", "NetworkConfig", "load_network", "read_checkpoint"]
