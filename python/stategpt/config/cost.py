"""What training and sampling cost: floating-point operations and bytes, by formulas with their sources.

Symbols: L blocks, D width, Q query width (heads · head width), V vocabulary, T tokens of context.
"""

from __future__ import annotations

from stategpt.config.model import GPTConfig
from stategpt.config.trained import Trained

FLOAT32_BYTES = 4


def multiplying_parameters(model: GPTConfig) -> int:
    """N of the formulas below: weights that multiply a token.

    A look-up in the embedding costs nothing, so an embedding counts once, as the prediction, tied or not.
    """
    return model.vocab_size * model.width + model.depth * model.block_parameters


def forward_flops_per_token(model: GPTConfig, context_tokens: int) -> float:
    """2N + 4·L·Q·T (arXiv 2204.02311, appendix B, a third of the training cost; arXiv 2001.08361, section 2.1).

    T is counted whole although a causal token sees half of it on average: dense attention computes the rest too.
    """
    attention = 4 * model.depth * model.query_width * context_tokens
    return float(2 * multiplying_parameters(model) + attention)


def block_flops(model: GPTConfig, tokens: int, row_tokens: int) -> float:
    """Of the blocks, forward, on `tokens` in rows of `row_tokens`, padding included: dense attention takes whole rows.

    What is predicted from (logits, a reward) does not depend on how the same sequences are laid out.
    """
    per_token = model.depth * (2 * model.block_parameters + 4 * model.query_width * row_tokens)
    return float(tokens * per_token)


def training_flops_per_token(model: GPTConfig, context_tokens: int, trained: Trained | None = None) -> float:
    """6N + 12·L·Q·T where all is trained: forward, and a backward pass of twice the forward (arXiv 2204.02311, B).

    Half of the backward pass are gradients of the products' inputs, half those of the weights (arXiv 2001.08361,
    section 2.1). A frozen matrix needs the first half only, and nothing passes blocks below the first that is trained:

        2N + 4·L·Q·T  +  2·(V·D + l·B) + 8·l·Q·T  +  2·t  +  6·a

    with l blocks that gradients pass, B weights of one, t trained weights that multiply, a numbers of adapters. With
    adapters on all blocks that is 4N + 12·L·Q·T + 6a, two thirds of the full step (arXiv 2106.09685, section 4.2).
    """
    forward = forward_flops_per_token(model, context_tokens)
    if trained is None:
        return 3 * forward
    return forward + backward_flops_per_token(model, context_tokens, trained)


def backward_flops_per_token(
    model: GPTConfig, context_tokens: int, trained: Trained, *, predicts: bool = True
) -> float:
    """The terms of `training_flops_per_token` after the first, and the forward pass of adapters.

    Without `predicts` the prediction of tokens is left out, which a classifier does not make.
    """
    prediction = model.vocab_size * model.width if predicts else 0
    inputs = 2 * (prediction + trained.blocks * model.block_parameters)
    attention = 8 * trained.blocks * model.query_width * context_tokens
    if trained.lora.rank:
        return float(inputs + attention + 6 * trained.numbers)
    weights = trained.blocks * model.block_parameters + (prediction if trained.matrix else 0)
    return float(inputs + attention + 2 * weights)


def cache_bytes_per_token(model: GPTConfig) -> int:
    """Bytes of the key-value cache per token of a sampled sequence, float32."""
    return 2 * FLOAT32_BYTES * model.depth * model.kv_width
