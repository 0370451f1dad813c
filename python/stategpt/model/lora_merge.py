"""Merges adapters into the weights, checked on probe prompts, and takes them out again.

A merged model is a plain one: it saves, joins projections and decodes as such. The adapted layers are kept beside it
with the weights they were made of, so that `unmerge` restores the original bits. With `keep=False` one matrix after
another replaces its adapted layer, so that the peak of memory is the model and one matrix; the check comes before, with
every merged matrix made when its layer is computed and dropped after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from stategpt.errors import InvalidArgument
from stategpt.ops import TensorLayout
from stategpt.packing import Layout
from stategpt.randomness import bits

from .gpt import GPT
from .lora_layer import LoRALinear, weight_of
from .lora_targets import Model, lora_layers, put, trunk_of
from .quantize import QuantizedEmbedding, QuantizedLinear

TOLERANCES: Mapping[torch.dtype, float] = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference of outputs, as a share of the largest output, that rounding explains: the merged weights are
rounded once, to half a unit of 2^-24, 2^-11 or 2^-9, and a model of 30 blocks multiplies that by some hundred, less
where the format is coarse, since the unmerged model rounds its own sums likewise. A wrong scale or layer shows up as a
share near that of the adapter itself."""
PROBE_ROWS, PROBE_TOKENS = 4, 16
_KEPT = "_unmerged_layers"


def merge(model: Model, *, keep: bool = True) -> Model:
    """Puts plain linear layers, whose weights include the adapters, in the place of the adapted ones. -> `model`.

    Quantized layers become plain ones of their dequantized weights in float32, those without an adapter too: nothing is
    quantized again. Outputs before and after are compared on probe prompts.

    Raises:
        InvalidArgument: no adapters (merged already, say), or outputs that differ by more than `TOLERANCES`; the model
            is then as it was.
    """
    _, gpt = trunk_of(model)
    replaced = _replaced_layers(gpt)
    _require_equal_outputs(gpt, replaced)
    if keep:
        gpt.__dict__[_KEPT] = dict(replaced)
    while replaced:  # nothing here holds a layer that was replaced
        name, module = replaced.popitem()
        put(gpt, name, _plain(module))
        del module
    return model


def _replaced_layers(gpt: GPT) -> dict[str, nn.Module]:
    """The adapted layers, and the quantized ones without an adapter, by name."""
    replaced: dict[str, nn.Module] = dict(lora_layers(gpt))
    if not replaced:
        raise InvalidArgument("the model has no adapters to merge: they were merged already, or never added (sg.lora)")
    inside = tuple(f"{name}." for name in replaced)
    for name, module in gpt.named_modules():
        if isinstance(module, QuantizedLinear | QuantizedEmbedding) and not name.startswith(inside):
            replaced[name] = module
    return replaced


def _require_equal_outputs(gpt: GPT, replaced: Mapping[str, nn.Module]) -> None:
    """Compares outputs on probe prompts with those of the merged matrices, of which one is there at a time."""
    before, dtype = _probe_outputs(gpt), _coarsest(gpt)
    try:
        for name, module in replaced.items():
            put(gpt, name, _MergedWhenComputed(module))
        after = _probe_outputs(gpt)
    finally:
        for name, module in replaced.items():
            put(gpt, name, module)
    difference = _relative_gap(before, after)
    if not difference <= TOLERANCES[dtype]:
        raise InvalidArgument(
            f"merged and unmerged outputs differ by {difference:.2g} of the largest on probe prompts, more than "
            f"rounding to {str(dtype)[6:]} explains ({TOLERANCES[dtype]:g}); the model was left unmerged. Load the "
            "base in float32, or keep the adapter apart"
        )


class _MergedWhenComputed(nn.Module):
    """Computes what the plain layer of `layer` will, and holds no weights."""

    _layer: nn.Module

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.__dict__["_layer"] = layer  # no child: named parameters stay those of the model

    def forward(self, x: Tensor) -> Tensor:
        """Merges, computes and drops."""
        plain: Tensor = _plain(self._layer)(x)
        return plain

    @property
    def weight(self) -> Tensor:
        """Of an embedding that predicts too."""
        weight: Tensor = _plain(self._layer).weight  # type: ignore[assignment]
        return weight


def unmerge(model: Model) -> Model:
    """Puts the adapted layers that `merge` replaced back, with the original bits of their base. -> `model`.

    Raises `InvalidArgument` where nothing was merged, or with `keep=False`.
    """
    _, gpt = trunk_of(model)
    kept: dict[str, nn.Module] | None = gpt.__dict__.pop(_KEPT, None)
    if kept is None:
        raise InvalidArgument("no merged adapters are kept with the model: nothing was merged, or with keep=False")
    for name, module in kept.items():
        put(gpt, name, module.to(gpt.device))
    return model


def _plain(module: nn.Module) -> nn.Module:
    """The linear layer or embedding that computes what `module` does."""
    if isinstance(module, QuantizedEmbedding):
        embedding = nn.Embedding(module.num_embeddings, module.embedding_dim, device="meta")
        embedding.weight = nn.Parameter(module.dequantized(), requires_grad=False)
        return embedding.train(module.training)
    base = module.base if isinstance(module, LoRALinear) else module
    weight = module.merged_weight() if isinstance(module, LoRALinear) else weight_of(module).float()
    bias = getattr(base, "bias", None)
    if isinstance(base, nn.Linear):
        weight = weight.to(base.weight.dtype)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().to(weight.dtype, copy=True), requires_grad=False)
    return linear.train(module.training)


def _coarsest(gpt: GPT) -> torch.dtype:
    found = {parameter.dtype for parameter in gpt.parameters()} & TOLERANCES.keys()
    return max(found or {torch.float32}, key=lambda dtype: TOLERANCES[dtype])


@torch.no_grad()
def _probe_outputs(gpt: GPT) -> Tensor:
    """What `gpt` computes, in eval mode, for prompts of drawn ids: its logits. -> float32[N, V]."""
    rows, tokens = PROBE_ROWS, min(PROBE_TOKENS, gpt.config.context_tokens)
    ids = bits(0, "merge probe", np.arange(rows * tokens)) % np.uint64(gpt.config.vocab_size)
    layout = TensorLayout.of(Layout.packed([[tokens]] * rows, tokens), gpt.device)
    training = gpt.training
    gpt.eval()
    try:
        return gpt(torch.from_numpy(ids.astype(np.int64)).to(gpt.device), layout).float()  # type: ignore[no-any-return]
    finally:
        gpt.train(training)


def _relative_gap(before: Tensor, after: Tensor) -> float:
    """Largest difference as a share of the largest value; NaN where one is not finite."""
    return float((after - before).abs().max() / before.abs().max().clamp_min(1e-9))
