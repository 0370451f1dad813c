"""Documents on their way into a corpus: written as they come, and copied to the side of their group when it is known.

A side can be decided when all groups are known, and no list of texts is held until then: the lines wait in a file.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stategpt.data.corpus_rows import document_row, encoded
from stategpt.data.records import Document
from stategpt.data.splitting import SIDES, GroupSplit, Side

_BUFFER_BYTES = 1 << 20


def spool_documents(documents: Iterable[Document], path: Path, name: str, split: GroupSplit) -> npt.NDArray[np.int64]:
    """Writes documents as lines of a file, and adds their groups to the input `name` of `split`, in the same order.

    Returns:
        UTF-8 bytes of each document's text.

    Raises:
        CorpusError: a document takes more than a line may.
    """
    sizes = array("q")
    with path.open("wb", buffering=_BUFFER_BYTES) as file:
        for document in documents:
            file.write(encoded(document_row(document), document.where or f"a document of {name}"))
            split.add(name, document.group)
            sizes.append(len(document.text.encode()))
    return np.frombuffer(sizes, np.int64) if sizes else np.empty(0, np.int64)


def copy_to_sides(
    path: Path, folder: Path, sides: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64]
) -> dict[Side, dict[str, int]]:
    """Copies each line of a spool to the file of its side in `folder`.

    Args:
        sides: place in `SIDES` of each line.
        sizes: UTF-8 bytes of each text.

    Returns:
        Number of documents and bytes by side.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        spool = stack.enter_context(path.open("rb", buffering=_BUFFER_BYTES))
        files: list[BinaryIO] = [
            stack.enter_context((folder / f"{side}.jsonl").open("wb", buffering=_BUFFER_BYTES)) for side in SIDES
        ]
        for line, side in zip(spool, _numbers(sides), strict=True):
            files[side].write(line)
    return {
        side: {"documents": int((sides == number).sum()), "bytes": int(sizes[sides == number].sum())}
        for number, side in enumerate(SIDES)
    }


def _numbers(sides: npt.NDArray[np.uint8]) -> Iterable[int]:
    """Numbers of the sides as Python integers, some thousands at a time."""
    for start in range(0, len(sides), 1 << 16):
        yield from sides[start : start + (1 << 16)].tolist()
