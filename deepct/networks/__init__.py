"""The networks, in plain torch."""

from deepct.networks.model import ColorTransferNetwork, NetworkConfig, load_network, read_checkpoint

__all__ = ["ColorTransferNetwork", "NetworkConfig", "load_network", "read_checkpoint"]
