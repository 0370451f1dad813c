"""What a curation shows while it works: each pass with rate and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stategpt.data.records import Document
from stategpt.progress import Advance, progress

_MB = 1_000_000


class BytesRead:
    """How much of the documents' files was read: how many documents there are is not known before.

    A place in a compressed file counts bytes of its content, so that file may be counted as read before it is.
    """

    def __init__(self, files: Mapping[str, list[Path]], root: Path) -> None:
        self._root = root
        sources = (listed for name, listed in files.items() if name.startswith("sources."))
        self.total = sum(path.stat().st_size for listed in sources for path in listed if path.is_file())
        self._before = self._size = self._at = 0

    def begin(self, path: Path) -> None:
        """A file is opened."""
        self._before += self._size
        self._size, self._at = path.stat().st_size if path.is_file() else 0, 0

    def reach(self, document: Document) -> None:
        """A document was read."""
        self._at = document.where.byte_offset if document.where else 0

    def finish(self) -> None:
        """All files were read."""
        self._before, self._size = self.total, 0

    @property
    def done(self) -> int:
        """Bytes that were read."""
        return self._before + min(self._at, self._size)


@contextmanager
def shown_passes(read: BytesRead) -> Iterator[Callable[[int, int, str], None]]:
    """Yields what `curate` calls: documents that are done and all of them, by pass; bytes while those are unknown."""
    with ExitStack() as stack:
        shown: dict[str, Advance] = {}

        def show(done: int, total: int, name: str) -> None:
            """Shows one pass after the other."""
            if name not in shown:
                stack.close()
                shown.clear()
                count, unit = (total, "documents") if total else (_megabytes(read.total), "MB")
                shown[name] = stack.enter_context(progress(f"curation: {name}", count, unit))
            shown[name](done if total else _megabytes(read.done), "" if total else f"{done:,} documents")

        yield show


def _megabytes(count: int) -> int:
    """Rounded up, so that a small file is not none."""
    return -(-count // _MB)
