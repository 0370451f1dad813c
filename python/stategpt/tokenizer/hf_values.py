"""Texts, files and ids on their way between callers and the `tokenizers` library, which takes what it is given."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stategpt.errors import CorpusError, InvalidArgument, StorageError
from stategpt.files import open_regular

_SURROGATE = re.compile("[\ud800-\udfff]")


def require_text(name: str, text: str) -> None:
    """Refuses what is no text, by the name of the argument. Raises `InvalidArgument`."""
    if not isinstance(text, str):
        raise InvalidArgument(f"{name} is {type(text).__name__}, not str; decode it first")
    if _SURROGATE.search(text):
        raise InvalidArgument(f"{name} is not valid Unicode; drop lone surrogates")


def file_text(path: str, *, replace: bool) -> str:
    """Returns the text of a file. Raises `CorpusError` where it is not UTF-8, unless bad bytes are replaced."""
    with open_regular(path) as file:
        try:
            content = file.read()
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
    try:
        return content.decode(errors="replace" if replace else "strict")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f'{path} is not UTF-8 at byte {error.start}; convert the file, or read it with errors="replace"'
        ) from error


def plain_ids(ids: npt.NDArray[np.integer] | Sequence[int]) -> list[int]:
    """Returns ids as the library takes them. Raises `InvalidArgument` for what is no vector of whole numbers."""
    try:
        held = np.asarray(ids)
    except ValueError:
        raise InvalidArgument("ids are lists of unlike lengths; pass integers in one dimension") from None
    if held.size and (held.ndim != 1 or held.dtype.kind not in "iu"):
        raise InvalidArgument(f"ids are {held.dtype} {list(held.shape)}; pass integers in one dimension")
    listed: list[int] = held.tolist()
    return listed


def exact_bytes(method: str, text: str) -> bytes:
    """Returns the bytes of what the library decoded. Raises `InvalidArgument` where some may have been lost."""
    if "\ufffd" in text:
        raise InvalidArgument(
            f"{method}: bytes that are no text come out of the tokenizers library as U+FFFD, as some may have here; "
            "use decode"
        )
    return text.encode()
