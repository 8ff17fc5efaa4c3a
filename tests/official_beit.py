"""BEiT with UPerNet in the layout of the official checkpoints, from the published names and shapes."""

from pathlib import Path

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def official_shapes(
    embedding: int = 768,
    depth: int = 12,
    heads: int = 12,
    window: int = 512,
    channels: int | None = None,
    auxiliary: int = 256,
    classes: int = 150,
) -> Shapes:
    """Names and shapes of an official checkpoint; base by default."""
    width, head, patches = embedding, channels or embedding, window // 16
    shapes: Shapes = {
        "backbone.cls_token": (1, 1, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
    }
    for layer in range(depth):
        for name, shape in {
            "gamma_1": (width,),
            "gamma_2": (width,),
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.q_bias": (width,),
            "attn.v_bias": (width,),
            "attn.relative_position_bias_table": ((2 * patches - 1) ** 2 + 3, heads),
            "attn.relative_position_index": (patches**2 + 1, patches**2 + 1),
            "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }.items():
            shapes[f"backbone.blocks.{layer}.{name}"] = shape
    for name in ("fpn1.0", "fpn1.3", "fpn2.0"):
        shapes |= {f"backbone.{name}.weight": (width, width, 2, 2), f"backbone.{name}.bias": (width,)}
    shapes |= _norm("backbone.fpn1.1", width)
    for part, count, inputs, size in (
        ("decode_head.psp_modules.{}.1", 4, width, 1),
        ("decode_head.bottleneck", 1, width + 4 * head, 3),
        ("decode_head.lateral_convs.{}", 3, width, 1),
        ("decode_head.fpn_convs.{}", 3, head, 3),
        ("decode_head.fpn_bottleneck", 1, 4 * head, 3),
    ):
        for index in range(count):
            shapes |= _conv(part.format(index), inputs, head, size)
    shapes |= {"decode_head.conv_seg.weight": (classes, head, 1, 1), "decode_head.conv_seg.bias": (classes,)}
    shapes |= _conv("auxiliary_head.convs.0", width, auxiliary, 3)
    shapes |= {"auxiliary_head.conv_seg.weight": (classes, auxiliary, 1, 1), "auxiliary_head.conv_seg.bias": (classes,)}
    return shapes


def _conv(name: str, inputs: int, outputs: int, size: int) -> Shapes:
    return {f"{name}.conv.weight": (outputs, inputs, size, size), **_norm(f"{name}.bn", outputs)}


def _norm(name: str, width: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{vector}": (width,) for vector in vectors}, f"{name}.num_batches_tracked": ()}


TINY = {"embedding": 16, "depth": 4, "heads": 2, "window": 64, "channels": 16, "auxiliary": 8}
"""A model of a window of 64 px, which takes a millisecond."""


def official_state(seed: int = 0, **sizes: int) -> dict[str, Tensor]:
    """Random weights that make a network's label maps vary over a photo."""
    shapes = official_shapes(**sizes)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("relative_position_index"):
            state[name] = relative_position_index(int((shape[0] - 1) ** 0.5))
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            fan_in = torch.Size(shape[1:]).numel()
            state[name] = torch.randn(shape, generator=generator) * (fan_in**-0.5 if len(shape) > 1 else 0.1)
    return state


def relative_position_index(patches: int) -> Tensor:
    """(n, n) int64: which row of the bias table serves a pair of tokens; the class token comes first."""
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*2 * [torch.arange(patches)], indexing="ij"))
    side = 2 * patches - 1
    offset = rows[:, None] - rows + patches - 1
    index = torch.empty((patches**2 + 1,) * 2, dtype=torch.int64)
    index[1:, 1:] = offset * side + columns[:, None] - columns + patches - 1
    index[0], index[:, 0] = side**2, side**2 + 1
    index[0, 0] = side**2 + 2
    return index


def write_official(path: Path, seed: int = 0, **sizes: int) -> Path:
    """A checkpoint as the official training writes it; tiny by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": {"iter": 160000}, "state_dict": official_state(seed, **(TINY | sizes))}, path)
    return path
