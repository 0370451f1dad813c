"""A step of decoding with one native call between two matrix products (`rust/rows`, `rust/attention`).

The general path of a block makes some forty calls of torch. At the widths of small models, and with few rows, each of
them takes longer than its arithmetic. Here a block is four calls and its products:

    x += what the block before gave; norm            `rms_norm`
    projection of queries, keys and values           torch
    norm of heads, rotation, pages, attention        `PagedStep.attend_joined`
    projection of the output                         torch
    x += attention; norm                             `rms_norm`
    gate and up                                      torch
    activation of the gate, times up                 `gate`
    down                                             torch

It computes what plain blocks do: float32 on a CPU, norms before attention and MLP, a gated MLP, nothing replaced or
hooked. Everything else takes the general path (`GPT.step`), and so does exact mode, whose numbers have the bits of the
training forward pass. Numbers of both paths differ by roundings.

Legend: N tokens, W width, H query heads, G key-value heads, D head width, F hidden width of the MLP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stategpt._native import gate, rms_norm
from stategpt.config.architecture import AttentionOptions

from .cache import StepCache
from .joined import is_plain
from .layers import MLP, Block, RMSNorm, SelfAttention
from .rotary import RotaryAngles

if TYPE_CHECKING:
    from .gpt import GPT

_KEPT_ROWS = 256
"""Rows up to which a step's tensors are kept for the next one: those of prompts would hold memory for nothing."""

Floats = NDArray[np.float32]
Turn = tuple[Floats, Floats]
"""Cosines and sines [N, D / 2]."""


class Heads(NamedTuple):
    """What is done to the heads of a joint projection before they attend."""

    queries: int
    """H."""
    norm: tuple[Floats, float] | None
    """Weights [H + G, D] of the norms of queries and keys, and epsilon."""
    rotary: Turn | None
    """Cosines and sines of the tokens."""


class _Product(NamedTuple):
    """A product with a matrix, and what is added."""

    weight_IO: Tensor
    bias_O: Tensor | None

    @classmethod
    def of(cls, *layers: nn.Linear) -> _Product:
        weights = [layer.weight.detach() for layer in layers]
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        joined = torch.cat(weights) if len(weights) > 1 else weights[0]
        return cls(joined.t(), (torch.cat(biases) if len(biases) > 1 else biases[0]) if biases else None)

    def into(self, x_NI: Tensor, out_NO: Tensor) -> None:
        if self.bias_O is None:
            torch.mm(x_NI, self.weight_IO, out=out_NO)
        else:
            torch.addmm(self.bias_O, x_NI, self.weight_IO, out=out_NO)


class _Norm(NamedTuple):
    """An RMSNorm."""

    weight_W: Floats
    epsilon: float

    @classmethod
    def of(cls, norm: nn.Module) -> _Norm:
        assert isinstance(norm, RMSNorm)  # `_is_plain_model` says so
        return cls(norm.factor.detach().numpy(), norm.epsilon)


class _Layer(NamedTuple):
    """Weights of a block; views of the model's, but for the joint projection."""

    before_attention: _Norm
    qkv: _Product
    norm_of_heads: tuple[Floats, float] | None
    output: _Product
    before_mlp: _Norm
    gate: _Product
    up: _Product
    down: _Product
    silu: bool
    rotary: RotaryAngles | None
    options: AttentionOptions

    @classmethod
    def of(cls, block: Any, number: int, model: GPT) -> _Layer:
        """Of block `number`, of which `_is_plain_block` is true."""
        architecture = model.config.architecture
        attention, mlp = block.self_attn, block.mlp
        windowed = architecture.window_of(number) is not None
        rotary = model.windowed_rotary if windowed and model.windowed_rotary is not None else model.rotary
        norm = attention.joined_norm()
        return cls(
            before_attention=_Norm.of(block.input_layernorm),
            qkv=_Product.of(attention.q_proj, attention.k_proj, attention.v_proj),
            norm_of_heads=None if norm is None else (norm.detach().numpy(), attention.q_norm.epsilon),
            output=_Product.of(attention.o_proj),
            before_mlp=_Norm.of(block.post_attention_layernorm),
            gate=_Product.of(mlp.gate_proj),
            up=_Product.of(mlp.up_proj),
            down=_Product.of(mlp.down_proj),
            silu=mlp.silu,
            rotary=rotary if architecture.rotates(number) else None,
            options=architecture.attention_options(number),
        )


class _Scratch:
    """Tensors of N rows that a step writes again and again, each with the array that shares its memory."""

    def __init__(self, rows: int, model: GPT) -> None:
        config = model.config
        widths = (config.width, config.width, config.query_width + 2 * config.kv_width, config.mlp_width)
        with torch.inference_mode(False):  # a step outside this mode may write them, too
            self.normed, self.added, self.qkv, self.gate = (torch.empty(rows, width) for width in widths)
            self.up = torch.empty_like(self.gate)
        self.normed_NW, self.added_NW = self.normed.numpy(), self.added.numpy()
        self.qkv_NE, self.gate_NF, self.up_NF = self.qkv.numpy(), self.gate.numpy(), self.up.numpy()


