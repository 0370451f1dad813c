"""The parts of a block. Module and parameter names are Hugging Face's, so that saved tensors need no renaming.

Legend: N tokens, W width, H query heads, G key-value heads, D head width, F hidden width of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.config import GPTConfig
from stategpt.ops import rms_norm, rotary_angles, rotary_frequencies, rotate

from .joined import Joined, JoinedWeights, is_plain

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
        """Normalizes `x`; same shape and dtype."""
        return rms_norm(x, self.weight, self.epsilon)


class RotaryAngles(nn.Module):
    """Cosines and sines for the positions of a forward pass, float32 whatever format the weights are in."""

    frequency: Tensor

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.theta = head_dim, theta
        # On the CPU also while a model is built on the meta device: no file has these numbers.
        frequency = rotary_frequencies(head_dim, theta, torch.device("cpu"))
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, position_N: Tensor) -> Rotary:
        """Computes the angles once a forward pass, for all layers. -> float32[N, D/2] twice."""
        return rotary_angles(position_N, self.frequency)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotaryAngles:
        """Follows the model to another device; `.to(bfloat16)` would round the frequencies to 3 digits."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.frequency = rotary_frequencies(self.head_dim, self.theta, self.frequency.device)
        return self


class SelfAttention(nn.Module):
    """Grouped-query attention with rotary positions and, as in Qwen3, a norm on each query and key head before them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.q_proj = nn.Linear(config.width, config.query_width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.width, config.kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.width, config.kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(config.query_width, config.width, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.norm_epsilon) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_dim, config.norm_epsilon) if config.qk_norm else None

    def forward(self, x_NW: Tensor, rotary: Rotary, attend: Attend, kept: JoinedWeights | None = None) -> Tensor:
        """-> [N, W]. `kept` holds the joined weights from one decoding step to the next."""
        if not self._joinable():
            q_NHD, k_NGD, v_NGD = self._project_apart(x_NW, rotary)
        elif kept is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            q_NHD, k_NGD, v_NGD = self._project(x_NW, rotary, self._join())
        else:
            q_NHD, k_NGD, v_NGD = self._project(x_NW, rotary, kept.of(self._sources(), self._join))
        return self.o_proj(attend(q_NHD, k_NGD, v_NGD).reshape(x_NW.shape[0], -1))  # type: ignore[no-any-return]

    def _project(self, x_NW: Tensor, rotary: Rotary, joined: Joined) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values. Joined weights make one matmul of three, and queries and keys take one norm and one
        rotation together: at this scale a call costs more than its arithmetic."""
        qkv = F.linear(x_NW, joined.weight, joined.bias).view(x_NW.shape[0], -1, self.head_dim)
        qk, v_NGD = torch.split(qkv, [self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.q_norm is not None and joined.norm is not None:
            qk = rms_norm(qk, joined.norm, self.q_norm.epsilon)
        q_NHD, k_NGD = torch.split(rotate(qk, *rotary), [self.heads, self.kv_heads], dim=1)
        return q_NHD, k_NGD, v_NGD

    def _project_apart(self, x_NW: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """The same, each projection and norm called by itself: for modules that were put in their place."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (projection(x_NW).view(x_NW.shape[0], -1, self.head_dim) for projection in projections)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return rotate(q, *rotary), rotate(k, *rotary), v

    def _joinable(self) -> bool:
        """Joining is exact: nothing between a projection's weights and its output, and all of one kind.

        An adapter, a hook, a parametrization or a quantized layer in the place of one has to be called.
        """
        q, k, v, q_norm, k_norm = self.q_proj, self.k_proj, self.v_proj, self.q_norm, self.k_norm
        if not (is_plain(q, nn.Linear) and is_plain(k, nn.Linear) and is_plain(v, nn.Linear)):
            return False
        alike = q.weight.dtype == k.weight.dtype == v.weight.dtype
        alike &= (q.bias is None) == (k.bias is None) == (v.bias is None)
        if q_norm is None or k_norm is None:
            return alike and q_norm is k_norm
        return alike and is_plain(q_norm, RMSNorm) and is_plain(k_norm, RMSNorm) and q_norm.epsilon == k_norm.epsilon

    def _sources(self) -> list[Tensor]:
        """Every weight that `_join` reads."""
        sources = [self.q_proj.weight, self.k_proj.weight, self.v_proj.weight]
        if self.q_proj.bias is not None:
            sources += [self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]
        if self.q_norm is not None and self.k_norm is not None:
            sources += [self.q_norm.weight, self.k_norm.weight]
        return sources

    def _join(self) -> Joined:
        projections = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([projection.weight for projection in projections])
        bias = None if self.q_proj.bias is None else torch.cat([projection.bias for projection in projections])
        if self.q_norm is None or self.k_norm is None:
            return Joined(weight, bias, None)
        q_weight = self.q_norm.weight.expand(self.heads, -1)
        return Joined(weight, bias, torch.cat([q_weight, self.k_norm.weight.expand(self.kv_heads, -1)]))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate x) * up x) (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down_proj = nn.Linear(config.mlp_width, config.width, bias=False)

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

    def forward(self, x_NW: Tensor, rotary: Rotary, attend: Attend, kept: JoinedWeights | None = None) -> Tensor:
        """-> [N, W]."""
        x_NW = x_NW + self.self_attn(self.input_layernorm(x_NW), rotary, attend, kept)
        return x_NW + self.mlp(self.post_attention_layernorm(x_NW))  # type: ignore[no-any-return]
