"""The index of prefixes: it finds what was put in, per scope, and gives up what is old and used by nobody."""

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pages need the train extra (torch)")

from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import InvalidArgument, OutOfPages  # noqa: E402
from stategpt.generate.pages import PAGE_TOKENS, PagedSequence, PagePool, PrefixIndex  # noqa: E402

SHAPE = GPTConfig(vocab_size=8, depth=1, width=8, heads=1, kv_heads=1, head_dim=2, mlp_width=8, context_tokens=1 << 22)


def held(pool: PagePool, length: int) -> PagedSequence:
    sequence = PagedSequence(pool)
    sequence.reserve(length)
    sequence.advance(length)
    return sequence


def text(*pages: int, more: int = 0) -> list[int]:
    """A prompt of whole pages, each of one id, and some tokens behind them."""
    return [page for page in pages for _ in range(PAGE_TOKENS)] + [99] * more


def put(index: PrefixIndex, ids: list[int], scope: str = "") -> list[int]:
    """Inserts what a sequence holds, which is then closed."""
    with held(index.pool, len(ids)) as sequence:
        index.insert(ids, sequence.pages, scope)
        return sequence.pages


def test_the_longest_known_beginning_is_found_in_whole_pages():
    index = PrefixIndex(PagePool(SHAPE, pages=20))
    pages = put(index, text(1, 2, 3, more=5))
    assert index.pages == 3
    assert index.match(text(1, 2, 3, 4)) == (pages[:3], 48)
    assert index.match(text(1, 2, more=15)) == (pages[:2], 32)
    assert index.match(text(1, 7, 3)) == (pages[:1], 16)
    assert index.match(text(2, 3)) == ([], 0)
    assert index.match([]) == ([], 0)
    assert index.match([1] * 15) == ([], 0)


def test_one_token_is_always_left_to_compute():
    index = PrefixIndex(PagePool(SHAPE, pages=20))
    pages = put(index, text(1, 2))
    assert index.match(text(1, 2)) == (pages, 31)
    assert index.match(text(1)) == (pages[:1], 15)
    with index.open(text(1, 2)) as sequence:
        assert (sequence.length, sequence.pages) == (31, pages)
        sequence.reserve(1)  # its page is the index's, so it gets a copy
        assert sequence.pages[1] != pages[1]
        assert index.match(text(1, 2)) == (pages, 31)
    index.pool.check()


def test_a_beginning_that_two_prompts_share_is_held_once():
    index = PrefixIndex(PagePool(SHAPE, pages=20))
    first = put(index, text(1, 2, 3))
    second = put(index, text(1, 2, 4))
    assert index.pages == index.pool.used_pages == 4
    assert index.match(text(1, 2, 4, 5))[0] == [*first[:2], second[2]]


def test_scopes_know_nothing_of_each_other():
    index = PrefixIndex(PagePool(SHAPE, pages=20))
    put(index, text(1, 2), "alice")
    assert index.match(text(1, 2, 3), "bob") == ([], 0)
    assert index.match(text(1, 2, 3)) == ([], 0)
    assert index.match(text(1, 2, 3), "alice")[1] == 32
    put(index, text(1, 2), "bob")
    assert index.pages == 4
    assert set(index.match(text(1, 2, 3), "bob")[0]).isdisjoint(index.match(text(1, 2, 3), "alice")[0])


def test_a_page_is_taken_into_one_scope_only():
    pool = PagePool(SHAPE, pages=4)
    index = PrefixIndex(pool)
    with held(pool, 32) as sequence:
        assert index.insert(text(1, 2), sequence.pages, "alice") == 2
        assert index.insert(text(1, 2), sequence.pages, "bob") == 0
    assert index.evict(4) == 2
    assert pool.used_pages == 0
    pool.check()


def test_scopes_without_prefixes_are_forgotten():
    index = PrefixIndex(PagePool(SHAPE, pages=2))
    for number in range(300):
        put(index, text(1), f"key {number}")
        index.match(text(9), f"other {number}")
    assert len(index._roots) == 2
    index.clear()
    assert not index._roots
    index.pool.check()


