"""The numbers of a step: positions, places, and which sequences share a prefix that is read once."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pages need the train extra (torch)")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.generate.pages import PAGE_TOKENS, PagedSequence, PagedStep, PagePool  # noqa: E402
from stategpt.generate.pages.memory import SlotPages  # noqa: E402
from stategpt.generate.pages.plan import StepPlan  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import paged_attention  # noqa: E402

SHAPE = GPTConfig(vocab_size=61, depth=2, width=24, heads=4, kv_heads=2, head_dim=8, mlp_width=40, context_tokens=99)


def plan(*rows: tuple[int, int, list[int]]) -> StepPlan:
    """Of (seen, new tokens, pages) for each sequence."""
    seen, tokens, tables = zip(*rows, strict=True)
    tables = [np.array(pages, dtype=np.int32) for pages in tables]
    return StepPlan(np.array(seen, np.int32), np.array(tokens, np.int32), tables, torch.device("cpu"))


def test_positions_and_places_follow_the_rows():
    numbers = plan((0, 3, [7]), (15, 2, [4, 9]), (40, 1, [1, 2, 3]))
    assert numbers.first_R1.tolist() == [0, 3, 5, 6]
    assert numbers.position_N.tolist() == [0, 1, 2, 15, 16, 40]
    assert [place.tolist() for place in numbers.places] == [[7, 7, 7, 4, 9, 3], [0, 1, 2, 15, 0, 8]]
    assert numbers.last_R.tolist() == [2, 4, 5]
    assert numbers.continued == [1]


def test_sequences_that_begin_alike_are_neighbors_and_share_their_first_pages():
    numbers = plan((35, 1, [1, 2, 3]), (17, 1, [8, 9]), (36, 1, [1, 2, 4]), (0, 1, [5]), (50, 1, [1, 2, 6, 7])).singles
    assert numbers.token_B.tolist() == [1, 3, 0, 2, 4]
    assert numbers.prefix.page_table_FM.tolist() == [[1, 2]]
    assert numbers.prefix.lengths_F.tolist() == [32]
    assert numbers.prefix.starts.tolist() == [2, 5]
    assert numbers.page_table_BM.tolist() == [[8, 9], [5, 0], [3, 0], [4, 0], [6, 7]]
    assert numbers.lengths_B.tolist() == [18, 1, 4, 5, 19]


def test_two_prompts_behind_one_beginning_are_two_groups():
    """All four share page 1; each two of them share more."""
    rows = [(33, 1, [1, 2, 10]), (33, 1, [1, 3, 11]), (34, 1, [1, 2, 12]), (35, 1, [1, 3, 13])]
    numbers = plan(*rows).singles
    assert numbers.prefix.page_table_FM.tolist() == [[1, 2], [1, 3]]
    assert numbers.token_B.tolist() == [0, 2, 1, 3]
    assert numbers.prefix.starts.tolist() == [0, 2, 4]


def test_equal_pages_behind_other_pages_are_no_shared_prefix():
    """Page 2 continues page 1 here and page 3 there: two computed one prompt, and others took the end of one."""
    numbers = plan((33, 1, [1, 2, 10]), (33, 1, [3, 2, 11])).singles
    assert numbers.prefix is None
    assert numbers.lengths_B.tolist() == [34, 34]
    rows = [(33, 1, [1, 2, 10]), (33, 1, [3, 2, 11]), (33, 1, [1, 2, 12]), (33, 1, [3, 2, 13])]
    numbers = plan(*rows).singles
    assert numbers.prefix.page_table_FM.tolist() == [[1, 2], [3, 2]]
    assert numbers.token_B.tolist() == [0, 2, 1, 3]


def test_a_page_that_is_not_full_is_never_part_of_a_prefix():
    """Not even where two sequences have equal pages only: then both write into copies of the last."""
    numbers = plan((20, 1, [1, 2]), (20, 1, [1, 2])).singles
    assert numbers.prefix.page_table_FM.tolist() == [[1]]
    assert numbers.lengths_B.tolist() == [5, 5]


def test_longer_parts_are_no_single_tokens():
    numbers = plan((33, 2, [1, 2, 10]), (33, 1, [1, 2, 11]), (0, 5, [12]))
    assert numbers.singles.prefix is None
    assert numbers.singles.token_B.tolist() == [2]
    assert numbers.prompts.token_N.tolist() == [3, 4, 5, 6, 7]
    assert plan((0, 5, [1])).singles is None
    assert plan((3, 5, [1])).prompts is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_prefix_and_own_pages_are_always_the_pages_of_the_sequence(data):
    """Random trees of forks: what the kernel is told is put together again."""
    rows, fresh = [], 0
    for _ in range(data.draw(st.integers(1, 8))):
        full = data.draw(st.integers(0, 4))
        parent = data.draw(st.sampled_from(rows))[2] if rows else []
        shared = parent[: data.draw(st.integers(0, min(full, max(len(parent) - 1, 0))))]
        pages = [*shared, *range(fresh, fresh + full + 1 - len(shared))]
        fresh += full + 1 - len(shared)
        rows.append((full * PAGE_TOKENS + data.draw(st.integers(0, 15)), 1, pages))
    numbers = plan(*rows).singles
    prefix = numbers.prefix
    assert sorted(numbers.token_B.tolist()) == list(range(len(rows)))
    for place, token in enumerate(numbers.token_B.tolist()):
        seen, _, pages = rows[token]
        own = int(numbers.lengths_B[place])
        found = numbers.page_table_BM[place, : -(-own // PAGE_TOKENS)].tolist()
        before = 0
        for number in range(0 if prefix is None else len(prefix.lengths_F)):
            if prefix.starts[number] <= place < prefix.starts[number + 1]:
                before = int(prefix.lengths_F[number])
                found = [*prefix.page_table_FM[number, : before // PAGE_TOKENS].tolist(), *found]
        assert (found, before + own) == (pages, seen + 1)
        assert own >= 1


@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("kernel", ["reference", "triton"])
def test_the_kernel_for_pages_computes_what_torch_computes_over_copies(kernel, window, monkeypatch, require_backend):
    """The layout of a GPU on a CPU: branches of one prompt and a stranger, one token each, then the same by copies."""
    require_backend(kernel)
    monkeypatch.setattr("stategpt.generate.pages.attend.paged_attention", partial(paged_attention, backend=kernel))
    torch.manual_seed(0)
    model = GPT(SHAPE).eval()
    if window is not None:
        monkeypatch.setattr(type(SHAPE.architecture), "attention_options", lambda self, layer: {"window": window})
    found = []
    for suits in (True, False):
        monkeypatch.setattr("stategpt.generate.pages.attend._suits_pages", lambda width, suits=suits: suits)
        pool = PagePool(SHAPE, pages=16, layout=SlotPages)
        trunk, stranger = PagedSequence(pool), PagedSequence(pool)
        draw = np.random.default_rng(0)
        with torch.inference_mode():

            def run(rows, draw=draw, pool=pool):
                step = PagedStep(pool, rows)
                tokens = torch.from_numpy(draw.integers(0, 61, step.plan.tokens))
                hidden = model.step(tokens, step.position_N, step)
                step.commit()
                return hidden

            found.append([run([(trunk, 37), (stranger, 5)])])
            branches = [trunk, *(trunk.fork() for _ in range(3))]
            found[-1] += [run([*((branch, 1) for branch in branches), (stranger, 1)]) for _ in range(2)]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
