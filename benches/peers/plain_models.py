"""Models as they are usually written, for `training_step.py` to compare with: nanoGPT's GPT-2 and a plain Qwen3.

Legend: B rows of T tokens, W width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.config import GPTConfig


class PlainGPT2(nn.Module):
    """GPT-2 in nanoGPT's form: learned positions, LayerNorm, one matrix for queries, keys and values, GELU, tied."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.width)
        self.wpe = nn.Embedding(config.context_tokens, config.width)
        self.blocks = nn.ModuleList(_GPT2Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens_BT: Tensor, mask: Tensor | None) -> Tensor:
        """-> [B, T, W]: hidden states; `mask` bool[B, 1, T, T], or None for causal rows."""
        x = self.wte(tokens_BT) + self.wpe(torch.arange(tokens_BT.shape[1]))
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def loss(self, tokens_BT: Tensor, mask: Tensor | None, index_M: Tensor, targets_M: Tensor) -> Tensor:
        """Mean cross-entropy at the target positions."""
        hidden_MW = self(tokens_BT, mask).flatten(0, 1)[index_M]
        return F.cross_entropy(F.linear(hidden_MW, self.wte.weight).float(), targets_M)


class _GPT2Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        B, T, W = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(W, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, W))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainQwen3(nn.Module):
    """The architecture that `GPT` has by default, in plain PyTorch: `nn.RMSNorm`, rotation by formula, SwiGLU, tied."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(_Qwen3Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, config.norm_epsilon)
        pair = torch.arange(0, config.head_dim, 2).float()
        self.register_buffer("frequency", 1.0 / config.rope_theta ** (pair / config.head_dim), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens_BT: Tensor, position_BT: Tensor, mask: Tensor | None) -> Tensor:
        """-> [B, T, W]: hidden states; `mask` bool[B, 1, T, T], or None for causal rows."""
        x = self.embed(tokens_BT)
        angle = (position_BT[..., None].float() * self.frequency).repeat(1, 1, 2)[:, None]
        cos, sin = angle.cos(), angle.sin()
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return self.norm(x)

    def loss(
        self, tokens_BT: Tensor, position_BT: Tensor, mask: Tensor | None, index_M: Tensor, targets_M: Tensor
    ) -> Tensor:
        """Mean cross-entropy at the target positions."""
        hidden_MW = self(tokens_BT, position_BT, mask).flatten(0, 1)[index_M]
        return F.cross_entropy(F.linear(hidden_MW, self.embed.weight).float(), targets_M)


class _Qwen3Block(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.sizes = (config.heads, config.kv_heads, config.kv_heads)
        D, width, epsilon = config.head_dim, config.width, config.norm_epsilon
        self.D = D
        self.norm1, self.norm2 = nn.RMSNorm(width, epsilon), nn.RMSNorm(width, epsilon)
        self.q_norm, self.k_norm = nn.RMSNorm(D, epsilon), nn.RMSNorm(D, epsilon)
        self.qkv = nn.Linear(width, sum(self.sizes) * D, bias=False)
        self.out = nn.Linear(config.heads * D, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        B, T, _ = x.shape
        parts = self.qkv(self.norm1(x)).split([heads * self.D for heads in self.sizes], dim=-1)
        q, k, v = (part.view(B, T, -1, self.D).transpose(1, 2) for part in parts)
        q, k = _rotated(self.q_norm(q), cos, sin), _rotated(self.k_norm(k), cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-b, a), dim=-1) * sin).to(x.dtype)
