"""How far annotators agree on rankings: Krippendorff's alpha, pairs ordered both ways, and cycles of majorities.

A unit is a pair of completions of one prompt; each annotator who ranked both gives it one of three ordered values:
the first is better, equal, the second is better. So rankings of any K, partial ones and votes on pairs are compared by
one measure. With o the coincidences of values within units, n_c their sums and d the distance of two values

    alpha = 1 - (n - 1) sum_ck o_ck d_ck / sum_ck n_c n_k d_ck
    d_ck = (sum of n_g from c to k - (n_c + n_k) / 2)^2

(ordinal data: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011). 1 is full agreement, 0 what chance
gives, below 0 systematic disagreement. Which completion of a pair is the first is arbitrary, so every unit is counted
both ways with half the weight; alpha does not depend on the order of completions.

A majority can prefer a to b, b to c and c to a (Condorcet). Such cycles are counted among the triples of completions
of one prompt whose three pairs all have a majority, over all groups of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stategpt.data.ranked_group import RankedGroup, Vote
from stategpt.data.ranking_dialogues import preference_counts
from stategpt.shown_fields import documented

FIRST, SECOND = 0, 2
"""Places of the values in which one of the pair is better; 1 is equal."""


@documented
@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of the annotators of some groups."""

    annotators: int
    """Annotators with a name."""
    votes: int
    """Orders that annotators gave; a group without votes counts as one."""
    pairs: int
    """Pairs of completions of one prompt that two or more annotators compared."""
    conflicting_pairs: int
    """Those that some order one way and others the other way."""
    alpha: float | None
    """Krippendorff's alpha of these pairs; None where no pair was compared twice, or all values are equal."""
    triples: int
    """Triples of completions of one prompt whose three pairs all have a majority."""
    cycles: int
    """Those whose majorities form a cycle."""

    @property
    def cycle_share(self) -> float:
        """Share of the triples that are cycles; 0 where there are no triples."""
        return self.cycles / self.triples if self.triples else 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields and `cycle_share` as JSON values."""
        names = ("annotators", "votes", "pairs", "conflicting_pairs", "alpha", "triples", "cycles", "cycle_share")
        return {name: getattr(self, name) for name in names}


def measure_agreement(groups: Iterable[RankedGroup]) -> Agreement:
    """Agreement of the annotators of `groups`. Memory: K^2 counts for the K completions of each prompt.

    Example:
        >>> from stategpt.data import Rankings
        >>> completions = [{"text": "yes"}, {"text": "no"}]
        >>> votes = [{"annotator": "ann", "ranks": [1, 2]}, {"annotator": "bob", "ranks": [2, 1]}]
        >>> rankings = Rankings.read([{"id": "1", "prompt": "?", "completions": completions, "votes": votes}])
        >>> found = measure_agreement(rankings.groups)
        >>> found.pairs, found.conflicting_pairs
        (1, 1)
    """
    by_prompt: dict[Any, list[RankedGroup]] = {}
    for group in groups:
        by_prompt.setdefault(group.prompt, []).append(group)
    coincidences = np.zeros((3, 3))
    pairs = conflicting = triples = cycles = 0
    for of_prompt in by_prompt.values():
        wins, ties = _counts(of_prompt)
        values = _values(wins, ties)
        pairs += len(values)
        conflicting += int(((values[:, FIRST] > 0) & (values[:, SECOND] > 0)).sum())
        coincidences += _coincidences(values)
        beats = (wins > wins.T).astype(np.float64)
        decided = beats + beats.T
        triples += round(np.trace(decided @ decided @ decided) / 6)
        cycles += round(np.trace(beats @ beats @ beats) / 3)
    votes = [vote for of_prompt in by_prompt.values() for group in of_prompt for vote in _votes(group)]
    return Agreement(
        annotators=len({vote.annotator for vote in votes if vote.annotator}),
        votes=len(votes),
        pairs=pairs,
        conflicting_pairs=conflicting,
        alpha=ordinal_alpha(coincidences),
        triples=triples,
        cycles=cycles,
    )


def ordinal_alpha(coincidences: npt.NDArray[np.float64]) -> float | None:
    """Krippendorff's alpha for ordered values from their coincidences, float64[V, V]; None if nothing can differ."""
    sums = coincidences.sum(axis=0)
    total = sums.sum()
    middle = np.cumsum(sums) - sums / 2  # of the values in order; their distance is that of the formula
    distance = (middle[:, None] - middle[None, :]) ** 2
    expected = float((np.outer(sums, sums) * distance).sum())
    if total <= 1 or expected == 0:
        return None
    return float(1 - (total - 1) * (coincidences * distance).sum() / expected)


def _votes(group: RankedGroup) -> Sequence[Vote]:
    return group.votes or (Vote("", group.ranks),)


def _counts(groups: Sequence[RankedGroup]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Preferences and ties between the completions of one prompt, int64[K, K] each; equal texts are one completion."""
    place: dict[str, int] = {}
    for group in groups:
        for text in group.completions:
            place.setdefault(text, len(place))
    wins, ties = np.zeros((2, len(place), len(place)), dtype=np.int64)
    for group in groups:
        at = np.array([place[text] for text in group.completions])
        votes = _votes(group)
        both = np.array([[rank is not None for rank in vote.ranks] for vote in votes], dtype=np.int64)
        better = preference_counts(votes, len(at))
        np.add.at(wins, (at[:, None], at[None, :]), better)
        np.add.at(ties, (at[:, None], at[None, :]), both.T @ both - better - better.T)
    return wins, ties


def _values(wins: npt.NDArray[np.int64], ties: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each pair that was compared twice or more, how often each value was given: int64[pairs, 3]."""
    first, second = np.triu_indices(len(wins), 1)
    values = np.stack([wins[first, second], ties[first, second], wins[second, first]], axis=1)
    compared: npt.NDArray[np.int64] = values[values.sum(axis=1) >= 2]
    return compared


def _coincidences(values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Pairs of values within units, each unit with the weight of its values, both ways round with half the weight."""
    found = np.zeros((3, 3))
    for counts in values.astype(np.float64):
        found += (np.outer(counts, counts) - np.diag(counts)) / (counts.sum() - 1)
    return (found + found[::-1, ::-1]) / 2
