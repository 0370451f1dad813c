"""Writes token shards: documents in, tokenized by all threads, one published data set out.

`rust/pipeline` overlaps tokenizing and writing; `stategpt.packing.shards` describes the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, SupportsIndex, TypeAlias

import numpy as np

from stategpt import _native
from stategpt.arguments import Errors, one_of, several, unicode_text, whole
from stategpt.config.control import END_OF_TEXT
from stategpt.data.chat import Segment
from stategpt.data.chats.template import ChatTemplate
from stategpt.data.control_ids import known_end_of_text, padding_names
from stategpt.data.encoded_shards import EncodedShards
from stategpt.data.lines import replaced
from stategpt.data.records import Conversation
from stategpt.data.text_source import TextSource
from stategpt.errors import ContextOverflow, CorpusError, InvalidArgument
from stategpt.packing import Shards, TokenizedDocument
from stategpt.tokenizer import AnyTokenizer, HfTokenizer, Tokenizer

_Special: TypeAlias = Literal["text", "unflagged"]
_Writer: TypeAlias = _native.ShardWriter | EncodedShards

# Texts are tokenized in batches of about this many characters: enough to keep all threads busy, little memory.
_BATCH_CHARACTERS = 1 << 23
_BATCH_DOCUMENTS = 1 << 14
# One thread needs less: what is read, decoded, tokenized and written stays in the cache.
_BATCH_OF_ONE_THREAD = 1 << 20


def write_shards(
    documents: Iterable[str | bytes | Conversation | TokenizedDocument],
    tok: AnyTokenizer,
    out: str | os.PathLike[str],
    max_tokens: SupportsIndex = 2**28,
    *,
    source: str = "",
    license: str = "",
    parents: Sequence[str] = (),
    end_of_text: str | None = None,
    pad: str | None = None,
    chat: ChatTemplate | None = None,
    special: _Special = "text",
    threads: SupportsIndex | None = None,
    errors: Errors = "reject",
    allow_empty: bool = False,
) -> Shards:
    """Writes a data set: texts are tokenized, conversations become ids and a loss mask (`ChatTemplate.encode`), and
    `TokenizedDocument` ids are stored unchanged. Replaces what is at `out` when all is written, hashed and durable.

    The bytes depend on the documents only, not on `threads`. Memory: a few tens of megabytes.

    Args:
        documents: `str`, UTF-8 `bytes`, `Conversation` or `TokenizedDocument`, also mixed.
        tok: tokenizer of either engine; text never becomes a token flagged special.
        out: folder of the data set; an error or a crash leaves the old one.
        max_tokens: maximum number of tokens of a shard folder; a longer document gets a separate shard.
        source: origin of the documents.
        license: their license.
        parents: manifest fingerprints of the artifacts they were made from.
        end_of_text: special token around documents; by default the first of the usual names that `tok` has.
        pad: special token that fills rows; by default what `tok` calls its padding, else `end_of_text`.
        chat: format of conversations; None: this package's, which begins with the end of text that packing puts before
            a document. Of another format a conversation is stored up to its last trained token, and
            `packing.without_begin` makes its rows begin as the chat does.
        special: "text": text that spells an added token is text. "unflagged": it becomes the token unless that is
            flagged special; some vocabularies have runs of spaces as added tokens (Phi-2, GPT-NeoX).
        threads: threads that tokenize, all available cores by default; the `tokenizers` engine chooses by itself.
        errors: "reject" a text that is not Unicode, or "replace" invalid parts with U+FFFD.
        allow_empty: write a data set even if there are no documents.

    Raises:
        CorpusError: there are no documents, or one (named) is not UTF-8 or holds a lone surrogate.
        UnknownToken: a `TokenizedDocument` holds an id that `tok` does not have, also in a gap of its vocabulary.
        DataError: a `TokenizedDocument` whose mask trains nothing, or only some documents have a doc_id.
        InvalidArgument: a setting out of range, a tokenizer without `end_of_text` or, with "unflagged", one that does
            not flag it or `pad` as special; an item of another type.
        StorageError, OutOfSpace: writing failed.
    """
    _require_arguments(documents, parents, errors, source=source, license=license)
    workers = None if threads is None else whole("threads", threads, least=1)
    ends = _ends(tok, end_of_text, pad)
    writer = _writer(os.fspath(out), tok, ends, whole("max_tokens", max_tokens, least=1), special, workers)
    try:
        _push(writer, documents, workers, tok, chat, ends[0], errors)
        _require_documents(writer, out, allow_empty)
        writer.publish(source, license, list(parents))
    finally:
        writer.abandon()  # does nothing once published
    return Shards.open(out, tok, verify=False)  # the hashes are of the bytes that were just read back


def _writer(
    out: str, tok: AnyTokenizer, ends: tuple[str, str | None], max_tokens: int, special: _Special, threads: int | None
) -> _Writer:
    """What writes the files, for the engine of `tok`."""
    one_of("special", special, ("text", "unflagged"))
    if isinstance(tok, Tokenizer):
        return _native.ShardWriter(out, tok, *ends, max_tokens, special, threads)
    return EncodedShards(out, tok, *ends, max_tokens, special)


def _require_documents(writer: _Writer, out: str | os.PathLike[str], allow_empty: bool) -> None:
    if not writer.documents and not allow_empty:
        raise CorpusError(
            f"there are no documents to write to {os.fspath(out)}; check where they come from, or allow_empty=True"
        )


def _ends(tok: AnyTokenizer, end_of_text: str | None, pad: str | None) -> tuple[str, str | None]:
    """The tokens around documents and in padding."""
    if not isinstance(tok, Tokenizer | HfTokenizer):
        raise InvalidArgument(f"tok is {type(tok).__name__}; give a Tokenizer, of either engine")
    for name, given in (("end_of_text", end_of_text), ("pad", pad)):
        if given is not None:
            unicode_text(name, given)
    end = end_of_text if end_of_text is not None else known_end_of_text(tok) or END_OF_TEXT
    return end, pad if pad is not None else next(iter(padding_names(tok)), None)


def _push(
    writer: _Writer,
    documents: Iterable[str | bytes | Conversation | TokenizedDocument],
    threads: int | None,
    tok: AnyTokenizer,
    chat: ChatTemplate | None,
    end_of_text: str,
    errors: Errors,
) -> None:
    """Stores the documents; those of a `TextSource` are no Python objects."""
    if isinstance(documents, TextSource):
        _push_gathered(writer, documents, threads)
    else:
        _push_each(writer, documents, tok, chat, end_of_text, errors)


def _push_gathered(writer: _Writer, source: TextSource, threads: int | None) -> None:
    """Stores texts that go from file to shard without a Python object for each."""
    batch_bytes = _BATCH_OF_ONE_THREAD if threads == 1 else _BATCH_CHARACTERS
    texts = _native.Texts()
    for text in source.gather_texts(texts, batch_bytes):
        writer.push_gathered(texts)
        if text is not None:
            writer.push_texts([text])
    writer.push_gathered(texts)


def _push_each(
    writer: _Writer,
    documents: Iterable[str | bytes | Conversation | TokenizedDocument],
    tok: AnyTokenizer,
    chat: ChatTemplate | None,
    end_of_text: str,
    errors: Errors,
) -> None:
    """Stores documents that are Python objects."""

    def tokenized(conversation: Conversation, number: int) -> TokenizedDocument:
        try:
            return stored_conversation(chat or ChatTemplate.own(tok), conversation, tok.special_id(end_of_text))
        except InvalidArgument as error:
            raise InvalidArgument(f"document {number}: {error}") from None

    for batch in _batches(documents, tokenized, errors):
        if isinstance(batch, TokenizedDocument):
            writer.push_ids(batch.ids, batch.mask, batch.doc_id)
        else:
            writer.push_texts(batch)


def _require_arguments(documents: object, parents: Sequence[str], errors: str, **labels: object) -> None:
    """Refuses one text or path in the place of several documents, labels that are not Unicode, and other `errors`."""
    one_of("errors", errors, ("reject", "replace"))
    several("parents", parents)
    for parent in parents:
        unicode_text("a parent", parent)
    if isinstance(documents, str | bytes | os.PathLike):
        raise InvalidArgument("documents is one text or path; give a list of texts, or sg.data.read_documents(path)")
    several("documents", documents, "Give a list of texts, or sg.data.read_documents(path).")  # type: ignore[arg-type]
    for name, label in labels.items():
        unicode_text(name, label)


def _batches(
    documents: Iterable[str | bytes | Conversation | TokenizedDocument],
    tokenized: Callable[[Conversation, int], TokenizedDocument],
    errors: Errors,
) -> Iterator[list[str | bytes] | TokenizedDocument]:
    """Runs of texts, and the documents between them, in order."""
    texts: list[str | bytes] = []
    size = 0
    for number, given in enumerate(documents):
        document = tokenized(given, number) if isinstance(given, Conversation) else given
        if isinstance(document, TokenizedDocument):
            if texts:
                yield texts
                texts, size = [], 0
            yield document
        elif isinstance(document, str | bytes):
            texts.append(replaced(document) if errors == "replace" else document)
            size += len(document)
            if size >= _BATCH_CHARACTERS or len(texts) >= _BATCH_DOCUMENTS:
                yield texts
                texts, size = [], 0
        else:
            raise InvalidArgument(
                f"document {number} is {type(document).__name__}; give str, bytes, Conversation or TokenizedDocument"
            )
    if texts:
        yield texts


def stored_conversation(
    chat: ChatTemplate, conversation: Conversation, end: int, row_tokens: int | None = None
) -> TokenizedDocument:
    """A conversation as a shard stores it, between two `end`s, with the mask of its targets, the last `end` included.

    This package's format begins and ends with `end` itself. Of any other the ids are stored whole, up to the last one
    that is trained: what follows, a line break, is read by nothing. If that is `end` it is the target at the border.

    Raises:
        InvalidArgument, ChatTemplateError: as `ChatTemplate.encode`.
        ContextOverflow: with the `end` before it, it is longer than `row_tokens`.
    """
    if chat.is_own:
        segment = Segment.of(chat, conversation, context_tokens=row_tokens)
        return TokenizedDocument(segment.document, segment.document_mask)
    encoded = chat.encode(conversation)
    count = int(np.flatnonzero(encoded.loss_mask)[-1]) + 1
    ids, mask = encoded.ids[:count], encoded.loss_mask[:count].astype(np.uint8)
    ends = bool(ids[-1] == end)
    if row_tokens is not None and count + 1 - ends > row_tokens:
        raise ContextOverflow(
            f"the conversation takes {count + 1 - ends} tokens of a row, {int(mask.sum())} of them trained, and a row "
            f"has {row_tokens}. Drop the example, shorten it, or raise sft.row_tokens and model.context_tokens."
        )
    return TokenizedDocument(ids[:-1], mask) if ends else TokenizedDocument(ids, np.append(mask, np.uint8(0)))
