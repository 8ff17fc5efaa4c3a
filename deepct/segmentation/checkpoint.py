"""Checkpoints of segmentation models: read without running code, renamed to MMSegmentation's names, loaded strictly."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from deepct.errors import CheckpointError

State = dict[str, Tensor]

RULES = (
    (r"^backbone\.patch_embed\.proj\.", "backbone.patch_embed.projection."),
    (r"^backbone\.blocks\.", "backbone.layers."),
    (r"^(backbone\.layers\.\d+)\.norm([12])\.", r"\1.ln\2."),
    (r"^(backbone\.layers\.\d+)\.mlp\.fc1\.", r"\1.ffn.layers.0.0."),
    (r"^(backbone\.layers\.\d+)\.mlp\.fc2\.", r"\1.ffn.layers.1."),
    (r"^backbone\.fpn1\.", "neck.upsample_4x."),
    (r"^backbone\.fpn2\.", "neck.upsample_2x."),
)
"""From the official BEiT's names to MMSegmentation's, applied one after the other; all other names are alike.

MMSegmentation's own converter is for pretrained backbones and renames nothing of a whole model.
"""

BIAS_TABLE = "backbone.layers.0.attn.relative_position_bias_table"
_NAMED = 3
"""How many keys of a kind an error names."""


@dataclass(frozen=True)
class Checkpoint:
    """A segmentation model's weights.

    Attributes:
        path: the file.
        sha256: its checksum, in lower-case hexadecimal.
        state: the weights in MMSegmentation's names.
        meta: what else the file says of itself; empty where it says nothing.
    """

    path: Path
    sha256: str
    state: State
    meta: Mapping[str, Any]


def read_checkpoint(path: str | Path, sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint, official or MMSegmentation's: bare, or under ``state_dict``, ``model`` or ``module``.

    Args:
        path: the file.
        sha256: the checksum that it must have, in hexadecimal.

    Raises:
        CheckpointError: it is missing or damaged, has another checksum, holds pickled code, or no weights. No code in
            it is ever run.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror or error}); download a checkpoint by hand and name it with "
            "--checkpoint"
        ) from error
    if sha256 is not None and sha256.strip().lower() != found:
        raise CheckpointError(f"{path}: its SHA-256 is {found}, not {sha256}; download it again")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:  # torch.load raises nearly anything on files that are no checkpoints
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint ({str(error).splitlines()[0] or type(error).__name__}); download "
            "it again"
        ) from error
    state, meta = _find_state(path, content)
    return Checkpoint(path, found, rename(state), meta)


def rename(state: Mapping[str, Tensor], rules: Iterable[tuple[str, str]] = RULES) -> State:
    """Weights under MMSegmentation's names; those that have them already keep them."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def load_strictly(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Load weights of which none is missing, left over or of another shape.

    Raises:
        CheckpointError: they do not fit; names the keys.
    """
    wanted = network.state_dict()
    state = checkpoint.state
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = [
        _count("keys are missing", [name for name in wanted if name not in state]),
        _count("keys are not the model's", [name for name in state if name not in wanted]),
        _count("have another shape", shapes),
    ]
    if any(faults):
        raise CheckpointError(
            f"{checkpoint.path}: does not fit the model. {'; '.join(filter(None, faults))}. "
            f"{_advise(state.get(BIAS_TABLE), wanted.get(BIAS_TABLE))}"
        )
    network.load_state_dict(state, strict=True)


def window_side(table: Tensor) -> int:
    """How many patches wide the square window of a relative position bias table is: (2 n - 1)^2 + 3 rows."""
    return (math.isqrt(max(len(table) - 3, 0)) + 1) // 2


def _find_state(path: Path, content: Any) -> tuple[State, Mapping[str, Any]]:
    meta = content.get("meta") if isinstance(content, dict) else None
    for key in ("state_dict", "model", "module"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: holds no weights; expected them bare, or under state_dict, model or module")
    if not any(name.removeprefix("module.").startswith("decode_head.") for name in content):
        raise CheckpointError(
            f"{path}: has no segmentation head (decode_head.*), so it is a backbone alone; take a model that was "
            "fine-tuned on ADE20K, like beitv2_base_patch16_224_pt1k_ft21ktoade20k.pth"
        )
    state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    return state, meta if isinstance(meta, dict) else {}


def _refusal(path: Path, error: UnpicklingError) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return (
        f"{path}: holds {f'pickled code ({found[1]})' if found else 'something besides weights'}, which deepct never "
        'runs, or is damaged. If you trust its origin, keep its weights alone: python -c "import torch; '
        "torch.save({'state_dict': torch.load('FILE', map_location='cpu', weights_only=False)['state_dict']}, "
        "'WEIGHTS')\" and give --checkpoint WEIGHTS"
    )


def _count(what: str, keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{len(keys)} {what}: {', '.join(keys[:_NAMED])}{more}" if keys else ""


def _advise(table: Tensor | None, wanted: Tensor | None) -> str:
    if table is not None and wanted is not None and len(table) != len(wanted):
        mine, theirs = (16 * window_side(tensor) for tensor in (table, wanted))
        return (
            f"The checkpoint is for windows of {mine} px, the model for {theirs}: leave --config out, or give one of "
            f"{mine} px"
        )
    return "Download it again, or give the --config that it was trained with"
