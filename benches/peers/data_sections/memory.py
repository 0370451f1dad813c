"""Peak memory of a process that writes shards, or a corpus with its split, of more and more text.

Each figure is `VmHWM` of a process that did nothing else, so it includes Python, numpy and the package (about 60 MB).
The text is written to a temporary folder, which needs three times its size free; set TMPDIR to choose where.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from stategpt import Tokenizer

from .bench import Bench, Row

DOCUMENT_CHARACTERS = 2000
FILES = 3
REACH = "< 1500"
SIZE = "STATEGPT_BENCH_MEMORY_MB"
"""Environment variable: MB of text in each of the three files."""

_SHARDS = """
from stategpt import Tokenizer, write_shards
from stategpt.data import read_documents
write_shards(read_documents(files), Tokenizer.load(folder + "/tokenizer.json"), folder + "/shards", threads=threads)
"""
_CORPUS = """
from stategpt.config import RunConfig
from stategpt.config.sources import SourceConfig
from stategpt.data.user_corpus import build_user_corpus
build_user_corpus(RunConfig(sources={"texts": SourceConfig(tuple(files), 1.0)}), folder, folder + "/corpus")
"""
_PEAK = 'print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])'


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    megabytes = float(os.environ.get(SIZE, "1000" if bench.rounds > 3 else "60"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        special = ["<|endoftext|>", "<|pad|>"]
        texts = [document.text for document in bench.first(2)]
        Tokenizer.train(texts, vocab_size=8192, special_tokens=special).save(folder / "tokenizer.json")
        files = list(write_files(bench, folder, megabytes))
        for what, code, threads in (
            ("JSON lines to shards, 1 thread", _SHARDS, 1),
            ("JSON lines to shards, all cores", _SHARDS, None),
            ("JSON lines to a corpus with its split", _CORPUS, None),
        ):
            for count in range(1, FILES + 1):
                size = f"{count * megabytes / 1000:g} GB"
                yield Row(f"{what}, {size}", "MB resident", peak(code, folder, files[:count], threads), {}, REACH)


def write_files(bench: Bench, folder: Path, megabytes: float) -> Iterator[Path]:
    """Files of JSON lines, of about so many MB of text each; no two documents are equal."""
    pieces = cycle(
        document.text[at : at + DOCUMENT_CHARACTERS]
        for document in bench.documents
        for at in range(0, len(document.text), DOCUMENT_CHARACTERS)
    )
    number = 0
    for file_number in range(FILES):
        path, written = folder / f"part{file_number}.jsonl", 0
        with path.open("w", encoding="utf-8") as file:
            while written < megabytes * 1e6:
                number += 1
                text = f"{number} {next(pieces)}"
                file.write(json.dumps({"id": number, "text": text}) + "\n")
                written += len(text)
        yield path


def peak(code: str, folder: Path, files: list[Path], threads: int | None) -> float:
    """MB of the peak of a new process that runs `code`."""
    given = f"files, folder, threads = {[str(path) for path in files]!r}, {str(folder)!r}, {threads!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", given + code + _PEAK], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    return int(done.stdout.split()[-1]) * 1024 / 1e6
