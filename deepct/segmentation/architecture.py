"""BEiT with UPerNet: everything that a checkpoint's shapes tell, as a configuration of MMSegmentation."""

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deepct.errors import CheckpointError
from deepct.segmentation.checkpoint import BIAS_TABLE, Checkpoint, window_side

Config = dict[str, Any]

_OUT_INDICES = {12: (3, 5, 7, 11), 24: (7, 11, 15, 23)}
"""Layers that the neck takes, of base and large, as published; their shapes do not tell."""
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB
_LAYER = re.compile(r"^backbone\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Architecture:
    """The sizes of a BEiT with UPerNet.

    Attributes:
        embedding: width of the transformer.
        depth: its layers.
        heads: of attention.
        expansion: how many times wider the hidden layer of an MLP is.
        patch: side of a patch, px.
        window: side of the only square that the network can see, px.
        channels: width of the UPerNet head.
        auxiliary: width of the auxiliary head, which training alone uses.
        classes: that it tells apart.
    """

    embedding: int
    depth: int
    heads: int
    expansion: int
    patch: int
    window: int
    channels: int
    auxiliary: int
    classes: int

    @property
    def name(self) -> str:
        """In words."""
        size = {(768, 12): "base", (1024, 24): "large"}.get((self.embedding, self.depth))
        return f"BEiT {size or f'{self.embedding} x {self.depth}'} with UPerNet, windows of {self.window} px"

    @property
    def stride(self) -> int:
        """From one window to the next, px: 341 for 512, 426 for 640, as published."""
        return self.window * 2 // 3

    @property
    def scale(self) -> tuple[int, int]:
        """Photos are scaled until the shorter side is a window's, unless the longer one would exceed four windows."""
        return 4 * self.window, self.window


def find_architecture(checkpoint: Checkpoint) -> Architecture:
    """The sizes of a BEiT with UPerNet, by the shapes of its weights.

    Raises:
        CheckpointError: it is no such model, or lacks a weight that tells a size.
    """
    state = checkpoint.state
    if not any(_LAYER.match(name) for name in state):
        raise CheckpointError(f"{checkpoint.path}: is no BEiT; name its model with --config FILE")

    def find(name: str) -> Tensor:
        if name not in state:
            raise CheckpointError(
                f"{checkpoint.path}: {name} is missing, so this is no whole BEiT with UPerNet; download it again, or "
                "name its model with --config FILE"
            )
        return state[name]

    patches, table = find("backbone.patch_embed.projection.weight"), find(BIAS_TABLE)
    embedding, patch = patches.shape[0], patches.shape[-1]
    return Architecture(
        embedding=embedding,
        depth=1 + max(int(layer[1]) for layer in map(_LAYER.match, state) if layer),
        heads=table.shape[-1],
        expansion=len(find("backbone.layers.0.ffn.layers.0.0.weight")) // embedding,
        patch=patch,
        window=window_side(table) * patch,
        channels=len(find("decode_head.bottleneck.conv.weight")),
        auxiliary=len(find("auxiliary_head.convs.0.conv.weight")),
        classes=len(find("decode_head.conv_seg.weight")),
    )


def beit_config(beit: Architecture) -> Config:
    """The configuration that MMSegmentation builds the published model from.

    Its own is for windows of 640 px, into which it would load half a checkpoint of 512 px without an error.
    """
    norm = {"type": "BN"}  # the published SyncBN has the same weights and, when not training, the same result
    loss = {"type": "CrossEntropyLoss", "avg_non_ignore": False}
    head = {"num_classes": beit.classes, "norm_cfg": norm, "align_corners": False, "loss_decode": loss}
    window, width = (beit.window, beit.window), beit.embedding
    quarters = tuple(beit.depth * part // 4 - 1 for part in range(1, 5))
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            "mean": list(_MEAN),
            "std": list(_STD),
            "bgr_to_rgb": True,
            "pad_val": 0,
            "seg_pad_val": 255,
            "test_cfg": {"size": window},  # sides shorter than a window: aspect ratios over 4
        },
        "backbone": {
            "type": "BEiT",
            "img_size": window,
            "patch_size": beit.patch,
            "embed_dims": width,
            "num_layers": beit.depth,
            "num_heads": beit.heads,
            "mlp_ratio": beit.expansion,
            "out_indices": _OUT_INDICES.get(beit.depth, quarters),
            "qv_bias": True,
            "norm_cfg": {"type": "LN", "eps": 1e-6},
            "init_values": 0.1,
        },
        "neck": {"type": "Feature2Pyramid", "embed_dim": width, "rescales": [4, 2, 1, 0.5], "norm_cfg": norm},
        "decode_head": {
            "type": "UPerHead",
            "in_channels": [width] * 4,
            "in_index": [0, 1, 2, 3],
            "pool_scales": (1, 2, 3, 6),
            "channels": beit.channels,
            **head,
        },
        "auxiliary_head": {
            "type": "FCNHead",
            "in_channels": width,
            "in_index": 2,
            "channels": beit.auxiliary,
            "num_convs": 1,
            "concat_input": False,
            **head,
        },
        "test_cfg": {"mode": "slide", "crop_size": window, "stride": (beit.stride, beit.stride)},
    }
