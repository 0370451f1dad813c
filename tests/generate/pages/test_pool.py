"""The pool counts who refers to each page, and its memory is taken when it is written."""

import gc
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="pages need the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import InvalidArgument, OutOfPages  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagePool, page_bytes  # noqa: E402

SHAPE = GPTConfig(vocab_size=8, depth=2, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=8, context_tokens=1 << 20)
LARGE = GPTConfig(depth=30, width=576, heads=9, kv_heads=3, head_dim=64)


def test_a_page_holds_keys_and_values_of_16_positions_in_all_layers():
    assert page_bytes(SHAPE, torch.float32) == 2 * 2 * 16 * 4 * 4
    pool = PagePool(SHAPE, pages=5, dtype=torch.bfloat16)
    assert (pool.page_bytes, pool.bytes) == (512, 2560)
    assert pool.memory.storage.numel() * 2 == pool.bytes


def test_pages_are_taken_all_or_none_and_used_again():
    pool = PagePool(SHAPE, pages=4)
    first = pool.take(3)
    assert sorted(first) == [0, 1, 2]
    with pytest.raises(OutOfPages, match="2 more pages of 16 positions are needed, and 1 of 4 are free"):
        pool.take(2)
    assert pool.free_pages == 1
    pool.release(first[:2])
    assert sorted(pool.take(2)) == [0, 1]
    assert pool.take(1) == [3]
    assert (pool.free_pages, pool.used_pages) == (0, 4)


def test_a_page_is_free_when_the_last_reference_is_gone():
    pool = PagePool(SHAPE, pages=2)
    pages = pool.take(1)
    pool.retain(pages)
    pool.release(pages)
    assert pool.references(pages).tolist() == [1]
    pool.release(pages)
    assert pool.free_pages == 2
    with pytest.raises(InvalidArgument, match="page 0 is free already"):
        pool.release(pages)
    with pytest.raises(InvalidArgument, match="page 0 is free; nobody can share it"):
        pool.retain(pages)
    assert pool.free_pages == 2


def test_the_check_finds_a_sequence_that_was_dropped_without_closing_it():
    pool = PagePool(SHAPE, pages=4)
    sequence = PagedSequence(pool)
    sequence.reserve(20)
    pool.check()
    del sequence
    gc.collect()
    with pytest.raises(AssertionError, match=r"page \d has 1 references, and 0 are held; 2 pages like it"):
        pool.check()


def test_the_check_finds_a_wrong_count_and_a_lost_page():
    pool = PagePool(SHAPE, pages=4)
    with PagedSequence(pool) as sequence:
        sequence.reserve(20)
        pool._references[1] += 1
        with pytest.raises(AssertionError, match="page 1 has 2 references, and 1 are held"):
            pool.check()
        pool._references[1] -= 1
    pool.check()
    lost = pool._free.pop()
    with pytest.raises(AssertionError, match="disagree"):
        pool.check()
    pool._free += [lost, lost]
    with pytest.raises(AssertionError, match="free twice"):
        pool.check()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_of_a_large_pool_is_taken_as_pages_are_written():
    before = resident_bytes()
    pool = PagePool(LARGE, pages=(4 << 30) // page_bytes(LARGE, torch.float32))
    assert pool.bytes > 4.2e9
    assert resident_bytes() - before < 4 << 20
    pages = pool.take(100)
    pool.memory.storage[:, :, pages] = 1.0
    assert 100 * pool.page_bytes <= resident_bytes() - before < 2.1 * 100 * pool.page_bytes
    pool.release(pages)
    assert set(pool.take(50)) <= set(pages)  # memory that is there is used before new one


def test_a_pool_that_the_system_has_no_memory_for_is_refused():
    with pytest.raises(OutOfPages, match="which the system does not give on cpu; make the pool smaller"):
        PagePool(LARGE, pages=(1 << 31) - 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pages": 0}, "pages is 0"),
        ({"pages": 1.5}, "pages is 1.5"),
        ({"pages": 1 << 31}, "page numbers are int32"),
        ({"pages": 1, "dtype": torch.int8}, "dtype of the pages is torch.int8; it must be one of float32, bfloat16"),
    ],
)
def test_what_a_pool_refuses(settings, message):
    with pytest.raises(InvalidArgument, match=message):
        PagePool(SHAPE, **settings)


def test_a_pool_made_in_inference_mode_is_written_outside_it():
    with torch.inference_mode():
        pool = PagePool(SHAPE, pages=1)
    pool.memory.storage[:, :, 0] = 1.0
