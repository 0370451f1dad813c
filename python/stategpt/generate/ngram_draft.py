"""Speculative decoding without a second model: what followed the newest ids before is proposed to follow again.

Text that repeats itself (a quotation, code, a document that is edited) has its next tokens in the sequence already
(prompt lookup, Saxena 2023). The model reads the proposals in one step, and a token is drawn at each of their
positions from the logits there, with the uniform number of that position. A proposal is accepted where it is the token
that was drawn; the first other one replaces the rest. So the tokens are exactly those of sampling one by one, whatever
is proposed: proposals change how many steps it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, whole
from stategpt.errors import InvalidArgument

from .sampling import NO_IDS, SampledRow


class NgramDraft:
    """Proposes the ids that followed an earlier occurrence of a sequence's newest ids.

    The occurrences of each run of `least` ids are linked from the newest to the oldest, as in Deflate: adding an id and
    removing one take constant time, and a proposal looks at `tries` occurrences. Of those it takes the one that agrees
    with the newest ids furthest back, of equal ones the newest.
    """

    def __init__(self, ids: Sequence[int] | Ids = (), *, least: int = 2, longest: int = 16, tries: int = 32) -> None:
        """Begins with `ids`.

        Args:
            least: number of ids that must agree before anything is proposed.
            longest: number of ids after which occurrences are equally good.
            tries: number of occurrences that a proposal compares.
        """
        self._least, self._tries = whole("least", least, 1), whole("tries", tries, 1)
        self._longest = whole("longest", longest, self._least)
        self._ids: list[int] = []
        self._newest: dict[tuple[int, ...], int] = {}
        self._older: list[int] = []
        self.extend(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, ids: Sequence[int] | Ids) -> None:
        """Adds ids at the end."""
        for token in ids:
            self._ids.append(int(token))
            end = len(self._ids)
            run = tuple(self._ids[end - self._least :]) if end >= self._least else ()
            self._older.append(self._newest.get(run, -1) if run else -1)
            if run:
                self._newest[run] = end

    def rewind(self, length: int) -> None:
        """Removes what is beyond `length` ids."""
        if not 0 <= length <= len(self._ids):
            raise InvalidArgument(f"length is {length}; the sequence has {len(self._ids)} ids")
        while len(self._ids) > length:
            older = self._older.pop()
            run = tuple(self._ids[-self._least :])
            if older >= 0:
                self._newest[run] = older
            elif len(run) == self._least:
                del self._newest[run]
            self._ids.pop()

    def proposals(self, most: int) -> Ids:
        """At most `most` ids that may follow; none where the newest ids occur for the first time. -> uint32[k].

        An occurrence that reaches the end of the sequence is continued by what it repeats: "a b a b" proposes "a b a".
        """
        start = self._match()
        if start < 0 or most < 1:
            return NO_IDS
        followed = self._ids[start : start + most]
        period = len(self._ids) - start
        return np.array([followed[place % period] for place in range(most)], dtype=np.uint32)

    def _match(self) -> int:
        """Where the best earlier occurrence of the newest ids ends, or -1."""
        ids, end = self._ids, len(self._ids)
        best, best_length = -1, 0
        place = self._older[-1] if ids else -1
        for _ in range(self._tries):
            if place < 0:
                break
            length, limit = self._least, min(place, self._longest)
            while length < limit and ids[place - 1 - length] == ids[end - 1 - length]:
                length += 1
            if length > best_length:
                best, best_length = place, length
            if best_length == self._longest:
                break
            place = self._older[place - 1]
        return best


def speculated_rows(
    row: SampledRow, proposed: Ids, masks: Sequence[NDArray[np.uint32] | None] | None = None
) -> list[SampledRow]:
    """The rows of one sequence whose tokens are drawn in a step: the next one, and one after each proposal.

    Row i follows i accepted proposals: it reads them as part of its completion and has the position after them.

    Args:
        row: the sequence at its next token.
        proposed: the k ids that the model reads in this step, after the newest id of the sequence.
        masks: what the constraint allows at each of the k + 1 positions, if there is one; the constraint is advanced by
            the proposals for this and then rewound. A proposal that it does not allow is never drawn, so masks after it
            may be None.
    """
    if masks is not None and len(masks) != len(proposed) + 1:
        raise InvalidArgument(f"{len(masks)} masks for {len(proposed)} proposals; give one more than there are")
    whole_ = np.concatenate([np.asarray(row.generated, dtype=np.uint32), proposed])
    own = len(row.generated)
    return [
        replace(
            row,
            position=row.position + taken,
            generated=whole_[: own + taken],
            mask=row.mask if masks is None else masks[taken],
        )
        for taken in range(len(proposed) + 1)
    ]


def accepted(proposed: Ids, drawn: Sequence[int] | NDArray[np.int64]) -> int:
    """Number of proposals that were drawn, from the first; the tokens of the step are `drawn[: accepted + 1]`."""
    if len(drawn) != len(proposed) + 1:
        raise InvalidArgument(f"{len(drawn)} drawn ids for {len(proposed)} proposals; draw one more than there are")
    differs = np.flatnonzero(np.asarray(drawn)[: len(proposed)] != proposed)
    return int(differs[0]) if len(differs) else len(proposed)
