"""Bytes that a training step keeps for its backward pass, block by block: what autograd saves, by formula.

The formulas are those of the CPU path of `model.layers`: `tests/config/test_activations.py` compares them with what
`torch.autograd.graph.saved_tensors_hooks` sees, byte by byte.

Symbols: N tokens in rows of T, W width, H query heads, G key-value heads, D head width, F hidden width of the MLP,
V vocabulary; a bytes of a multiplied number, s of one of the residual stream (4, or 2 for bfloat16).
"""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.config.model import GPTConfig

FLOAT32, BFLOAT16, INT64 = 4, 2, 8


@dataclass(frozen=True)
class Formats:
    """Bytes of the numbers of a training step.

    Attributes:
        products: of what matrix products read: 4, or 2 under autocast or with bfloat16 weights.
        weights: of a weight, and of a number of the residual stream.
    """

    products: int = FLOAT32
    weights: int = FLOAT32

    @property
    def casts(self) -> bool:
        """Products read another format than weights have: casts of the weights are kept with the activations."""
        return self.products != self.weights


def block_token_bytes(model: GPTConfig, formats: Formats) -> int:
    """Kept of a block for each token.

    A norm keeps its normalized input and 1 / size in float32; a product its input. Attention keeps queries, keys,
    values, its output in float32 and a logarithm a head. Where nothing is cast, values are a part of the joined
    projection, which is kept whole, and the output of attention is the input of the next product.
    """
    a, W, F = formats.products, model.width, model.mlp_width
    H, G, D = model.heads, model.kv_heads, model.head_dim
    norm = FLOAT32 * W + FLOAT32 + a * W
    query_key_norm = FLOAT32 * (H + G) * (D + 1) if model.qk_norm else 0
    attended = FLOAT32 * H * D + FLOAT32 * H
    if a == FLOAT32:
        attention = FLOAT32 * ((H + G) * D + (H + 2 * G) * D) + attended
    else:
        attention = FLOAT32 * (H + 2 * G) * D + attended + a * H * D
    return 2 * norm + query_key_norm + attention + 4 * a * F


def block_weight_bytes(model: GPTConfig, formats: Formats) -> int:
    """Copies of a block's weights that are kept: queries, keys and values joined, and casts of all matrices."""
    H, G, D, W = model.heads, model.kv_heads, model.head_dim, model.width
    joined = formats.products * (H + 2 * G) * D * W + (formats.weights * (H + G) * D if model.qk_norm else 0)
    return joined + (formats.products * (H * D * W + 3 * model.mlp_width * W) if formats.casts else 0)


def shared_token_bytes(model: GPTConfig, row_tokens: int, masked: bool, embeds: bool = True) -> int:
    """Kept once for all blocks and each token: its id, cosines and sines, the mask's scores, the last norm.

    No id where the embedding is frozen (`embeds` false).
    """
    mask = FLOAT32 * row_tokens if masked else 0
    return (INT64 if embeds else 0) + FLOAT32 * model.head_dim + mask + FLOAT32 * (model.width + 1)


def hidden_bytes(model: GPTConfig, tokens: int, row_tokens: int, formats: Formats, masked: bool = True) -> int:
    """All that is kept for the gradient of `GPT.hidden` on `tokens` tokens, the parameters themselves excepted."""
    block = tokens * block_token_bytes(model, formats) + block_weight_bytes(model, formats)
    return model.depth * block + tokens * shared_token_bytes(model, row_tokens, masked)