def test_what_was_not_used_for_the_longest_time_is_evicted_from_its_end():
    index = PrefixIndex(PagePool(SHAPE, pages=20), limit=4)
    put(index, text(1, 2))
    put(index, text(3, 4))
    index.match(text(1, 2, 5))
    put(index, text(6))
    assert [index.match(text(*pages, 9))[1] for pages in ((1, 2), (3, 4), (6,))] == [32, 16, 16]
    assert index.pages == 4
    assert index.counters.evicted_pages == 1


def test_a_page_that_a_sequence_reads_is_not_evicted():
    pool = PagePool(SHAPE, pages=3)
    index = PrefixIndex(pool)
    put(index, text(1, 2))
    with index.open(text(1, 2, 3)) as sequence:
        put(index, text(4))
        with pytest.raises(OutOfPages):
            pool.take(2)
        assert index.pages == 2  # the third was free for the asking
        assert pool.references(sequence.pages).tolist() == [2, 2]
    assert len(pool.take(3)) == 3
    assert index.pages == 0


def test_a_full_pool_takes_pages_from_the_index():
    pool = PagePool(SHAPE, pages=4)
    index = PrefixIndex(pool)
    put(index, text(1, 2, 3))
    with held(pool, 40) as sequence:
        assert len(sequence.pages) == 3
        assert index.match(text(1, 2, 3, 4))[1] == 16
    pool.check()


def test_a_prefix_longer_than_the_limit_is_known_by_its_beginning():
    index = PrefixIndex(PagePool(SHAPE, pages=20), limit=3)
    put(index, text(9))
    pages = put(index, text(1, 2, 3, 4, 5))
    assert index.match(text(1, 2, 3, 4, 5)) == (pages[:3], 48)
    pages = put(index, text(1, 2, 3, 4))  # what is behind the known pages has no room, and they are not given up
    assert index.match(text(1, 2, 3, 4))[1] == 48
    assert index.pages == 3
    assert PrefixIndex(PagePool(SHAPE, pages=2), limit=0).insert(text(1), [0]) == 0
    index.pool.check()


def test_a_scope_whose_last_prefix_makes_room_for_the_next_keeps_that():
    index = PrefixIndex(PagePool(SHAPE, pages=4), limit=1)
    put(index, text(1))
    put(index, text(2))
    assert index.match(text(2, 3))[1] == 16
    index.pool.check()


def test_a_clear_gives_up_all_pages_and_sequences_keep_theirs():
    pool = PagePool(SHAPE, pages=8)
    index = PrefixIndex(pool)
    put(index, text(1, 2))
    put(index, text(1, 3), "key")
    sequence = index.open(text(1, 2, 3))
    index.clear()
    assert index.match(text(1, 2, 3)) == ([], 0)
    assert pool.used_pages == 2
    sequence.close()
    assert pool.used_pages == 0
    pool.check()


def test_counters_say_what_was_found():
    index = PrefixIndex(PagePool(SHAPE, pages=8))
    put(index, text(1, 2, more=3))
    index.match(text(1, 2, 3))
    index.match(text(7))
    counters = index.counters
    assert (counters.lookups, counters.asked_tokens, counters.found_tokens) == (2, 64, 32)
    assert (counters.inserted_pages, counters.evicted_pages) == (2, 0)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.5] * 16, "ids are float64"),
        ([[1] * 16], r"of shape \[1, 16\]"),
        ([-1] * 16, "ids are from -1 to -1"),
        ([1 << 32], "they are 0 to 2"),
        (["a"], "give one list of whole numbers"),
        ([True] * 16, "ids are bool"),
    ],
)
def test_what_is_no_list_of_ids_is_refused(ids, message):
    index = PrefixIndex(PagePool(SHAPE, pages=2))
    for call in (index.match, lambda given: index.insert(given, [0, 1])):
        with pytest.raises(InvalidArgument, match=message):
            call(ids)


def test_pages_that_are_missing_or_free_are_refused():
    index = PrefixIndex(PagePool(SHAPE, pages=2))
    with pytest.raises(InvalidArgument, match="33 ids fill 2 pages, and 1 are given"):
        index.insert(text(1, 2, more=1), [0])
    with pytest.raises(InvalidArgument, match="page 0 is free"):
        index.insert(text(1), [0])
    assert index.pages == 0
    assert not index._roots


