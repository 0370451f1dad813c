"""Readers of raw documents: what is read, and errors that name file, line and byte."""

import gzip
import json
import os
from pathlib import Path

import pytest

from stategpt.data.sources.documents import read_documents
from stategpt.errors import CorpusError, InvalidArgument


def test_a_text_file_is_one_document_and_a_json_line_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.jsonl").write_text('{"text": "three", "id": 1}\n\n{"text": ""}\n')
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "vier é\u2028"}))
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"five", mtime=0))
    (tmp_path / "g.json").write_text('[{"text": "seven"},\n {"text": "eight"}]')
    (tmp_path / "e.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd\x20\x0f\x79\0\0" + b'{"text": "six"}')  # one raw block
    paths = sorted(tmp_path.iterdir())
    assert list(read_documents(paths)) == ["one\ntwo\n", "three", "", "vier é\u2028", "five", "six", "seven", "eight"]
    assert list(read_documents(str(paths[0]))) == ["one\ntwo\n"]


def test_the_field_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"content": "three"}\n')
    assert list(read_documents(tmp_path / "b.jsonl", field="content")) == ["three"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", r"a\.txt is not UTF-8 at byte 3"),
        ("a.txt", b"", r"a\.txt is empty"),
        (
            "a.jsonl",
            b'{"text": "fine"}\n{"text": "caf\xe9"}\n',
            r"a\.jsonl:2 \(byte 17\): not UTF-8 from byte 13",
        ),
        ("a.jsonl", b'{"text": "fine"}\n{"text"\n', r"a\.jsonl:2 \(byte 17\): not valid JSON: .* at column 8"),
        ("a.jsonl", b'{"txt": "fine"}\n', r"a\.jsonl:1 \(byte 0\): .* no string under \"text\" \(its keys are 'txt'\)"),
        ("a.jsonl", b'{"text": 3}\n', r"a\.jsonl:1"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1 .*a list, expected an object"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1 .*nested too deeply"),
        ("a.jsonl", b"9" * 5_000, r"a\.jsonl:1 .*not valid JSON"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', r"a\.jsonl:1 .*'text' appears twice"),
        ("a.jsonl", b'{"text": "a\\ud83d"}\n', r"a\.jsonl:1 .*text has the lone surrogate U\+D83D at character 1"),
        ("a.jsonl", b'{"text": "a"}\n\xef\xbb\xbf{"text": "b"}\n', r"a\.jsonl:2 \(byte 14\): a byte-order mark"),
        ("alpaca.json", b'[{"output": "a"}]', r"alpaca\.json:1 \(byte 1\): .* no string under \"text\""),
        ("one.json", b'{\n "text": "a"\n}', r"one\.json: a JSON file of records is a list of objects"),
        ("a.json", b'[{"text": "a"}] [', r"a\.json: line 1 \(byte 16\): the file goes beyond"),
        ("a.json", b'[{"text": "a"}', r"a\.json:1 \(byte 14\): the file ends within the record"),
        ("a.json", b'[{"text": "a"},', r"a\.json:1 \(byte 15\): the file ends within the record"),
        ("a.parquet", b"PAR1", r"a\.parquet is not a whole Parquet file"),
        ("a.json.gz", gzip.compress(b"[]", mtime=0), r"a\.json\.gz holds no documents"),
        ("a.json", b"", r"a\.json holds no documents"),
        ("a.jsonl", b"\n \n", r"a\.jsonl holds no documents"),
        ("a.jsonl.gz", b"not gzip", r"a\.jsonl\.gz is not a whole gzip file"),
        ("a.txt.gz", gzip.compress(b"long enough to be cut", mtime=0)[:-9], r"a\.txt\.gz is not a whole gzip file"),
        ("a.jsonl.zst", b"", r"a\.jsonl\.zst holds no documents"),
        ("a.jsonl.zst", b"not zstd", r"a\.jsonl\.zst is not a whole zstd file"),
        ("a.parquet.zst", b"", r"a Parquet file is packed inside"),
    ],
)
def test_bad_files_are_named_with_line_and_byte(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        list(read_documents(tmp_path / name))


def test_a_byte_order_mark_is_no_text_and_the_case_of_a_name_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    (tmp_path / "b.JSONL").write_bytes(b'\xef\xbb\xbf{"text": "two"}\n')
    (tmp_path / "c.JsonL.GZ").write_bytes(gzip.compress(b'{"text": "three"}\n', mtime=0))
    assert list(read_documents(sorted(tmp_path.iterdir()))) == ["one", "two", "three"]


def test_what_is_not_unicode_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "a\\ud83d"}\n{"text": "\\ud83d\\ude00 caf\xe9"}\n')
    paths = sorted(tmp_path.iterdir())
    assert list(read_documents(paths, errors="replace")) == ["caf\ufffd", "a\ufffd", "\U0001f600 caf\ufffd"]
    with pytest.raises(InvalidArgument, match="errors is 'ignore'"):
        read_documents(paths, errors="ignore")  # type: ignore[arg-type]


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(CorpusError, match="a FIFO, not a regular file"):
        list(read_documents(tmp_path / "a.txt"))


def test_missing_files_and_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"absent\.txt cannot be read"):
        list(read_documents(tmp_path / "absent.txt"))
    with pytest.raises(CorpusError, match="no files"):
        list(read_documents([]))
