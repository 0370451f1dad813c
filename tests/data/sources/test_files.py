"""Documents of users' files: what is kept, what is rejected with which code, and that the counts add up."""

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.config.sources import SourceConfig
from stategpt.data.records import Document, Place
from stategpt.data.rejections import Tally
from stategpt.data.sources import limits
from stategpt.data.sources.files import CODES, read_source
from stategpt.errors import ConfigError, CorpusError


def read(base: Path, *paths: str, **changes: Any) -> tuple[list[Document], Tally]:
    tally = Tally()
    config = SourceConfig(paths or ("**/*",), 1.0, **changes)
    documents = list(read_source("notes", config, base, tally))
    assert tally.kept == len(documents)
    assert set(tally.rejected) <= set(CODES)
    return documents, tally


def test_each_format_is_read_by_its_name_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# one\r\n")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n{"text": "three"}')
    (tmp_path / "c.json").write_text('[{"text": "four"}, {"text": "five"}]')
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfsix"))
    (tmp_path / "e.py").write_text("seven = 7\n")
    documents, tally = read(tmp_path)
    assert [document.text for document in documents] == [
        "# one\r\n",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven = 7\n",
    ]
    assert [str(document.where) for document in documents][:4] == [
        "a.md:1 (byte 0)",
        "b.jsonl:1 (byte 0)",
        "b.jsonl:2 (byte 16)",
        "c.json:1 (byte 1)",
    ]
    assert {document.source for document in documents} == {"notes"}
    assert tally.to_json() == {"total": 7, "kept": 7, "duplicate": 0, "rejected": {}, "replaced": 0, "first": []}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.txt", b"", "empty_text"),
        ("a.txt", b"\xef\xbb\xbf \n\t", "empty_text"),
        ("a.txt", b"a\0b", "not_text"),
        ("a.bin", bytes(range(256)), "not_text"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not_text"),
        ("a.txt", "café".encode("latin-1") + b" ole", "not_utf8"),
        ("a.txt", "hello".encode("utf-16"), "not_utf8"),
        ("a.txt", "caf\u00e9".encode()[:-1], "cut_off"),
        ("a.jsonl", b'{"text": "a', "cut_off"),
        ("a.jsonl", b'{"text": "caf\xc3', "cut_off"),
        ("a.jsonl", b'{"text": ""}\n', "empty_text"),
        ("a.jsonl", b'{"text": "\\u0000"}\n', "not_text"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "invalid_json"),
        ("a.jsonl", b'{"text": "\xff"}\n', "not_utf8"),
        ("a.jsonl", b'{"text": null}\n', "missing_field"),
        ("a.jsonl", b'{"txt": "a"}\n', "missing_field"),
        ("a.jsonl", b'{"text": ["a"]}\n', "wrong_type"),
        ("a.jsonl", b'{"text": 7}\n', "wrong_type"),
        ("a.jsonl", b'["a"]\n', "wrong_type"),
        ("a.jsonl", b'{"text": "a", "text": "a"}\n', "duplicate_key"),
        ("a.jsonl", b"{nonsense}\n", "invalid_json"),
        ("a.json", b'[{"text": "a"', "cut_off"),
        ("a.json", b"[7]", "wrong_type"),
        ("a.json", b"[,]", "invalid_json"),
    ],
)
def test_what_is_no_document_is_rejected_with_a_code(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text("good")
    documents, tally = read(tmp_path)
    assert [document.text for document in documents] == ["good"]
    assert code in tally.rejected
    assert str(tally.first[0]).startswith(f"{name}:1 (byte ")
    assert all(rejection.message for rejection in tally.first)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", b"caf\xe9 ole", "caf\ufffd ole"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', "caf\ufffd"),
        ("a.jsonl", b'{"text": "a\\ud800b"}\n', "a\ufffdb"),
    ],
)
def test_invalid_text_is_replaced_and_counted_where_that_is_set(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(content)
    documents, tally = read(tmp_path, invalid_text="replace")
    assert [document.text for document in documents] == [text]
    assert (tally.kept, tally.replaced) == (1, 1)


def test_a_document_over_the_limit_is_rejected_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(b"a" * (limits.MAX_DOCUMENT_BYTES + 1))
    (tmp_path / "b.txt").write_bytes(b"\n" * 1 + b"b" * limits.MAX_DOCUMENT_BYTES)
    _, tally = read(tmp_path)
    assert tally.rejected == {"too_long": 2}
    monkeypatch.setattr(limits, "_SURELY_FITS_BYTES", 40)
    monkeypatch.setattr(limits, "MAX_DOCUMENT_BYTES", 100)
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": "c" * 101}) + "\n" + json.dumps({"text": "é" * 50}) + "\n")
    documents, tally = read(tmp_path, "c.jsonl")
    assert (len(documents), tally.rejected) == (1, {"too_long": 1})


def test_a_text_that_grows_as_json_is_measured_as_json(tmp_path: Path) -> None:
    # Two bytes of JSON for each line end: 30 MiB of them are over the limit of a line of the corpus.
    (tmp_path / "a.txt").write_bytes(b"x" + b"\x01" * (12 << 20))
    _, tally = read(tmp_path)
    assert tally.rejected == {"too_long": 1}


def test_a_line_of_a_gigabyte_is_rejected_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "first"}\n{"text": "')
        file.truncate(file.tell() + (1 << 30))
        file.seek(0, os.SEEK_END)
        file.write(b'"}\n{"text": "last"}\n')
    tracemalloc.start()
    documents, tally = read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [document.text for document in documents] == ["first", "last"]
    assert tally.rejected == {"line_too_long": 1}
    assert peak < 200 << 20


def test_a_bomb_ends_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "' + b"a" * (200 << 20) + b'"}\n'))
    with pytest.raises(CorpusError, match=r"sources\.notes: .*a\.jsonl\.gz unpacks to over"):
        read(tmp_path)


