"""Parquet, HTML, WARC and PDF: text, places, codes, and typed errors for what is damaged or of another type."""

import contextlib
import gzip
import io
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from stategpt.config.sources import SourceConfig
from stategpt.data import sources
from stategpt.data.rejections import Rejection, Tally
from stategpt.data.sources import parquet_rows
from stategpt.data.sources.files import read_source
from stategpt.data.sources.readers import reader_named, reader_names
from stategpt.data.sources.records import read_fields, read_records
from stategpt.errors import CorpusError, InvalidArgument, MissingExtra

pyarrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")


def read(base: Path, *paths: str, **changes: Any) -> tuple[list[str], Tally]:
    tally = Tally()
    documents = read_source("s", SourceConfig(paths or ("**",), 1.0, **changes), base, tally)
    return [document.text for document in documents], tally


def table(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def test_there_is_a_module_for_each_format() -> None:
    assert reader_names() == ["html", "json", "jsonl", "parquet", "pdf", "text", "warc"]
    assert all(reader_named(name).SUFFIXES for name in reader_names())


def test_rows_of_parquet_are_documents_with_their_number(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", body=["one", None, "three", ""], id=[1, 2, 3, 4])
    texts, tally = read(tmp_path, text="body", id="id")
    assert texts == ["one", "three"]
    assert tally.rejected == {"missing_field": 1, "empty_text": 1}
    assert str(tally.first[0].where) == "a.parquet:2 (byte 0)"
    assert [row for _, row in read_records(path)][2] == {"body": "three", "id": 3}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([["a"], ["b"]], r"sources\.s: a\.parquet: the column 'text' is of type list<.*>; name a text column"),
        ([1, 2], r"the column 'text' is of type int64; name a text column"),
        ([b"a", b"b"], r"the column 'text' is of type binary; name a text column"),
        ([{"x": "a"}, {"x": "b"}], r"the column 'text' is of type struct<"),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, column: list[Any], message: str) -> None:
    table(tmp_path / "a.parquet", text=column)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path)


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", texts=["a"], n=[1.5])
    with pytest.raises(CorpusError, match=r"a\.parquet has no column 'text'; did you mean 'texts'\?"):
        read(tmp_path)
    with pytest.raises(CorpusError, match=r"the column 'n' is of type double; name a column of texts or whole numbers"):
        read(tmp_path, text="texts", id="n")


def test_a_dictionary_column_is_text_and_bad_utf8_is_rejected_or_replaced(tmp_path: Path) -> None:
    values = pyarrow.array(["a", "b", "a"]).dictionary_encode()
    table(tmp_path / "a.parquet", text=values)
    assert read(tmp_path)[0] == ["a", "b", "a"]
    buffers = pyarrow.array([b"good", b"caf\xe9"], pyarrow.binary()).buffers()
    invalid = pyarrow.Array.from_buffers(pyarrow.string(), 2, buffers)
    table(tmp_path / "a.parquet", text=invalid)
    texts, tally = read(tmp_path)
    assert (texts, tally.rejected) == (["good"], {"invalid_json": 1})
    texts, tally = read(tmp_path, invalid_text="replace")
    assert (texts, tally.replaced) == (["good", "caf\ufffd"], 1)


def test_a_damaged_parquet_file_is_an_error_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = table(tmp_path / "a.parquet", text=[f"document {n}" for n in range(50)]).read_bytes()
    for cut in range(0, len(whole), 97):
        (tmp_path / "a.parquet").write_bytes(whole[:cut])
        with pytest.raises(CorpusError, match=r"a\.parquet"):
            read(tmp_path)


def test_flipped_bytes_of_parquet_give_typed_errors_only(tmp_path: Path) -> None:
    whole = bytearray(table(tmp_path / "a.parquet", text=[f"document {n}" for n in range(50)]).read_bytes())
    for place in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 0x5A
        (tmp_path / "a.parquet").write_bytes(flipped)
        with contextlib.suppress(CorpusError):
            read(tmp_path)


