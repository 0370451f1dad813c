"""Batches of rows in order, for one rank of a training run. The whole state is one row number.

    for batch in Loader(rows, batch_rows=8):                          # tokens, targets, loss_mask, layout, ...
        ...
    loader = Loader.resume(rows, state, batch_rows=8)                 # continues with the next row

A global batch is rows [s, s + batch_rows); rank r of w takes the r-th of w equal parts of it. So the order of rows, and
every global batch, is the same for any world size, and a run may be resumed with another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, SupportsIndex, TypedDict

from stategpt.arguments import instance, whole
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.packing.mixture import Mixture
from stategpt.packing.packed import Batch, Packed, Rows


class LoaderState(TypedDict):
    """The state of a loader, for checkpoints.

    Attributes:
        row: first row of the next batch, in the global order.
        fingerprint: identity of the order of rows.
    """

    row: int
    fingerprint: str


class Loader(Iterator[Batch]):
    """An iterator over the batches of one rank.

    Args:
        rows: `Packed` or `Mixture`.
        batch_rows: rows of a *global* batch, a multiple of `world`.
        rank: this process, 0 .. world - 1.
        world: number of processes that share the batches.
        start: first row.
        stop: row to end before; by default the end of the order, if it has one. A last batch that is not full is
            filled up with rows of padding, so shapes are constant and all ranks get equally many batches.

    Raises:
        InvalidArgument: a number out of range; `start` or `stop` beyond the end of the order.

    `len(loader)` is the number of remaining batches.
    """

    __slots__ = ("_batch_rows", "_part_rows", "_rank", "_row", "_rows", "_stop")

    def __init__(
        self,
        rows: Rows,
        batch_rows: SupportsIndex,
        rank: SupportsIndex = 0,
        world: SupportsIndex = 1,
        start: SupportsIndex = 0,
        stop: SupportsIndex | None = None,
    ) -> None:
        instance("rows", rows, (Packed, Mixture), "Pass what `sg.pack` or `sg.Mixture` made.")
        ranks, size = whole("world", world, least=1), whole("batch_rows", batch_rows, least=1)
        if size % ranks:
            raise InvalidArgument(f"batch_rows is {size}, not a multiple of world = {ranks}; ranks get equal parts")
        self._rank = whole("rank", rank)
        if self._rank >= ranks:
            raise InvalidArgument(f"rank is {self._rank}; with world = {ranks} ranks are 0 .. {ranks - 1}")
        self._rows, self._batch_rows, self._part_rows = rows, size, size // ranks
        self._row = whole("start", start)
        self._stop = rows.num_rows if stop is None else whole("stop", stop)
        if rows.num_rows is not None and self._row > rows.num_rows:
            raise InvalidArgument(
                f"the loader would start at row {self._row}, but there are {rows.num_rows} rows; "
                "start earlier, or mix with a higher max_epochs"
            )
        if self._stop is not None and rows.num_rows is not None and self._stop > rows.num_rows:
            raise InvalidArgument(
                f"stop is {self._stop}, but there are {rows.num_rows} rows; read fewer, or mix with a higher max_epochs"
            )

    @classmethod
    def resume(
        cls,
        rows: Rows,
        state: LoaderState | Mapping[str, Any],
        batch_rows: SupportsIndex,
        rank: SupportsIndex = 0,
        world: SupportsIndex = 1,
        stop: SupportsIndex | None = None,
    ) -> Loader:
        """A loader that continues from `state`; batch_rows and world may differ from those of the saved loader.

        Raises:
            ForeignArtifact: the state is of another order of rows: data, settings or seed have changed.
            InvalidArgument: its row is not in the order.
        """
        instance("rows", rows, (Packed, Mixture), "Pass what `sg.pack` or `sg.Mixture` made.")
        instance("state", state, Mapping, "Pass what Loader.state() gave.")
        missing = sorted({"row", "fingerprint"} - set(state))
        if missing:
            raise ForeignArtifact(f"a loader's state lacks {missing}; it has {sorted(state)}. Use Loader.state().")
        if state["fingerprint"] != rows.fingerprint:
            raise ForeignArtifact(
                f"the state is of the order of rows {state['fingerprint']}, but these rows are {rows.fingerprint}: "
                "data, packing, proportions or seed have changed. Restore them, or start from row 0."
            )
        return cls(rows, batch_rows, rank, world, state["row"], stop)

    def state(self) -> LoaderState:
        """Resumable position; identical on all ranks after the same number of batches."""
        return {"row": self._row, "fingerprint": self._rows.fingerprint}

    def __len__(self) -> int:
        """Remaining batches. Raises TypeError where the order never ends, as `len` does elsewhere."""
        if self._stop is None:
            raise TypeError("the loader has no length: its mixture is endless. Pass stop, or mix with max_epochs.")
        return -(-max(self._stop - self._row, 0) // self._batch_rows)

    def __bool__(self) -> bool:
        """True, also at the end and where there is no length."""
        return True

    def __iter__(self) -> Loader:
        """Itself."""
        return self

    def __next__(self) -> Batch:
        """This rank's part of the next global batch: batch_rows / world rows."""
        if self._stop is not None and self._row >= self._stop:
            raise StopIteration
        first = self._row + self._rank * self._part_rows
        last = first + self._part_rows if self._stop is None else min(first + self._part_rows, self._stop)
        batch = self._rows.batch(first, max(last - first, 0), self._part_rows)
        # Only after the read: a batch that failed is read again.
        self._row += self._batch_rows
        if self._stop is not None:
            self._row = min(self._row, self._stop)
        return batch

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as rows, settings and the current row; the copy continues from there."""
        world = self._batch_rows // self._part_rows
        return Loader, (self._rows, self._batch_rows, self._rank, world, self._row, self._stop)

    def __repr__(self) -> str:
        """Loader(row, stop, batch_rows)"""
        return f"Loader(row {self._row} of {self._stop}, batch_rows {self._batch_rows}, {self._rows!r})"
