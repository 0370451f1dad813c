"""What a curation shows: bytes while the documents are not counted yet, then documents, with rate and time left."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from stategpt import progress as progress_module
from stategpt.data.records import Document, Place
from stategpt.stages.curation_progress import BytesRead, shown_passes


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(progress_module, "console", Console(file=written, width=100))
    monkeypatch.setattr(progress_module, "LOG_EVERY_S", 0.0)
    return written


def test_each_pass_has_a_line_with_its_unit(tmp_path: Path, shown: io.StringIO) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in files:
        path.write_bytes(b"x" * 2_500_000)
    read = BytesRead({"sources.n.paths": files, "sft.data": [tmp_path / "none"]}, tmp_path)
    with shown_passes(read) as show:
        read.begin(files[0])
        show(0, 0, "filter")
        read.reach(Document("x", where=Place("a.jsonl", 7, 1_500_000)))
        show(100, 0, "filter")
        read.begin(files[1])
        read.reach(Document("x", where=Place("b.jsonl", 7, 9_000_000)))  # a compressed file: its content is longer
        show(200, 0, "filter")
        read.finish()
        show(230, 0, "filter")
        for done in (0, 100, 180):
            show(done, 180, "near-duplicates")
    lines = [re.sub(r"[0-9.]+/s(, .* left)?", "RATE", line.strip()) for line in shown.getvalue().splitlines()]
    assert lines == [
        "curation: filter: 0/5 MB, RATE  0 documents",
        "curation: filter: 2/5 MB, RATE  100 documents",
        "curation: filter: 5/5 MB, RATE  200 documents",
        "curation: filter: 5/5 MB, RATE  230 documents",
        "curation: near-duplicates: 0/180 documents, RATE",
        "curation: near-duplicates: 100/180 documents, RATE",
        "curation: near-duplicates: 180/180 documents, RATE",
    ]
    assert re.search(r"2/5 MB, [0-9.]+/s, .* left", shown.getvalue())
