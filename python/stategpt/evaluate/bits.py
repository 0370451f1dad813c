"""Bits per byte: how many bits the model needs for each raw byte of test documents.

Nats are summed over every target of a document, the end of text included, and divided by its UTF-8 bytes, so the figure
does not depend on the tokenizer and counts stopping too. Documents are scored as they are trained on: a segment
`B d1 .. dn`, B what begins documents (end of text, or the model's beginning of text), and one that is longer than a row
in row-sized pieces without what came before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stategpt.data import ChatTemplate, ControlIds
from stategpt.data.corpus import SplitDocuments
from stategpt.data.stored_documents import StoredDocuments
from stategpt.model import GPT
from stategpt.model.token_batch import pad_sequences
from stategpt.randomness import permutation
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

_BATCH_TOKENS = 4096
"""Tokens scored at once, padding included: logits of 4,096 x 4,096 in float32 are 64 MB."""

_Piece = tuple[int, NDArray[np.uint32]]
"""Index of its document, and its tokens with the first one after it."""


@documented
@dataclass(frozen=True)
class DocumentNats:
    """Test documents of one source and what the model pays for each; vectors are [documents]."""

    documents: list[bytes]
    """Raw bytes."""
    groups: list[str]
    """Group of each: the cluster of the bootstrap."""
    nats: NDArray[np.float64]
    """Negative log-likelihood of the whole document and its end."""
    bytes: NDArray[np.int64]
    """Length in UTF-8 bytes."""

    __repr__ = short_repr


def document_nats(
    model: GPT,
    tok: AnyTokenizer,
    split: SplitDocuments | StoredDocuments,
    most_tokens: int,
    row_tokens: int,
    seed: int = 0,
    chat: ChatTemplate | None = None,
) -> DocumentNats:
    """Scores whole test documents, in a random order that is a function of `seed`, until `most_tokens` are reached.

    `chat` is the tokenizer's chat format, which says what begins and ends a document; None: this package's. The last
    document may pass the limit. Raises `ContextOverflow` when `row_tokens` exceed the model's context.
    """
    chosen: list[int] = []
    ids: list[NDArray[np.uint32]] = []
    total = 0
    for number in permutation(len(split.test), seed, "bits per byte").tolist():
        if total >= most_tokens:
            break
        chosen.append(number)
        ids.append(tok.encode(split.test[number].text))
        total += len(ids[-1]) + 1
    documents = [split.test[number].text.encode() for number in chosen]
    return DocumentNats(
        documents=documents,
        groups=[split.test[number].group for number in chosen],
        nats=token_nats(model, ids, (chat or ChatTemplate.own(tok)).control, row_tokens),
        bytes=np.array([len(document) for document in documents], dtype=np.int64),
    )


@torch.inference_mode()
def token_nats(
    model: GPT, documents: Sequence[NDArray[np.uint32]], control: ControlIds, row_tokens: int
) -> NDArray[np.float64]:
    """Nats of each document of token ids: the sum over d1 .. dn and the end of text of -log p(target)."""
    model.eval()
    begin, end = (np.array([token], dtype=np.uint32) for token in (control.document_begin, control.end_of_text))
    pieces: list[_Piece] = []
    for owner, document in enumerate(documents):
        stream = np.concatenate([begin, document, end])
        starts = range(0, len(stream) - 1, row_tokens)
        pieces += [(owner, stream[start : start + row_tokens + 1]) for start in starts]
    pieces.sort(key=lambda piece: len(piece[1]))
    nats = np.zeros(len(documents))
    for batch in _batches(pieces):
        # A document in several pieces adds up; np.add.at counts repeated owners.
        np.add.at(nats, [owner for owner, _ in batch], _piece_nats(model, [piece for _, piece in batch], control.pad))
    return nats


def _batches(pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
    """Runs of pieces, which come sorted by length, of at most `_BATCH_TOKENS` when padded to the longest."""
    first = 0
    for last in range(1, len(pieces) + 1):
        if last == len(pieces) or (last + 1 - first) * len(pieces[last][1]) > _BATCH_TOKENS:
            yield pieces[first:last]
            first = last


def _piece_nats(model: GPT, pieces: Sequence[NDArray[np.uint32]], pad: int) -> NDArray[np.float64]:
    """Nats of each piece [t0 .. tk]: t1 .. tk predicted from t0 .. t(k-1)."""
    device = model.device
    padded = pad_sequences([piece[:-1] for piece in pieces], pad)
    lengths = np.array([len(piece) - 1 for piece in pieces])
    within = np.concatenate([np.arange(length) for length in lengths])
    index = torch.from_numpy(np.repeat(padded.starts(), lengths) + within).to(device)
    targets = torch.from_numpy(np.concatenate([piece[1:] for piece in pieces]).astype(np.int64)).to(device)
    hidden_NW = model.hidden(*padded.tensors(device))
    nats_M = F.cross_entropy(model.unembed(hidden_NW[index]), targets, reduction="none").double().cpu().numpy()
    return np.asarray(np.add.reduceat(nats_M, np.cumsum(lengths) - lengths), dtype=np.float64)