class FusedWeights:
    """The weights of a model's fused step; made again when one was replaced, moved or changed in place.

    Belongs to what belongs to one set of weights, a pool of pages: a fused optimizer changes a weight without a trace.
    """

    def __init__(self) -> None:
        self._layers: list[_Layer] | None = None
        self._last: _Norm | None = None
        self._modules: list[tuple[dict[str, Any], str, nn.Module]] = []
        self._weights: list[tuple[dict[str, Any], str, Tensor | None, int, int]] = []
        self._scratch: tuple[int, _Scratch] | None = None

    def suit(self, model: GPT) -> bool:
        """Whether the model's step is computed here."""
        if model.exact or torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
            return False
        if self._layers is None or not self._unchanged():
            self._layers = None
            if not _is_plain_model(model):
                return False
            self._read(model)
        return True

    def hidden(self, model: GPT, x_NW: Tensor, position_N: Tensor, cache: StepCache) -> Tensor:
        """The normed last hidden states from the embedded tokens, which are overwritten. -> [N, W]."""
        layers, last, threads = self._layers, self._last, torch.get_num_threads()
        assert layers is not None  # `suit` said so
        assert last is not None
        scratch = self._scratch_of(len(x_NW), model)
        turns: dict[RotaryAngles, Turn] = {}
        x, added = x_NW.numpy(), None
        for number, layer in enumerate(layers):
            rms_norm(x, added, *layer.before_attention, scratch.normed_NW, threads)
            layer.qkv.into(scratch.normed, scratch.qkv)
            turn = None
            if layer.rotary is not None and (turn := turns.get(layer.rotary)) is None:
                cos, sin = layer.rotary(position_N)
                turn = turns[layer.rotary] = cos.numpy(), sin.numpy()
            heads = Heads(model.config.heads, layer.norm_of_heads, turn)
            attended = cache.attend_joined(number, scratch.qkv_NE, heads, layer.options)
            layer.output.into(torch.from_numpy(attended), scratch.added)
            rms_norm(x, scratch.added_NW, *layer.before_mlp, scratch.normed_NW, threads)
            layer.gate.into(scratch.normed, scratch.gate)
            layer.up.into(scratch.normed, scratch.up)
            gate(scratch.gate_NF, scratch.up_NF, layer.silu, threads)
            layer.down.into(scratch.gate, scratch.added)
            added = scratch.added_NW
        hidden_NW = torch.empty_like(x_NW)
        rms_norm(x, added, *last, hidden_NW.numpy(), threads)
        return hidden_NW

    def _scratch_of(self, rows: int, model: GPT) -> _Scratch:
        """Tensors for `rows` rows: those of the step before, mostly."""
        if self._scratch is not None and self._scratch[0] == rows:
            return self._scratch[1]
        made = _Scratch(rows, model)
        self._scratch = (rows, made) if rows <= _KEPT_ROWS else None
        return made

    def _read(self, model: GPT) -> None:
        self._modules, self._weights = [], []
        for module in (model, *model.modules()):
            self._modules.extend((module._modules, name, child) for name, child in module._modules.items() if child)
            for name, weight in module._parameters.items():
                marks = (0, 0) if weight is None else _marks(weight)
                self._weights.append((module._parameters, name, weight, *marks))
        self._layers = [_Layer.of(block, number, model) for number, block in enumerate(model.layers)]
        self._last = _Norm.of(model.norm)

    def _unchanged(self) -> bool:
        """Whether every module and weight is the one that was read, as it was, and without a hook."""
        for children, name, module in self._modules:
            if children.get(name) is not module or _is_hooked(module):
                return False
        for parameters, name, weight, pointer, version in self._weights:
            if parameters.get(name) is not weight:
                return False
            if weight is not None and _marks(weight) != (pointer, version):
                return False
        return True


def _marks(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), -1 if weight.is_inference() else weight._version


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def _is_plain_model(model: GPT) -> bool:
    """Whether every block computes what the fused step does, and all of it in float32 on a CPU."""
    architecture = model.config.architecture
    if architecture.norm_places != "before" or architecture.norm == "layer" or architecture.qk_norm_all_heads:
        return False
    if architecture.mlp == "gelu" or not _is_plain_list(model.layers):
        return False
    if not (is_plain(model.norm, RMSNorm) and is_plain(model.embed_tokens, nn.Embedding)):
        return False
    formats = {(parameter.dtype, parameter.device.type) for parameter in model.layers.parameters()}
    return formats == {(torch.float32, "cpu")} and all(_is_plain_block(block) for block in model.layers)


def _is_plain_list(layers: nn.Module) -> bool:
    return type(layers) is nn.ModuleList and len(layers) > 0


def _is_plain_block(block: Any) -> bool:
    if not (is_plain(block, Block) and is_plain(block.self_attn, SelfAttention) and is_plain(block.mlp, MLP)):
        return False
    attention, mlp = block.self_attn, block.mlp
    norms = (block.input_layernorm, block.post_attention_layernorm)
    if not all(is_plain(norm, RMSNorm) for norm in norms) or not attention.joinable():
        return False
    if mlp.gate_proj is None:
        return False
    return all(is_plain(layer, nn.Linear) for layer in (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj))
