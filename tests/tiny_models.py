"""A model of a few thousand weights for tests of the engine, and its log-probabilities by plain forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.config import CONTROL_TOKENS, GPTConfig
from stategpt.model import GPT
from stategpt.ops import TensorLayout
from stategpt.packing import Layout
from stategpt.tokenizer import Tokenizer

TEXT = "Return the length of a list. Return True if the key is in the dictionary. "
CONTEXT_TOKENS = 96


@cache
def tiny_tokenizer() -> Tokenizer:
    """300 tokens."""
    return Tokenizer.train([TEXT * 5], vocab_size=300, special_tokens=CONTROL_TOKENS)


def tiny_model(seed: int = 0, context_tokens: int = CONTEXT_TOKENS, padding: int = 0, spread: float = 0.3) -> GPT:
    """Random weights, untied and made larger, by `spread`, so that some tokens are likelier than others."""
    torch.manual_seed(seed)
    config = GPTConfig(
        vocab_size=tiny_tokenizer().vocab_size + padding,
        depth=2,
        width=32,
        heads=4,
        kv_heads=2,
        head_dim=8,
        mlp_width=48,
        context_tokens=context_tokens,
        tied_embeddings=False,
    )
    gpt = GPT(config)
    with torch.no_grad():
        gpt.lm_head.weight.div_(gpt.lm_head.weight.std()).mul_(spread)
    return gpt.eval()


def full_logits(model: GPT, ids: Sequence[int] | NDArray[np.integer]) -> torch.Tensor:
    """Logits of every position by one forward pass without a cache."""
    tokens = np.asarray(ids, dtype=np.int64)
    with torch.no_grad():
        return model(torch.from_numpy(tokens), TensorLayout.of(Layout.packed([[len(tokens)]], len(tokens))))


def raw_log_probs(model: GPT, ids: Sequence[int] | NDArray[np.integer], first: int) -> NDArray[np.float32]:
    """Log-probability of each of `ids` from position `first` on, given those before it."""
    ids = np.asarray(ids, dtype=np.int64)
    logits = full_logits(model, ids[:-1])[:, : tiny_tokenizer().vocab_size].log_softmax(-1)
    chosen = logits.gather(1, torch.from_numpy(ids[1:, None]))[:, 0]
    return chosen.numpy()[first - 1 :]


def some_ids(seed: int, tokens: int) -> NDArray[np.uint32]:
    """A prompt of random ids with text."""
    return np.random.default_rng(seed).integers(16, 300, tokens).astype(np.uint32)
