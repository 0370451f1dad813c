"""Whole texts as rows of tokens for a model that reads each at its last token, the end of the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.ops import TensorLayout
from stategpt.packing import Layout
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

from .special_ids import SpecialIds
from .token_batch import lay_out_rows, round_up, stream_tensors

Ids = NDArray[np.uint32]


@documented
@dataclass(frozen=True)
class TextBatch:
    """S texts as rows of tokens; short ones share a row."""

    tokens_N: Tensor
    """int64 ids of all rows as one stream."""
    layout: TensorLayout
    """What each token sees: its own text only."""
    last_S: Tensor
    """int64 stream position of each text's last token."""

    __repr__ = short_repr

    @classmethod
    def of(cls, sequences: Sequence[Ids], pad: int, device: torch.device) -> TextBatch:
        """Lays out texts, each of at least one token."""
        lengths = [len(sequence) for sequence in sequences]
        row_tokens = round_up(max(lengths))
        rows = filled_rows(lengths, row_tokens)
        last = np.empty(len(sequences), dtype=np.int64)
        for row, members in enumerate(rows):
            ends = np.cumsum([lengths[member] for member in members])
            last[members] = row * row_tokens + ends - 1
        tokens = lay_out_rows([[sequences[member] for member in members] for members in rows], row_tokens, pad)
        layout = Layout.packed([[lengths[member] for member in members] for members in rows], row_tokens)
        tokens_N, on_device = stream_tensors(tokens.reshape(-1), layout, device)
        return cls(tokens_N, on_device, torch.from_numpy(last).to(device))


def filled_rows(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Divides texts over rows, the longest first, each into the first row that has room (first fit decreasing)."""
    rows: list[list[int]] = []
    room: list[int] = []
    for member in sorted(range(len(lengths)), key=lambda member: (-lengths[member], member)):
        for row, left in enumerate(room):
            if lengths[member] <= left:
                rows[row].append(member)
                room[row] -= lengths[member]
                break
        else:
            rows.append([member])
            room.append(row_tokens - lengths[member])
    return rows


def text_ids(tok: AnyTokenizer, ids: SpecialIds, text: str, max_tokens: int) -> Ids:
    """A text as a model of these special ids reads it: what begins a text, its first tokens, and what ends one.

    The end is where the text is read: the same token after every text (Radford et al. 2018, section 3.2, adds one for
    this). Of a longer text the first tokens are kept, so that there are never more than `max_tokens`, nor none.
    """
    begin, end = beginning(ids), ending(ids)
    found = np.concatenate([begin, tok.encode(text)[: max(0, max_tokens - len(begin) - len(end))], end])
    return found if len(found) else np.array(ids.eos[:1] or (0,), dtype=np.uint32)


def ending(ids: SpecialIds) -> Ids:
    """What a model of these special ids reads after a text; empty where it has no such id.

    Other programs look for the last token that is not padding: a published classifier pads with another one
    (`model.text_ends`).
    """
    return np.array(ids.eos[:1], dtype=np.uint32)


def beginning(ids: SpecialIds) -> Ids:
    """What a model of these special ids reads before a text; empty where it has no such id."""
    return np.array([] if ids.bos is None else [ids.bos], dtype=np.uint32)


def filler(ids: SpecialIds) -> int:
    """Fills rows; no text sees it, so that any id serves where a model has none for it."""
    return next((number for number in (ids.pad, ids.bos) if number is not None), 0)


def by_length(sequences: Sequence[Ids], most_tokens: int) -> Iterator[list[int]]:
    """Indices of texts of similar length, in batches of at most `most_tokens` tokens (or one text)."""
    batch: list[int] = []
    tokens = 0
    for number in np.argsort([len(sequence) for sequence in sequences], kind="stable").tolist():
        if batch and tokens + len(sequences[number]) > most_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += len(sequences[number])
    if batch:
        yield batch
