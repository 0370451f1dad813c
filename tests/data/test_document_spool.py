"""Documents that wait for their side."""

from __future__ import annotations

from pathlib import Path

import pytest

from stategpt.data.document_spool import spool_documents
from stategpt.data.records import Document, Place
from stategpt.data.splitting import GroupSplit
from stategpt.errors import CorpusError


def test_a_document_that_takes_more_than_a_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stategpt.data.corpus_rows.MAX_LINE_BYTES", 80)
    documents = [Document("short", "a", "1"), Document("x" * 100, "a", "2", Place("notes.jsonl", 2, 40))]
    with pytest.raises(CorpusError, match=r"notes\.jsonl:2 \(byte 40\) takes \d+ bytes, more than the 80"):
        spool_documents(documents, tmp_path / "spool.jsonl", "sources.a", GroupSplit(0.2, 0.2, 0))
