"""Steps 1 to 3 of a draw (`sampling.py`): biases, penalties and removals, on the logits of many rows at a time.

What is changed is sparse: for each step the places of all rows are put together as one vector of indices into the flat
logits, so that 64 rows with 64 settings cost a few operations, not 64 times as many. A row's values do not depend on
the other rows. Only a constraint's mask touches the whole vocabulary.

Legend: M rows, V vocabulary, N places of all rows together, W words of 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.errors import InvalidArgument, StategptError, UnknownToken

from .sampling import SampledRow

Index = NDArray[np.int64]


_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDED = np.where(_BITS, np.float32(0), np.float32(-np.inf))
"""What a byte of a mask adds to eight logits."""


def edit(logits_MV: Tensor, rows: Sequence[SampledRow]) -> dict[int, StategptError]:
    """Changes the contiguous float32 logits in place; returns the errors of rows that cannot be edited, by row."""
    editing = _Editing(logits_MV, rows)
    editing.add_biases()
    editing.penalize_repetition()
    editing.penalize_completion()
    editing.keep_allowed()
    editing.remove()
    editing.mask()
    return editing.errors


class _Editing:
    """One call of `edit`."""

    def __init__(self, logits_MV: Tensor, rows: Sequence[SampledRow]) -> None:
        self.V = logits_MV.shape[1]
        self.logits_MV, self.flat = logits_MV, logits_MV.view(-1)
        self.errors: dict[int, StategptError] = {}
        self._all = rows
        self.rows = [(number, row) for number, row in enumerate(rows) if self._is_known(number, row)]

    def add_biases(self) -> None:
        """Step 1."""
        biased = [(number, row.sampling) for number, row in self.rows if row.sampling.logit_bias]
        if biased:
            values_N = np.concatenate([sampling.bias_values for _, sampling in biased])
            index_N = self._index([(number, sampling.bias_ids) for number, sampling in biased])
            self.flat[index_N] += self._tensor(values_N)

    def penalize_repetition(self) -> None:
        """Step 2, of ids in prompt and completion. An id that is there twice gets the same value twice."""
        found = [(number, row) for number, row in self.rows if row.sampling.repetition_penalty != 1]
        parts = [(number, row, _int64(row.prompt), _int64(row.generated)) for number, row in found]
        parts = [part for part in parts if self._are_known(part[0], "prompt or completion", part[2], part[3])]
        if not parts:
            return
        index_N = self._index([(number, np.concatenate([first, second])) for number, _, first, second in parts])
        lengths = [len(first) + len(second) for _, _, first, second in parts]
        penalties = np.array([row.sampling.repetition_penalty for _, row, _, _ in parts], dtype=np.float32)
        penalty_N = self._tensor(np.repeat(penalties, lengths))
        values_N = self.flat[index_N]
        self.flat[index_N] = torch.where(values_N < 0, values_N * penalty_N, values_N / penalty_N)

    def penalize_completion(self) -> None:
        """Step 2, of ids in the completion: by how often they are in it, and because they are."""
        found = [(number, row) for number, row in self.rows if row.sampling.penalizes_completion and len(row.generated)]
        parts = [(number, _int64(row.generated)) for number, row in found]
        parts = [part for part in parts if self._are_known(part[0], "completion", part[1])]
        if not parts:
            return
        places_N, counts_N = np.unique(self._places(parts), return_counts=True)
        frequency_M, presence_M = np.zeros((2, len(self.logits_MV)), dtype=np.float32)
        for number, row in found:
            frequency_M[number] = row.sampling.frequency_penalty
            presence_M[number] = row.sampling.presence_penalty
        rows_N = places_N // self.V
        index_N = self._tensor(places_N)
        by_count_N = frequency_M[rows_N] * counts_N.astype(np.float32)
        self.flat[index_N] = self.flat[index_N] - self._tensor(by_count_N) - self._tensor(presence_M[rows_N])

    def keep_allowed(self) -> None:
        """Step 3: everything but the allowed ids is removed."""
        parts = [(number, row.sampling.allowed_ids) for number, row in self.rows]
        allowed = [(number, ids) for number, ids in parts if ids is not None]
        if allowed:
            index_N = self._index(allowed)
            values_N = self.flat[index_N]
            self.logits_MV[self._tensor(np.array([number for number, _ in allowed]))] = -torch.inf
            self.flat[index_N] = values_N

    def remove(self) -> None:
        """Step 3: ids that are never drawn, or not here."""
        parts: list[tuple[int, Index]] = []
        sharing: dict[int, list[int]] = {}
        for number, row in self.rows:
            if row.sampling.removed_ids.size:
                sharing.setdefault(id(row.sampling.removed_ids), []).append(number)
            if here := [*bad_word_ends(row), *early_ends(row)]:
                parts.append((number, np.array(here, dtype=np.int64)))
        # Most rows of a batch forbid the same ids: the control tokens, and thousands of a padded vocabulary.
        most = max(sharing.values(), key=len, default=[])
        if len(most) == len(self.logits_MV):
            self.logits_MV[:, self._tensor(self._removed(most[0]))] = -torch.inf
        elif most:
            rows_R1 = self._tensor(np.array(most))[:, None]
            self.logits_MV[rows_R1, self._tensor(self._removed(most[0]))] = -torch.inf
        others = [number for numbers in sharing.values() if numbers is not most for number in numbers]
        parts.extend((number, self._removed(number)) for number in others)
        if parts:
            self.flat[self._index(parts)] = -torch.inf

    def mask(self) -> None:
        """Step 3: ids that a constraint does not allow."""
        masked = [(number, row.mask) for number, row in self.rows if row.mask is not None]
        masks = [(number, mask) for number, mask in masked if self._is_mask(number, mask)]
        if not masks:
            return
        M, V = self.logits_MV.shape
        words_MW = np.full((M, -(-V // 32)), 0xFFFFFFFF, dtype="<u4")
        for number, mask in masks:
            held = mask[: words_MW.shape[1]]
            words_MW[number, : len(held)] = held
            words_MW[number, len(held) :] = 0
        if self.flat.device.type == "cpu":
            # Adding 0 or -inf, eight at a time from a table, takes a quarter of the time of a boolean mask.
            added_MV = torch.from_numpy(_ADDED[words_MW.view(np.uint8)]).view(M, -1)
            self.logits_MV.add_(added_MV[:, :V])
        else:  # one bit an id crosses to the device, not eight
            device_MW = self._tensor(words_MW.astype(np.int64))
            bits_MW32 = (device_MW[:, :, None] >> torch.arange(32, device=device_MW.device)) & 1
            self.logits_MV.masked_fill_(bits_MW32.flatten(1)[:, :V] == 0, -torch.inf)

    def _removed(self, number: int) -> Index:
        return self._all[number].sampling.removed_ids

    def _is_known(self, number: int, row: SampledRow) -> bool:
        largest = max(row.sampling.largest_id, max(row.ends, default=-1))
        if largest >= self.V:
            self.errors[number] = _unknown("its settings hold", largest, self.V)
        return largest < self.V

    def _are_known(self, number: int, where: str, *parts: Index) -> bool:
        for ids in parts:
            if ids.size and (ids.min() < 0 or ids.max() >= self.V):
                outside = ids[(ids < 0) | (ids >= self.V)]
                self.errors[number] = _unknown(f"its {where} holds", int(outside[0]), self.V)
                return False
        return True

    def _is_mask(self, number: int, mask: NDArray[np.uint32]) -> bool:
        is_mask = isinstance(mask, np.ndarray) and mask.dtype == np.uint32 and mask.ndim == 1
        if not is_mask:
            found = f"{mask.dtype}{list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask).__name__
            self.errors[number] = InvalidArgument(f"mask is {found}; give uint32 words, bit i % 32 of word i // 32")
        return is_mask

    def _places(self, parts: Sequence[tuple[int, Index]]) -> Index:
        first_M = np.array([number * self.V for number, _ in parts], dtype=np.int64)
        places_N: Index = np.repeat(first_M, [len(ids) for _, ids in parts])
        places_N += np.concatenate([ids for _, ids in parts])
        return places_N

    def _index(self, parts: Sequence[tuple[int, Index]]) -> Tensor:
        return self._tensor(self._places(parts))

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.flat.device)


def bad_word_ends(row: SampledRow) -> list[int]:
    """The last ids of bad words whose other ids are the newest ones of the row, prompt included."""
    after = row.sampling.bad_words_after
    if not after:
        return []
    newest = _newest(row, 1)
    found = []
    for word in after.get(newest[0], ()) if newest else ():
        if _newest(row, len(word.before)) == word.before:
            found.append(word.last)
    return found


def early_ends(row: SampledRow) -> tuple[int, ...]:
    """The end ids that `min_tokens` forbids here."""
    return row.ends if len(row.generated) < row.sampling.min_tokens else ()


def _newest(row: SampledRow, count: int) -> tuple[int, ...]:
    """The last `count` ids of prompt and completion, fewer where there are no more."""
    own = tuple(int(token) for token in row.generated[-count:])
    missing = count - len(own)
    return own if not missing else (*(int(token) for token in row.prompt[-missing:]), *own)


def _int64(ids: Sequence[int] | NDArray[np.uint32]) -> Index:
    return np.asarray(ids, dtype=np.int64)


def _unknown(where: str, token: int, vocabulary: int) -> UnknownToken:
    return UnknownToken(f"{where} id {token}, the logits are of ids 0 .. {vocabulary - 1}")
