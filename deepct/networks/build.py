"""From a network's description to the network."""

from deepct.networks.base import TransferNetwork
from deepct.networks.colormap import ColorMapNetwork
from deepct.networks.config import NetworkConfig
from deepct.networks.model import ColorTransferNetwork


def build_network(config: NetworkConfig) -> TransferNetwork:
    """The network that a configuration describes, with weights to start a training from.

    Raises:
        ConfigError: no network can be built so.
    """
    return ColorMapNetwork(config) if config.kind == "map" else ColorTransferNetwork(config)
