"""Named shapes and layouts that every implementation of attention must get right, each with the reason it is here.

A row is a list of segments; a segment is `(trunk, branches)`: `(5, ())` is a packed document of 5 tokens,
`(4, (3, 2))` a prompt of 4 tokens shared by completions of 3 and 2. What is left of a row is padding: every pad token
is a separate segment, or blank. The builder below is independent of the package's `Layout`, so that tests can compare
the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .reference import attention_reference

Segment = tuple[int, Sequence[int]]


@dataclass(frozen=True)
class Tolerance:
    """Largest error accepted, as |result - truth| / |truth| in the 2-norm; truth is the float64 reference."""

    dtype: torch.dtype
    values: float
    gradients: float
    why: str


TOLERANCES = (
    Tolerance(torch.float64, 1e-13, 1e-13, "52-bit mantissa, sums of at most 300 terms"),
    Tolerance(torch.float32, 2e-6, 2e-6, "23-bit mantissa, sums of at most 300 terms"),
    Tolerance(torch.float16, 6e-4, 8e-4, "10-bit mantissa: weights and output are rounded to it, 2^-11 each"),
    Tolerance(torch.bfloat16, 4e-3, 6e-3, "7-bit mantissa: weights and output are rounded to it, 2^-8 each"),
)


@torch.no_grad()
def relative_error(result: Tensor, truth: Tensor, otherwise: Tensor | None = None) -> float:
    """|result - truth| / |truth|; of a truth that is negligible next to `otherwise`, relative to that."""
    size = truth.double().norm()
    if otherwise is not None and size < 1e-6 * otherwise.double().norm():
        size = otherwise.double().norm()
    return float((result.double().cpu() - truth.double()).norm() / size.clamp(min=1e-300))


def error_beside_torch(torchs: float, logits: float) -> float:
    """Largest error accepted where torch's own is `torchs` and scores are of size `logits`: 1.5 times torch's.

    A score is a float32 sum of that size, so its last bits, logits * 2^-23 each, move the weights by as much, however
    it is summed. Where torch's order of summation happens to lose less, a few of these bits are the bound.
    """
    return max(1.5 * torchs, 4 * torch.finfo(torch.float32).eps * logits)


@dataclass(frozen=True)
class Case:
    """One layout with the shape of its heads."""

    name: str
    why: str
    rows: Sequence[Sequence[Segment]]
    row_tokens: int
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    window: int | None = None
    softcap: float | None = None
    blank: bool = False
    """Padding sees nothing and is seen by nobody."""
    logits: float = 1.0
    """Standard deviation of the scores."""

    @property
    def tokens(self) -> int:
        """N, padding included."""
        return len(self.rows) * self.row_tokens

    @property
    def scale(self) -> float:
        """1 / sqrt(D)."""
        return float(self.head_dim**-0.5)

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
                table.append((len(table), len(table), len(table) + self.blank))
        segment, prefix, branch = torch.tensor(table, dtype=torch.int32).unbind(dim=1)
        return segment, prefix, branch

    def position(self) -> Tensor:
        """int32[N]: how many keys a token sees before itself, without the window."""
        segment, prefix, branch = self.bounds()
        token = torch.arange(self.tokens, dtype=torch.int32)
        return (prefix - segment + token - branch).clamp(min=0)

    def inputs(self, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Random q_NHD, k_NGD and v_NGD that require gradients: the same numbers for each dtype, rounded to it."""
        generator = torch.Generator().manual_seed(seed)

        def draw(heads: int, deviation: float = 1.0) -> Tensor:
            """Draws [tokens, heads, head_dim]."""
            full = torch.randn(self.tokens, heads, self.head_dim, generator=generator, dtype=torch.float64)
            return (full * deviation).to(dtype).requires_grad_()

        return draw(self.heads, self.logits), draw(self.kv_heads), draw(self.kv_heads)

    def truth(self, inputs: tuple[Tensor, Tensor, Tensor], do_NHD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """o, dq, dk, dv of the reference in float64, on inputs and the gradient of o as they are rounded."""
        exact = [x.detach().cpu().double().requires_grad_() for x in inputs]
        o = attention_reference(*exact, *self.bounds(), self.scale, self.window, self.softcap)
        dq, dk, dv = torch.autograd.grad(o, exact, do_NHD.cpu().double())
        return o.detach(), dq, dk, dv

    def direction(self, dtype: torch.dtype) -> Tensor:
        """A random gradient of o. -> [N, H, D]"""
        generator = torch.Generator().manual_seed(2)
        shape = (self.tokens, self.heads, self.head_dim)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


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
    Case("wide_head", "the width of large models", [[(13, ()), (19, ())]], 32, heads=2, kv_heads=1, head_dim=128),
    Case("odd_width", "a head width that is no power of two", [[(13, ()), (19, ())]], 32, head_dim=24),
    Case("off_tile", "one token past, one short of and exactly a tile of 64", [[(65, ()), (63, ()), (64, ())]], 192),
    Case("long", "several full steps in both passes", [[(300, ())]], 300, heads=2, kv_heads=1),
    Case("branch_of_one", "branches of a single token, a prefix of one", [[(1, (1, 1, 1)), (70, (1, 1))]], 80),
    Case("prefix_off_tile", "full and masked steps before and after the prefix", [[(130, (70, 3, 90))]], 300),
    Case("blank", "tokens that see nothing give 0 and take no gradient", [[(7, ()), (5, ())], []], 16, blank=True),
    Case("only_blank", "nobody sees anything: zeros, never 0 / 0", [[], []], 5, blank=True),
    Case("window", "shorter and longer than the documents", [[(40, ()), (9, ()), (10, ())]], 64, window=9),
    Case("window_of_1", "every token sees itself alone", [[(20, ()), (3, ())]], 24, window=1),
    Case("window_long", "full steps inside the window", [[(260, ())]], 260, heads=2, kv_heads=1, window=150),
    Case(
        "window_in_prefix",
        "it ends in the prefix for some tokens, in the branch for others",
        [[(30, (25, 40))]],
        96,
        window=20,
    ),
    Case("softcap", "scores far above and around the cap", [[(40, ()), (20, ())]], 64, softcap=3.0, logits=6.0),
    Case("softcap_prefix_window", "all at once", [[(30, (25, 40))]], 96, window=40, softcap=2.0, logits=3.0),
    Case("group_of_8", "eight query heads share keys", [[(50, ()), (20, ())]], 72, heads=8, kv_heads=1),
    Case("width_8", "narrower than a tensor core's product", [[(30, ()), (19, ())]], 49, head_dim=8),
    Case("width_64", "the width of small models", [[(50, (20,)), (19, ())]], 96, heads=2, kv_heads=1, head_dim=64),
    Case("width_80", "no power of two", [[(50, (20,)), (19, ())]], 96, heads=2, kv_heads=1, head_dim=80),
    Case("width_96", "no power of two", [[(50, (20,)), (19, ())]], 96, heads=2, kv_heads=1, head_dim=96),
    Case("width_256", "the widest", [[(50, (20,)), (19, ())]], 96, heads=2, kv_heads=1, head_dim=256),
)
"""The Cartesian product with TOLERANCES is what tests run."""

LARGE_LOGITS = Case("large_logits", "scores of +-1e3: one key takes all", [[(70, ())]], 70, head_dim=64, logits=1e3)
"""Apart from the others: one rounded score moves the weights, so its error is held against torch's own."""
