"""Attention over pages: its definition, its independence of company, and what it refuses.

Legend: N tokens, H query heads, G key-value heads, D head width, P pages of 16 slots.
"""

from __future__ import annotations

import array
import threading
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from page_reference import PAGE, Pool, reference
from stategpt.errors import InvalidArgument
from stategpt.ops import PagePlan, attend_pages, cached_attention, write_pages


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def tokens(count: int, H: int, G: int, D: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    q_NHD, k_NGD, v_NGD = (normal(count, heads, D, seed=seed + i) for i, heads in enumerate((H, G, G)))
    return q_NHD, k_NGD, v_NGD


def check_row(pool: Pool, table: list[int], q_NHD: Tensor, o_NHD: Tensor, seen: int, **options: object) -> None:
    """Every token of a row is within the bound of the definition."""
    for number, (q_HD, o_HD) in enumerate(zip(q_NHD, o_NHD, strict=True)):
        k_LGD, v_LGD = pool.gathered(table, seen + number + 1)
        expected_HD, bound_H = reference(q_HD, k_LGD, v_LGD, **options)  # type: ignore[arg-type]
        assert ((o_HD.double() - expected_HD).abs() <= bound_H[:, None]).all()


OPTIONS = [
    {},
    {"window": 20},
    {"window": 1},
    {"softcap": 15.0},
    {"scale": 0.7, "window": 33, "softcap": 3.0},
    {"scale": -1.5},
    {"scale": 0.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("H", "G", "D"), [(9, 3, 64), (4, 4, 24), (8, 1, 128), (2, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ragged_rows_are_within_the_bound_of_the_definition(H, G, D, options, dtype):
    pool = Pool.empty(20, G, D, dtype)
    q, k, v = tokens(97 + 1, H, G, D)
    # A prompt of 50, forked into two rows that share its whole pages; then a chunk, a single token and a new prompt.
    pool.step(PagePlan([0, 48], [0], [[3, 9, 1]]), q[:48], k[:48], v[:48])
    tables = [[3, 9, 1, 7], [3, 9, 1, 4, 5], [11, 2]]
    first, seen = [0, 1, 20, 40], [48, 48, 0]
    o = pool.step(PagePlan(first, seen, tables), q[48:88], k[48:88], v[48:88], **options)
    for row, table in enumerate(tables):
        here = slice(first[row], first[row + 1])
        check_row(pool, table, q[48:88][here], o[here], seen[row], **options)


@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_extreme_scores_are_within_the_bound(size):
    pool, q, k, v = Pool.empty(40, 2, 64), *tokens(600, 4, 2, 64)
    k *= size
    o = pool.step(PagePlan([0, 600], [0], [list(range(38))]), q, k, v)
    assert o.isfinite().all()
    check_row(pool, list(range(38)), q[-20:], o[-20:], 580)


def test_a_long_context_is_within_the_bound():
    pool, q, k, v = Pool.empty(1024, 1, 32), *tokens(16_384, 1, 1, 32)
    k *= 0.05  # nearly equal weights: the sums are long
    table = list(range(1024))
    write_pages(PagePlan([0, 16_384], [0], [table]), k, v, pool.k_PGDS, pool.v_PGSD)
    plan = PagePlan([0, 4], [16_380], [table])
    o = attend_pages(plan, q[-4:], pool.k_PGDS, pool.v_PGSD)
    check_row(pool, table, q[-4:], o, 16_380)


def test_it_agrees_with_torch():
    H, G, D, L = 6, 2, 64, 77
    pool, q, k, v = Pool.empty(5, G, D), *tokens(L, H, G, D)
    o_NHD = pool.step(PagePlan([0, L], [0], [[4, 0, 3, 1, 2]]), q, k, v)
    k_1GLD, v_1GLD = (x.transpose(0, 1)[None] for x in (k, v))
    torch.testing.assert_close(o_NHD, cached_attention(q[None], k_1GLD, v_1GLD, None)[0], rtol=1e-5, atol=1e-5)


def test_bfloat16_queries_give_bfloat16_outputs_rounded_once():
    pool, (q, k, v) = Pool.empty(4, 2, 64), tokens(50, 4, 2, 64)
    q = q.bfloat16()
    plan = PagePlan([0, 50], [0], [[0, 1, 2, 3]])
    exact = pool.step(plan, q.float(), k, v)
    found = attend_pages(plan, q, pool.k_PGDS, pool.v_PGSD)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.bfloat16())


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_pages_hold_what_was_written_rounded_to_nearest(given, stored):
    pool = Pool.empty(3, 2, 24, stored)
    k, v = (normal(19, 2, 24, seed=seed, dtype=given) for seed in (1, 2))
    write_pages(PagePlan([0, 19], [5], [[2, 0]]), k, v, pool.k_PGDS, pool.v_PGSD)
    k_LGD, v_LGD = pool.gathered([2, 0], 32)
    assert torch.equal(k_LGD[5:24], k.to(stored).double())
    assert torch.equal(v_LGD[5:24], v.to(stored).double())
    for x in (k_LGD, v_LGD):
        assert torch.cat((x[:5], x[24:])).isnan().all(), "no other slot is touched"
    assert pool.k_PGDS[1].isnan().all()


def test_slots_of_bfloat16_pages_round_as_torch_does():
    bits = torch.tensor([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x00000001, 0x7F800000, 0x3F80_8001, -0x80_0000])
    x = bits.to(torch.int32).view(torch.float32).view(1, 1, 7)
    pool = Pool.empty(1, 1, 7, torch.bfloat16)
    write_pages(PagePlan([0, 1], [0], [[0]]), x, x, pool.k_PGDS, pool.v_PGSD)
    assert torch.equal(pool.v_PGSD[0, 0, 0].view(torch.int16), x[0, 0].bfloat16().view(torch.int16))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(3, 1, 64), (2, 2, 16), (4, 2, 40)]),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.sampled_from(OPTIONS),
    st.integers(0, 4),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(0, 2**32),
)
def test_a_query_s_bits_do_not_depend_on_its_company(sizes, dtype, options, prompt_pages, lengths, seed):
    """Branches of a prompt: decoded together with any chunks on any threads, or each alone in another pool."""
    H, G, D = sizes
    random = Random(seed)
    prompt, branches = prompt_pages * PAGE, range(len(lengths))
    q_p, k_p, v_p = tokens(prompt, H, G, D, seed=7)
    own = [tokens(length, H, G, D, seed=10 * b) for b, length in enumerate(lengths)]
    numbers = random.sample(range(40), prompt_pages + 3 * len(lengths))
    pool = Pool.empty(40, G, D, dtype)
    shared, rest = numbers[:prompt_pages], numbers[prompt_pages:]
    tables = [shared + rest[3 * b : 3 * b + 3] for b in branches]
    pool.step(PagePlan([0, prompt], [0], [shared]), q_p, k_p, v_p, **options)
    found: list[list[Tensor]] = [[] for _ in own]
    done = [0] * len(lengths)
    while done != lengths:
        taken = [min(lengths[b] - done[b], random.choice([0, 1, 1, 7, 20])) for b in branches]
        rows = random.sample(branches, len(lengths))
        parts = [[x[done[b] : done[b] + taken[b]] for x in own[b]] for b in rows]
        first = np.cumsum([0] + [taken[b] for b in rows]).astype(np.int32)
        plan = PagePlan(first, [prompt + done[b] for b in rows], [tables[b] for b in rows])
        q, k, v = (torch.cat(xs) for xs in zip(*parts, strict=True))
        o = pool.step(plan, q, k, v, threads=random.randint(1, 3), **options)
        for b, start, stop in zip(rows, first[:-1], first[1:], strict=True):
            found[b].append(o[start:stop])
            done[b] += taken[b]
    for b in branches:
        alone = Pool.empty(prompt_pages + 3, G, D, dtype)
        q, k, v = (torch.cat(xs) for xs in zip((q_p, k_p, v_p), own[b], strict=True))
        o = alone.step(PagePlan([0, len(q)], [0], [list(range(prompt_pages + 3))]), q, k, v, threads=1, **options)
        assert torch.equal(o[prompt:], torch.cat(found[b])), f"branch {b}"


def test_tables_are_lists_arrays_or_tensors():
    pool, (q, k, v) = Pool.empty(4, 1, 16), tokens(20, 1, 1, 16)
    expected = pool.step(PagePlan([0, 20], [0], [[3, 1]]), q, k, v)
    for make in (
        lambda x: array.array("i", x),
        lambda x: np.array(x, np.int32),
        lambda x: torch.tensor(x).int(),
        tuple,
    ):
        plan = PagePlan(torch.tensor([0, 20]), np.array([0]), [make([3, 1])])
        assert (plan.rows, plan.tokens) == (1, 20)
        assert torch.equal(attend_pages(plan, q, pool.k_PGDS, pool.v_PGSD), expected)


def test_strided_operands_are_taken():
    pool, (q, k, v) = Pool.empty(4, 2, 16), tokens(20, 4, 2, 16)
    plan = PagePlan([0, 20], [0], [[0, 1]])
    expected = pool.step(plan, q, k, v)
    joined = torch.cat((q, k, v), dim=1)
    assert torch.equal(pool.step(plan, joined[:, :4], joined[:, 4:6], joined[:, 6:]), expected)


def test_a_step_without_tokens_gives_none():
    pool, (q, k, v) = Pool.empty(1, 1, 8), tokens(0, 1, 1, 8)
    for plan in (PagePlan([0], [], []), PagePlan([0, 0], [7], [[]])):
        assert pool.step(plan, q, k, v).shape == (0, 1, 8)


def test_calls_of_several_threads_at_once_are_those_of_one():
    pool, (q, k, v) = Pool.empty(40, 2, 64), tokens(600, 4, 2, 64)
    plan = PagePlan([0, 600], [0], [list(range(38))])
    expected = pool.step(plan, q, k, v)
    found: list[Tensor] = []
    call = lambda: found.append(attend_pages(plan, q, pool.k_PGDS, pool.v_PGSD))  # noqa: E731
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert all(torch.equal(o, expected) for o in found)


PLANS = [
    (([0, 1], [0, 0], [[0]]), "first has 2 entries, seen 2 and tables 1; R rows have R . 1, R and R"),
    (([1, 2], [0], [[0]]), r"first\[0\] is 1, after 0"),
    (([0, 2, 1], [0, 0], [[0], [1]]), r"first\[2\] is 1, after 2"),
    (([0, 1], [-1], [[0]]), r"seen\[0\] is -1"),
    (([0, 17], [0], [[0]]), r"tables\[0\] has 1 pages; 0 tokens and 17 new ones need 2 of 16"),
    (([0, 1], [16], [[0, -1]]), r"tables\[0\]\[1\] is -1"),
    (([0, 1, 2], [3, 3], [[5], [5]]), "rows 0 and 1 both write slot 3 of page 5; copy the page"),
    (([0.0, 1.0], [0], [[0]]), "first is float64"),
    (([0, 2**31], [0], [[0]]), "first has 0 to 2147483648"),
]


@pytest.mark.parametrize(("arguments", "message"), PLANS, ids=[message[:20] for _, message in PLANS])
def test_plans_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        PagePlan(*arguments)


@pytest.mark.parametrize("table", [["a"], [2**31], [1.0], 5, None, np.array([1.0]), [[1]], torch.tensor([2**31])])
def test_tables_of_other_things_are_refused(table):
    with pytest.raises(InvalidArgument, match=r"tables\[0\]"):
        PagePlan([0, 1], [0], [table])


CALLS = [
    ({"q": normal(2, 4, 16)}, "q has 128 numbers; its shape takes 64"),
    ({"q": normal(1, 3, 16)}, "3 query heads, 2 key-value heads of width 16"),
    ({"q": normal(1, 4, 8)}, "q has width 8, the pages have 16"),
    ({"q": normal(1, 4, 16).double()}, r"q is torch.float64 \[1, 4, 16\] on cpu; it takes float32 or bfloat16"),
    ({"q": normal(1, 64)}, "with 3 axes"),
    ({"k_pages": normal(1, 2, 16, 16)}, r"k_pages \[1, 2, 16, 16\] and v_pages \[3, 2, 16, 16\] are not"),
    ({"k_pages": normal(3, 2, 16, 16).bfloat16()}, "they must be alike"),
    ({"k_pages": normal(3, 2, 16, 16).transpose(2, 3)}, "pages must be contiguous"),
    ({"k_pages": normal(3, 2, 16, 12), "v_pages": normal(3, 2, 12, 16)}, r"are not \[P, G, D, 16\]"),
    ({"k_pages": normal(2, 2, 16, 16), "v_pages": normal(2, 2, 16, 16)}, "a table names page 2; there are 2"),
    ({"window": 0}, "window is 0"),
    ({"softcap": -1.0}, "softcap is -1.0"),
    ({"scale": float("inf")}, "scale is inf"),
    ({"threads": 0}, "threads is 0"),
    ({"q": normal(1, 4, 16).requires_grad_()}, "call it under torch.no_grad"),
]


@pytest.mark.parametrize(("changed", "message"), CALLS, ids=[message[:20] for _, message in CALLS])
def test_operands_that_do_not_fit_are_refused(changed, message):
    pages = {"k_pages": normal(3, 2, 16, 16), "v_pages": normal(3, 2, 16, 16)}
    operands = {"q": normal(1, 4, 16), **pages, **changed}
    named = {name: operands.pop(name) for name in ("window", "softcap", "scale", "threads") if name in operands}
    with pytest.raises(InvalidArgument, match=message):
        attend_pages(PagePlan([0, 1], [0], [[2]]), *operands.values(), **named)


@pytest.mark.parametrize(
    ("k", "v", "message"),
    [
        (normal(1, 2, 16), normal(2, 2, 16), "they must be alike"),
        (normal(1, 2, 16), normal(1, 2, 16).bfloat16(), "they must be alike"),
        (normal(1, 1, 16), normal(1, 1, 16), "G and D must be equal"),
        (normal(2, 2, 16), normal(2, 2, 16), "k has 64 numbers; its shape takes 32"),
    ],
)
def test_keys_and_values_that_do_not_fit_are_refused(k, v, message):
    with pytest.raises(InvalidArgument, match=message):
        write_pages(PagePlan([0, 1], [0], [[2]]), k, v, normal(3, 2, 16, 16), normal(3, 2, 16, 16))


def test_gradients_are_refused_only_where_they_would_be_lost():
    q, pool = normal(1, 1, 16).requires_grad_(), Pool.empty(1, 1, 16)
    with torch.no_grad():
        o = pool.step(PagePlan([0, 1], [0], [[0]]), q, q.detach(), q.detach())
    assert torch.equal(o, q.detach())
