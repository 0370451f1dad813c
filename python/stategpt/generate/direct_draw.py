"""Draws of rows that only divide by a temperature and remove ids: one native pass over each row (`rust/rows`).

Nearly all rows of training, of votes and of ranking are of this kind. What other settings need (penalties, truncation,
constraints), other devices and number formats are drawn by torch (`sampler.py`). Which of both draws a row depends on
its settings alone.

Legend: M rows to draw for, V vocabulary, R of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt import _native
from stategpt.errors import StategptError

from .broken_rows import why_not_drawn
from .sampling import SampledRow


class DirectRows(NamedTuple):
    """Rows that remove the same ids."""

    numbers: list[int]
    """Their places among all rows."""
    removed: NDArray[np.int64]
    """The ids."""


def divided(rows: Sequence[SampledRow], vocabulary: int) -> tuple[list[DirectRows], list[int]]:
    """Divides rows into those that are drawn here, by the ids that they remove, and the numbers of the others."""
    groups: dict[tuple[int, int], DirectRows] = {}
    others = []
    for number, row in enumerate(rows):
        sampling = row.sampling
        if row.mask is not None or not sampling.is_direct:
            others.append(number)
            continue
        key = id(sampling.removed_ids), id(row.ends)
        if (group := groups.get(key)) is not None:
            group.numbers.append(number)
        elif max(sampling.largest_id, *row.ends, -1) >= vocabulary:  # `sampler.edit` says what is wrong
            others.append(number)
        else:
            groups[key] = DirectRows([number], sampling.removed_ids)
    return list(groups.values()), others


def takes(logits_MV: Tensor) -> bool:
    """Whether the native code reads these logits."""
    return logits_MV.device.type == "cpu" and logits_MV.dtype == torch.float32 and logits_MV.is_contiguous()


def draw_directly(
    logits_MV: Tensor, rows: Sequence[SampledRow], group: DirectRows, uniform_M: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], dict[int, StategptError]]:
    """Draws the rows of a group. -> their numbers, ids and log-probabilities [R], and errors by number."""
    numbers_R = np.array(group.numbers, dtype=np.int64)
    temperature_R = np.array([rows[number].sampling.temperature for number in group.numbers], dtype=np.float32)
    logits = logits_MV.detach().numpy()
    threads = torch.get_num_threads()
    ids_R, log_probs_R = _native.draw(logits, numbers_R, temperature_R, uniform_M[numbers_R], group.removed, threads)
    errors = {}
    if len(ids_R) and int(ids_R.min()) < 0:
        for place in np.flatnonzero(ids_R < 0).tolist():
            number = group.numbers[place]
            edited_V = logits_MV[number].clone()
            edited_V[torch.from_numpy(group.removed)] = -torch.inf
            if temperature := float(temperature_R[place]):
                edited_V /= temperature
            errors[number] = why_not_drawn(logits_MV[number], edited_V, rows[number])
    return numbers_R, ids_R, log_probs_R, errors
