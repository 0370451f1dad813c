"""Sequences over pages: lengths, reservation, copies of shared pages, and what is left after an error."""

import pytest

torch = pytest.importorskip("torch", reason="pages need the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import ContextOverflow, InvalidArgument, OutOfPages  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagePool, pages_of  # noqa: E402
from stategpt.generate.pages.sequence import reserve_all  # noqa: E402

SHAPE = GPTConfig(vocab_size=8, depth=2, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=8, context_tokens=128)


def writable(sequence: PagedSequence, tokens: int) -> bool:
    """Whether the next positions are reserved, in pages that no other sequence sees."""
    pages = sequence.pages[sequence.length // 16 : pages_of(sequence.length + tokens)]
    reserved = sequence.length + tokens <= 16 * len(sequence.pages)
    return reserved and bool((sequence.pool.references(pages) == 1).all())


def filled(pool: PagePool, length: int) -> PagedSequence:
    """A sequence whose pages hold their own numbers."""
    sequence = PagedSequence(pool)
    sequence.reserve(length)
    for page in sequence.pages:
        pool.memory.storage[:, :, page] = float(page)
    sequence.advance(length)
    return sequence


def test_reserving_takes_pages_and_advancing_uses_them():
    pool = PagePool(SHAPE, pages=8)
    sequence = PagedSequence(pool)
    sequence.reserve(17)
    assert (sequence.length, len(sequence.pages)) == (0, 2)
    sequence.reserve(32)
    sequence.reserve(1)
    assert len(sequence.pages) == 2
    sequence.advance(17)
    assert writable(sequence, 15)
    assert not writable(sequence, 16)
    with pytest.raises(InvalidArgument, match="16 more positions were not reserved"):
        sequence.advance(16)
    assert sequence.length == 17


def test_a_fork_takes_no_page_and_not_what_is_only_reserved():
    pool = PagePool(SHAPE, pages=8)
    sequence = filled(pool, 20)
    sequence.reserve(30)
    fork = sequence.fork()
    assert (fork.pages, fork.length) == (sequence.pages[:2], 20)
    assert pool.used_pages == 4
    assert pool.references(sequence.pages).tolist() == [2, 2, 1, 1]
    pool.check()


def test_only_a_shared_and_partly_filled_last_page_is_copied():
    pool = PagePool(SHAPE, pages=8)
    sequence = filled(pool, 20)
    fork = sequence.fork()
    before = fork.pages
    fork.reserve(1)
    assert fork.pages[0] == before[0]
    assert fork.pages[1] != before[1]
    assert bool((pool.memory.storage[:, :, fork.pages[1]] == before[1]).all())
    assert writable(fork, 12)
    assert writable(sequence, 12)
    sequence.reserve(1)
    assert sequence.pages == before  # nobody else sees its page now
    whole = filled(pool, 16)
    other = whole.fork()
    other.reserve(1)
    assert other.pages[0] == whole.pages[0]
    pool.check()


def test_nothing_is_copied_for_no_tokens():
    pool = PagePool(SHAPE, pages=2)
    sequence = filled(pool, 20)
    fork = sequence.fork()
    fork.reserve(0)
    assert fork.pages == sequence.pages


def test_all_that_share_a_page_write_and_the_last_keeps_it():
    pool = PagePool(SHAPE, pages=3)
    rows = [filled(pool, 5)]
    rows += [rows[0].fork(), rows[0].fork()]
    reserve_all([(row, 1) for row in rows])
    assert sorted(row.pages[0] for row in rows) == [0, 1, 2]
    assert all(writable(row, 1) for row in rows)
    pool.check()


def test_a_page_that_somebody_keeps_reading_is_copied_for_every_writer():
    pool = PagePool(SHAPE, pages=3)
    rows = [filled(pool, 5)]
    rows += [rows[0].fork(), rows[0].fork()]
    reserve_all([(row, 1) for row in rows[1:]])
    assert rows[0].pages == [0]
    assert sorted(row.pages[0] for row in rows[1:]) == [1, 2]
    pool.check()


@pytest.mark.parametrize("free", range(4))
def test_reserving_for_several_is_all_or_nothing(free):
    """Three writers of a shared page, one of which needs a page more: 2 copies and 1 page."""
    pool = PagePool(SHAPE, pages=1 + free)
    rows = [filled(pool, 15)]
    rows += [rows[0].fork(), rows[0].fork()]
    before = [row.pages for row in rows]
    tokens = [1, 2, 1]
    if free == 3:
        reserve_all(list(zip(rows, tokens, strict=True)))
        assert pool.free_pages == 0
        assert all(writable(row, count) for row, count in zip(rows, tokens, strict=True))
    else:
        with pytest.raises(OutOfPages, match=f"3 more pages of 16 positions are needed, and {free} of {1 + free} are"):
            reserve_all(list(zip(rows, tokens, strict=True)))
        assert [row.pages for row in rows] == before
        assert pool.free_pages == free
    pool.check()


def test_room_may_be_made_by_what_shares_a_page_but_not_by_the_step_itself():
    pool = PagePool(SHAPE, pages=2)
    row = filled(pool, 17)
    idle = row.fork()
    pool.reclaim = lambda missing: idle.close() or 0
    row.reserve(1)  # no copy is needed any more
    assert row.pages == [0, 1]
    pool.reclaim = lambda missing: row.truncate(0) or missing
    with pytest.raises(OutOfPages, match="giving up pages of a sequence of the same step"):
        row.reserve(16)
    pool.check()


def test_going_back_frees_pages_and_what_was_reserved():
    pool = PagePool(SHAPE, pages=8)
    sequence = filled(pool, 40)
    fork = sequence.fork()
    sequence.reserve(40)
    sequence.truncate(40)
    assert pool.used_pages == 4  # the last page was copied to be written
    sequence.truncate(16)
    assert (sequence.length, sequence.pages) == (16, [0])
    assert pool.used_pages == 3  # the fork has them
    fork.truncate(20)
    assert pool.used_pages == 2
    fork.truncate(0)
    assert fork.pages == []
    with pytest.raises(InvalidArgument, match="length is 17, and the sequence has 16; it can only shrink"):
        sequence.truncate(17)
    pool.check()


def test_what_was_cut_off_is_not_written_into_the_page_of_another():
    """Back into a full page that a fork still sees: the next token gets a copy of it."""
    pool = PagePool(SHAPE, pages=4)
    sequence = filled(pool, 32)
    fork = sequence.fork()
    sequence.truncate(30)
    assert not writable(sequence, 1)
    sequence.reserve(1)
    assert sequence.pages[1] != fork.pages[1]
    pool.check()


def test_closing_twice_does_nothing_and_a_closed_sequence_is_of_no_use():
    pool = PagePool(SHAPE, pages=4)
    with filled(pool, 20) as sequence:
        fork = sequence.fork()
    assert sequence.closed
    sequence.close()
    assert pool.references(fork.pages).tolist() == [1, 1]
    for act in (sequence.fork, lambda: sequence.reserve(1), lambda: sequence.truncate(0), lambda: sequence.advance(0)):
        with pytest.raises(InvalidArgument, match="the sequence was closed"):
            act()
    fork.close()
    fork.close()
    assert pool.free_pages == 4
    pool.check()


def test_a_sequence_of_given_pages_needs_as_many_as_its_length():
    pool = PagePool(SHAPE, pages=4)
    pages = filled(pool, 20).pages
    with pytest.raises(InvalidArgument, match="33 positions are in 3 pages of 16, not in 2"):
        PagedSequence(pool, pages, 33)
    with pytest.raises(InvalidArgument, match="page 3 is free"):
        PagedSequence(pool, [3], 16)
    assert PagedSequence(pool, pages, 17).length == 17
    with pytest.raises(ContextOverflow, match="17 positions and 112 more exceed the context of 128"):
        PagedSequence(pool, pages, 17).reserve(112)
