"""Shards of a tokenizer that encodes in Python: the `tokenizers` library. Its ids go into the compiled writer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import Special
from stategpt.errors import CorpusError, InvalidArgument
from stategpt.tokenizer import HfTokenizer

_CHARACTERS = 1 << 18
"""Texts are encoded in batches of about this many characters: the library keeps some 200 bytes for each token."""


class EncodedShards:
    """The methods of `_native.ShardWriter`, with an `HfTokenizer` before it."""

    def __init__(
        self,
        target: str | os.PathLike[str],
        tok: HfTokenizer,
        end_of_text: str,
        padding: str | None,
        max_tokens: int,
        special: Special,
    ) -> None:
        """Starts a data set at `target`; arguments as those of `_native.ShardWriter`.

        Raises:
            InvalidArgument: a token that `tok` lacks; "unflagged" where text could end a document, or hold padding.
        """
        end = tok.special_id(end_of_text)
        pad = end if padding is None else tok.special_id(padding)
        if special == "unflagged":
            flagged = tok._flagged_special()
            for name in (end_of_text, padding):
                if name is not None and tok.special_id(name) not in flagged:
                    raise InvalidArgument(
                        f'special="unflagged": the added token {name!r} is not flagged special, so text that spells it '
                        "would become the token that ends documents or pads rows. Flag it in the tokenizer's file "
                        '("special": true), or use special="text".'
                    )
        self._tok, self._special = tok, special
        known = np.asarray(sorted(tok._known_ids()), dtype=np.uint32)
        self._native = _native.ShardWriter.of_ids(target, tok.fingerprint, known, end, pad, max_tokens)

    @property
    def documents(self) -> int:
        """Documents stored so far."""
        return self._native.documents

    def push_texts(self, texts: Sequence[str | bytes]) -> None:
        """Encodes and stores texts, each a document.

        Raises:
            CorpusError: one is not Unicode, or the library fails on it; its number is named.
        """
        first = self.documents
        for batch in _batches([_text(first + place, text) for place, text in enumerate(texts)]):
            ragged = self._tok.encode_batch(batch, special=self._special)
            offsets = np.ascontiguousarray(ragged.offsets, dtype=np.uint64)
            self._native.push_encoded(np.ascontiguousarray(ragged.ids, dtype=np.uint32), offsets)

    def push_gathered(self, texts: _native.Texts) -> None:
        """The same with gathered texts, which are removed."""
        self.push_texts(texts.take())

    def push_ids(self, ids: npt.NDArray[np.uint32], mask: npt.NDArray[np.uint8] | None, doc_id: int | None) -> None:
        """Stores a document of ids."""
        self._native.push_ids(ids, mask, doc_id)

    def publish(self, source: str, license: str, parents: Sequence[str]) -> str:
        """Makes the data set durable under its name; returns the text of manifest.json."""
        return self._native.publish(source, license, parents)

    def abandon(self) -> None:
        """Removes what was written, if it was not published."""
        self._native.abandon()


def _batches(texts: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _text(number: int, text: str | bytes) -> str:
    """The text of document `number`, or the error that the compiled writer has for it."""
    if isinstance(text, bytes):
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"document {number}, byte {error.start}: not UTF-8. Decode it with its own encoding, or leave it out."
            ) from None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f'document {number} is not Unicode text ({error}). Leave it out, or pass errors="replace".'
        ) from None
    return text
