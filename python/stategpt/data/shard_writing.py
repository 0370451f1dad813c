"""Writes token shards: documents in, tokenized by all threads, one published data set out.

`rust/pipeline` overlaps tokenizing and writing; `stategpt.packing.shards` describes the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, SupportsIndex, TypeAlias

from stategpt import _native
from stategpt.arguments import Errors, one_of, several, unicode_text, whole
from stategpt.config.control import CONTROL_TOKENS
from stategpt.data.chat import encode_conversation
from stategpt.data.chats.template import known_end_of_text
from stategpt.data.encoded_shards import EncodedShards
from stategpt.data.lines import replaced
from stategpt.data.records import Conversation
from stategpt.data.text_source import TextSource
from stategpt.errors import CorpusError, InvalidArgument
from stategpt.packing import Shards, TokenizedDocument
from stategpt.tokenizer import AnyTokenizer, HfTokenizer, Tokenizer

END_OF_TEXT, PAD = CONTROL_TOKENS[:2]
_PADS = (PAD, "<pad>", "[PAD]")
"""What tokenizers call their padding."""
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
    special: Literal["text", "unflagged"] = "text",
    threads: SupportsIndex | None = None,
    errors: Errors = "reject",
    allow_empty: bool = False,
) -> Shards:
    """Writes a data set: texts are tokenized, conversations become ids and a loss mask (`encode_conversation`), and
    `TokenizedDocument` ids are stored unchanged. Replaces what is at `out`.

    Nothing appears at `out` before everything is written, hashed and durable; an error or a crash leaves the old
    data set. The bytes depend on the documents only, not on `threads`. Memory: a few tens of megabytes.

    Args:
        documents: `str`, UTF-8 `bytes`, `Conversation` or `TokenizedDocument`, also mixed.
        tok: tokenizer of either engine; text never becomes a token flagged special. With the `tokenizers` engine
            a batch of texts is encoded at a time, by the threads that the library chooses.
        out: folder of the data set.
        max_tokens: maximum number of tokens of a shard folder; a longer document gets a separate shard.
        source: origin of the documents.
        license: their license.
        parents: manifest fingerprints of the artifacts they were made from.
        end_of_text: special token around documents; by default the first of the usual names that `tok` has.
        pad: special token that fills rows; by default <|pad|>, <pad> or [PAD] if `tok` has it, else `end_of_text`.
        special: "text": text that spells an added token is text. "unflagged": it becomes the token unless that is
            flagged special, as in models whose vocabularies have runs of spaces as added tokens (Phi-2, GPT-NeoX).
        threads: threads that tokenize; by default all available cores.
        errors: "reject" a text that is not Unicode, or "replace" invalid parts with U+FFFD.
        allow_empty: write a data set even if there are no documents.

    Raises:
        CorpusError: there are no documents, or one is not UTF-8 or holds a lone surrogate; its number and the place
            are named.
        UnknownToken: a `TokenizedDocument` holds an id that `tok` does not have, also in a gap of its vocabulary.
        DataError: a `TokenizedDocument` whose mask trains nothing, or only some documents have a doc_id.
        InvalidArgument: a setting out of range, a tokenizer without `end_of_text`, an item of another type; "unflagged"
            with a tokenizer that does not flag `end_of_text` or `pad` as special.
        StorageError, OutOfSpace: writing failed.
    """
    _require_texts(documents, source=source, license=license)
    if not isinstance(tok, Tokenizer | HfTokenizer):
        raise InvalidArgument(f"tok is {type(tok).__name__}; give a Tokenizer, of either engine")
    one_of("special", special, ("text", "unflagged"))
    one_of("errors", errors, ("reject", "replace"))
    several("parents", parents)
    for parent in parents:
        unicode_text("a parent", parent)
    workers = None if threads is None else whole("threads", threads, least=1)
    ends = _ends(tok, end_of_text, pad)
    most = whole("max_tokens", max_tokens, least=1)
    writer: _Writer = (
        _native.ShardWriter(os.fspath(out), tok, *ends, most, special, workers)
        if isinstance(tok, Tokenizer)
        else EncodedShards(os.fspath(out), tok, *ends, most, special)
    )
    try:
        if isinstance(documents, TextSource):
            _push_gathered(writer, documents, _BATCH_OF_ONE_THREAD if workers == 1 else _BATCH_CHARACTERS)
        else:
            _push_each(writer, documents, tok, errors)
        if not writer.documents and not allow_empty:
            raise CorpusError(
                f"there are no documents to write to {os.fspath(out)}; check where they come from, or allow_empty=True"
            )
        writer.publish(source, license, list(parents))
    finally:
        writer.abandon()  # does nothing once published
    return Shards.open(out, tok, verify=False)  # the hashes are of the bytes that were just read back


def _ends(tok: AnyTokenizer, end_of_text: str | None, pad: str | None) -> tuple[str, str | None]:
    """The tokens around documents and in padding."""
    for name, given in (("end_of_text", end_of_text), ("pad", pad)):
        if given is not None:
            unicode_text(name, given)
    end = end_of_text if end_of_text is not None else known_end_of_text(tok) or END_OF_TEXT
    known = tok.special_tokens
    return end, pad if pad is not None else next((name for name in _PADS if name in known), None)


def _push_gathered(writer: _Writer, source: TextSource, batch_bytes: int) -> None:
    """Stores texts that go from file to shard without a Python object for each."""
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
    errors: Errors,
) -> None:
    """Stores documents that are Python objects."""
    for batch in _batches(documents, tok, errors):
        if isinstance(batch, TokenizedDocument):
            writer.push_ids(batch.ids, batch.mask, batch.doc_id)
        else:
            writer.push_texts(batch)


def _require_texts(documents: object, **labels: object) -> None:
    """Refuses one text or path in the place of several documents, and labels that are not Unicode."""
    if isinstance(documents, str | bytes | os.PathLike):
        raise InvalidArgument("documents is one text or path; give a list of texts, or sg.data.read_documents(path)")
    several("documents", documents, "Give a list of texts, or sg.data.read_documents(path).")  # type: ignore[arg-type]
    for name, label in labels.items():
        unicode_text(name, label)


def _batches(
    documents: Iterable[str | bytes | Conversation | TokenizedDocument], tok: AnyTokenizer, errors: Errors
) -> Iterator[list[str | bytes] | TokenizedDocument]:
    """Runs of texts, and the documents between them, in order."""
    texts: list[str | bytes] = []
    size = 0
    for number, given in enumerate(documents):
        document = _tokenized(tok, given, number) if isinstance(given, Conversation) else given
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


def _tokenized(tok: AnyTokenizer, conversation: Conversation, number: int) -> TokenizedDocument:
    try:
        segment = encode_conversation(tok, conversation)
    except InvalidArgument as error:
        raise InvalidArgument(f"document {number}: {error}") from None
    return TokenizedDocument(segment.document, segment.document_mask)
