"""Lines of files: every byte accounted for, bounded memory, typed errors for anything that is no text file."""

import base64
import contextlib
import gzip
import os
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data import lines
from stategpt.data.lines import BadLine, Source, read_lines
from stategpt.errors import InvalidArgument, MissingFile, RankingError, StorageError

MARK = b"\xef\xbb\xbf"
ZSTD_TEXT = "".join(f'{{"text": "line {n} of a packed file, café"}}\n' for n in range(40)).encode()
ZSTD_FRAME = base64.b64decode(  # `zstd -19 --check` of ZSTD_TEXT
    "KLUv/QRoBQQAcgUUG7A3B8wRhjQpYpkhg0FEavDspSVbSmmgZXbIII0tlZpXEb+xpVLzKto3tlRqXtU3tlRqXgWadJ7o3gNoEPEDLJ5L7h6Ro8OD"
    "MPJCKgtUkgkoqBGgr/0/A+A1qwER/A7B3xB+pB8AhJAFAwIgiQhAAMzbSLK7jLz96OZWqQbuDVlG"
)


def lines_of(path: Path, limit_bytes: int = 1 << 20) -> list[lines.Line]:
    with Source(path, RankingError) as source:
        return list(read_lines(source, limit_bytes))


@given(
    parts=st.lists(st.binary(max_size=12).filter(lambda part: b"\n" not in part), min_size=1), limit=st.integers(1, 9)
)
def test_lines_tile_the_file_whatever_the_limit(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    content = b"\n".join(parts)
    path.write_bytes(content)
    found = lines_of(path, limit)
    expected = content.split(b"\n")
    expected = expected[:-1] if expected[-1] == b"" else expected
    if content.startswith(MARK):
        expected[0] = expected[0][3:]
    assert [line.size for line in found] == [len(part) for part in expected]
    assert all(part.startswith(line.content) for line, part in zip(found, expected, strict=True))
    starts = [content[: line.byte_offset].count(b"\n") + 1 for line in found]
    assert starts == [line.number for line in found] == list(range(1, len(found) + 1))


def test_a_line_over_the_limit_is_named_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    for size in range(9, 14):
        path.write_bytes(b"x" * size + b"\n{}\n")
        long, short = lines_of(path, 10)
        if size > 10:
            assert (long.size, len(long.content)) == (size, 10)
            with pytest.raises(BadLine, match=rf"the line has {size} bytes"):
                long.text()
        else:
            assert long.text() == "x" * size
        assert short.json_object() == {}


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"{broken", "invalid_json", "at column 2"),
        (b"9" * 5_000, "invalid_json", "not valid JSON"),
        (b"[" * 100_000, "invalid_json", "nested too deeply"),
        (b'{"a": NaN}', "invalid_json", "NaN"),
        (b'{"a": 1, "a": 2}', "duplicate_key", "'a' appears twice"),
        (b'{"a": "caf\xe9"}', "not_utf8", "from byte 10"),
        (b"[1]", "wrong_type", "a list"),
        (b"null", "wrong_type", "null"),
    ],
)
def test_a_line_that_is_no_object_has_a_code_and_never_the_line_1(
    tmp_path: Path, content: bytes, code: str, message: str
) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(b"{}\n" + content)
    with pytest.raises(BadLine, match=message) as raised:
        lines_of(path)[1].json_object()
    assert raised.value.code == code
    assert "line 1" not in raised.value.message


