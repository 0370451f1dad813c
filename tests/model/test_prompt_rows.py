"""Rows of prompts with their continuations: one place a token, whatever is shared, and the cheaper arrangement."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.model.prompt_rows import MAX_BATCH_TOKENS, PromptRows, share_prompts  # noqa: E402


def _ids(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.uint32)


def test_branches_see_the_prompt_and_themselves_and_no_sibling() -> None:
    prompts = [_ids(1, 2)] * 3 + [_ids(3)]
    rows = PromptRows.of(prompts, [_ids(10, 11), _ids(), _ids(12), _ids(13)], [range(3), range(3, 4)], pad=9)
    assert rows.tokens.reshape(2, 8).tolist() == [[1, 2, 10, 11, 12, 9, 9, 9], [3, 13, 9, 9, 9, 9, 9, 9]]
    assert rows.prompt_last.tolist() == [1, 1, 1, 8]
    assert [int(rows.first[i]) for i in (0, 2, 3)] == [2, 4, 9]
    layout = rows.layout
    layout.validate()

    def seen(token: int) -> list[int]:
        prefix = range(layout.segment_start[token], layout.prefix_end[token])
        return sorted({*prefix, *range(layout.branch_start[token], token + 1)})

    assert seen(3) == [0, 1, 2, 3]
    assert seen(4) == [0, 1, 4], "not its sibling's 2 and 3"
    assert seen(5) == [5], "a pad sees itself"
    assert layout.position.tolist()[:5] == [0, 1, 2, 3, 2]
    assert seen(9) == [8, 9]


def _sizes(batches: list[list[range]]) -> list[list[int]]:
    return [[len(row) for row in rows] for rows in batches]


def test_prompts_are_shared_where_completions_are_short_and_not_where_they_are_long() -> None:
    prompts = [np.arange(128)] * 4 + [np.arange(1, 129)] * 4
    assert _sizes(share_prompts(prompts, [32] * 8, width=128)) == [[4, 4]]
    assert _sizes(share_prompts([np.arange(16)] * 4, [256] * 4, width=128)) == [[1, 1, 1, 1]]
    # Measured at width 128: here one row of four takes as long as four rows.
    medium = [np.arange(64)] * 4
    assert _sizes(share_prompts(medium, [128] * 4, width=128)) == [[2, 2]]
    assert _sizes(share_prompts(medium, [128] * 4, width=1024)) == [[4]], "attention weighs less in a wide model"


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=30),
    st.one_of(st.none(), st.integers(1, 8)),
)
def test_every_sample_stands_in_one_row_of_its_prompt(samples: list[tuple[int, int]], most: int | None) -> None:
    prompts = [np.full(5 + kind, kind) for kind, _ in samples]
    batches = share_prompts(prompts, [length for _, length in samples], 16, most)
    rows = [row for batch in batches for row in batch]
    assert sorted(sample for row in rows for sample in row) == list(range(len(samples)))
    assert all(len({samples[sample][0] for sample in row}) == 1 for row in rows)
    if most is None:
        assert len(batches) == 1
        assert rows == sorted(rows, key=lambda row: row.start)
    else:
        assert all(sum(map(len, batch)) <= most for batch in batches)


def test_a_batch_of_long_rows_is_bounded_by_its_tokens() -> None:
    prompts = [np.full(1000, number) for number in range(50)]
    lengths = [1 + number for number in range(50)]
    batches = share_prompts(prompts, lengths, 64, 128)
    assert sorted(sample for batch in batches for row in batch for sample in row) == list(range(50))
    for batch in batches:
        longest = max(1000 + lengths[row.start] for row in batch)
        assert len(batch) * longest <= MAX_BATCH_TOKENS
    assert len(batches) == 4, "no smaller than needed"
    alone = share_prompts([np.full(MAX_BATCH_TOKENS, number) for number in range(2)], [5, 5], 64, 128)
    assert [len(batch) for batch in alone] == [1, 1], "a longer row is a batch by itself"