def test_a_fifo_in_a_folder_is_rejected_and_one_that_is_named_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text("b")
    for paths in ((), ("a.txt", "b.txt")):
        documents, tally = read(tmp_path, *paths)
        assert ([document.text for document in documents], tally.rejected) == (["b"], {"not_regular": 1})


def test_a_damaged_file_is_an_error_that_names_source_and_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 100)[:-9])
    with pytest.raises(CorpusError, match=r"sources\.notes: .*a\.jsonl\.gz is not a whole gzip file"):
        read(tmp_path)


def test_groups_are_documents_files_folders_or_a_field(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jsonl").write_text('{"text": "a", "by": "ann", "n": 7}\n{"text": "a", "by": "bo", "n": 8}\n')
    documents, _ = read(tmp_path)
    assert len({document.group for document in documents}) == 1, "equal texts are one group"
    assert [document.group for document in read(tmp_path, group="file")[0]] == ["x/a.jsonl"] * 2
    assert [document.group for document in read(tmp_path, group="folder")[0]] == ["x"] * 2
    named, _ = read(tmp_path, group="by", id="n")
    assert [(document.group, document.meta) for document in named] == [("ann", {"id": "7"}), ("bo", {"id": "8"})]
    with pytest.raises(CorpusError):
        Tally(rejected={"missing_field": 1}, kept=50).require(0.01, "notes")


@pytest.mark.parametrize("field", ["file", "folder", "document"])
def test_a_field_of_ids_may_be_called_as_a_group_is(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a", field: "7"}) + "\n")
    assert [document.meta for document in read(tmp_path, id=field)[0]] == [{"id": "7"}]
    (tmp_path / "a.jsonl").rename(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match=rf"sources\.notes\.id = '{field}' is a field, and a\.txt is read as text"):
        read(tmp_path, id=field)


def test_a_field_in_a_format_without_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ConfigError, match=r"sources\.notes\.group = 'author' is a field, and a\.txt is read as text"):
        read(tmp_path, group="author")
    with pytest.raises(ConfigError, match=r"sources\.notes\.format = 'jsnl' is not a format; did you mean 'json"):
        read(tmp_path, format="jsnl")


def test_a_format_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "a.data").write_text('{"body": "a"}\n')
    assert [document.text for document in read(tmp_path, format="jsonl", text="body")[0]] == ["a"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
LINE = st.one_of(
    JSON.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.text(max_size=20).map(lambda text: json.dumps({"text": text}).encode()),
    st.tuples(st.text(max_size=5), st.integers()).map(lambda it: json.dumps({"text": it[0], "id": it[1]}).encode()),
    st.binary(max_size=12),
    st.sampled_from([b"", b" ", b'{"text": "a", "id": "b", "id": "c"}', b'{"text": "\\ud83d"}', b'{"text": "a"']),
)


@given(st.lists(LINE, max_size=8), st.booleans(), st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_are_kept_or_rejected_exactly_as_the_slow_reader_says(
    tmp_path: Path, lines: list[bytes], is_ended: bool, replace: bool
) -> None:
    from stategpt.data.sources.records import read_fields, read_records

    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if is_ended else b""))
    fast = list(read_fields(path, ("text", "id")))
    slow = list(read_records(path))
    assert len(fast) == len(slow)
    for found, (where, record) in zip(fast, slow, strict=True):
        assert found.where == where
        if isinstance(record, dict) and type(record.get("text")) is str and type(record.get("id")) in (str, int):
            surrogates = any("\ud800" <= character <= "\udfff" for character in f"{record['text']}{record['id']}")
            assert surrogates or found.values == (record["text"], str(record["id"]))
        else:
            assert not hasattr(found, "values"), (found, record)
            if not isinstance(record, dict):
                assert found == record
    tally = Tally()
    invalid = "replace" if replace else "reject"
    config = SourceConfig(("a.jsonl",), 1.0, invalid_text=invalid)  # type: ignore[arg-type]
    documents = list(read_source("s", config, tmp_path, tally))
    given = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert tally.total == sum(bool(line.strip()) for line in given) == len(documents) + tally.rejected_count
    for document in documents:
        document.text.encode()
        assert document.where is not None


def test_a_place_is_relative_to_the_base_where_the_file_is_inside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.txt").write_text("a")
    documents, _ = read(tmp_path / "in", str(tmp_path / "a.txt"))
    assert documents[0].where == Place(str(tmp_path / "a.txt"))


def test_the_guide_lists_every_code_and_format() -> None:
    from stategpt.data.sources.readers import reader_names

    page = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "sources.md").read_text(encoding="utf-8")
    assert all(f"| `{code}` | {meaning} |" in page for code, meaning in CODES.items())
    assert all(f"| `{name}` |" in page for name in reader_names())
