"""BEiT's attention, computed without its table of scores."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FusedAttention(nn.Module):
    """What MMSegmentation's ``BEiTAttention`` computes when it is not trained, up to rounding, several times faster.

    The scores are never written out, and the bias of relative positions is gathered once rather than for each batch.

    Args:
        attention: the loaded ``BEiTAttention``; its weights are taken over.
    """

    bias: Tensor
    qkv_bias: Tensor

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads: int = attention.num_heads
        self.scale: float = attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        qkv_bias, bias = self.qkv.bias, attention.relative_position_bias_table[attention.relative_position_index]
        if qkv_bias is None:  # as published: keys have none
            qkv_bias = torch.cat((attention.q_bias, torch.zeros_like(attention.v_bias), attention.v_bias))
        self.register_buffer("qkv_bias", qkv_bias.detach(), persistent=False)
        self.register_buffer("bias", bias.detach().permute(2, 0, 1)[None].contiguous(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) tokens of one window to (B, N, C)."""
        batch, count, width = tokens.shape
        qkv = F.linear(tokens, self.qkv.weight, self.qkv_bias)
        query, key, value = qkv.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.bias.to(query.dtype).expand(batch, -1, -1, -1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


def fuse_attention(network: nn.Module) -> bool:
    """Replace every ``BEiTAttention`` in a network; gives whether there was one."""
    from mmseg.models.backbones.beit import BEiTAttention

    found = [
        (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, BEiTAttention)
    ]
    for parent, name in found:
        setattr(parent, name, FusedAttention(getattr(parent, name)))
    return bool(found)
