"""Batches out of the page cache: tokens a second of one core, rows with every array that training takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stategpt import Loader, Mixture, Shards, Tokenizer, pack, write_shards
from stategpt.packing import TokenizedDocument

from .bench import Bench, Row, rates

ROW_TOKENS, BATCH_ROWS = 2048, 16
REACH = ">= 100"


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    with tempfile.TemporaryDirectory() as folder:
        shards = written(Path(folder) / "shards", documents=100_000 if bench.rounds > 3 else 20_000)
        orders = {name: pack(shards, ROW_TOKENS, name) for name in ("best_fit", "concat")}
        jobs = {name: Loader(packed, BATCH_ROWS) for name, packed in orders.items()}
        jobs["mixture"] = Loader(Mixture({"a": (orders["best_fit"], 1.0)}, max_epochs=1), BATCH_ROWS)
        for name, loader in jobs.items():
            found = epoch(loader)
            if found != shards.num_tokens + len(shards):
                raise SystemExit(f"{name} gave {found:,} targets of {shards.num_tokens + len(shards):,}")
        seconds = bench.seconds({name: (lambda loader=loader: epoch(loader)) for name, loader in jobs.items()})
        speed = rates(seconds, dict.fromkeys(jobs, shards.num_tokens))
    for name, found in speed.items():
        yield Row(f"loader from the page cache, {name}", "M tokens/s", found, {}, REACH)


def written(folder: Path, documents: int) -> Shards:
    """Documents of random ids, of lognormal lengths with a mean of about 300 tokens."""
    random = np.random.default_rng(0)
    tok = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
    lengths = random.lognormal(5.0, 1.2, documents).astype(int) + 1
    ids = random.integers(2, 258, lengths.sum(), dtype=np.uint32)
    parts = np.split(ids, np.cumsum(lengths)[:-1])
    return write_shards(map(TokenizedDocument, parts), tok, folder)


def epoch(loader: Loader) -> int:
    """Trained targets of all batches."""
    first = Loader.resume(loader._rows, {"row": 0, "fingerprint": loader._rows.fingerprint}, BATCH_ROWS)
    return sum(batch.target_count for batch in first)
