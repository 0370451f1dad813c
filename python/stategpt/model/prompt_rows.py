"""Prompts with their continuations as rows of tokens: one copy of the prompt for each, or one for several.

A row is a prompt and one or more continuations, each of which sees the prompt and itself (`Layout.shared_prefix`). The
model's output for a continuation is the same in every arrangement. Sharing computes the prompt once instead of K times,
but a row of K continuations is longer, and attention is computed for all pairs of a row and then masked:
`share_prompts` counts both and takes the cheaper arrangement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.ops import TensorLayout
from stategpt.packing import Layout
from stategpt.shown_fields import documented, short_repr

from .token_batch import lay_out_rows, round_up, stream_tensors

Ids = NDArray[np.uint32]
Rows = Sequence[range]
"""The samples of each row: consecutive ones of equal prompt."""


@documented
@dataclass(frozen=True)
class PromptRows:
    """S samples, each a prompt and its continuation, as one flat stream of N tokens."""

    tokens: NDArray[np.int64]
    """int64[N], padding included."""
    layout: Layout
    """What each token sees; a pad sees only itself."""
    prompt_last: NDArray[np.int64]
    """int64[S], position of the last token of each sample's prompt."""
    first: NDArray[np.int64]
    """int64[S], position of the first token of each sample's continuation, also of an empty one."""

    __repr__ = short_repr

    @classmethod
    def of(cls, prompts: Sequence[Ids], continuations: Sequence[Ids], rows: Rows, pad: int) -> PromptRows:
        """Lays out `rows` of samples, each as wide as the longest; a continuation may be empty."""
        lengths = [len(continuation) for continuation in continuations]
        row_tokens = round_up(max(_row_lengths(prompts, lengths, rows)))
        vectors = [[prompts[samples.start], *(continuations[sample] for sample in samples)] for samples in rows]
        tokens = lay_out_rows(vectors, row_tokens, pad)
        prompt_last = np.empty(len(prompts), dtype=np.int64)
        first = np.empty(len(prompts), dtype=np.int64)
        trunks, branches = [], []
        for row, samples in enumerate(rows):
            trunk = len(prompts[samples.start])
            at = trunk
            for sample in samples:
                prompt_last[sample], first[sample] = row * row_tokens + trunk - 1, row * row_tokens + at
                at += lengths[sample]
            inner = [lengths[sample] for sample in samples if lengths[sample]]
            # One continuation alone is a plain causal row.
            trunks.append(at if len(inner) == 1 else trunk)
            branches.append([] if len(inner) == 1 else inner)
        return cls(tokens.reshape(-1), Layout.shared_prefix(trunks, branches, row_tokens), prompt_last, first)

    @classmethod
    def flat(cls, prompts: Sequence[Ids], continuations: Sequence[Ids]) -> PromptRows:
        """Lays out everything in one row without padding, neighbors of equal prompt behind one copy of it.

        For attention that computes the pairs that see each other and no others (`ops.packed_pages`).
        """
        borders = [i for i in range(1, len(prompts)) if not _equal(prompts[i - 1], prompts[i])]
        groups = [range(a, b) for a, b in zip([0, *borders], [*borders, len(prompts)], strict=True)]
        lengths = [len(continuation) for continuation in continuations]
        vectors, segments = [], []
        prompt_last = np.empty(len(prompts), dtype=np.int64)
        first = np.empty(len(prompts), dtype=np.int64)
        at = 0
        for samples in groups:
            prompt = prompts[samples.start]
            vectors += [prompt, *(continuations[sample] for sample in samples)]
            prompt_last[samples.start : samples.stop] = at + len(prompt) - 1
            first[samples.start : samples.stop] = at + len(prompt) + np.cumsum([0, *(lengths[s] for s in samples)])[:-1]
            segments.append((len(prompt), [lengths[sample] for sample in samples if lengths[sample]]))
            at += segments[-1][0] + sum(segments[-1][1])
        tokens = np.concatenate(vectors).astype(np.int64)
        return cls(tokens, Layout.grouped([segments], len(tokens)), prompt_last, first)

    def tensors(self, device: torch.device) -> tuple[Tensor, TensorLayout]:
        """Copies tokens and layout to `device`."""
        return stream_tensors(self.tokens, self.layout, device)


MAX_BATCH_TOKENS = 16_384
"""Tokens of a batch, padding included: more take memory and no less time, and many long rows take attention beyond the
memory for its masks, where it is several times slower."""


def share_prompts(
    prompts: Sequence[Ids], lengths: Sequence[int], width: int, max_samples: int | None = None
) -> list[list[range]]:
    """Arranges all samples in batches of rows, so that a model of `width` computes least.

    Neighbors with equal prompts may share a row. Without `max_samples` it is one batch in the order given; with it,
    batches of at most `max_samples` samples and `MAX_BATCH_TOKENS` (or one row), each of rows of similar length.
    """
    return min(
        (_batches(prompts, lengths, rows, max_samples) for rows in _arrangements(prompts, max_samples)),
        key=lambda batches: sum(_cost(_row_lengths(prompts, lengths, rows), width) for rows in batches),
    )


def _arrangements(prompts: Sequence[Ids], max_samples: int | None) -> Iterator[list[range]]:
    """One sample per row; then at most 2, 4, 8, ... samples of equal prompt per row."""
    borders = [i for i in range(1, len(prompts)) if not _equal(prompts[i - 1], prompts[i])]
    groups = [range(a, b) for a, b in zip([0, *borders], [*borders, len(prompts)], strict=True)]
    largest = min(max(map(len, groups)), max_samples or len(prompts))
    most = 1
    while True:
        yield [part for group in groups for part in _split(group, most)]
        if most >= largest:
            return
        most = min(2 * most, largest)


def _equal(first: Ids, second: Ids) -> bool:
    return first is second or np.array_equal(first, second)


def _split(samples: range, most: int) -> Iterator[range]:
    parts = -(-len(samples) // most)
    size, more = divmod(len(samples), parts)
    start = samples.start
    for part in range(parts):
        end = start + size + (part < more)
        yield range(start, end)
        start = end


def _batches(
    prompts: Sequence[Ids], lengths: Sequence[int], rows: list[range], max_samples: int | None
) -> list[list[range]]:
    if max_samples is None:
        return [rows]
    row_lengths = _row_lengths(prompts, lengths, rows)
    batches: list[list[range]] = []
    free = 0
    for row in np.argsort(row_lengths, kind="stable").tolist():
        wide = bool(batches) and (len(batches[-1]) + 1) * row_lengths[row] > MAX_BATCH_TOKENS
        if len(rows[row]) > free or wide:
            batches.append([])
            free = max(max_samples, len(rows[row]))
        batches[-1].append(rows[row])
        free -= len(rows[row])
    return batches


def _row_lengths(prompts: Sequence[Ids], lengths: Sequence[int], rows: Rows) -> list[int]:
    return [len(prompts[samples.start]) + sum(lengths[sample] for sample in samples) for samples in rows]


def _cost(row_lengths: Sequence[int], width: int) -> float:
    """Multiplications of a block, in units of one token's projections: those take 24 W^2, attention 4 T W."""
    row_tokens = round_up(max(row_lengths))
    return len(row_lengths) * row_tokens * (1 + row_tokens / (6 * width))
