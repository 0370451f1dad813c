"""A small program for the fault tests to interrupt: publishes a folder and a file and appends to a log.

Usage: publisher.py ROOT VERSION [COUNT]. Publishes VERSION, VERSION + 1, ... (COUNT of them, 0 for ever) and prints
each version once it is published. Exits with 3 for OutOfSpace, 4 for another StorageError, after printing the message.
"""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path

from stategpt.artifacts import append_line, publish_file, publish_folder
from stategpt.errors import OutOfSpace, StorageError


def content(version: int, name: str) -> bytes:
    """What `name` holds in a version: every byte differs from the version before, and so does the length."""
    return bytes([version % 251]) * (5000 + 17 * (version % 5) + len(name))


def publish(root: Path, version: int) -> None:
    """Publishes one version of everything."""

    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        for name in ("weights.bin", "deep/state.bin"):
            (folder / name).write_bytes(content(version, name))

    publish_folder(root / "stage" / "folder", write, kind="version", extra={"version": version})
    publish_file(root / "stage" / "file.bin", content(version, "file.bin"))
    append_line(root / "log.jsonl", {"version": version}, durable=True)


def main(root: Path, first: int, count: int) -> int:
    """Publishes `count` versions; says how it ended."""
    versions = range(first, first + count) if count else itertools.count(first)
    try:
        for version in versions:
            publish(root, version)
            print(version, flush=True)
    except StorageError as error:
        print(error, file=sys.stderr)
        return 3 if isinstance(error, OutOfSpace) else 4
    return 0


if __name__ == "__main__":
    # In one thread: a publication in the main thread works in a second one, so that Ctrl-C can end it, and
    # strace counts the calls of each thread by themselves.
    codes = [1]
    root, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    worker = threading.Thread(target=lambda: codes.append(main(root, first, count)))
    worker.start()
    worker.join()
    sys.exit(codes[-1])
