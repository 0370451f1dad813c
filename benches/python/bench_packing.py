"""The data engine from Python: writing shards, planning rows, reading batches, resuming.

    python -m pytest benches/python/bench_packing.py --benchmark-columns=median,iqr,rounds

Equivalence is asserted before anything is timed: rows as many as best-fit decreasing fills piece by piece, every token
read once. `tokens_per_s` is in each row's extra info.
"""

import bisect
from pathlib import Path

import numpy as np
import pytest

from stategpt.data import write_shards
from stategpt.packing import Loader, Mixture, Shards, TokenizedDocument, pack
from stategpt.tokenizer import Tokenizer

DOCUMENTS, ROW_TOKENS, BATCH_ROWS = 50_000, 2048, 16
TOK = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])


def rows_piece_by_piece(lengths: np.ndarray) -> int:
    """Best-fit decreasing as the books have it; rooms kept sorted."""
    segments = lengths + 1
    rows = int((segments // ROW_TOKENS).sum())
    rooms: list[int] = []
    for length in sorted((segments % ROW_TOKENS).tolist(), reverse=True):
        if length:
            at = bisect.bisect_left(rooms, length)
            room = rooms.pop(at) if at < len(rooms) else ROW_TOKENS
            rows += room == ROW_TOKENS
            bisect.insort(rooms, room - length)
    return rows


@pytest.fixture(scope="module")
def documents() -> list[TokenizedDocument]:
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(5.0, 1.2, DOCUMENTS).astype(int)
    ids = rng.integers(2, 258, lengths.sum(), dtype=np.uint32)
    return [TokenizedDocument(part) for part in np.split(ids, np.cumsum(lengths)[:-1])]


@pytest.fixture(scope="module")
def shards(documents: list[TokenizedDocument], tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return write_shards(documents, TOK, tmp_path_factory.mktemp("bench") / "data")


def test_write(benchmark, documents: list[TokenizedDocument], tmp_path: Path) -> None:
    written = benchmark.pedantic(write_shards, (documents, TOK, tmp_path / "data"), rounds=3)
    benchmark.extra_info["tokens_per_s"] = written.num_tokens / benchmark.stats.stats.median


def test_verify(benchmark, shards: Shards) -> None:
    benchmark.pedantic(shards.verify, rounds=5)
    bytes_read = sum(file.size for file in shards.manifest.files.values())
    benchmark.extra_info["bytes_per_s"] = bytes_read / benchmark.stats.stats.median


def test_plan(benchmark, shards: Shards, documents: list[TokenizedDocument]) -> None:
    packed = benchmark.pedantic(pack, (shards, ROW_TOKENS), rounds=10)
    assert len(packed) == rows_piece_by_piece(np.array([len(document.ids) for document in documents]))
    benchmark.extra_info["documents_per_s"] = DOCUMENTS / benchmark.stats.stats.median
    benchmark.extra_info["fill"] = packed.fill


@pytest.mark.parametrize("strategy", ["best_fit", "concat"])
def test_read(benchmark, shards: Shards, strategy: str) -> None:
    packed = pack(shards, ROW_TOKENS, strategy)

    def epoch() -> int:
        return sum(batch.target_count for batch in Loader(packed, BATCH_ROWS))

    assert benchmark.pedantic(epoch, rounds=3) == shards.num_tokens + len(shards)
    benchmark.extra_info["tokens_per_s"] = shards.num_tokens / benchmark.stats.stats.median


def test_resume_far_into_a_mixture(benchmark, shards: Shards) -> None:
    packed = pack(shards, ROW_TOKENS)
    rows = Mixture({"a": (packed, 0.67), "b": (packed, 0.3), "c": (packed, 0.03)})
    # A million rows of 2,048 tokens on: a new mixture, so that nothing is cached.
    state = {"row": 10**6, "fingerprint": rows.fingerprint}

    def resume() -> int:
        fresh = Mixture({"a": (packed, 0.67), "b": (packed, 0.3), "c": (packed, 0.03)})
        return next(Loader.resume(fresh, state, BATCH_ROWS)).target_count

    assert benchmark.pedantic(resume, rounds=20) == next(Loader(rows, BATCH_ROWS, start=10**6)).target_count
