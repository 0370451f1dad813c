"""What training and sampling cost: floating-point operations and bytes, by formulas with their sources.

Symbols: L blocks, D width, Q query width (heads · head width), V vocabulary, T tokens of context.
"""

from __future__ import annotations

from stategpt.config.model import GPTConfig

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


def training_flops_per_token(model: GPTConfig, context_tokens: int) -> float:
    """6N + 12·L·Q·T: forward, and a backward pass of twice the forward (arXiv 2204.02311, appendix B)."""
    return 3 * forward_flops_per_token(model, context_tokens)


def cache_bytes_per_token(model: GPTConfig) -> int:
    """Bytes of the key-value cache per token of a sampled sequence, float32."""
    return 2 * FLOAT32_BYTES * model.depth * model.kv_width
