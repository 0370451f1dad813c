"""Files named by a user: regular ones only, read within a limit, never waiting."""

import os
from pathlib import Path

import pytest

from stategpt.errors import CorruptArtifact, DataError, MissingFile, StorageError
from stategpt.files import open_regular, read_bytes


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert [read_bytes(tmp_path / name) for name in ("file", "link")] == [b"abc", b"abc"]


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "loop", Path("a\0b")):
        with pytest.raises(StorageError):
            open_regular(path)


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist") as caught:
        open_regular(tmp_path / "none")
    assert isinstance(caught.value, MissingFile)


def test_no_more_than_the_limit_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 11)
    assert len(read_bytes(path, 11)) == 11
    with pytest.raises(DataError, match="larger than 10 bytes"):
        read_bytes(path, 10)
    with pytest.raises(CorruptArtifact):
        read_bytes(path, 10, CorruptArtifact)


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert read_bytes(path, 1 << 60) == b"abc"  # one read() of the limit would be a MemoryError
