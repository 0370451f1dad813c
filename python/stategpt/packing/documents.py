"""Documents that are already token ids, as shards store them."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument, UnknownToken

NO_DOCUMENT = 2**64 - 1
"""`doc_ids` of a padding token; no document may have it."""


@dataclass(frozen=True, eq=False, slots=True)
class TokenizedDocument:
    """A document that is already token ids, stored unchanged.

    Attributes:
        ids: uint32[n], d1 ... dn, without the end of text, which packing adds around them.
        mask: uint8[n + 1] of 0 and 1: which targets are trained, d1 ... dn and the final end of text. None: all.
        doc_id: identity of the document, e.g. of its source, 0 .. 2^64 - 2 (2^64 - 1 is padding). All documents
            of a data set have one, or none has.

    Raises:
        InvalidArgument: ids that are not a vector of whole numbers, a mask of another shape, a doc_id out of range.
        UnknownToken: an id that no vocabulary has; whether it is in the tokenizer's is checked when it is written.
    """

    ids: npt.NDArray[np.uint32]
    mask: npt.NDArray[np.uint8] | None = None
    doc_id: int | None = None

    def __post_init__(self) -> None:
        ids = _array(self.ids, "ids")
        if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
            raise InvalidArgument(
                f"a document's ids are {ids.dtype}{list(ids.shape)}; they must be a vector of integers"
            )
        if ids.size and (ids.min() < 0 or ids.max() > np.iinfo(np.uint32).max):
            raise UnknownToken(f"a document holds ids from {ids.min()} to {ids.max()}; ids are 0 or more, below 2^32")
        object.__setattr__(self, "ids", np.ascontiguousarray(ids, dtype=np.uint32))
        if self.mask is not None:
            mask = _array(self.mask, "mask")
            if mask.shape != (ids.size + 1,) or not np.isin(mask, (0, 1)).all():
                raise InvalidArgument(
                    f"a document of {ids.size} ids has a mask {mask.dtype}{list(mask.shape)}; it must hold "
                    f"{ids.size + 1} entries of 0 or 1, one for each id and one for the final end of text"
                )
            object.__setattr__(self, "mask", np.ascontiguousarray(mask, dtype=np.uint8))
        if self.doc_id is not None:
            object.__setattr__(self, "doc_id", _doc_id(self.doc_id))

    def __repr__(self) -> str:
        """TokenizedDocument(ids, the first ones, trained targets, doc_id)"""
        trained = "all" if self.mask is None else f"{int(self.mask.sum()):,}"
        first = ", ".join(map(str, self.ids[:6].tolist())) + (", ..." if self.ids.size > 6 else "")
        return f"TokenizedDocument({self.ids.size:,} ids: [{first}], trained: {trained}, doc_id: {self.doc_id})"


def _array(values: object, name: str) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"a document's {name} are not an array ({error}); give a vector of integers") from error


def _doc_id(value: int) -> int:
    try:
        number = index(value)
    except TypeError:
        raise InvalidArgument(f"doc_id is of type {type(value).__name__}; it must be a whole number") from None
    if not 0 <= number < NO_DOCUMENT:
        found = number if number.bit_length() < 128 else f"a number of {number.bit_length()} bits"
        raise InvalidArgument(f"doc_id is {found}; it must be 0 to 2^64 - 2 (2^64 - 1 is padding)")
    return number