def test_parquet_that_unpacks_to_too_much_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pyarrow.table({"text": ["x" * 50_000] * 400}), tmp_path / "a.parquet")
    monkeypatch.setattr(parquet_rows, "UNPACKED_FREELY_BYTES", 1 << 20)
    with pytest.raises(CorpusError, match=r"a\.parquet unpacks to over"):
        read(tmp_path)


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "a.parquet", text=["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"reading .* needs pyarrow.*\[data\]"):
        list(read_fields(path, ("text",)))


def test_the_main_text_of_a_page_is_its_document(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse")
    page = "<html><head><script>var x</script></head><body><nav>Menu</nav><p>Caf\u00e9 is a word.</p></body>"
    (tmp_path / "a.html").write_bytes(page.encode())
    (tmp_path / "b.htm").write_bytes(page.replace("<head>", '<head><meta charset="latin-1">').encode("latin-1"))
    (tmp_path / "c.html").write_bytes(b"<html><body></body></html>")
    (tmp_path / "d.html").write_bytes(b"\x89PNG\0\0")
    texts, tally = read(tmp_path)
    assert len(texts) == 2
    assert all("Caf\u00e9 is a word." in text and "var x" not in text for text in texts)
    assert tally.rejected == {"empty_text": 1, "not_text": 1}


def test_tags_within_each_other_end(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse")
    (tmp_path / "a.html").write_bytes(b"<div>" * 200_000 + b"deep text here")
    (tmp_path / "b.html").write_bytes(b"<div>" * 900 + b"less deep text" + b"</div>" * 900 + b"<p>one<br><li>" * 9_000)
    texts, tally = read(tmp_path)
    assert (len(texts), tally.rejected) == (1, {"too_deep": 1})


def warc_record(kind: str, url: str, content: bytes, mime: str = "text/html", status: int = 200) -> bytes:
    body = content
    if kind == "response":
        body = f"HTTP/1.1 {status} OK\r\nContent-Type: {mime}\r\n\r\n".encode() + content
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
    outer = "application/http; msgtype=response" if kind == "response" else mime
    head += f"WARC-Record-ID: <urn:uuid:{zlib.crc32(url.encode()):08d}>\r\nContent-Type: {outer}\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def test_pages_of_a_crawl_are_documents_with_their_host(tmp_path: Path) -> None:
    pytest.importorskip("fastwarc")
    page = b"<html><body><p>A page about one thing.</p></body></html>"
    records = [
        warc_record("warcinfo", "x", b"software: x", "application/warc-fields"),
        warc_record("request", "https://a.org/1", b"GET / HTTP/1.1\r\n\r\n", "application/http"),
        warc_record("response", "https://a.org/1", page),
        warc_record("response", "https://a.org/2", page, status=404),
        warc_record("response", "https://b.org/3.png", b"\x89PNG", "image/png"),
        warc_record("response", "https://b.org/4", "caf\xe9".encode("latin-1"), "text/plain"),
        warc_record("conversion", "https://c.org/5", b"Converted text.", "text/plain"),
    ]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (tmp_path / "b.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    for name in ("a.warc", "b.warc.gz"):
        tally = Tally()
        config = SourceConfig((name,), 1.0, id="url", group="host")
        documents = list(read_source("s", config, tmp_path, tally))
        assert [document.text.strip() for document in documents] == ["A page about one thing.", "Converted text."]
        assert [(document.group, document.meta["id"]) for document in documents] == [
            ("a.org", "https://a.org/1"),
            ("c.org", "https://c.org/5"),
        ]
        assert tally.rejected == {"not_utf8": 1}
        assert documents[0].where is not None
        assert documents[0].where.file == name


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("fastwarc")
    for content in (b"", b"hello\nworld\n" * 50):
        (tmp_path / "a.warc").write_bytes(content)
        with pytest.raises(CorpusError, match=r"a\.warc"):
            read(tmp_path)
    (tmp_path / "a.warc").unlink()
    bomb = warc_record("response", "https://a.org/1", b"<p>" + b"a" * (200 << 20))
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(bomb, 1))
    with pytest.raises(CorpusError, match="unpacks to over"):
        read(tmp_path)


def pdf_of(*pages: str) -> bytes:
    """A PDF file with a line of text on each page; no text makes a page of a picture's kind."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        content = f"BT /F1 24 Tf 40 100 Td ({text}) Tj ET" if text else "0 0 10 10 re f"
        rest = f"/Contents {5 + 2 * number} 0 R /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] {rest} >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    file = io.BytesIO()
    file.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(file.tell())
        file.write(f"{number} 0 obj\n{body}\nendobj\n".encode())
    start = file.tell()
    file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    file.write("".join(f"{place:010d} 00000 n \n" for place in places).encode())
    file.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())
    return file.getvalue()


def test_the_text_layer_of_a_pdf_is_a_document_and_a_scan_has_none(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    (tmp_path / "a.pdf").write_bytes(pdf_of("First page", "Second page"))
    (tmp_path / "b.pdf").write_bytes(pdf_of("", ""))
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.4\nnonsense")
    (tmp_path / "d.pdf").write_bytes(b"")
    texts, tally = read(tmp_path)
    assert texts == ["First page\n\nSecond page"]
    assert tally.rejected == {"no_text_layer": 1, "invalid_pdf": 2}


def test_flipped_bytes_of_a_pdf_are_documents_or_rejections(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    whole = pdf_of("First page")
    for place in range(0, len(whole), 11):
        flipped = bytearray(whole)
        flipped[place] ^= 0x15
        (tmp_path / "a.pdf").write_bytes(flipped)
        assert read(tmp_path)[1].total == 1


def test_public_readers_give_documents_and_stop_at_the_first_fault_without_a_tally(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "one"}\n{"body": ""}\n{"body": "two"}\n')
    path = tmp_path / "a.jsonl"
    tally = Tally()
    assert [document.text for document in sources.jsonl(path, tally=tally, text="body")] == ["one", "two"]
    assert tally.rejected == {"empty_text": 1}
    found = sources.jsonl(str(path), text="body")
    assert next(found).text == "one"
    with pytest.raises(CorpusError, match=r"a\.jsonl:2 \(byte 16\): empty_text"):
        list(found)
    (tmp_path / "b.txt").write_text("text")
    assert [document.text for document in sources.text([tmp_path / "b.txt"])] == ["text"]
    with pytest.raises(InvalidArgument, match="unexpected keyword argument 'field'"):
        list(sources.text(path, field="x"))
    table(tmp_path / "c.parquet", text=["row"])
    assert [document.source for document in sources.parquet(tmp_path / "c.parquet", source="rows")] == ["rows"]


def test_records_of_a_file_of_an_unknown_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a,b\n")
    with pytest.raises(CorpusError, match=r"a\.txt: the name says no format of records"):
        list(read_records(tmp_path / "a.txt"))


def test_records_of_arrays_and_lines_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1},\n {"b": [1, "]"]}]')
    (tmp_path / "b.json").write_text('{"a": 1}\n{"b": [1, "]"]}\n')
    for name in ("a.json", "b.json"):
        assert [record for _, record in read_records(tmp_path / name)] == [{"a": 1}, {"b": [1, "]"]}]
    places = [where for where, _ in read_records(tmp_path / "a.json", name="shown.json")]
    assert [str(where) for where in places] == ["shown.json:1 (byte 1)", "shown.json:2 (byte 12)"]
    (tmp_path / "b.json").write_text("\n" * 70_000 + '[{"a": 1}]')
    assert [record for _, record in read_records(tmp_path / "b.json")] == [{"a": 1}]
    for content in ('"a"', "7", '{"data": [{"a": 1}]\n}'):
        (tmp_path / "b.json").write_text(content)
        with pytest.raises(CorpusError, match="a list of objects, or one object a line; this one is neither"):
            list(read_records(tmp_path / "b.json"))
    (tmp_path / "c.json").write_text('[{"a": 1}, {"a": 1, "a": 2}')
    found = [record for _, record in read_records(tmp_path / "c.json")]
    assert [record.code for record in found if isinstance(record, Rejection)] == ["duplicate_key", "cut_off"]
