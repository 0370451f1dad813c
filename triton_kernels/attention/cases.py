"""Named shapes and layouts that every implementation of attention must get right, each with the reason it is here.

A row is a list of segments; a segment is `(trunk, branches)`: `(5, ())` is a packed document of 5 tokens,
`(4, (3, 2))` a prompt of 4 tokens shared by completions of 3 and 2. What is left of a row is padding, and every pad
token is a segment of its own. The builder below is written apart from the package's `Layout`, so that tests can hold
one against the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Segment = tuple[int, Sequence[int]]


@dataclass(frozen=True)
class Tolerance:
    """Largest relative error accepted: max |result - truth| / max |truth|, truth being the float64 reference."""

    dtype: torch.dtype
    values: float
    gradients: float
    why: str


TOLERANCES = (
    Tolerance(torch.float64, 1e-12, 1e-12, "52-bit mantissa, sums of at most 200 terms"),
    Tolerance(torch.float32, 2e-6, 5e-6, "23-bit mantissa; gradients pass through two more sums"),
    Tolerance(torch.bfloat16, 1.2e-2, 3e-2, "7-bit mantissa: 2^-8 for each rounding of inputs, weights and output"),
)


@dataclass(frozen=True)
class Case:
    """One layout with the shape of its heads."""

    name: str
    why: str
    rows: Sequence[Sequence[Segment]]
    row_tokens: int
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 16

    @property
    def tokens(self) -> int:
        """N, padding included."""
        return len(self.rows) * self.row_tokens

    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """segment_start, prefix_end and branch_start, int32[N] each."""
        table: list[tuple[int, int, int]] = []
        for row, segments in enumerate(self.rows):
            for trunk, branches in segments:
                start = len(table)
                table += [(start, start, start)] * trunk
                for length in branches:
                    table += [(start, start + trunk, len(table))] * length
            while len(table) < (row + 1) * self.row_tokens:
                table.append((len(table),) * 3)
        segment, prefix, branch = torch.tensor(table, dtype=torch.int32).unbind(dim=1)
        return segment, prefix, branch

    def inputs(self, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Random q_NHD, k_NGD and v_NGD that require gradients: the same numbers for each dtype, rounded to it."""
        generator = torch.Generator().manual_seed(seed)

        def draw(heads: int) -> Tensor:
            full = torch.randn(self.tokens, heads, self.head_width, generator=generator, dtype=torch.float64)
            return full.to(dtype).requires_grad_()

        return draw(self.heads), draw(self.kv_heads), draw(self.kv_heads)


CASES = (
    Case("one_segment", "the plain causal row, where a fast path applies", [[(24, ())]], 24),
    Case("causal_rows", "several full rows: rows must not see each other", [[(16, ())], [(16, ())], [(16, ())]], 16),
    Case("packed", "documents end to end, of unlike lengths", [[(7, ()), (5, ()), (12, ())], [(20, ()), (4, ())]], 24),
    Case("packed_with_padding", "a pad token sees only itself", [[(7, ()), (5, ())], [(11, ())]], 16),
    Case("one_token_segments", "softmax over a single key", [[(1, ())] * 8], 8),
    Case("padded", "one sequence a row, right-padded", [[(9, ())], [(3, ())], [(16, ())]], 16),
    Case("only_padding", "a row that holds nothing", [[(6, ())], []], 6),
    Case("shared_prefix", "a prompt and its completions", [[(6, (4, 3, 5))], [(2, (1, 9))]], 20),
    Case("shared_prefix_one_branch", "a shared prefix that nobody shares", [[(5, (7,))]], 16),
    Case("mixed_rows", "documents, groups and padding in one row", [[(3, ()), (4, (2, 2)), (5, ())], [(18, ())]], 20),
    Case("one_token_rows", "rows of a single token", [[(1, ())], [(1, ())]], 1),
    Case("multi_head", "as many key-value heads as heads", [[(9, ()), (6, ())]], 16, heads=4, kv_heads=4),
    Case("multi_query", "one key-value head for all", [[(9, ()), (6, ())]], 16, heads=4, kv_heads=1),
    Case("odd_group", "three query heads a group: no power of two", [[(9, ()), (6, ())]], 16, heads=6, kv_heads=2),
    Case("wide_head", "the width of large models", [[(13, ()), (19, ())]], 32, heads=2, kv_heads=1, head_width=128),
    Case("odd_width", "a head width that is no power of two", [[(13, ()), (19, ())]], 32, head_width=24),
)
