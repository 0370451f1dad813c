"""A full disk, a file-size limit and a quota: a typed error, the old content, no temporary file."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILL = """
import os, sys
from pathlib import Path
from stategpt.artifacts import append_line, publish_file, publish_folder, read_lines, verify
from stategpt.errors import OutOfSpace

root = Path(sys.argv[1])
assert os.statvfs(root).f_blocks * os.statvfs(root).f_frsize <= 256 << 10, "not the small disk"
small, large = b"s" * 1000, b"l" * (1 << 20)

def refused(act):
    try:
        act()
    except OutOfSpace as error:
        assert "no space left" in str(error) and str(root) in str(error), error
        assert isinstance(error, OSError)
        return
    raise SystemExit(f"{act} did not raise OutOfSpace")

publish_file(root / "file", small)
before = publish_folder(root / "folder", lambda folder: (folder / "f").write_bytes(small), kind="k")
append_line(root / "log", {"n": 1})
refused(lambda: publish_file(root / "file", large))
refused(lambda: publish_folder(root / "folder", lambda folder: (folder / "f").write_bytes(large), kind="k"))
refused(lambda: publish_folder(root / "other", lambda folder: (folder / "f").write_bytes(large), kind="k"))
refused(lambda: append_line(root / "log", {"n": "x" * (1 << 20)}))
assert (root / "file").read_bytes() == small
assert verify(root / "folder") == before
assert read_lines(root / "log") == [{"n": 1}]
assert sorted(os.listdir(root)) == ["file", "folder", "log"], os.listdir(root)
publish_file(root / "file", small * 2)
print("kept")
"""


def small_disk_command(folder: Path, command: list[str]) -> list[str]:
    """`command` in a mount namespace of its own where `folder` is a disk of 256 KiB."""
    script = 'mount -t tmpfs -o size=256k tmpfs "$1" && shift && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(folder), *command]


def test_a_full_disk_is_out_of_space_and_changes_nothing(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    if subprocess.run(small_disk_command(tmp_path, ["true"]), capture_output=True, check=False).returncode != 0:
        pytest.skip("this system does not let users mount a small disk in a namespace")
    command = small_disk_command(tmp_path, [sys.executable, "-c", FILL, str(tmp_path)])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr


def test_a_file_size_limit_is_a_storage_error_and_changes_nothing(
    tmp_path: Path, publisher_in: Callable[[Path], Any]
) -> None:
    publisher = publisher_in(tmp_path)
    publisher.publish(1)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=250, preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
    found = publisher.found()
    assert (found.folder, found.file, found.log, found.leftovers) == (1, 1, [1], [])


LIMITED = """
import sys
from pathlib import Path
from stategpt.artifacts import append_line, publish_file
from stategpt.errors import OutOfSpace, StorageError

root = Path(sys.argv[1])
for act in (
    lambda: publish_file(root / "stage" / "file.bin", bytes(5000)),
    lambda: append_line(root / "log.jsonl", {"text": "x" * 5000}),
):
    try:
        act()
    except StorageError as error:
        assert not isinstance(error, OutOfSpace) and "File too large" in str(error) and str(root) in str(error), error
    else:
        raise SystemExit("no error")
print("kept")
"""
