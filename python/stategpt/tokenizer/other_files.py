"""Tokenizers in files of other formats, GGUF and SentencePiece's `tokenizer.model`, as a `tokenizer.json`."""

from __future__ import annotations

import os
from pathlib import PurePath

from stategpt.errors import TokenizerFormatError
from stategpt.files import read_bytes
from stategpt.tokenizer.tokenizer_file import FILE_LIMIT_BYTES

GGUF, SENTENCEPIECE = ".gguf", ".model"


def is_other_file(path: str) -> bool:
    """Whether a file is of another format than `tokenizer.json`, by the end of its name."""
    return PurePath(path).suffix.lower() in (GGUF, SENTENCEPIECE)


def other_file_json(path: str | os.PathLike[str]) -> str:
    """The text of a `tokenizer.json` with the ids of a file for which `is_other_file` is true.

    Raises:
        TokenizerFormatError: it is malformed; the message has the byte, key or piece.
        TokenizerUnsupported: it needs what no engine here gives exactly; likewise.
        StorageError: it cannot be read.
    """
    from stategpt.tokenizer import gguf_vocabulary, sentencepiece_vocabulary

    name = os.fspath(path)
    if PurePath(name).suffix.lower() == SENTENCEPIECE:
        return sentencepiece_vocabulary.tokenizer_json(read_bytes(path, FILE_LIMIT_BYTES, TokenizerFormatError), name)
    from stategpt.gguf_file import read_metadata  # type: ignore[import-not-found,unused-ignore]

    try:
        return gguf_vocabulary.tokenizer_json(read_metadata(path))
    except TokenizerFormatError as error:  # the keys are named there, the file is known here
        raise type(error)(f"{name}: {error}") from None
