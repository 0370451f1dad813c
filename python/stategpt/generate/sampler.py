"""Draws the next token of many rows, each by its own settings, with random numbers that depend on the row alone.

A row's result depends on its logits and its `SampledRow`: its bits are the same whatever the other rows of the call
are, and however many. Rows are drawn together; limits and temperatures are vectors, so 64 settings cost about what one
does.

Legend: M rows to draw for, V vocabulary, R of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.errors import InvalidArgument, StategptError
from stategpt.model.kept_sets import KeptSet, log_probs_within
from stategpt.randomness import further_uniforms
from stategpt.shown_fields import documented, short_repr

from .broken_rows import why_not_drawn
from .direct_draw import DirectRows, divided, draw_directly, takes
from .inversion import invert
from .log_prob_rows import TopLogProbs, most_likely, raw_log_probs
from .logit_edits import edit
from .sampling import SampledRow
from .truncation import Kept, Limits, kept_tokens

_CACHED_NUMBERS = 1 << 20
"""Logits that a CPU draws from at a time: temporaries in float64 then stay in its cache, and do not grow with M x V."""


@documented
@dataclass(frozen=True)
class Draws:
    """One token for each of M rows."""

    ids_M: Tensor
    """int64 token ids; -1 for a row with an error."""
    log_probs_M: Tensor
    """float32 log-probability of each under the distribution it was drawn from; at temperature 0 that of temperature
    1, and without `typical_p`."""
    top: list[TopLogProbs | None]
    """The most likely tokens of rows with `top_log_probs`, without any setting (`raw_log_probs_M`)."""
    kept: list[KeptSet | None]
    """With `keep_sets`, the ids each token was drawn among; otherwise None."""
    errors: dict[int, StategptError]
    """Why no token could be drawn, by row."""
    logits_MV: Tensor
    """What was drawn from."""
    vocabulary: int | None
    """Number of ids with text, if there is padding."""

    __repr__ = short_repr

    @cached_property
    def raw_log_probs_M(self) -> Tensor:  # noqa: N802
        """float32 log-probability of each token at temperature 1 with nothing removed but padding.

        Computed when it is first read, from the logits as they are then.
        """
        raw_M = torch.full_like(self.log_probs_M, torch.nan)
        drawn_R = (self.ids_M >= 0).nonzero()[:, 0]
        for part_R in torch.split(drawn_R, rows_at_a_time(self.logits_MV)):
            all_RV = raw_log_probs(self.logits_MV[part_R], self.vocabulary)
            raw_M[part_R] = all_RV.gather(1, self.ids_M[part_R, None])[:, 0]
        return raw_M


def draw(
    logits_MV: Tensor,
    rows: Sequence[SampledRow],
    *,
    vocabulary: int | None = None,
    keep_sets: bool = False,
    exact: bool = False,
) -> Draws:
    """Draws one token for each row, by the uniform number of (seed, stream, sample, position) alone.

    A row that cannot be drawn (no id is left, its logits are not numbers, a setting names an id outside the
    vocabulary) is in `Draws.errors`; the others are drawn.

    Args:
        logits_MV: one row of logits for each of `rows`, of any floating type; not changed.
        vocabulary: number of ids with text: raw log-probabilities leave out the others, a model's padding. They are
            drawn all the same unless they are forbidden.
        keep_sets: also returns the ids that each token was drawn among.
        exact: log-probabilities have the bits of torch's log-softmax, which training takes: those of rows that are
            drawn directly (`direct_draw.py`) differ from them by roundings.
    """
    if logits_MV.ndim != 2 or len(logits_MV) != len(rows):
        raise InvalidArgument(f"logits of shape {list(logits_MV.shape)} for {len(rows)} rows; give one row for each")
    M, V = logits_MV.shape
    states_M = np.array([row.counted for row in rows], dtype=np.uint64)
    uniform_M = further_uniforms(states_M, np.array([row.position for row in rows], dtype=np.int64))
    result = _Result.empty(M, logits_MV.device)
    groups: list[DirectRows] = []
    others = list(range(M))
    if not (keep_sets or exact) and takes(logits_MV):
        groups, others = divided(rows, V)
    for group in groups:
        numbers_R, ids_R, log_probs_R, errors = draw_directly(logits_MV, rows, group, uniform_M)
        result.ids_M.numpy()[numbers_R], result.log_probs_M.numpy()[numbers_R] = ids_R, log_probs_R
        result.errors.update(errors)
    if len(others) == M:
        _draw_in_parts(logits_MV, rows, uniform_M, result, keep_sets)
    elif others:
        _draw_some(logits_MV, rows, uniform_M, result, others)
    if exact and keep_sets:
        _renormalize(logits_MV, rows, result)
    for row in result.errors:
        result.ids_M[row], result.log_probs_M[row], result.kept[row] = -1, torch.nan, None
    top = _top(logits_MV, rows, vocabulary, result.errors)
    return Draws(result.ids_M, result.log_probs_M, top, result.kept, result.errors, logits_MV, vocabulary)


def _renormalize(logits_MV: Tensor, rows: Sequence[SampledRow], result: _Result) -> None:
    """Log-probabilities of truncated rows with the bits that training gives them over the kept ids.

    The truncation adds up probabilities of a sorted part, training those of the vocabulary with what is left out as 0.
    """
    by_temperature: dict[float, list[int]] = {}
    for number, row in enumerate(rows):
        sampling = row.sampling
        drawn = number not in result.errors and result.kept[number] is not None and sampling.temperature > 0
        if drawn and sampling.truncates and not sampling.changes_logits:
            by_temperature.setdefault(sampling.temperature, []).append(number)
    for temperature, numbers in by_temperature.items():
        for part in np.array_split(numbers, -(-len(numbers) // rows_at_a_time(logits_MV))):
            places_R = torch.from_numpy(part).to(logits_MV.device)
            kept = [each for number in part.tolist() if (each := result.kept[number]) is not None]
            all_RV = log_probs_within(logits_MV[places_R], kept, temperature)
            result.log_probs_M[places_R] = all_RV.gather(1, result.ids_M[places_R, None])[:, 0]


def _draw_in_parts(
    logits_MV: Tensor,
    rows: Sequence[SampledRow],
    uniform_M: NDArray[np.float64],
    result: _Result,
    keep_sets: bool,
) -> None:
    """Draws by torch, as many rows at a time as its temporaries allow."""
    values = _Values.of(rows, uniform_M, logits_MV.shape[1], logits_MV.device)
    step = rows_at_a_time(logits_MV)
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        _draw(logits_MV[part], rows[part], values.part(part), result.part(part), first, keep_sets)


def _draw_some(
    logits_MV: Tensor,
    rows: Sequence[SampledRow],
    uniform_M: NDArray[np.float64],
    result: _Result,
    numbers: list[int],
) -> None:
    """Draws some of the rows by torch; the others are drawn already."""
    places_R = torch.tensor(numbers, device=logits_MV.device)
    found = _Result.empty(len(numbers), logits_MV.device)
    _draw_in_parts(logits_MV[places_R], [rows[number] for number in numbers], uniform_M[numbers], found, False)
    result.ids_M[places_R], result.log_probs_M[places_R] = found.ids_M, found.log_probs_M
    result.errors.update({numbers[row]: error for row, error in found.errors.items()})


def rows_at_a_time(logits_MV: Tensor) -> int:
    """Number of rows of which temporaries stay in a CPU's cache; all rows on other devices."""
    M, V = logits_MV.shape
    return max(1, _CACHED_NUMBERS // V if logits_MV.device.type == "cpu" else M)


class _Values(NamedTuple):
    """The settings of M rows as vectors."""

    temperature_M: Tensor
    """float32; 1 where tokens are not drawn but taken."""
    uniform_M: Tensor
    limits: Limits
    greedy_M: NDArray[np.bool_]
    truncates_M: NDArray[np.bool_]
    is_tempered: bool
    """Whether any temperature is not 1."""

    @classmethod
    def of(cls, rows: Sequence[SampledRow], uniform_M: NDArray[np.float64], V: int, device: torch.device) -> _Values:
        settings = [row.sampling for row in rows]
        temperature_M = np.array([sampling.temperature for sampling in settings], dtype=np.float64)
        greedy_M = temperature_M == 0
        temperature_M[greedy_M] = 1.0
        top_k_M = np.array([min(sampling.top_k or V, V) for sampling in settings], dtype=np.int64)
        top_p_M = _shares([sampling.top_p for sampling in settings], 1.0)
        min_p_M = _shares([sampling.min_p for sampling in settings], 0.0)
        typical_p_M = _shares([sampling.typical_p for sampling in settings], 1.0)
        typical_p_M[greedy_M] = 1.0
        truncates_M = (top_k_M < V) | (top_p_M < 1) | (min_p_M > 0) | (typical_p_M < 1)
        limits = Limits(*(torch.from_numpy(limit_M).to(device) for limit_M in (top_k_M, top_p_M, min_p_M, typical_p_M)))
        return cls(
            torch.from_numpy(temperature_M.astype(np.float32)).to(device),
            torch.from_numpy(uniform_M).to(device),
            limits,
            greedy_M,
            truncates_M,
            bool((temperature_M != 1).any()),
        )

    def part(self, rows: slice) -> _Values:
        limits = Limits(*(limit_M[rows] for limit_M in self.limits))
        return _Values(
            self.temperature_M[rows],
            self.uniform_M[rows],
            limits,
            self.greedy_M[rows],
            self.truncates_M[rows],
            self.is_tempered,
        )


class _Result(NamedTuple):
    """What is drawn, filled in part by part."""

    ids_M: Tensor
    log_probs_M: Tensor
    kept: list[KeptSet | None]
    errors: dict[int, StategptError]

    @classmethod
    def empty(cls, M: int, device: torch.device) -> _Result:
        ids_M = torch.empty(M, dtype=torch.int64, device=device)
        return cls(ids_M, torch.empty(M, dtype=torch.float32, device=device), [None] * M, {})

    def part(self, rows: slice) -> _Result:
        """Views of the tensors; the lists and errors are the whole ones."""
        return _Result(self.ids_M[rows], self.log_probs_M[rows], self.kept, self.errors)


def _shares(values: Sequence[float | None], otherwise: float) -> NDArray[np.float64]:
    return np.array([otherwise if value is None else value for value in values], dtype=np.float64)


def _draw(
    logits_MV: Tensor, rows: Sequence[SampledRow], values: _Values, result: _Result, first: int, keep_sets: bool
) -> None:
    """Draws rows whose temporaries exist at a time; `first` is the number of the first of them."""
    all_MV, errors = _distribution(logits_MV, rows, values)
    result.errors.update({first + row: error for row, error in errors.items()})
    device = logits_MV.device
    for kept in _groups(all_MV, values, device):
        rows_R = kept.rows_R
        greedy_R = values.greedy_M[rows_R.cpu().numpy()]
        place_R = _places(kept.log_probs_RK, values.uniform_M[rows_R], greedy_R)
        result.ids_M[rows_R] = kept.ids_RK.gather(1, place_R[:, None])[:, 0]
        result.log_probs_M[rows_R] = kept.log_probs_RK.gather(1, place_R[:, None])[:, 0]
        if keep_sets:
            _store_kept(result.kept, kept, first, logits_MV.shape[1])


def _distribution(
    logits_MV: Tensor, rows: Sequence[SampledRow], values: _Values
) -> tuple[Tensor, dict[int, StategptError]]:
    """log softmax after steps 1 to 4 of `sampling.py`, float32[M, V]; rows with an error are all 0."""
    work_MV = logits_MV.to(torch.float32, copy=True).contiguous()
    largest_M = work_MV.amax(dim=-1)
    errors = edit(work_MV, rows)
    if values.is_tempered:
        work_MV.div_(values.temperature_M[:, None])
    all_MV = work_MV.log_softmax(dim=-1)
    # One NaN, infinity, or no finite number at all makes every number of the row NaN; edits may have hidden one.
    broken_M = all_MV[:, 0].isnan() | largest_M.isnan() | (largest_M == torch.inf)
    for row in broken_M.nonzero()[:, 0].tolist():
        errors.setdefault(row, why_not_drawn(logits_MV[row], work_MV[row], rows[row]))
    if errors:
        all_MV[torch.tensor(list(errors), device=all_MV.device)] = 0.0
    return all_MV, errors


def _groups(all_MV: Tensor, values: _Values, device: torch.device) -> list[Kept]:
    """Rows that keep the whole vocabulary, and those that do not."""
    M, V = all_MV.shape
    groups = []
    plain = np.flatnonzero(~values.truncates_M)
    cut = np.flatnonzero(values.truncates_M)
    if len(plain):
        rows_R = torch.from_numpy(plain).to(device)
        ids_RV = torch.arange(V, device=device).expand(len(plain), V)
        groups.append(Kept(rows_R, ids_RV, all_MV if len(plain) == M else all_MV[rows_R]))
    if len(cut) == M:
        groups.extend(kept_tokens(all_MV, values.limits))
    elif len(cut):
        rows_R = torch.from_numpy(cut).to(device)
        found = kept_tokens(all_MV[rows_R], values.limits.of(rows_R))
        groups.extend(kept._replace(rows_R=rows_R[kept.rows_R]) for kept in found)
    return groups


def _places(log_probs_RK: Tensor, uniform_R: Tensor, greedy_R: NDArray[np.bool_]) -> Tensor:
    """By the uniform numbers, or the most likely. -> int64[R]."""
    if greedy_R.all():
        return log_probs_RK.argmax(dim=-1)
    place_R = invert(log_probs_RK, uniform_R)
    if greedy_R.any():
        some = torch.from_numpy(np.flatnonzero(greedy_R)).to(place_R.device)
        place_R[some] = log_probs_RK[some].argmax(dim=-1)
    return place_R


def _store_kept(stored: list[KeptSet | None], kept: Kept, first: int, V: int) -> None:
    is_kept_RK = (kept.log_probs_RK > -torch.inf).cpu().numpy()
    ids_RK = kept.ids_RK.cpu().numpy()
    for row, ids, is_kept in zip(kept.rows_R.tolist(), ids_RK, is_kept_RK, strict=True):
        few = ids[is_kept]
        if 2 * len(few) <= V:
            stored[first + row] = KeptSet(few.astype(np.uint32), is_removed=False)
        else:
            found = np.zeros(V, dtype=np.bool_)
            found[few] = True
            stored[first + row] = KeptSet.of(found)


def _top(
    logits_MV: Tensor, rows: Sequence[SampledRow], vocabulary: int | None, errors: dict[int, StategptError]
) -> list[TopLogProbs | None]:
    found: list[TopLogProbs | None] = [None] * len(rows)
    wanted = [row for row, sampled in enumerate(rows) if sampled.sampling.top_log_probs and row not in errors]
    step = rows_at_a_time(logits_MV)
    for first in range(0, len(wanted), step):
        part = wanted[first : first + step]
        counts = [rows[row].sampling.top_log_probs for row in part]
        all_RV = raw_log_probs(logits_MV[torch.tensor(part, device=logits_MV.device)], vocabulary)
        for row, top in zip(part, most_likely(all_RV, counts, vocabulary), strict=True):
            found[row] = top
    return found
