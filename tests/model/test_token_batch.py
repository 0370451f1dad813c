"""Sequences in rows: each once and whole, in rows of the width that is least work."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.data import Segment  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.token_batch import TokenBatch, best_fit, lay_out_rows, pack_rows, pad_sequences  # noqa: E402

TINY = GPTConfig(vocab_size=64, depth=2, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=32, context_tokens=32)
PAD = 1


def by_tokens(tokens: int, row_tokens: int) -> float:
    return tokens


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 90))
def test_every_sequence_stands_whole_in_one_row(lengths: list[int], row_tokens: int) -> None:
    rows = best_fit(lengths, row_tokens)
    assert sorted(member for row in rows for member in row) == list(range(len(lengths)))
    filled = [sum(lengths[member] for member in row) for row in rows]
    assert max(filled) <= row_tokens
    # Best fit opens a row only for what fits nowhere: two rows that could be one do not exist.
    assert len(rows) == 1 or min(a + b for i, a in enumerate(filled) for b in filled[:i]) > row_tokens
    assert rows == best_fit(lengths, row_tokens)


def test_it_goes_where_the_least_room_is_left() -> None:
    assert best_fit([7, 6, 3, 4], 10) == [[0, 2], [1, 3]]


def test_the_width_is_that_of_the_least_work() -> None:
    lengths = [24, 16, 16, 16, 16, 16, 16]
    rows, width = pack_rows(lengths, by_tokens)
    assert (width, len(rows)) == (32, 4), "128 tokens for 120; rows of 24 would take 168, of 40 160, of 48 144"
    assert pack_rows(lengths, lambda tokens, row_tokens: tokens * row_tokens**2)[1] == 24, "attention pays for width"
    assert pack_rows([9], by_tokens) == ([[0]], 16), "a whole number of eight tokens"


def test_a_packed_sequence_sees_only_itself_and_trains_its_own_targets() -> None:
    torch.manual_seed(0)
    model, rng = GPT(TINY).eval(), np.random.default_rng(0)
    segments = []
    for length in (9, 3, 14, 5, 1, 7):
        tokens = rng.integers(2, 64, length).astype(np.uint32)
        segments.append(
            Segment(tokens, rng.integers(2, 64, length).astype(np.uint32), np.arange(length) >= length // 2)
        )
    together = TokenBatch.packed(segments, PAD, by_tokens, torch.device("cpu"))
    assert together.layout.num_rows < len(segments)
    alone = [TokenBatch.packed([segment], PAD, by_tokens, torch.device("cpu")) for segment in segments]

    def trained(batch: TokenBatch) -> list[tuple[int, list[float]]]:
        with torch.no_grad():
            hidden_MD = model.hidden(batch.tokens_N, batch.layout)[batch.target_index_M]
        return list(zip(batch.targets_M.tolist(), hidden_MD.tolist(), strict=True))

    expected = sorted(pair for batch in alone for pair in trained(batch))
    for (target, hidden), (other, other_hidden) in zip(sorted(trained(together)), expected, strict=True):
        assert target == other
        assert hidden == pytest.approx(other_hidden, abs=1e-5)


def test_vectors_are_laid_end_to_end_and_the_rest_of_a_row_is_filled() -> None:
    rows = [[np.array([3, 4], dtype=np.uint32), np.array([5], dtype=np.uint16)], [], [np.array([6])]]
    found = lay_out_rows(rows, 4, PAD)
    assert found.dtype == np.int64
    assert found.tolist() == [[3, 4, 5, PAD], [PAD] * 4, [6, PAD, PAD, PAD]]


def test_padded_sequences_on_a_device_are_the_stream_and_its_layout() -> None:
    padded = pad_sequences([np.array([3, 4, 5], dtype=np.uint32), np.array([6])], PAD)
    tokens_N, layout = padded.tensors(torch.device("cpu"))
    assert tokens_N.tolist() == [3, 4, 5, *[PAD] * 5, 6, *[PAD] * 7]
    assert tokens_N.dtype == torch.int64
    assert layout.segment_start.tolist() == padded.layout.segment_start.tolist()
    assert padded.starts().tolist() == [0, 8]
