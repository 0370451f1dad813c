"""Bytes that a step with adapters keeps for its backward pass: `activations`, where the weights themselves are frozen.

The formulas are those of the CPU path of `model.lora_layer`; symbols as in `activations`, and R rank, I inputs and
O outputs of an adapted layer.
"""

from __future__ import annotations

from stategpt.config.activations import FLOAT32, Formats
from stategpt.config.lora import LoRAConfig
from stategpt.config.model import GPTConfig
from stategpt.config.trained import adapted_in

JOINED = ("q_proj", "k_proj", "v_proj")
"""Layers whose input, in the first block that is adapted, has no gradient: nothing before it is trained."""
VECTORS = 3
"""Float32 vectors of O numbers that DoRA keeps, about: norms of rows, factors, and these less 1."""


def adapted_block_bytes(
    model: GPTConfig, tokens: int, formats: Formats, lora: LoRAConfig, layer: int, adapters: int = FLOAT32
) -> int:
    """Kept of block `layer` on `tokens` tokens: results between the products, inputs of adapters, casts of matrices.

    A frozen product keeps neither its input nor, in the weights' own format, its matrix. An adapter keeps the input of
    A, each its own where it is cast or dropped out, and that of B; DoRA two results of O numbers more.

    Args:
        formats: bytes of products and of frozen weights.
        lora: adapters; `lora.base` tells whether frozen matrices are cast, or made of codes when they are needed.
        adapters: bytes of a number of an adapter.
    """
    first = layer == 0 or not adapted_in(model, lora, layer - 1)
    kept = tokens * _token_bytes(model, formats, lora, layer, first)
    return kept + _matrix_bytes(model, formats, lora, layer, first, adapters)


def _token_bytes(model: GPTConfig, formats: Formats, lora: LoRAConfig, layer: int, first: bool) -> int:
    a, s, W, F = formats.products, formats.weights, model.width, model.mlp_width
    H, G, D = model.heads, model.kv_heads, model.head_dim
    names = adapted_in(model, lora, layer)
    norms = (1 if first else 2) * FLOAT32 * (W + 1)
    if model.qk_norm:  # of what has a gradient
        heads = H * ("q_proj" in names or not first) + G * ("k_proj" in names or not first)
        norms += FLOAT32 * heads * (D + 1)
    attention = FLOAT32 * ((H + 2 * G) * D + H * D + H)
    joined, gated = len(names.keys() & set(JOINED)), len(names.keys() & {"gate_proj", "up_proj"})
    o_proj, down = int("o_proj" in names), int("down_proj" in names)
    if lora.dropout:  # each adapter's own input, and the mask in the format that the input came in
        masks = s * W * (gated + (0 if first else joined)) + a * (o_proj * H * D + down * F)
        inputs = a * W * (joined + gated) + a * (o_proj * H * D + down * F) + masks
    else:
        own = joined + gated if formats.casts else bool(joined) + bool(gated)
        inputs = a * W * own + a * down * F + (a * o_proj * H * D if a != FLOAT32 else 0)
    results = 2 * a * sum(outputs for outputs, _ in names.values()) if lora.dora else 0
    return norms + attention + 3 * a * F + inputs + a * lora.rank * len(names) + results


def _matrix_bytes(model: GPTConfig, formats: Formats, lora: LoRAConfig, layer: int, first: bool, adapters: int) -> int:
    a, W, names = formats.products, model.width, adapted_in(model, lora, layer)
    total = 0
    if formats.casts and lora.base == "float32":
        H, G, D = model.heads, model.kv_heads, model.head_dim
        total += a * (H * D * W + 3 * model.mlp_width * W + (0 if first else (H + 2 * G) * D * W))
    if a != adapters:
        numbers = sum(lora.rank * (outputs + inputs) for outputs, inputs in names.values())
        total += a * (numbers - (lora.rank * W * len(names.keys() & set(JOINED)) if first else 0))
    return total + (FLOAT32 * VECTORS * sum(outputs for outputs, _ in names.values()) if lora.dora else 0)
