"""Texts that go from file to shard in batches are those of the exact reader, one by one, and so are the errors."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.arguments import Errors
from stategpt.data import read_documents, shard_writing, text_source, write_shards
from stategpt.data.corpus_rows import document_row, write_rows
from stategpt.data.lines import Source, read_lines
from stategpt.data.records import Document, Place
from stategpt.data.rejections import Rejection
from stategpt.data.sources.records import _slowly
from stategpt.data.stored_documents import StoredDocuments
from stategpt.data.text_source import TextSource
from stategpt.errors import CorpusError, CorruptArtifact, StategptError
from stategpt.packing import Shards
from stategpt.tokenizer import Tokenizer

HOSTILE = [
    b"",
    b" \t ",
    b"\xef\xbb\xbf" + b'{"text": "mark"}',
    b'{"text": "a", "text": "b"}',
    b'{"text": "a", "m": {"n": 1, "n": 2}}',
    b'{"text": 1}',
    b'{"text": null}',
    b'{"txt": "a"}',
    b'{"text": "half \\ud83d"}',
    b'{"text": "wrong half \\udca9\\ud83d"}',
    b'{"te\\u0078t": "spelled"}',
    b'{"text": "caf\xe9"}',
    b'{"text": "a\tb"}',
    b'{"text": "a"} {}',
    b'{"text": "a", "b": 1e999}',
    b'{"text": "a", "b": NaN}',
    b'{"text": "a", "b": ' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"text": "cut off',
    b"[1]",
    b"9" * 5000,
]
TEXTS = st.text(st.sampled_from('ab \n\t"\\/é€😀\x00\x1f\x7f'), max_size=90)
SIMPLE = st.builds(
    lambda text, ascii: json.dumps({"id": 7, "text": text, "meta": {"n": [1, None]}}, ensure_ascii=ascii).encode(),
    TEXTS,
    st.booleans(),
)
LINES = st.lists(st.one_of(SIMPLE, SIMPLE, SIMPLE, st.sampled_from(HOSTILE)), max_size=12)


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(["the cat sat on the mat"], vocab_size=264, special_tokens=["<|endoftext|>", "<|pad|>"])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "ITERATED_BYTES", 64)
    monkeypatch.setattr(shard_writing, "_BATCH_OF_ONE_THREAD", 64)
    monkeypatch.setattr(shard_writing, "_BATCH_CHARACTERS", 200)


def exactly(path: Path, errors: Errors) -> Iterator[str]:
    """What the exact reader makes of each line."""
    with Source(path, CorpusError) as source:
        for line in read_lines(source):
            if line.is_blank:
                continue
            where = Place(str(path), line.number, line.byte_offset)
            found = _slowly(where, line, ("text",), errors == "replace")
            if isinstance(found, Rejection):
                raise CorpusError(f"{found.where}: {found.message}. Fix or remove the record.")
            yield found.values[0]


def collected(texts: Iterator[str]) -> tuple[list[str], str]:
    """The texts before an error, and its message."""
    found: list[str] = []
    try:
        for text in texts:
            found.append(text)
    except StategptError as error:
        return found, str(error)
    return found, ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, ended=st.booleans(), packed=st.booleans(), errors=st.sampled_from(["reject", "replace"]))
def test_texts_errors_and_shards_are_those_of_the_exact_reader(
    lines: list[bytes], ended: bool, packed: bool, errors: Errors, tok: Tokenizer, tmp_path: Path
) -> None:
    content = b"\n".join(lines) + b"\n" * ended
    path = tmp_path / ("lines.jsonl.gz" if packed else "lines.jsonl")
    path.write_bytes(gzip.compress(content, 1, mtime=0) if packed else content)
    expected, error = collected(exactly(path, errors))
    if not expected and not error:
        error = f"{path} holds no documents; leave it out"
    assert collected(iter(read_documents(path, errors=errors))) == (expected, error)
    for threads in (1, 2):
        if error:
            with pytest.raises(CorpusError) as caught:
                write_shards(read_documents(path, errors=errors), tok, tmp_path / "out", threads=threads)
            assert str(caught.value) == error
        else:
            made = write_shards(read_documents(path, errors=errors), tok, tmp_path / "out", threads=threads)
            assert made.fingerprint == write_shards(expected, tok, tmp_path / "list").fingerprint


def test_texts_that_were_begun_one_by_one_are_written_from_there(tok: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(50)))
    texts = read_documents(path)
    assert isinstance(texts, TextSource)
    assert [next(texts) for _ in range(3)] == ["text 0", "text 1", "text 2"]
    made = write_shards(texts, tok, tmp_path / "rest")
    assert [tok.decode(ids) for ids in made] == [f"text {number}" for number in range(3, 50)]
    assert list(texts) == []
    all_of_it = read_documents(path)
    assert len(write_shards(all_of_it, tok, tmp_path / "all")) == 50
    assert list(all_of_it) == []


def test_files_of_all_kinds_are_written_in_order(tok: Tokenizer, tmp_path: Path) -> None:
    names = ["a.jsonl", "b.txt", "c.json", "d.jsonl", "e.txt"]
    for name in names:
        text = f"{name} " * (100 if name == "e.txt" else 3)
        record = json.dumps({"text": text})
        content = {"txt": text, "json": f"[{record},\n{record}]", "jsonl": f"{record}\n\n{record}\n"}
        (tmp_path / name).write_text(content[name.partition(".")[2]])
    paths = [tmp_path / name for name in names]
    expected = list(read_documents(paths))
    assert len(expected) == 8
    made = write_shards(read_documents(paths), tok, tmp_path / "out", threads=1)
    assert [tok.decode(ids) for ids in made] == expected
    (tmp_path / "d.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match=r"d\.jsonl holds no documents"):
        write_shards(read_documents(paths), tok, tmp_path / "out", threads=1)
    assert len(Shards.open(tmp_path / "out")) == 8


def test_the_texts_of_a_corpus_are_gathered_and_a_bad_line_comes_after_those_before_it(
    tok: Tokenizer, tmp_path: Path
) -> None:
    texts = [f"text {number} é\n" * (number % 4) for number in range(60)]
    write_rows(tmp_path / "train.jsonl", (document_row(Document(text, "notes", group="g")) for text in texts))
    counts = {"documents": 60, "bytes": 0}
    stored = StoredDocuments(tmp_path, "notes", {"train": counts, "validation": counts, "test": counts}).texts("train")
    assert isinstance(stored, TextSource)
    assert list(stored) == list(stored) == texts
    made = write_shards(stored, tok, tmp_path / "out", threads=1)
    assert made.fingerprint == write_shards(texts, tok, tmp_path / "list").fingerprint
    lines = (tmp_path / "train.jsonl").read_bytes().splitlines(keepends=True)
    lines[40] = b'{"text": 1}\n'
    (tmp_path / "train.jsonl").write_bytes(b"".join(lines))
    before, error = collected(iter(stored))
    assert (before, error[:40]) == (texts[:40], f"{tmp_path}/train.jsonl:41"[:40])
    with pytest.raises(CorruptArtifact, match=r"train\.jsonl:41"):
        write_shards(stored, tok, tmp_path / "out")
