"""One process at a time in a run folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stategpt.artifacts import RunLock
from stategpt.errors import StorageError

HOLD = """
import sys
from stategpt.artifacts import RunLock
with RunLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_process_is_told_who_holds_the_folder_and_death_frees_it(tmp_path: Path) -> None:
    with holder(tmp_path) as child:
        with pytest.raises(StorageError, match=f"in use by process {child.pid}"), RunLock(tmp_path):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        with RunLock(tmp_path):
            pass


def test_a_lock_can_be_taken_again_after_it_was_let_go(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "made")
    for _ in range(2):
        with lock, pytest.raises(StorageError, match=f"process {os.getpid()}"), RunLock(tmp_path / "made"):
            pass


def test_two_folders_do_not_hinder_each_other(tmp_path: Path) -> None:
    with RunLock(tmp_path / "a"), RunLock(tmp_path / "b"):
        pass


def test_a_forked_child_does_not_keep_the_folder(tmp_path: Path) -> None:
    script = """
import os, sys
from stategpt.artifacts import RunLock
with RunLock(sys.argv[1]):
    if os.fork() == 0:
        print("held", flush=True)
    sys.stdin.read()
"""
    command, pipe = [sys.executable, "-c", script, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        child.kill()
        child.wait()
        with RunLock(tmp_path):  # the forked child still waits
            pass
        os.killpg(child.pid, signal.SIGKILL)


def test_a_link_in_the_place_of_the_lock_file_is_refused_and_its_target_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").symlink_to(victim)
    with pytest.raises(StorageError, match=r"no link, folder or device named \.lock"), RunLock(folder):
        pass
    assert victim.read_text() == "precious"


def test_a_folder_or_fifo_in_the_place_of_the_lock_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / ".lock").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / ".lock")
    for name in ("a", "b"):
        with pytest.raises(StorageError, match="cannot claim"), RunLock(tmp_path / name):
            pass


def test_a_folder_that_cannot_be_made_or_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError, match="cannot claim"), RunLock(folder):
            pass
    # Root may write anywhere, so the read-only folder is the system call's answer.
    monkeypatch.setattr(os, "open", lambda *_arguments: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(StorageError, match="denied"), RunLock(tmp_path):
        pass


def test_what_a_holder_wrote_is_shown_escaped(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        (tmp_path / ".lock").write_text("\x1b]0;owned\x07")
        with pytest.raises(StorageError, match=r"process \\x1b\]0;owned\\x07\."), RunLock(tmp_path):
            pass
