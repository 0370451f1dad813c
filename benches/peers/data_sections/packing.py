"""Best-fit rows for ten million documents of synthetic lengths, and the share of the rows that is filled.

Ours is a plan on the histogram of lengths; which documents share a row follows from it when a row is read. Peers list
the documents of every row, of fewer documents: their time is given for as many as ours, in proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from stategpt import _native

from .bench import Bench, Row

DOCUMENTS = 10_000_000
PEER_DOCUMENTS = 20_000
ROWS = (2048, 8192)
Lengths = npt.NDArray[np.uint32]


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    lengths = synthetic(DOCUMENTS)
    for row_tokens in ROWS:
        few = np.minimum(lengths[:PEER_DOCUMENTS], row_tokens)
        peers = {"TRL bfd": _trl(bench, few, row_tokens), "Axolotl FFD": _axolotl(bench, few, row_tokens)}
        found = {name: job for name, job in peers.items() if job is not None}
        jobs: dict[str, Callable[[], object]] = {
            "stategpt": lambda row_tokens=row_tokens: _native.best_fit_rows(lengths, row_tokens),
            **found,
        }
        seconds = bench.seconds(jobs)
        of_peers = {name: seconds[name] * 1000 * DOCUMENTS / len(few) for name in found}
        what = f"{DOCUMENTS:,} documents into rows of {row_tokens}"
        yield Row(what, "ms", seconds["stategpt"] * 1000, of_peers, "<= 50")
        # A document has an end of text before it.
        tokens = int(lengths.sum(dtype=np.uint64)) + len(lengths)
        filled = 100 * tokens / (_native.best_fit_rows(lengths, row_tokens) * row_tokens)
        shares = {name: 100 * int(few.sum()) / (job() * row_tokens) for name, job in found.items()}
        yield Row(f"the same, filled, rows of {row_tokens}", "%", filled, shares, ">= 99.99")


def synthetic(documents: int) -> Lengths:
    """Lognormal lengths, with a mean of about 550 tokens."""
    return np.random.default_rng(0).lognormal(5.6, 1.2, documents).astype(np.uint32) + 1


def _trl(bench: Bench, lengths: Lengths, row_tokens: int) -> Callable[[], int] | None:
    if bench.peer("trl") is None or bench.peer("datasets") is None:
        return None
    from datasets import Dataset, disable_progress_bars
    from trl import pack_dataset

    disable_progress_bars()
    data = Dataset.from_dict({"input_ids": [[0] * int(length) for length in lengths]})
    options = {"batch_size": len(lengths), "load_from_cache_file": False, "keep_in_memory": True}
    return lambda: len(pack_dataset(data, row_tokens, "bfd", options))


def _axolotl(bench: Bench, lengths: Lengths, row_tokens: int) -> Callable[[], int] | None:
    if bench.peer("axolotl") is None:
        return None
    from axolotl.utils.samplers import multipack

    pack = multipack.ffd_with_result
    pack(lengths[:10].astype(np.int64), row_tokens, 0)  # compiled now
    return lambda: len(pack(lengths.astype(np.int64), row_tokens, 0))
