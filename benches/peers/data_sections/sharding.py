"""Text in JSON lines to token shards, beside the encoder alone on the same texts in memory.

Publishing a folder takes some milliseconds whatever its size (files are made, synced and renamed), so there is as much
text as a shard is worth: the documents several times over, for both.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stategpt import Tokenizer, write_shards
from stategpt.data import read_documents
from stategpt.data.sources import jsonl

from .bench import Bench, Row, rates

VOCABULARY = 8192
TEXT_MEGABYTES = 60


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section, on one thread."""
    times = -(-TEXT_MEGABYTES * 10**6 // bench.bytes)
    texts = [document.text for document in bench.documents] * times
    size = bench.bytes * times
    special = ["<|endoftext|>", "<|pad|>"]
    tok = Tokenizer.train(texts[: len(bench.documents) // 4 + 1], vocab_size=VOCABULARY, special_tokens=special)
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "documents.jsonl", Path(folder) / "shards"
        lines = (json.dumps({"id": number, "text": text, "meta": {"n": 1}}) for number, text in enumerate(texts))
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        shards = write_shards(read_documents(path), tok, out, threads=1)
        wanted = int(sum(tok.count_batch(texts, threads=1)))
        if len(shards) != len(texts) or shards.num_tokens != wanted:
            raise SystemExit(f"the shards hold {shards.num_tokens:,} tokens, the texts {wanted:,}")
        seconds = bench.seconds(
            {
                "encoder": lambda: tok.encode_batch(texts, threads=1),
                "end to end": lambda: write_shards(read_documents(path), tok, out, threads=1),
                "reading": lambda: sum(1 for _ in read_documents(path)),
                "documents": lambda: sum(1 for _ in jsonl(path, id="id")),
                "json.loads": lambda: sum(len(json.loads(line)["text"]) for line in path.open(encoding="utf-8")),
            }
        )
    speed = rates(seconds, dict.fromkeys(seconds, size))
    yield Row("JSON lines to token shards", "MB/s", speed["end to end"], {"the encoder alone": speed["encoder"]})
    share = speed["end to end"] / speed["encoder"]
    yield Row("the same as a share of the encoder's speed", "share", share, {}, ">= 0.8")
    beside = {"json.loads": speed["json.loads"]}
    yield Row("reading texts of JSON lines", "MB/s", speed["reading"], beside)
    yield Row("reading documents with id, group and place", "MB/s", speed["documents"], beside)
