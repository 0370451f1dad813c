"""How many programs share the work of one call, from shapes alone: a CUDA graph keeps them while sequences grow."""

from dataclasses import dataclass

PROGRAMS_PER_MULTIPROCESSOR = 8
"""About twice what a multiprocessor holds at once (80 to 170 registers a thread, 128 threads): the last, half-filled
round of programs costs little whatever the batch, and a batch of 12 does not fall off a cliff (vLLM issue 48076)."""
MAX_SHARE_KEYS = 8192
"""Most keys of one program, however many programs there are: one long sequence among short ones is split too."""
MIN_SHARE_KEYS = 512
"""Fewest keys of one program when the batch alone fills the device: splits below only add work for the merge."""
KEYS_PER_ROW = 8
"""Fewest keys of one program per row of its tile. A row's partial result is written and read once in float32: with
16-bit pages that is a quarter of the traffic of keys and values at most, and the L2 cache holds most of it."""


@dataclass(frozen=True)
class Splits:
    """How the keys of each sequence, or of each prefix, are divided."""

    count: int
    """Programs along the keys."""
    min_blocks: int
    """Fewest key blocks of one program: a short sequence uses fewer splits than there are."""


def divide(programs: int, rows: int, capacity_keys: int, block_k: int, multiprocessors: int) -> Splits:
    """Splits for `programs` (tiles of rows x key-value heads) of `rows` rows each, over at most `capacity_keys` keys.

    The count is what fills the device, or more where shares would be longer than MAX_SHARE_KEYS, and never so much
    that a share of the capacity falls below the minimum of KEYS_PER_ROW.
    """
    fill = _ceil(PROGRAMS_PER_MULTIPROCESSOR * multiprocessors, max(programs, 1))
    balance = _ceil(capacity_keys, MAX_SHARE_KEYS)
    floor_blocks = _ceil(max(KEYS_PER_ROW * rows, MIN_SHARE_KEYS // fill), block_k)
    count = min(max(fill, balance), _ceil(capacity_keys, floor_blocks * block_k))
    return Splits(max(count, 1), floor_blocks)


def shared_tiles(sequences: int, group: int, prefixes: int, block_q: int) -> int:
    """Tiles for the rows of all prefixes, whichever sequences share which: one more for each prefix than rows need."""
    return sequences * group // block_q + prefixes


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
