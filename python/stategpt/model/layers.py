"""The parts of a block. Module and parameter names are Hugging Face's, so that saved tensors need no renaming.

Legend: N tokens, W width, H query heads, G key-value heads, D head width, F hidden width of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.config import GPTConfig
from stategpt.ops import rms_norm, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q_NHD, k_NGD, v_NGD) -> o_NHD: over a layout in training, over a cache in sampling."""

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of every token's angles: float32[N, D/2] each."""


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and dtype as `x`."""
        return rms_norm(x, self.weight, self.epsilon)


class SelfAttention(nn.Module):
    """Grouped-query attention with rotary positions and, as in Qwen3, a norm on each query and key head before them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = config.heads, config.kv_heads, config.head_width
        self.q_proj = nn.Linear(config.width, config.query_width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.width, config.kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.width, config.kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(config.query_width, config.width, bias=False)
        self.q_norm = RMSNorm(config.head_width, config.norm_epsilon) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_width, config.norm_epsilon) if config.qk_norm else None

    def forward(self, x_NW: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
        """-> [N, W]."""
        q_NHD, k_NGD, v_NGD = self._project(x_NW, rotary)
        return self.o_proj(attend(q_NHD, k_NGD, v_NGD).reshape(x_NW.shape[0], -1))  # type: ignore[no-any-return]

    def _project(self, x_NW: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values. Joined weights make one matmul of three, and queries and keys take one norm and one
        rotation together: at this scale a call costs more than its arithmetic."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([projection.weight for projection in projections])
        bias = None if self.q_proj.bias is None else torch.cat([projection.bias for projection in projections])
        qkv = F.linear(x_NW, weight, bias).view(x_NW.shape[0], -1, self.head_width)
        qk, v_NGD = torch.split(qkv, [self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            qk = rms_norm(qk, self._qk_weight(self.q_norm, self.k_norm), self.q_norm.epsilon)
        q_NHD, k_NGD = torch.split(rotate(qk, *rotary), [self.heads, self.kv_heads], dim=1)
        return q_NHD, k_NGD, v_NGD

    def _qk_weight(self, q_norm: RMSNorm, k_norm: RMSNorm) -> Tensor:
        """[H + G, D]: the query norm's weight for each query head, then the key norm's for each key head."""
        q_weight = q_norm.weight.expand(self.heads, -1)
        return torch.cat([q_weight, k_norm.weight.expand(self.kv_heads, -1)])


class MLP(nn.Module):
    """SwiGLU: down(silu(gate x) * up x) (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden_width, bias=False)
        self.down_proj = nn.Linear(config.hidden_width, config.width, bias=False)

    def forward(self, x_NW: Tensor) -> Tensor:
        """-> [N, W]."""
        return self.down_proj(F.silu(self.gate_proj(x_NW)) * self.up_proj(x_NW))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm residual block: x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_epsilon)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x_NW: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
        """-> [N, W]."""
        x_NW = x_NW + self.self_attn(self.input_layernorm(x_NW), rotary, attend)
        return x_NW + self.mlp(self.post_attention_layernorm(x_NW))  # type: ignore[no-any-return]