def test_a_million_tokens_take_linear_time_and_no_recursion():
    """65,536 pages in one path: inserted, matched, evicted from the end, and dropped."""
    pool = PagePool(SHAPE, pages=1 << 16)
    index = PrefixIndex(pool)
    ids = np.arange(1 << 20, dtype=np.uint32)
    seconds = {}
    for tokens in (1 << 16, 1 << 20):
        begin = time.process_time()
        put(index, ids[:tokens])
        assert index.match(ids[:tokens])[1] == tokens - 1
        assert index.evict(tokens // PAGE_TOKENS) == tokens // PAGE_TOKENS
        seconds[tokens] = time.process_time() - begin
    assert seconds[1 << 20] < 16 * 8 * seconds[1 << 16] + 1.0  # quadratic: 256 times
    put(index, ids)
    index.clear()
    pool.check()


def test_many_prompts_that_end_alike_take_linear_time():
    """20,000 lookups of one prefix offer its end for eviction each time; what is remembered stays small."""
    index = PrefixIndex(PagePool(SHAPE, pages=4))
    put(index, text(1, 2))
    for _ in range(20_000):
        index.match(text(1, 2, 3))
    assert len(index._leaves) < 100
    assert index.evict(2) == 2


class IndexMachine(RuleBasedStateMachine):
    """The index beside a list of all prefixes that it may know."""

    ids = st.lists(st.integers(0, 1), min_size=0, max_size=4)
    scopes = st.sampled_from(["", "key"])

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(SHAPE, pages=12)
        self.index = PrefixIndex(self.pool, limit=6)
        self.known: dict[tuple[str, tuple[int, ...]], int] = {}
        """Page of each (scope, ids of whole pages)."""
        self.open: list[PagedSequence] = []

    def path(self, pages: list[int], scope: str) -> list[int]:
        """Longest beginning that is known; forgets what the index gave up."""
        found = []
        for end in range(1, len(pages) + 1):
            page = self.known.get((scope, tuple(pages[:end])))
            if page is None or page not in self.index._held:
                break
            found.append(page)
        return found

    def forget(self) -> None:
        self.known = {key: page for key, page in self.known.items() if page in self.index._held}

    @rule(pages=ids, more=st.integers(0, 3), scope=scopes)
    def insert(self, pages: list[int], more: int, scope: str) -> None:
        try:
            sequence = held(self.pool, len(text(*pages, more=more)))
        except OutOfPages:
            return
        self.forget()
        before = len(self.path(pages, scope))
        new = self.index.insert(text(*pages, more=more), sequence.pages, scope)
        self.forget()
        for end in range(before, before + new):
            self.known[scope, tuple(pages[: end + 1])] = sequence.pages[end]
        if len(pages) - before <= self.index.limit - self.index.pages + new:
            assert new == len(pages) - before
        sequence.close()

    @rule(pages=ids, more=st.integers(1, 3), scope=scopes)
    def match(self, pages: list[int], more: int, scope: str) -> None:
        self.forget()
        expected = self.path(pages, scope)
        assert self.index.match(text(*pages, more=more), scope) == (expected, PAGE_TOKENS * len(expected))

    @rule(pages=ids, scope=scopes)
    def hold(self, pages: list[int], scope: str) -> None:
        self.open.append(self.index.open(text(*pages, more=1), scope))

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 99))
    def close(self, which: int) -> None:
        self.open.pop(which % len(self.open)).close()

    @rule(pages=st.integers(0, 5))
    def evict(self, pages: int) -> None:
        used = {page for sequence in self.open for page in sequence.pages}
        leaves = {page for page in self.index._held if page not in used}
        freed = self.index.evict(pages)
        assert freed <= pages
        assert used.isdisjoint(self.pool._free)
        if freed < pages:  # then everything that nobody reads is gone
            assert not leaves & self.index._held

    @rule()
    def clear(self) -> None:
        self.index.clear()
        assert self.index.pages == 0

    @invariant()
    def counts_are_exact(self) -> None:
        self.pool.check()
        assert self.index.pages == len(self.index.held_pages()) <= self.index.limit

    def teardown(self) -> None:
        for sequence in self.open:
            sequence.close()
        self.index.clear()
        assert self.pool.used_pages == 0


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=40, stateful_step_count=40)
