"""Sequences of different lengths in two flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument

BATCH_HINT = "Pass what encode_batch returned, or Ragged.of([ids, ids]); the ids of one text go to decode."
"""What to do about most values that are no `Ragged`."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """n documents of token ids, end to end: document i is `ids[offsets[i] : offsets[i + 1]]`.

    Attributes:
        ids: all ids, uint32 [N].
        offsets: where each document begins, then N: uint64 [n + 1], never falling.

    Raises:
        InvalidArgument: offsets that do not go from 0 to N, or fall.

    Example:
        >>> ragged = Ragged.of([[1, 2, 3], [], [4]])
        >>> len(ragged), ragged[0].tolist(), ragged.lengths.tolist()
        (3, [1, 2, 3], [3, 0, 1])
    """

    ids: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        ids, offsets = self.ids, self.offsets
        if ids.ndim != 1 or ids.dtype != np.uint32 or offsets.ndim != 1 or offsets.dtype != np.uint64:
            raise InvalidArgument(
                f"ids are {ids.dtype} {list(ids.shape)} and offsets {offsets.dtype} {list(offsets.shape)}; "
                "pass uint32 [N] and uint64 [n + 1]"
            )
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(ids) or bool(np.any(offsets[1:] < offsets[:-1])):
            ends = f"{offsets[:3].tolist()}...{offsets[-1:].tolist()}"
            raise InvalidArgument(f"offsets {ends} must rise from 0 to the number of ids, {len(ids)}")

    @classmethod
    def of(cls, documents: Iterable[Sequence[int] | npt.NDArray[np.uint32]]) -> Ragged:
        """The documents given one by one, copied into one array."""
        parts = [np.asarray(document, dtype=np.uint32) for document in documents]
        offsets = np.zeros(len(parts) + 1, dtype=np.uint64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.concatenate([np.empty(0, dtype=np.uint32), *parts]), offsets)

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.uint32]:
        """The ids of one document: a view, not a copy. Negative indices count from the end.

        Raises:
            IndexError: no such document.
        """
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"document {index} of {count}")
        index %= count
        return self.ids[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint32]]:
        """The documents in order, as views."""
        return (self.ids[start:end] for start, end in pairwise(self.offsets.tolist()))

    def __repr__(self) -> str:
        """Ragged(documents, ids)"""
        return f"Ragged({len(self):,} documents, {len(self.ids):,} ids)"

    @property
    def lengths(self) -> npt.NDArray[np.uint64]:
        """Ids of each document: uint64 [n]."""
        return np.diff(self.offsets)
