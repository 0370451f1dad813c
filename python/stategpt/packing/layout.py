"""The attention layout: which keys each token of a flat stream sees, and its position.

N tokens = R rows x T `row_tokens`. Token t sees the keys

    [segment_start[t], prefix_end[t])  and  [branch_start[t], t]

This covers three cases: packed documents (prefix empty), padded rows, and one prompt shared by K completions (each
branch sees the prompt and itself). Positions count the visible keys, hence restart after the prompt in every branch.
A blank token sees nothing and is seen by none: a separate segment whose branch_start is t + 1, at position 0.
Packing makes and checks layouts in Rust; the constructors here are for other callers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stategpt import _native
from stategpt.arguments import whole
from stategpt.errors import InvalidArgument

Int32Vector = NDArray[np.int32]
_FIELDS = ("segment_start", "prefix_end", "branch_start", "position")
_MOST_TOKENS = 2**31 - 1  # indices are int32: what attention kernels take


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """Attention layout of a flat stream of N tokens. Indices are global, i.e. into the whole stream.

    Models take it on a device: `stategpt.ops.TensorLayout.of(layout, device)`.

    Attributes:
        segment_start: int32[N], first token of the token's segment.
        prefix_end: int32[N], end of the prefix it shares with other branches; = segment_start when there is none.
        branch_start: int32[N], first token of its branch; = segment_start when the segment has no branches; t + 1 if it
            is blank.
        position: int32[N], visible keys before it, i.e. its position for rotary embeddings.
        row_tokens: T; no segment crosses a multiple of it.

    Raises:
        InvalidArgument: the vectors are not int32[N] or N is not a whole number of rows; `validate` checks the values
            too.
    """

    segment_start: Int32Vector
    prefix_end: Int32Vector
    branch_start: Int32Vector
    position: Int32Vector
    row_tokens: int

    def __post_init__(self) -> None:
        whole("row_tokens", self.row_tokens, least=1)
        tokens = np.size(self.segment_start)
        for name in _FIELDS:
            vector = getattr(self, name)
            if not isinstance(vector, np.ndarray) or vector.dtype != np.int32 or vector.shape != (tokens,):
                found = f"{getattr(vector, 'dtype', type(vector).__name__)}{list(np.shape(vector))}"
                raise InvalidArgument(f"layout.{name} is {found}, expected int32[{tokens}]")
        if tokens % self.row_tokens:
            raise InvalidArgument(
                f"{tokens} tokens are not a whole number of rows of {self.row_tokens}; pad the last row"
            )

    def __repr__(self) -> str:
        """Layout(rows, T, segments)"""
        segments = np.unique(self.segment_start).size
        return f"Layout({self.num_rows:,} rows of {self.row_tokens:,} tokens, {segments:,} segments)"

    @property
    def num_tokens(self) -> int:
        """N, padding included."""
        return len(self.segment_start)

    @property
    def num_rows(self) -> int:
        """R = N / row_tokens."""
        return self.num_tokens // self.row_tokens

    @classmethod
    def packed(cls, segment_lengths_per_row: Sequence[Sequence[int]], row_tokens: int) -> "Layout":
        """Rows of consecutive causal segments; the rest of a row is padding that sees only itself.

        `Layout.packed([[3, 2], [4]], row_tokens=6)` is two rows: segments of 3 and 2 and one pad token, then one of 4
        and two pad tokens. Raises `InvalidArgument` for a segment without tokens or a row that overflows.
        """
        rows = [[(length, ()) for length in lengths] for lengths in segment_lengths_per_row]
        return cls._build(rows, row_tokens)

    @classmethod
    def padded(cls, lengths: Sequence[int], row_tokens: int) -> "Layout":
        """One causal segment per row, padded on the right."""
        return cls.packed([[length] for length in lengths], row_tokens)

    @classmethod
    def shared_prefix(
        cls, prefix_lengths: Sequence[int], branch_lengths: Sequence[Sequence[int]], row_tokens: int
    ) -> "Layout":
        """One group per row: a prefix, then its branches, each of which sees the prefix and itself; then padding.

        Shape: R = len(prefix_lengths) = len(branch_lengths) (Shared prefixes: https://arxiv.org/abs/2410.20305).
        """
        if len(prefix_lengths) != len(branch_lengths):
            raise InvalidArgument(f"{len(prefix_lengths)} prefixes but {len(branch_lengths)} lists of branches")
        return cls._build([[group] for group in zip(prefix_lengths, branch_lengths, strict=True)], row_tokens)

    @classmethod
    def grouped(cls, groups_per_row: Sequence[Sequence[tuple[int, Sequence[int]]]], row_tokens: int) -> "Layout":
        """Rows of several groups, each the length of a prefix and the lengths of its branches (maybe none); padding."""
        return cls._build(groups_per_row, row_tokens)

    @classmethod
    def _build(cls, rows: Sequence[Sequence[tuple[int, Sequence[int]]]], row_tokens: int) -> "Layout":
        """Rows of segments (trunk length, lengths of the branches that share the trunk)."""
        row_tokens = whole("row_tokens", row_tokens, least=1)
        _require_int32(len(rows) * row_tokens)
        every = np.arange(len(rows) * row_tokens, dtype=np.int32)
        segment, prefix, branch = every.copy(), every.copy(), every.copy()
        for row, segments in enumerate(rows):
            at, row_end = row * row_tokens, (row + 1) * row_tokens
            for trunk, branches in segments:
                needed = _segment_tokens(row, trunk, branches)
                if at + needed > row_end:
                    used = at - row * row_tokens
                    raise InvalidArgument(
                        f"row {row}: a segment of {needed} tokens after {used} overflows row_tokens={row_tokens}; "
                        "raise row_tokens or put it in another row"
                    )
                segment[at : at + needed] = at
                prefix[at : at + trunk] = branch[at : at + trunk] = at
                prefix[at + trunk : at + needed] = at + trunk
                start = at + trunk
                for length in branches:
                    branch[start : start + length] = start
                    start += length
                at += needed
        return cls(segment, prefix, branch, (prefix - segment) + (every - branch), row_tokens)

    @classmethod
    def concatenate(cls, layouts: Sequence["Layout"]) -> "Layout":
        """The rows of all layouts, in order. They must have the same `row_tokens`."""
        if not layouts:
            raise InvalidArgument("nothing to concatenate: give at least one layout")
        sizes = sorted({layout.row_tokens for layout in layouts})
        if len(sizes) > 1:
            raise InvalidArgument(f"layouts of different row_tokens {sizes} cannot be concatenated; pack them alike")
        _require_int32(sum(layout.num_tokens for layout in layouts))
        starts = np.cumsum([0] + [layout.num_tokens for layout in layouts[:-1]]).astype(np.int32)

        def joined(vectors: list[Int32Vector]) -> Int32Vector:
            """One vector of all, its indices those of the whole stream."""
            return np.concatenate([vector + start for vector, start in zip(vectors, starts, strict=True)])

        return cls(
            joined([layout.segment_start for layout in layouts]),
            joined([layout.prefix_end for layout in layouts]),
            joined([layout.branch_start for layout in layouts]),
            np.concatenate([layout.position for layout in layouts]),
            sizes[0],
        )

    def validate(self) -> None:
        """Raises `InvalidArgument` naming the first token whose entries contradict the rules above."""
        _native.validate_attention_layout(
            self.segment_start, self.prefix_end, self.branch_start, self.position, self.row_tokens
        )


def _segment_tokens(row: int, trunk: int, branches: Sequence[int]) -> int:
    shortest = min((trunk, *branches))
    if shortest < 1:
        raise InvalidArgument(f"row {row}: a segment or branch of {shortest} tokens; leave empty ones out")
    return trunk + sum(branches)


def _require_int32(tokens: int) -> None:
    if tokens > _MOST_TOKENS:
        raise InvalidArgument(f"{tokens} tokens exceed a layout's {_MOST_TOKENS} (int32 indices); use smaller batches")
