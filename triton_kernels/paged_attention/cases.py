"""Named cases that every implementation of attention over pages must get right, each with the reason it is here.

What no sequence may read is hostile: unused slots and pages are NaN, unused entries of page tables no page at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .reference import paged_attention_reference

NO_PAGE = 1 << 30


@dataclass(frozen=True)
class Tolerance:
    """Largest error accepted, as |result - truth| / |truth| in the 2-norm; truth is the float64 reference."""

    dtype: torch.dtype
    values: float
    why: str


TOLERANCES = (
    Tolerance(torch.float32, 2e-6, "23-bit mantissa, sums of at most 300 terms"),
    Tolerance(torch.float16, 6e-4, "10-bit mantissa: weights and output are rounded to it, 2^-11 each"),
    Tolerance(torch.bfloat16, 4e-3, "7-bit mantissa: weights and output are rounded to it, 2^-8 each"),
)


@dataclass(frozen=True)
class Inputs:
    """Tensors of one case, in the order of the reference's arguments."""

    q_BHD: Tensor
    k_pages_PSGD: Tensor
    v_pages_PSGD: Tensor
    page_table_BM: Tensor
    lengths_B: Tensor
    prefix: tuple[Tensor, Tensor, Tensor] | None

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All but the prefix."""
        return self.q_BHD, self.k_pages_PSGD, self.v_pages_PSGD, self.page_table_BM, self.lengths_B


@dataclass(frozen=True)
class Case:
    """Lengths with the shape of pages and heads."""

    name: str
    why: str
    lengths: Sequence[int]
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    page_slots: int = 16
    prefix_lengths: Sequence[int] = ()
    starts: Sequence[int] = ()
    window: int | None = None
    softcap: float | None = None
    logits: float = 1.0
    """Standard deviation of the scores."""

    def inputs(self, dtype: torch.dtype, seed: int = 0) -> Inputs:
        """Random tensors: the same numbers for each dtype, rounded to it."""
        generator = torch.Generator().manual_seed(seed)
        S, G, D = self.page_slots, self.kv_heads, self.head_dim
        every = [*self.lengths, *self.prefix_lengths]
        pages = sum(-(-length // S) for length in every) + 2
        order = torch.randperm(pages, generator=generator).tolist()

        def draw(*shape: int) -> Tensor:
            """Draws a float64 tensor of this shape."""
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        q, k, v = draw(len(self.lengths), self.heads, D) * self.logits, draw(pages, S, G, D), draw(pages, S, G, D)
        unused = torch.ones(pages, S, dtype=torch.bool)

        def table(lengths: Sequence[int]) -> Tensor:
            """Builds the page table of sequences of these lengths."""
            columns = max(-(-length // S) for length in lengths) + 1
            result = torch.full((len(lengths), columns), NO_PAGE, dtype=torch.int32)
            for row, length in enumerate(lengths):
                for column in range(-(-length // S)):
                    page = order.pop()
                    result[row, column] = page
                    unused[page, : length - column * S] = False
            return result

        own = table(self.lengths)
        prefix = None
        if self.prefix_lengths:
            counts, starts = (torch.tensor(x, dtype=torch.int32) for x in (self.prefix_lengths, self.starts))
            prefix = (table(self.prefix_lengths), counts, starts)
        k[unused], v[unused] = torch.nan, torch.nan
        lengths = torch.tensor(self.lengths, dtype=torch.int32)
        return Inputs(q.to(dtype), k.to(dtype), v.to(dtype), own, lengths, prefix)

    @property
    def scale(self) -> float:
        """1 / sqrt(D)."""
        return float(self.head_dim**-0.5)

    def truth(self, inputs: Inputs) -> Tensor:
        """The reference in float64 on these inputs as they are rounded. -> float64[B, H, D]"""
        q, k, v, table, lengths = inputs.tensors()
        exact = (q.double(), k.double(), v.double(), table, lengths, inputs.prefix)
        return paged_attention_reference(*exact, self.window, self.softcap, self.scale)


CASES = (
    Case("one_key", "softmax over a single key, and over none", (1, 0, 1)),
    Case("nothing", "nobody sees anything: zeros, never 0 / 0", (0, 0)),
    Case("off_tile", "lengths around the key block of 64", (63, 64, 65, 130)),
    Case("page_of_1", "a page for each key: every key looks its page up", (1, 37, 70), page_slots=1),
    Case("page_of_64", "all keys of a step are in one page", (64, 65, 127), page_slots=64),
    Case("page_of_128", "a page holds several steps", (128, 200, 5), page_slots=128),
    Case("multi_head", "group 1: one row of sixteen is real", (20, 33), heads=2, kv_heads=2),
    Case("odd_group", "three query heads a group: no power of two", (20, 33), heads=6),
    Case("multi_query", "one key-value head for all", (20, 90), heads=8, kv_heads=1),
    Case("huge_group", "more query heads a group than a narrow tile has rows", (20, 70), heads=24, kv_heads=1),
    Case("width_64", "the width of small models", (20, 70), head_dim=64),
    Case("width_80", "no power of two", (20, 70), head_dim=80),
    Case("width_96", "no power of two", (20, 70), head_dim=96),
    Case("width_128", "the width of large models", (20, 70), head_dim=128),
    Case("width_256", "the widest", (20, 70), head_dim=256),
    Case("width_8", "narrower than a tensor core's product", (20, 70), head_dim=8),
    Case("window", "off the page and off the block; longer and shorter than the sequence", (150, 8, 9, 1), window=9),
    Case("window_of_1", "the new token sees itself", (65, 64, 1), window=1),
    Case("softcap", "scores far above and around the cap", (20, 70), softcap=3.0, logits=6.0),
    Case(
        "prefix",
        "groups of 3, 1 and 2 samples, one of them without own keys",
        (5, 17, 1, 30, 0, 70),
        prefix_lengths=(70, 16, 33),
        starts=(0, 3, 4, 6),
    ),
    Case(
        "prefix_empty",
        "a prefix of no keys, one that nobody shares, and sequences outside all prefixes",
        (0, 5, 6, 7, 0),
        prefix_lengths=(0, 20, 21),
        starts=(0, 2, 2, 3),
    ),
    Case(
        "prefix_late",
        "the first sequences have no prefix; one sees only its prefix",
        (5, 6, 0),
        prefix_lengths=(20,),
        starts=(1, 3),
        page_slots=1,
    ),
    Case(
        "prefix_window",
        "the window ends in the prefix for some samples, after it for others",
        (5, 39, 40, 41, 0),
        prefix_lengths=(90, 3),
        starts=(0, 4, 5),
        window=40,
    ),
    Case(
        "prefix_wide",
        "more rows than one wide tile has, softcap",
        (3,) * 13,
        heads=6,
        kv_heads=1,
        prefix_lengths=(100, 7),
        starts=(0, 11, 13),
        softcap=5.0,
    ),
)
"""The Cartesian product with TOLERANCES is what tests run."""

LARGE_LOGITS = Case("large_logits", "scores of +-1e3: one key takes all", (70, 20), head_dim=64, logits=1e3)
"""Apart from the others: one rounded score moves the weights, so its error is held against torch's own."""
