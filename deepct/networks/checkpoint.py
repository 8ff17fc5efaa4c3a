"""Files of networks: what ``deepct fit`` writes, and the weights alone. Reading one runs no code from it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from deepct import __version__
from deepct.errors import CheckpointError, ConfigError
from deepct.networks.base import TransferNetwork
from deepct.networks.build import build_network
from deepct.networks.config import NetworkConfig

WEIGHTS_SUFFIX = ".safetensors"
"""How the names of files end that hold weights alone; all other checkpoints are those of trainings."""

SHIPPED = Path(__file__).parents[1] / "weights" / f"student{WEIGHTS_SUFFIX}"
"""The student that comes with deepct."""

WRITERS = ("deepct.modules.student.Student", "deepct.modules.teacher.Teacher")
"""What a training's checkpoint is of."""

_DESCRIBED = {"network", "_class_path"}
_PREFIX = "network."


def shipped_weights() -> Path:
    """The weights that come with deepct.

    Raises:
        CheckpointError: this copy of deepct has none.
    """
    if not SHIPPED.is_file():
        raise CheckpointError(
            f"{SHIPPED}: this copy of deepct comes without trained weights; give some: --ckpt_path FILE (evaluate: "
            "--checkpoint FILE), or from Python ColorTransfer.load(FILE)"
        )
    return SHIPPED


def load_network(path: str | Path, map_location: str | torch.device = "cpu") -> TransferNetwork:
    """Build the network of a file, in float32 and eval mode.

    Args:
        path: a checkpoint that ``deepct fit`` wrote, teacher or student, or weights (``.safetensors``) that ``deepct
            export`` wrote. Nothing in it is executed: tensors and plain values only.
        map_location: where its tensors go.

    Raises:
        CheckpointError: the file is missing, is not of deepct, or its tensors do not fit.
    """
    if Path(path).suffix == WEIGHTS_SUFFIX:
        described, state = _read_weights(path)
    else:
        checkpoint = read_checkpoint(path, map_location)
        described, state = checkpoint["hyper_parameters"]["network"], _strip(checkpoint["state_dict"])
    network = build_network(_check_network(path, described, state))
    network.load_state_dict(state)
    return network.to(map_location).eval()


def save_network(network: TransferNetwork, path: str | Path) -> None:
    """Write weights alone, in half precision, with the network's description as JSON in the file's metadata.

    Args:
        network: a trained network.
        path: ``.safetensors``.

    Raises:
        CheckpointError: the file has another ending or cannot be written, or a weight is not a number that half
            precision holds.
    """
    if Path(path).suffix != WEIGHTS_SUFFIX:
        raise CheckpointError(f"{path}: weights are written as {WEIGHTS_SUFFIX}; give the file that ending")
    state = {name: _halve(tensor) for name, tensor in network.state_dict().items()}
    lost = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if lost:
        raise CheckpointError(f"{path}: not written; {lost[0]} is not finite in half precision, so the training failed")
    # What the shape left open is decided by now: heads are there, or not.
    config = replace(network.config, pretrained=False, scales=network.config.scales is not False)
    metadata = {"format": "pt", "deepct": __version__, "network": json.dumps(config.as_dict())}
    try:
        Path(path).write_bytes(save(state, metadata))  # save_file would leave it to its owner's eyes alone
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error


def export(ckpt_path: str, output: str) -> int:
    """Write the weights of a checkpoint alone, in half precision: small, and with nothing else of the training.

    Args:
        ckpt_path: Checkpoint of a training.
        output: File for the weights, named .safetensors.

    Returns:
        The exit status, 0.

    Raises:
        CheckpointError: the checkpoint cannot be used, or the weights cannot be written.
    """
    save_network(load_network(ckpt_path), output)
    print(f"{Path(output).stat().st_size / 1e6:.1f} MB written to {output}")
    print(f"use them: deepct predict --data.source DIR --data.reference FILE --output DIR --ckpt_path {output}")
    return 0


def _halve(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()


def _read_weights(path: str | Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """The network's description and its tensors."""
    _check_there(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); get or export it again") from error
    try:
        described = json.loads(metadata["network"])
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not weights of deepct; it does not describe a network, as files of `deepct export` do"
        ) from error
    return described, state


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a training's checkpoint without running code from it, and check that deepct wrote it.

    Raises:
        CheckpointError: the file is missing, unreadable, or not a checkpoint of deepct.
    """
    _check_there(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many types here, none of which says what to do
        raise CheckpointError(
            f"{path}: not a checkpoint that is whole and can be read safely (tensors and plain values only); take "
            f"another: {str(error).partition(chr(10))[0] or type(error).__name__}"
        ) from error
    described = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(described, dict) or not {"network", "_class_path"} <= described.keys():
        raise CheckpointError(f"{path}: not a checkpoint of deepct; it does not describe a network")
    # Lightning's command line imports the class that is named here, and gives it the rest as settings.
    strange = described["_class_path"] if described["_class_path"] not in WRITERS else described.keys() - _DESCRIBED
    if strange:
        raise CheckpointError(f"{path}: names {strange} beside its network, as no checkpoint of deepct does")
    state = checkpoint.get("state_dict")
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a checkpoint of deepct; it holds no weights")
    _check_network(path, described["network"], _strip(state))
    return checkpoint


def _strip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors of a training's, under the network's names for them."""
    return {name.removeprefix(_PREFIX): tensor for name, tensor in state.items() if name.startswith(_PREFIX)}


def _check_network(path: str | Path, described: Any, state: Mapping[str, Tensor]) -> NetworkConfig:
    """Check that a file's tensors are those of the network that it describes, before memory is taken for it."""
    try:
        config = NetworkConfig(**{**described, "pretrained": False})
        plain = [value for value in config.as_dict().values() if not isinstance(value, str | int | None)]
        if not all(isinstance(value, list) and all(isinstance(width, int) for width in value) for value in plain):
            raise ConfigError("a width is no whole number")
        with torch.device("meta"):
            network = build_network(config)
    except Exception as error:  # whatever torch makes of numbers that make no sense
        raise CheckpointError(
            f"{path}: describes a network that this version of deepct cannot build: {error}"
        ) from error
    try:
        if not all(_is_whole(tensor) for tensor in state.values()):
            raise ValueError("one of them is no tensor, or has more numbers than the file")
        network.load_state_dict(state, assign=True)
    except Exception as error:
        raise CheckpointError(f"{path}: the tensors do not fit the network described beside them: {error}") from error
    return config


def _is_whole(tensor: Any) -> bool:
    """Not of a kind that a few bytes of a file can make as large as they say."""
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.nbytes


def _check_there(path: str | Path) -> None:
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint; `deepct fit` prints where it wrote its best one")
