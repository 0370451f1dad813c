"""Documents packed into rows of T tokens: any row by its number, the same on every machine.

    segment of a document   EOS d1 ... dn
    its targets             d1 ... dn EOS

so that every byte is predicted once, and the model learns to start and to stop. Two strategies:

* `best_fit`: a segment that fits in a row is never cut (best-fit decreasing over the whole data set: "Fewer
  Truncations Improve Language Modeling", https://arxiv.org/abs/2404.10830). Longer ones fill whole rows and leave one
  shorter piece.
* `concat`: all segments concatenated, cut every T tokens, as in GPT-2 and the talk *State of GPT*.

The rest of a row is padding: it sees only itself and trains nothing. The work is done in Rust (`stategpt-packing`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import instance, one_of, whole
from stategpt.errors import InvalidArgument
from stategpt.packing.documents import NO_DOCUMENT
from stategpt.packing.layout import Layout
from stategpt.packing.shards import Shards

TooLong: TypeAlias = Literal["split", "reject"]

__all__ = ["NO_DOCUMENT", "Batch", "LeftOut", "Packed", "Row", "Rows", "TooLong", "pack"]


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """One row of T tokens.

    Attributes:
        tokens: uint32[T], input ids.
        targets: uint32[T], the id that follows each input within its document, end of text at its end; padding at
            padding.
        loss_mask: bool[T], is the target trained?
        layout: which tokens each token attends to, and its position.
        doc_ids: uint64[T], document of each token, 2^64 - 1 (`NO_DOCUMENT`) for padding.
    """

    tokens: npt.NDArray[np.uint32]
    targets: npt.NDArray[np.uint32]
    loss_mask: npt.NDArray[np.bool_]
    layout: Layout
    doc_ids: npt.NDArray[np.uint64]

    def __repr__(self) -> str:
        """Row(tokens, trained, documents)"""
        return f"Row({_counts(self.tokens, self.loss_mask, self.doc_ids)})"


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """R rows end to end: a flat stream of N = R x T tokens. The fields of `Row`, and two counts.

    torch takes ids as int64 and layouts as a `TensorLayout`: `stategpt.model.TokenBatch.of(batch, device)` has both.

    Attributes:
        tokens: uint32[N], input ids.
        targets: uint32[N], the id that follows each input within its document.
        loss_mask: bool[N], is the target trained?
        layout: which tokens each token attends to, and its position; indices into the stream.
        target_count: trained targets: the weight of the batch in a mean over tokens.
        rows: numbers of its rows in the order; fewer than R at the end of the order, where rows of padding follow.
        doc_ids: uint64[N], document of each token, 2^64 - 1 (`NO_DOCUMENT`) for padding.
    """

    tokens: npt.NDArray[np.uint32]
    targets: npt.NDArray[np.uint32]
    loss_mask: npt.NDArray[np.bool_]
    layout: Layout
    target_count: int
    rows: range
    doc_ids: npt.NDArray[np.uint64]

    def __repr__(self) -> str:
        """Batch(rows, tokens, trained, documents)"""
        rows = f"rows {self.rows.start:,} to {self.rows.stop:,}"
        return f"Batch({rows}, {_counts(self.tokens, self.loss_mask, self.doc_ids)})"


class Rows(Protocol):
    """An order of rows: `Packed` or `Mixture`."""

    @property
    def row_tokens(self) -> int:
        """T, tokens of a row."""
        ...

    @property
    def num_rows(self) -> int | None:
        """Rows in the order; None if it never ends."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of the order: data, settings and seed."""
        ...

    def batch(self, first: SupportsIndex, rows: SupportsIndex, batch_rows: SupportsIndex | None = None) -> Batch:
        """Rows `first .. first + rows`, filled up to `batch_rows` with rows of padding."""
        ...


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Documents left out of a packing, with the one possible reason.

    Attributes:
        documents: how many.
        tokens: their tokens.
        reason: why.
    """

    documents: int
    tokens: int
    reason: str


class PackSettings(NamedTuple):
    """The settings of `pack`."""

    row_tokens: int
    strategy: str
    isolate_documents: bool
    reject_too_long: bool
    seed: int


class Packed:
    """The rows of one data set, in an order shuffled by the seed. Made by `pack`."""

    __slots__ = ("_native", "_settings", "row_tokens", "shards")

    def __init__(self, native: _native.PackedRows, shards: Shards, settings: PackSettings) -> None:
        """Wraps the compiled plan; use `pack`."""
        self._native = native
        self._settings = settings
        self.shards = shards
        self.row_tokens = settings.row_tokens

    @property
    def num_rows(self) -> int:
        """Rows."""
        return self._native.rows

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows without padding: those of the packed documents, and one end of text for each."""
        return self._native.tokens

    @property
    def fill(self) -> float:
        """Share of the rows' tokens that is not padding; 0 without rows."""
        return self.num_tokens / max(self.num_rows * self.row_tokens, 1)

    @property
    def rejected(self) -> LeftOut:
        """What `too_long="reject"` left out."""
        documents, tokens = self._native.rejected
        return LeftOut(documents, tokens, f"longer than a row of {self.row_tokens} tokens with its end of text")

    @property
    def fingerprint(self) -> str:
        """Identity of the order: data, settings and seed. Equal fingerprints, equal rows."""
        return self._native.fingerprint

    def documents_of(self, row: SupportsIndex) -> list[int]:
        """Numbers of the documents of which row `row` holds a piece, in order."""
        return self._native.documents_of(whole("row", row))

    def batch(self, first: SupportsIndex, rows: SupportsIndex, batch_rows: SupportsIndex | None = None) -> Batch:
        """Rows `first .. first + rows`, filled up to `batch_rows` with rows of padding."""
        return read_batch(self._native, self.row_tokens, first, rows, batch_rows)

    def __getitem__(self, row: SupportsIndex) -> Row:
        """Row `row`, from 0. Raises InvalidArgument past the last one."""
        return read_row(self._native, self.row_tokens, row)

    def __len__(self) -> int:
        """Rows."""
        return self.num_rows

    def __iter__(self) -> Iterator[Row]:
        """Every row once."""
        return (self[row] for row in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the shards and the settings: the copy plans the same rows again."""
        return _planned, (self.shards, self._settings)

    def __repr__(self) -> str:
        """Packed(rows, T, fill, shards)"""
        return f"Packed({self.num_rows:,} rows of {self.row_tokens}, {self.fill:.2%} filled, {self.shards!r})"


def pack(
    shards: Shards,
    row_tokens: SupportsIndex,
    strategy: str = "best_fit",
    isolate_documents: bool = True,
    *,
    too_long: TooLong = "split",
    seed: SupportsIndex = 0,
) -> Packed:
    """Plans the rows of a data set. Nothing is written: the plan is a function of the manifest and these settings.

    Args:
        shards: the data set.
        row_tokens: T, tokens of a row; 2 or more, any number.
        strategy: one of `_native.PACKING_STRATEGIES`: "best_fit" or "concat".
        isolate_documents: each document sees only itself, from position 0; otherwise a row is one segment.
        too_long: documents that do not fit in a row with their end of text: "split" or "reject" (best_fit only).
        seed: chooses which documents of equal length share rows, their order within rows, and the order of rows.

    Best fit holds 4 bytes a document, concat nothing.

    Raises:
        InvalidArgument: a setting out of range, or `shards` that are not opened.
        MemoryError: the index does not fit.
        CorruptArtifact: the offsets do not give the manifest's histogram.
    """
    instance("shards", shards, Shards, "Open the folder with `sg.Shards.open(path)`.")
    one_of("strategy", strategy, _native.PACKING_STRATEGIES)
    one_of("too_long", too_long, ("split", "reject"))
    instance("isolate_documents", isolate_documents, (bool, np.bool_), "Pass True or False.")
    tokens = whole("row_tokens", row_tokens, least=2)
    if tokens >= 2**31:
        raise InvalidArgument(f"row_tokens is {tokens}; a row holds fewer than 2^31")
    settings = PackSettings(tokens, strategy, bool(isolate_documents), too_long == "reject", whole("seed", seed))
    return _planned(shards, settings)


def _planned(shards: Shards, settings: PackSettings) -> Packed:
    return Packed(_native.PackedRows(shards._native, *settings), shards, settings)


def _counts(tokens: npt.NDArray[np.uint32], loss_mask: npt.NDArray[np.bool_], doc_ids: npt.NDArray[np.uint64]) -> str:
    documents = np.unique(doc_ids[doc_ids != NO_DOCUMENT]).size
    return f"{tokens.size:,} tokens, {int(loss_mask.sum()):,} trained, {documents:,} documents"


def read_batch(
    native: _native.PackedRows | _native.MixedRows,
    row_tokens: int,
    first: SupportsIndex,
    rows: SupportsIndex,
    batch_rows: SupportsIndex | None,
) -> Batch:
    """A batch of the compiled rows; what `Packed.batch` and `Mixture.batch` do."""
    start, count = whole("first", first), whole("rows", rows)
    wanted = count if batch_rows is None else whole("batch_rows", batch_rows)
    tokens, targets, loss_mask, segment, position, doc_ids, target_count = native.batch(start, count, wanted)
    layout = Layout(segment, segment, segment, position, row_tokens)
    return Batch(tokens, targets, loss_mask, layout, target_count, range(start, start + count), doc_ids)


def read_row(native: _native.PackedRows | _native.MixedRows, row_tokens: int, row: SupportsIndex) -> Row:
    """One of the compiled rows; what `Packed[i]` and `Mixture[i]` do."""
    batch = read_batch(native, row_tokens, whole("row", row), 1, 1)
    return Row(batch.tokens, batch.targets, batch.loss_mask, batch.layout, batch.doc_ids)