def test_a_byte_order_mark_is_skipped_at_the_start_only(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(MARK + b'{"a": 1}\n' + MARK + b"{}\n")
    first, second = lines_of(path)
    assert (first.json_object(), first.byte_offset, second.byte_offset) == ({"a": 1}, 0, 12)
    with pytest.raises(BadLine, match="byte-order mark") as raised:
        second.json_object()
    assert raised.value.code == "byte_order_mark"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(StorageError, match="not a regular file"):
            lines_of(path)
    with pytest.raises(MissingFile):
        lines_of(tmp_path / "absent")


def test_damaged_gzip_is_one_error_whatever_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl.gz"
    whole = gzip.compress(os.urandom(200).hex().encode() + b"\n")
    refused = 0
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                lines_of(path)
            except RankingError:
                refused += 1
    assert refused > len(whole)


@pytest.mark.parametrize("line_end", [b"", b"\n"])
def test_a_gzip_bomb_ends_in_an_error_and_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line_end: bytes
) -> None:
    monkeypatch.setattr(lines, "UNPACKED_FREELY_BYTES", 1 << 20)
    packer = zlib.compressobj(9, wbits=31)
    part = (b" " * 1023 + (line_end or b" ")) * 1024
    content = b"".join(packer.compress(part) for _ in range(32)) + packer.flush()
    path = tmp_path / "bomb.gz"
    path.write_bytes(content)
    tracemalloc.start()
    with Source(path, RankingError) as source, pytest.raises(RankingError, match="does not shrink that far"):
        for _ in read_lines(source, 1 << 20):
            pass
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def repeated_zstd(byte: bytes, blocks: int) -> bytes:
    """A zstd frame of `blocks` blocks of 128 KiB, each one repeated byte (RFC 8878, 3.1.1)."""
    magic_and_window = b"\x28\xb5\x2f\xfd" + b"\x00\x58"
    headers = (((128 << 10) << 3 | 1 << 1 | (number == blocks - 1)).to_bytes(3, "little") for number in range(blocks))
    return magic_and_window + b"".join(header + byte for header in headers)


def test_zstd_and_gzip_of_several_parts_are_one_text(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl.ZST"
    path.write_bytes(ZSTD_FRAME)
    whole = lines_of(path)
    assert [line.content + b"\n" for line in whole] == ZSTD_TEXT.splitlines(keepends=True)
    assert [line.byte_offset for line in whole[:2]] == [0, ZSTD_TEXT.index(b"\n") + 1]
    path.write_bytes(ZSTD_FRAME + ZSTD_FRAME)
    assert len(lines_of(path)) == 2 * len(whole)
    members = tmp_path / "file.jsonl.gz"
    members.write_bytes(gzip.compress(b"on") + gzip.compress(b"e\ntwo") + bytes(64))
    assert [line.content for line in lines_of(members)] == [b"one", b"two"]


def test_damaged_zstd_is_one_error_whatever_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl.zst"
    for at in range(1, len(ZSTD_FRAME)):
        path.write_bytes(ZSTD_FRAME[:at])
        with pytest.raises(RankingError, match="is not a whole zstd file"):
            lines_of(path)
        path.write_bytes(ZSTD_FRAME[:at] + bytes([ZSTD_FRAME[at] ^ 0x55]) + ZSTD_FRAME[at + 1 :])
        with contextlib.suppress(RankingError):  # a byte may be one that says nothing about the text
            assert b"".join(line.content + b"\n" for line in lines_of(path)) == ZSTD_TEXT
    path.write_bytes(ZSTD_FRAME[:-1] + b"\0")
    with pytest.raises(RankingError, match="its checksum is"):
        lines_of(path)


def test_lines_before_the_damage_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl.zst"
    path.write_bytes(ZSTD_FRAME + ZSTD_FRAME[:-5])
    with Source(path, RankingError) as source:
        found = read_lines(source)
        assert [next(found).number for _ in range(40)] == list(range(1, 41))
        with pytest.raises(RankingError, match="Fetch or write it again"):
            list(found)


def test_a_zstd_bomb_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "UNPACKED_FREELY_BYTES", 1 << 20)
    path = tmp_path / "bomb.zst"
    path.write_bytes(repeated_zstd(b" ", 512))
    with pytest.raises(RankingError, match=r"unpacks to over [\d,]+ bytes from [\d,]+: text does not shrink that far"):
        lines_of(path)


def test_a_closed_source_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo")
    with Source(path, RankingError) as source:
        first, second = read_lines(source)
        assert (first.is_ended, second.is_ended) == (True, False)
    with pytest.raises(InvalidArgument, match="closed"):
        source.read(1)
