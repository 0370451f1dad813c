"""On a CPU the bits of attention over pages depend on a query and the keys it sees, not on forks, parts or batches."""

import pytest

torch = pytest.importorskip("torch", reason="pages need the train extra (torch)")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagedStep, PagePool  # noqa: E402

HEADS, KV_HEADS, WIDTH, LENGTH = 4, 2, 8, 90
SHAPE = GPTConfig(depth=1, heads=HEADS, kv_heads=KV_HEADS, head_dim=WIDTH, width=32, mlp_width=8, context_tokens=LENGTH)


def numbers(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values of one text."""
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(LENGTH, heads, WIDTH, generator=draw) for heads in (HEADS, KV_HEADS, KV_HEADS))


def attended(pool: PagePool, rows: list[tuple[PagedSequence, int, int]], options: dict) -> list[torch.Tensor]:
    """One step of a layer: of each row the next tokens of the text with this seed."""
    step = PagedStep(pool, [(row, count) for row, _, count in rows])
    parts = [[x[row.length : row.length + count] for x in numbers(seed)] for row, seed, count in rows]
    q, k, v = (torch.cat(each) for each in zip(*parts, strict=True))
    found = step.attend(0, q, k, v, options)
    step.commit()
    return list(found.split([count for *_, count in rows]))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_division_into_steps_gives_the_same_bits(data):
    dtype = data.draw(st.sampled_from((torch.float32, torch.bfloat16)))
    options = data.draw(st.sampled_from(({}, {"window": 20}, {"softcap": 3.0, "scale": 0.5})))
    pool = PagePool(SHAPE, pages=40, dtype=dtype)
    truth = [attended(pool, [(PagedSequence(pool), seed, LENGTH)], options)[0] for seed in range(3)]
    rows = [PagedSequence(pool) for _ in truth]
    while unfinished := [seed for seed, row in enumerate(rows) if row.length < LENGTH]:
        chosen = data.draw(st.lists(st.sampled_from(unfinished), min_size=1, max_size=3, unique=True))
        most = data.draw(st.sampled_from((1, 7, 40)))
        counts = [min(data.draw(st.integers(1, most)), LENGTH - rows[seed].length) for seed in chosen]
        begins = [rows[seed].length for seed in chosen]
        parts = [(rows[seed], seed, count) for seed, count in zip(chosen, counts, strict=True)]
        for seed, begin, found in zip(chosen, begins, attended(pool, parts, options), strict=True):
            assert torch.equal(found, truth[seed][begin : begin + len(found)])


@pytest.mark.parametrize("shared", [16, 21, 64])
def test_forks_that_go_the_same_way_give_the_bits_of_one_that_was_never_forked(shared):
    pool = PagePool(SHAPE, pages=200)
    alone, trunk = PagedSequence(pool), PagedSequence(pool)
    truth = attended(pool, [(alone, 0, LENGTH)], {})[0]
    attended(pool, [(trunk, 0, shared)], {})
    rows = [trunk, *(trunk.fork() for _ in range(9))]
    while rows[0].length < LENGTH:
        at = rows[0].length
        for found in attended(pool, [(row, 0, 1) for row in rows], {}):
            assert torch.equal(found, truth[at : at + 1])
    assert pool.used_pages == 6 + shared // 16 + 10 * (6 - shared // 16)
