"""Memory of writing shards, and a corpus with its split, grows with documents by no more than the stated bytes each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stategpt.tokenizer import Tokenizer

FEW, MANY = 3_000, 60_000
TEXT = "the cat sat on the mat " * 40
SHARDS = """
from stategpt import Tokenizer, write_shards
from stategpt.data import read_documents
tok = Tokenizer.load(folder + "/tokenizer.json")
write_shards(read_documents(folder + "/texts.jsonl"), tok, folder + "/shards", threads=threads)
"""
CORPUS = """
from stategpt.config import RunConfig
from stategpt.config.sources import SourceConfig
from stategpt.data.user_corpus import build_user_corpus
sources = {"texts": SourceConfig((folder + "/texts.jsonl",), 1.0)}
build_user_corpus(RunConfig(sources=sources), folder, folder + "/corpus")
"""
PEAK = 'print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])'


def peak_bytes(code: str, folder: Path, documents: int, threads: int) -> int:
    """VmHWM of a process that does nothing else."""
    with (folder / "texts.jsonl").open("w") as file:
        for number in range(documents):
            file.write(json.dumps({"id": number, "text": f"{number} {TEXT}"}) + "\n")
    given = f"folder, threads = {str(folder)!r}, {threads}\n"
    done = subprocess.run([sys.executable, "-c", given + code + PEAK], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process")
@pytest.mark.parametrize(
    ("code", "threads", "bytes_each"),
    # Offsets of a shard are on disk; a corpus holds size, keyed hash and side of each document, and sorts them.
    [(SHARDS, 1, 0), (SHARDS, 2, 0), (CORPUS, 1, 120)],
    ids=["shards", "shards in two threads", "corpus"],
)
def test_memory_does_not_grow_with_the_number_of_documents(
    code: str, threads: int, bytes_each: int, tmp_path: Path
) -> None:
    folder = tmp_path
    Tokenizer.train([TEXT], vocab_size=300, special_tokens=["<|endoftext|>", "<|pad|>"]).save(folder / "tokenizer.json")
    few, many = (peak_bytes(code, folder, documents, threads) for documents in (FEW, MANY))
    text_bytes = (MANY - FEW) * len(TEXT)
    allowed = (MANY - FEW) * bytes_each + (24 << 20)  # buffers that a few documents do not fill, and the allocator's
    assert many - few <= allowed < text_bytes, f"{few:,} bytes for {FEW:,} documents, {many:,} for {MANY:,}"
