"""Checkpoints: from the files that ``deepct fit`` writes back to networks, without running code from them."""

from pathlib import Path
from typing import Any

import torch

from deepct.errors import CheckpointError
from deepct.networks.model import ColorTransferNetwork, NetworkConfig


def load_network(path: str | Path, map_location: str | torch.device = "cpu") -> ColorTransferNetwork:
    """Build the network of a checkpoint that ``deepct fit`` wrote, teacher or student, in eval mode.

    Args:
        path: the checkpoint. Nothing in it is executed: tensors and plain values only.
        map_location: where its tensors go.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint of deepct, or its tensors do not fit.
    """
    checkpoint = read_checkpoint(path, map_location)
    try:
        config = NetworkConfig(**{**checkpoint["hyper_parameters"]["network"], "pretrained": False})
    except TypeError as error:
        raise CheckpointError(
            f"{path}: describes a network that this version of deepct cannot build: {error}"
        ) from error
    network = ColorTransferNetwork(config)
    prefix = "network."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the tensors do not fit the network described beside them: {error}") from error
    return network.to(map_location).eval()


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running code from it, and check that deepct wrote it.

    Raises:
        CheckpointError: the file is missing, unreadable, or not a checkpoint of deepct.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint; `deepct fit` prints where it wrote its best one")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many types here, none of which says what to do
        raise CheckpointError(
            f"{path}: not a checkpoint that can be read safely (tensors and plain values only): "
            f"{str(error).splitlines()[0]}"
        ) from error
    described = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if not {"network", "_class_path"} <= described.keys():
        raise CheckpointError(f"{path}: not a checkpoint of deepct; it does not describe a network")
    return checkpoint
