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
from stategpt.ops.int8_product import Int8Product

from .joined import Joined, JoinedWeights, is_plain
from .quantize import joint_product
from .rotary import Rotary

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q_NHD, k_NGD, v_NGD) -> o_NHD: over a layout in training, over a cache in sampling."""


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis; with `plus_one`, as Gemma's, times 1 + weight."""

    def __init__(self, width: int, epsilon: float, plus_one: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width) if plus_one else torch.ones(width))
        self.epsilon, self.plus_one = epsilon, plus_one

    @property
    def factor(self) -> Tensor:
        """What the normalized values are multiplied by."""
        return 1.0 + self.weight.float() if self.plus_one else self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes `x`; same shape and dtype."""
        return rms_norm(x, self.factor, self.epsilon)


def embedding_of(rows: int, width: int) -> nn.Embedding:
    """Builds an embedding matrix; on the meta device without drawing values, which nobody would see.

    For the draw torch would import what it computes shapes with: 2 seconds and 170 MB.
    """
    if torch.get_default_device().type == "meta":
        return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)  # type: ignore[no-untyped-call,no-any-return]
    return nn.Embedding(rows, width)


def norm_of(config: GPTConfig, width: int) -> RMSNorm | nn.LayerNorm:
    """Builds a norm of the kind that `config` has, over `width` numbers."""
    return nn.LayerNorm(width, config.norm_epsilon) if config.architecture.norm == "layer" else rms_of(config, width)


def rms_of(config: GPTConfig, width: int) -> RMSNorm:
    """Builds an RMSNorm as `config` has them; queries and keys have no other kind."""
    return RMSNorm(width, config.norm_epsilon, config.architecture.norm == "rms_plus_one")


class SelfAttention(nn.Module):
    """Grouped-query attention with rotary positions and, as in Qwen3, a norm on each query and key head before them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        architecture = config.architecture
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.q_proj = nn.Linear(config.width, config.query_width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.width, config.kv_width, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.width, config.kv_width, bias=config.attention_bias)
        self.o_proj = nn.Linear(config.query_width, config.width, bias=architecture.all_biases)
        self.norms_all_heads = architecture.qk_norm_all_heads
        """One norm for all heads of a token instead of one for each."""
        q_width, k_width = config.head_dim, config.head_dim
        if self.norms_all_heads:
            q_width, k_width = config.query_width, config.kv_width
        self.q_norm = rms_of(config, q_width) if config.qk_norm else None
        self.k_norm = rms_of(config, k_width) if config.qk_norm else None
        self._int8 = Int8Product()

    def forward(self, x_NW: Tensor, rotary: Rotary | None, attend: Attend, kept: JoinedWeights | None = None) -> Tensor:
        """-> [N, W]. `rotary` None: no rotation. `kept` holds the joined weights from one decoding step to the next."""
        if (qkv := self._joint_int8(x_NW)) is not None:
            q_NHD, k_NGD, v_NGD = self._normed(qkv, rotary, self.joined_norm())
        elif not self.joinable():
            q_NHD, k_NGD, v_NGD = self._project_apart(x_NW, rotary)
        elif kept is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            q_NHD, k_NGD, v_NGD = self._project(x_NW, rotary, self._join())
        else:
            q_NHD, k_NGD, v_NGD = self._project(x_NW, rotary, kept.of(self._sources(), self._join))
        return self.o_proj(attend(q_NHD, k_NGD, v_NGD).reshape(x_NW.shape[0], -1))  # type: ignore[no-any-return]

    def _project(self, x_NW: Tensor, rotary: Rotary | None, joined: Joined) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values. Joined weights make one matmul of three, and queries and keys take one norm and one
        rotation together: at this scale a call costs more than its arithmetic."""
        return self._normed(F.linear(x_NW, joined.weight, joined.bias), rotary, joined.norm)

    def _normed(self, qkv: Tensor, rotary: Rotary | None, norm: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Norms and rotates queries and keys [N, (H + 2G) D] together."""
        qkv = qkv.view(qkv.shape[0], -1, self.head_dim)
        qk, v_NGD = qkv.split_with_sizes([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.q_norm is not None and norm is not None:
            qk = rms_norm(qk, norm, self.q_norm.epsilon)
        q_NHD, k_NGD = _rotated(qk, rotary).split_with_sizes([self.heads, self.kv_heads], dim=1)
        return q_NHD, k_NGD, v_NGD

    def _joint_int8(self, x_NW: Tensor) -> Tensor | None:
        """Queries, keys and values of a few tokens by one product of 8-bit codes; None where that is not exact."""
        if self.norms_all_heads or not self._norms_alike():
            return None
        return joint_product(self._int8, x_NW, (self.q_proj, self.k_proj, self.v_proj))

    def _project_apart(self, x_NW: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
        """The same, each projection and norm called by itself: for modules that were put in their place."""
        q, k, v = (projection(x_NW) for projection in (self.q_proj, self.k_proj, self.v_proj))
        normed = self.q_norm is not None and self.k_norm is not None
        if normed and self.norms_all_heads:
            q, k = self.q_norm(q), self.k_norm(k)  # type: ignore[misc]
        q, k, v = (x.view(x_NW.shape[0], -1, self.head_dim) for x in (q, k, v))
        if normed and not self.norms_all_heads:
            q, k = self.q_norm(q), self.k_norm(k)  # type: ignore[misc]
        return _rotated(q, rotary), _rotated(k, rotary), v

    def joinable(self) -> bool:
        """Joining is exact: nothing between a projection's weights and its output, and all of one kind.

        An adapter, a hook, a parametrization or a quantized layer in the place of one has to be called.
        """
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        if self.norms_all_heads or not (is_plain(q, nn.Linear) and is_plain(k, nn.Linear) and is_plain(v, nn.Linear)):
            return False
        alike = q.weight.dtype == k.weight.dtype == v.weight.dtype
        alike &= (q.bias is None) == (k.bias is None) == (v.bias is None)
        return alike and self._norms_alike()

    def _norms_alike(self) -> bool:
        q_norm, k_norm = self.q_norm, self.k_norm
        if q_norm is None or k_norm is None:
            return q_norm is k_norm
        return is_plain(q_norm, RMSNorm) and is_plain(k_norm, RMSNorm) and q_norm.epsilon == k_norm.epsilon

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
        return Joined(weight, bias, self.joined_norm())

    def joined_norm(self) -> Tensor | None:
        """Weights [H + G, D] of the norms of queries and keys; None without norms."""
        if self.q_norm is None or self.k_norm is None:
            return None
        q_factor, k_factor = (norm.factor for norm in (self.q_norm, self.k_norm))
        return torch.cat([q_factor.expand(self.heads, -1), k_factor.expand(self.kv_heads, -1)])


def _rotated(x_NHD: Tensor, rotary: Rotary | None) -> Tensor:
    return x_NHD if rotary is None else rotate(x_NHD, *rotary)


class MLP(nn.Module):
    """down(f(gate x) * up x), f SiLU or GELU (Shazeer 2020, arXiv 2002.05202); without a gate down(f(up x))."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        kind, bias = config.architecture.mlp, config.architecture.all_biases
        self.gate_proj = None if kind == "gelu" else nn.Linear(config.width, config.mlp_width, bias=bias)
        self.up_proj = nn.Linear(config.width, config.mlp_width, bias=bias)
        self.down_proj = nn.Linear(config.mlp_width, config.width, bias=bias)
        self.silu = kind == "swiglu"
        self._int8 = Int8Product()

    def forward(self, x_NW: Tensor) -> Tensor:
        """-> [N, W]."""
        if self.gate_proj is None:
            return self.down_proj(F.gelu(self.up_proj(x_NW), approximate="tanh"))  # type: ignore[no-any-return]
        if is_plain(self.gate_proj, nn.Linear) and is_plain(self.up_proj, nn.Linear):
            x_NW = _as_multiplied(x_NW)
        both = joint_product(self._int8, x_NW, (self.gate_proj, self.up_proj))
        gate_NF, up_NF = (self.gate_proj(x_NW), self.up_proj(x_NW)) if both is None else both.chunk(2, dim=-1)
        gate_NF = F.silu(gate_NF) if self.silu else F.gelu(gate_NF, approximate="tanh")
        return self.down_proj(gate_NF * up_NF)  # type: ignore[no-any-return]


def _as_multiplied(x: Tensor) -> Tensor:
    """`x` in the format that autocast multiplies: cast once for two products, and kept once for their gradients."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class Block(nn.Module):
    """x + attention(x), then x + mlp(x), with norms of their inputs, of their outputs, or of both.

    Hugging Face calls the norm of the MLP's input `post_attention_layernorm` where there is no norm of the attention's
    output, which otherwise has this name.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        places = config.architecture.norm_places
        self.norms_outputs = places != "before"
        self.input_layernorm = norm_of(config, config.width) if places != "after" else nn.Identity()
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = norm_of(config, config.width)
        self.mlp = MLP(config)
        if self.norms_outputs:
            self.pre_feedforward_layernorm = norm_of(config, config.width) if places == "around" else nn.Identity()
            self.post_feedforward_layernorm = norm_of(config, config.width)

    def forward(self, x_NW: Tensor, rotary: Rotary | None, attend: Attend, kept: JoinedWeights | None = None) -> Tensor:
        """-> [N, W]."""
        attended_NW = self.self_attn(self.input_layernorm(x_NW), rotary, attend, kept)
        if not self.norms_outputs:
            x_NW = x_NW + attended_NW
            return x_NW + self.mlp(self.post_attention_layernorm(x_NW))  # type: ignore[no-any-return]
        x_NW = x_NW + self.post_attention_layernorm(attended_NW)
        mixed_NW = self.mlp(self.pre_feedforward_layernorm(x_NW))
        return x_NW + self.post_feedforward_layernorm(mixed_NW)  # type: ignore[no-any-return]
