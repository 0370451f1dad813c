"""What is measured: documents in rows, heads, a window; and how many pairs of tokens see each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.packing.layout import Layout

Int32Array = NDArray[np.int32]
MEAN_DOCUMENT_TOKENS = 1000
DOCUMENT_SIGMA = 1.0
"""Of the logarithm of a document's length: half of all tokens lie in documents above 1,650 tokens."""


@dataclass(frozen=True)
class Problem:
    """One call of attention."""

    rows: tuple[tuple[int, ...], ...]
    """Lengths of the documents of each row; they fill it."""
    row_tokens: int
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    window: int | None = None
    prefix: int = 0
    """Tokens that the documents of a row share, before them; 0 is none, and `rows` then are whole documents."""

    @property
    def tokens(self) -> int:
        """N."""
        return len(self.rows) * self.row_tokens

    @property
    def causal_rows(self) -> bool:
        """Is every row one document, without a window or a prefix?"""
        return all(len(row) == 1 for row in self.rows) and self.window is None and not self.prefix

    @property
    def lengths(self) -> list[int]:
        """Of all documents, in stream order."""
        return [length for row in self.rows for length in row]

    def layout(self) -> Layout:
        """Its layout, made anew."""
        if self.prefix:
            return Layout.shared_prefix([self.prefix] * len(self.rows), self.rows, self.row_tokens)
        return Layout.packed(self.rows, self.row_tokens)

    def flops(self) -> tuple[int, int]:
        """Floating-point operations of the forward and of the backward pass, visible pairs alone.

        Two products of D numbers a pair and head forward, five backward, whatever a kernel computes twice.
        """
        pairs = visible_pairs(self.layout(), self.window) * self.heads * self.head_dim
        return 4 * pairs, 10 * pairs

    def inputs(self, device: torch.device, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normal q_NHD, k_NGD and v_NGD that require gradients, and a gradient of o."""
        generator = torch.Generator(device).manual_seed(seed)

        def draw(heads: int) -> Tensor:
            shape = (self.tokens, heads, self.head_dim)
            return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)

        q, k, v, do = draw(self.heads), draw(self.kv_heads), draw(self.kv_heads), draw(self.heads)
        return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), do

    def packed_anew(self, seed: int) -> Problem:
        """The same with other documents."""
        return dataclasses.replace(self, rows=log_normal_rows(len(self.rows), self.row_tokens, seed))


def visible_pairs(layout: Layout, window: int | None) -> int:
    """Pairs of a token and a key that it sees: position counts the keys before it."""
    tokens = np.arange(layout.num_tokens)
    seen = layout.position.astype(np.int64) + (layout.branch_start <= tokens)
    return int(np.minimum(seen, window).sum() if window is not None else seen.sum())


def causal(rows: int, row_tokens: int, **shape: int) -> Problem:
    """Rows of one document each."""
    return Problem(((row_tokens,),) * rows, row_tokens, **shape)


def packed(rows: int, row_tokens: int, seed: int, **shape: int) -> Problem:
    """Rows of documents whose lengths are log-normal."""
    return Problem(log_normal_rows(rows, row_tokens, seed), row_tokens, **shape)


def log_normal_rows(rows: int, row_tokens: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Documents that fill the rows; the last of a row is cut to fit."""
    draw = np.random.default_rng(seed)
    mean = min(MEAN_DOCUMENT_TOKENS, row_tokens // 4)
    return tuple(_log_normal_row(row_tokens, mean, draw) for _ in range(rows))


def _log_normal_row(row_tokens: int, mean: int, draw: np.random.Generator) -> tuple[int, ...]:
    lengths: list[int] = []
    left = row_tokens
    while left:
        drawn = draw.lognormal(np.log(mean) - DOCUMENT_SIGMA**2 / 2, DOCUMENT_SIGMA)
        lengths.append(min(max(round(drawn), 1), left))
        left -= lengths[-1]
    return tuple(lengths)


def starts_of(lengths: Sequence[int]) -> Int32Array:
    """int32[documents + 1]: where each document starts, and where the last ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
