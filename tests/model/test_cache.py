"""The key-value cache: what it holds after writing, repeating, selecting and dropping."""

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.model import KVCache  # noqa: E402

SHAPE = GPTConfig(vocab_size=8, depth=2, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=8, context_tokens=16)


def filled(lengths: list[int], capacity: int = 10) -> KVCache:
    """Every key and value of sequence b, slot j, layer l is 100 b + j + l / 2."""
    cache = KVCache.allocate(SHAPE, len(lengths), capacity)
    tokens = max(lengths)
    content = 100.0 * torch.arange(len(lengths))[:, None] + torch.arange(tokens)
    for layer in range(SHAPE.depth):
        block = (content + layer / 2)[:, :, None, None].expand(-1, -1, 1, 4)
        cache.write(layer, block, block)
    cache.advance(tokens, torch.tensor(lengths))
    return cache


def row(cache: KVCache, index: int, layer: int = 0) -> list[float]:
    return cache.keys[layer][index, 0, : int(cache.lengths_B[index]), 0].tolist()


def test_rows_of_unlike_length_are_extended_behind_their_own_end():
    cache = filled([2, 4])
    new = torch.full((2, 1, 1, 4), -1.0)
    for layer in range(SHAPE.depth):
        keys, _ = cache.write(layer, new, new)
        assert keys.shape == (2, 1, 5, 4)
    cache.advance(1)
    assert row(cache, 0) == [0, 1, -1]
    assert row(cache, 1) == [100, 101, 102, 103, -1]
    assert (cache.max_length, cache.equal_lengths) == (5, False)


def test_repeat_copies_each_sequence_in_place():
    cache = filled([2, 3]).repeat(2)
    assert cache.lengths_B.tolist() == [2, 2, 3, 3]
    assert row(cache, 1) == [0, 1]
    assert row(cache, 2) == [100, 101, 102]


def test_a_copy_does_not_share_its_slots():
    original = filled([3, 3])
    copy = original.select(torch.tensor([1]))
    copy.keys[0].fill_(-7)
    assert row(original, 1) == [100, 101, 102]


def test_free_slots_are_zeros_because_masking_multiplies_them_by_zero():
    copy = filled([3, 1]).select(torch.tensor([1, 0]))
    assert not copy.keys[0][:, :, copy.max_length :].any()


def test_selecting_the_short_rows_shortens_what_is_looked_at():
    cache = filled([2, 5, 2]).select(torch.tensor([2, 0]))
    assert (cache.max_length, cache.equal_lengths) == (2, True)
    assert row(cache, 0) == [200, 201]
    assert row(cache, 1, layer=1) == [0.5, 1.5]


@pytest.mark.parametrize("finished", ["0000", "1000", "0001", "0110", "1011", "1111", "1010"])
def test_drop_keeps_exactly_the_unfinished_rows_in_the_order_it_says(finished):
    cache = filled([2, 3, 1, 4])
    rows = cache.drop(torch.tensor([mark == "1" for mark in finished]))
    assert sorted(rows.tolist()) == [index for index in range(4) if finished[index] == "0"]
    assert cache.batch == len(rows)
    for new, old in enumerate(rows.tolist()):
        for layer in range(SHAPE.depth):
            assert row(cache, new, layer) == [100 * old + slot + layer / 2 for slot in range([2, 3, 1, 4][old])]


def test_a_full_cache_refuses_more():
    cache = filled([4], capacity=5)
    with pytest.raises(ContextOverflow, match="4 cached and 2 new tokens exceed the cache's 5"):
        cache.write(0, torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4))


def test_capacity_beyond_the_context_is_refused():
    with pytest.raises(ContextOverflow, match="17 tokens exceeds the context of 16"):
        KVCache.allocate(SHAPE, 1, 17)
