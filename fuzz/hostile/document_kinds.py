"""Files of documents in every format that sources read, and token files of other programs."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from changes import ODD_VALUES, dumped, flipped, json_bombs, retyped
from harness import Case, Kind

from stategpt import _native
from stategpt.config.sources import SourceConfig
from stategpt.data.rejections import Tally
from stategpt.data.sources import tokens
from stategpt.data.sources.files import read_source

END = 50256
RECORDS = [{"id": number, "text": f"Document {number} says caf\u00e9.", "by": {"a": [1]}} for number in range(30)]
PAGE = b"<html><head><title>T</title></head><body><nav>Menu</nav><p>Caf\xc3\xa9 is a word of some length.</p></body>"


def read(folder: Path, **settings: Any) -> object:
    """Documents of the files of a folder, and what became of the others."""
    tally = Tally()
    config = SourceConfig(("**",), 1.0, **settings)
    texts = [(document.text, document.group) for document in read_source("s", config, folder, tally)]
    assert len(texts) == tally.kept
    return texts, tally.rejected, tally.replaced


def json_lines(records: list[Any]) -> bytes:
    """One record a line."""
    return b"".join(dumped(record) + b"\n" for record in records)


def _endless() -> bytes:
    """A text of 3 GiB without a line end, in 3 MB."""
    return gzip.compress(b"a" * (16 << 20), mtime=0) * 192


def jsonl(case: Case) -> object:
    """Lines: bytes changed, values of other types, bombs; packed and not."""
    records: list[Any] = list(RECORDS)
    way = -1 if case.is_good else case.number % 5
    if way in (0, 1):
        records[3] = retyped(records[3], case.draw)
    content = json_lines(records)
    if way == 2:
        content += case.draw.choice(json_bombs()).replace(b"\n", b" ") + b"\n" + dumped(RECORDS[0])
    name = "a.jsonl"
    if way in (3, 4):
        pack: Callable[[bytes], bytes] = gzip.compress if way == 3 else _native.compress_zstd
        name = "a.jsonl.gz" if way == 3 else "a.jsonl.zst"
        content = _endless() if case.number == 3 else flipped(pack(content), case.draw)
    elif way >= 0 and case.number % 2:
        content = flipped(content, case.draw)
    (case.folder / name).write_bytes(content)
    return read(case.folder, id=case.draw.choice(("", "id")), invalid_text=case.draw.choice(("reject", "replace")))


def json_array(case: Case) -> object:
    """The same as one list."""
    content = dumped(RECORDS)
    if not case.is_good:
        way = case.number % 3
        if way == 0:
            content = flipped(content, case.draw)
        elif way == 1:
            content = dumped(retyped(RECORDS, case.draw))
        else:
            content = b"[" + dumped(RECORDS[0]) + b"," + case.draw.choice(json_bombs()) + b"]"
    (case.folder / "a.json").write_bytes(content)
    return read(case.folder)


def text(case: Case) -> object:
    """Text files: bytes changed, other encodings, NUL."""
    good = "\ufeffCaf\u00e9 and more.\r\nSecond line.\n".encode()
    odd = [
        good.decode().encode("utf-16"),
        good.decode("latin-1").encode("latin-1"),
        b"\0" * 9,
        b"",
        b" \n",
        b"\xff" * 99,
    ]
    content = good if case.is_good else flipped(good, case.draw) if case.number % 2 else case.draw.choice(odd)
    (case.folder / "a.md").write_bytes(content)
    return read(case.folder, invalid_text="reject" if case.is_good else case.draw.choice(("reject", "replace")))


def _columns(case: Case) -> dict[str, Any]:
    """Columns of other types than text."""
    import pyarrow as pa

    texts = [record["text"] for record in RECORDS]
    odd = [
        pa.array([[text] for text in texts]),
        pa.array([{"x": text} for text in texts]),
        pa.array([text.encode() for text in texts]),
        pa.array(range(30)),
        pa.array([None] * 30),
        pa.array([1e308] * 30),
        pa.array([True] * 30),
        pa.array(texts).dictionary_encode(),
        pa.array(texts, pa.large_string()),
        pa.array([text[:4] if number % 2 else None for number, text in enumerate(texts)]),
        pa.array([{"a": [{"b": text}]} for text in texts]),
        pa.array(["x" * 100_000] * 30),
    ]
    names = ("text", "id", "", "\0", "text", "a" * 10_000)
    return {case.draw.choice(names): case.draw.choice(odd), "id": case.draw.choice(odd)}


def parquet(case: Case) -> object:
    """Parquet: bytes changed anywhere, most often in the footer; columns of other types."""
    import pyarrow
    from pyarrow import parquet as files

    columns = {"text": [record["text"] for record in RECORDS], "id": list(range(30))}
    way = -1 if case.is_good else case.number % 3
    buffer = io.BytesIO()
    files.write_table(pyarrow.table(_columns(case) if way == 0 else columns), buffer, row_group_size=7)
    content = buffer.getvalue()
    if way == 1:
        content = flipped(content, case.draw)
    elif way == 2:
        footer = int.from_bytes(content[-8:-4], "little") + 8
        content = content[:-footer] + flipped(content[-footer:-8], case.draw) + content[-8:]
    (case.folder / "a.parquet").write_bytes(content)
    return read(case.folder, id=case.draw.choice(("", "id", "by")) if way >= 0 else "id")


HTML_BOMBS = [
    b"<div>" * 300_000 + b"deep",
    b"<a " + b"x=1 " * 200_000 + b">text</a>",
    b"<" * 500_000,
    b"<!--" * 200_000,
    b"&#x110000;&#xd800;&#0;" * 1000,
    b"<table><tr><td>" * 50_000 + b"cell",
    b"<p>" + b"word " * 1_000_000,
    b"<meta charset='utf-7'><p>+ADw-script+AD4-",
    b"<meta charset='" + b"x" * 100_000 + b"'><p>text</p>",
    b"<svg><math>" * 20_000 + b"<p>text",
    b"<script>" * 100_000,
    b"\xff\xfe<\0p\0>\0",
    b"<li><ul>" * 450 + b"text of a list",
]


def html(case: Case) -> object:
    """Pages: bytes changed; deep, wide, of other character sets."""
    content = PAGE
    if not case.is_good:
        bomb = case.draw.choice(HTML_BOMBS)
        content = flipped(PAGE, case.draw) if case.number % 2 else flipped(bomb, case.draw) if case.number % 4 else bomb
    (case.folder / "a.html").write_bytes(content)
    return read(case.folder)


def _warc_record(kind: str, content: bytes, url: str, mime: str = "text/html", length: object = None) -> bytes:
    outer = mime
    if kind == "response":
        content = f"HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\n\r\n".encode() + content
        outer = "application/http; msgtype=response"
    size = len(content) if length is None else length
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
    head += f"WARC-Record-ID: <urn:uuid:{zlib.crc32(url.encode()):08d}>\r\nContent-Type: {outer}\r\n"
    return head.encode() + f"Content-Length: {size}\r\n\r\n".encode() + content + b"\r\n\r\n"


def warc(case: Case) -> object:
    """Archives: bytes changed, packed and not; lengths, addresses and character sets that are wrong."""
    odd_url = "https://b.org/2" if case.is_good else case.draw.choice(("http://[", "", "x" * 50_000, "\u0001", "//"))
    length = None if case.is_good or case.number % 4 else case.draw.choice((-1, 0, 7, 2**31, 2**63, 2**64, "x", ""))
    mime = "text/html" if case.is_good else case.draw.choice(("text/html", "text/plain", "text/html; charset=x", ""))
    records = [
        _warc_record("response", PAGE, "https://a.org/1"),
        _warc_record("response", PAGE, odd_url, mime, length),
        _warc_record("conversion", b"Converted text.", "https://c.org/3", "text/plain"),
    ]
    is_packed = not case.is_good and case.number % 2 == 1
    content = b"".join(gzip.compress(record, mtime=0) for record in records) if is_packed else b"".join(records)
    if not case.is_good and case.number % 3:
        content = flipped(content, case.draw)
    (case.folder / ("a.warc.gz" if is_packed else "a.warc")).write_bytes(content)
    return read(case.folder, id="url", group="host")


def _pdf(case: Case) -> bytes:
    """A small PDF; its objects refer to each other, to themselves and to nothing, where it is not the good one."""
    odd = ("0", "-1", "9" * 40, "2 0 R", "99 0 R", "[" * 5000, "<<" * 5000, "/X", "(x", "null", "[0 0 1e30 1e30]")
    part = (lambda value: value) if case.is_good else (lambda value: case.draw.choice((value, value, *odd)))
    content = b"BT /F1 24 Tf 40 100 Td (A page of text) Tj ET"
    objects = [
        f"<< /Type /Catalog /Pages {part('2 0 R')} >>",
        f"<< /Type /Pages /Kids {part('[4 0 R]')} /Count {part('1')} >>",
        f"<< /Type /Font /Subtype /Type1 /BaseFont {part('/Helvetica')} >>",
        f"<< /Type /Page /Parent {part('2 0 R')} /MediaBox {part('[0 0 400 200]')} /Contents {part('5 0 R')} "
        f"/Resources << /Font << /F1 {part('3 0 R')} >> >> >>",
        f"<< /Length {part(str(len(content)))} >>\nstream\n{content.decode()}\nendstream",
    ]
    file = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(file))
        file += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(file)
    file += b"xref\n0 6\n0000000000 65535 f \n" + "".join(f"{place:010d} 00000 n \n" for place in places).encode()
    return bytes(file) + f"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n{part(str(start))}\n%%EOF\n".encode()


def pdf(case: Case) -> object:
    """PDF: bytes changed; parts that are of other types, deep, or refer to what holds them."""
    content = _pdf(case)
    if not case.is_good and case.number % 2:
        content = flipped(content, case.draw)
    (case.folder / "a.pdf").write_bytes(content)
    return read(case.folder)


def _ids() -> Iterator[int]:
    for number in range(40):
        yield END
        yield from range(number, number + 9)


def _flat_file(form: str) -> bytes:
    ids = np.array(list(_ids()), "<u2")
    if form == "nanogpt":
        return ids.tobytes()
    header = np.zeros(256, "<i4")
    header[:3] = (20240520, 1, len(ids))
    return header.tobytes() + ids.tobytes()


def _megatron_index() -> bytes:
    lengths = np.full(40, 9, "<i4")
    pointers = np.arange(40, dtype="<i8") * 18
    counts = np.array([40, 41], "<u8").tobytes()
    head = b"MMIDIDX\0\0" + np.array([1], "<u8").tobytes() + b"\x08" + counts
    return head + lengths.tobytes() + pointers.tobytes() + np.arange(41, dtype="<i8").tobytes()


def token_files(case: Case) -> object:
    """nanoGPT, llm.c and Megatron: bytes changed; counts and pointers that are large, negative or out of order."""
    form = ("nanogpt", "llm_c", "megatron")[case.number % 3]
    path, index = case.folder / "a.bin", b""
    content = _flat_file("nanogpt" if form != "llm_c" else form)
    if form == "megatron":
        index = _megatron_index()
        if case.number % 2:
            place = case.draw.randrange(17, len(index) - 8)
            odd = case.draw.choice((-1, 0, 2**31, 2**62, -(2**63), 2**63 - 1))
            index = index[:place] + np.array([odd], "<i8").tobytes() + index[place + 8 :]
        else:
            index = flipped(index, case.draw)
        path.with_suffix(".idx").write_bytes(index)
    path.write_bytes(flipped(content, case.draw) if form != "megatron" or case.number % 5 == 0 else content)
    end = case.draw.choice((END, END, 0, None, -1, 2**40))
    return [document.ids.tobytes() for document in tokens(path, end_of_text=end, format=case.draw.choice((form, "")))]


def odd_settings(case: Case) -> object:
    """Names of fields, formats, groups and patterns that nothing has."""
    (case.folder / "a.jsonl").write_bytes(json_lines(RECORDS))
    odd = [value for value in ODD_VALUES if isinstance(value, str)]
    settings = {
        case.draw.choice(("text", "id", "group", "format", "invalid_text")): case.draw.choice([*odd, "by", "file"])
    }
    tally = Tally()
    paths = (case.draw.choice(("**", "*.jsonl", "[", "**/**/**", "../x", "a.jsonl/b", "~", "a\\b", *odd)),)
    return len(list(read_source("s", SourceConfig(paths, 1.0, **settings), case.folder, tally)))


KINDS = [
    Kind("documents: JSON lines, gz, zst", jsonl),
    Kind("documents: JSON arrays", json_array),
    Kind("documents: text files", text),
    Kind("documents: Parquet", parquet),
    Kind("documents: HTML", html),
    Kind("documents: WARC", warc),
    Kind("documents: PDF", pdf),
    Kind("token files: nanoGPT, llm.c, Megatron", token_files, has_good=False),
    Kind("documents: names of fields, formats, patterns", odd_settings, has_good=False),
]
