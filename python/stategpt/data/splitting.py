"""The split into training, validation and test: one rule for documents, conversations, rankings and prompts.

A group is held out whole, and the same group is on the same side in every input. The side depends on the groups, their
sizes and the seed; neither the order of records nor the number of processes matters. Groups are ordered by a keyed
64-bit hash of their names and drawn in that order while they fit the share of the side, so that a group that holds most
of the data stays in training. Two names with the same hash are one group, which keeps both on one side.

Memory: 8 bytes a record, and 9 a group.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from stategpt.config.corpus import MIN_GROUPS, min_groups
from stategpt.errors import CorpusError

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
"""train: what stages learn from. validation: what settings are chosen by, and what is measured during training. test:
what gates, report and comparison measure on, and nothing else reads.
"""

_TRAIN, _VALIDATION, _TEST = range(3)
_FREE = 255
Hashes = npt.NDArray[np.uint64]


def sides_of(groups: Iterable[str], validation_share: float, test_share: float, seed: int) -> dict[str, Side]:
    """The side of every group of one input; a group that is given n times weighs n. Every side has at least one group.

    Raises:
        CorpusError: there are fewer than three different groups.
    """
    names = list(groups)
    split = GroupSplit(validation_share, test_share, seed)
    for name in names:
        split.add("the data", name)
    sides = split.decide()
    return {name: sides.of(name) for name in dict.fromkeys(names)}


def require_groups(name: str, groups: int, validation_share: float, test_share: float) -> None:
    """Checks that an input has enough groups for the shares that are held out.

    Args:
        name: the setting that names the input, e.g. "sources.notes".
        groups: number of its different groups.
        validation_share, test_share: of the run.

    Raises:
        CorpusError: it has too few; the message gives the minimum, what is missing, and the shares that would do.
    """
    needed = min_groups(validation_share, test_share)
    if groups >= needed:
        return
    shares = f"corpus.validation_share = {validation_share:g} and corpus.test_share = {test_share:g}"
    if groups < MIN_GROUPS:
        remedy = f'Give at least {MIN_GROUPS - groups} more, or make groups smaller (group = "document").'
    else:
        share = math.ceil(1000 / groups) / 1000
        remedy = (
            f"Give {needed - groups} more, or set both shares to at least {share:g}, one group of {groups}; a "
            "measurement on so little has a wide interval."
        )
    raise CorpusError(
        f"{name} has {groups} group{'' if groups == 1 else 's'}, too little to split: {shares} hold out whole groups, "
        f"and need at least {needed} groups, {needed - groups} more than there are. {remedy}"
    )


@dataclass(frozen=True, slots=True)
class Sides:
    """The side of each group."""

    hashes: Hashes
    """Keyed hashes of the groups, ascending."""
    numbers: npt.NDArray[np.uint8]
    """The side of each, by its place in `SIDES`."""
    seed: int
    """Seed of the hashes."""

    def of(self, group: str) -> Side:
        """The side of one group.

        Raises:
            KeyError: it was not in any input.
        """
        key = _hashed(group, self.seed)
        place = int(np.searchsorted(self.hashes, np.uint64(key)))
        if place >= len(self.hashes) or int(self.hashes[place]) != key:
            raise KeyError(group)
        return SIDES[int(self.numbers[place])]


class GroupSplit:
    """Collects the groups of several inputs, then decides the side of each group.

    Args:
        validation_share, test_share: share of an input's records to hold out, in whole groups.
        seed: of the order in which groups are drawn.
    """

    def __init__(self, validation_share: float, test_share: float, seed: int) -> None:
        self._shares = (validation_share, test_share)
        self._seed = seed
        self._inputs: dict[str, array[int]] = {}
        self._pinned: dict[int, int] = {}

    def add(self, name: str, group: str) -> None:
        """Counts a record of the input `name` that belongs to `group`."""
        if name not in self._inputs:
            self._inputs[name] = array("Q")
        self._inputs[name].append(_hashed(group, self._seed))

    def pin(self, group: str, side: Side) -> None:
        """Gives a group its side, whatever the shares: the prompts that a user holds out for evaluation."""
        self._pinned[_hashed(group, self._seed)] = SIDES.index(side)

    def groups(self, name: str) -> int:
        """Number of different groups of an input so far."""
        return len(np.unique(_as_numpy(self._inputs.get(name, array("Q")))))

    def sides_in_order(self, name: str, sides: Sides) -> npt.NDArray[np.uint8]:
        """The place in `SIDES` of each record of an input, in the order in which they were added."""
        return sides.numbers[np.searchsorted(sides.hashes, _as_numpy(self._inputs.get(name, array("Q"))))]

    def settle(self) -> Sides:
        """Decides the sides of all groups so far; inputs that are added later change none. Raises as `decide`."""
        sides = self.decide()
        self._pinned |= dict(zip(sides.hashes.tolist(), sides.numbers.tolist(), strict=True))
        return sides

    def decide(self) -> Sides:
        """The side of each group. Every input has at least one group on each side.

        Inputs with few groups are split first, and the others keep what was decided for groups they share.

        Raises:
            CorpusError: an input has fewer than three groups, or what it shares with other inputs leaves it none.
        """
        counted = {name: np.unique(_as_numpy(keys), return_counts=True) for name, keys in self._inputs.items()}
        pinned = np.fromiter(self._pinned, np.uint64, len(self._pinned))
        every = np.unique(np.concatenate([pinned, *(keys for keys, _ in counted.values())]))
        sides = np.full(len(every), _FREE, np.uint8)
        sides[np.searchsorted(every, pinned)] = np.fromiter(self._pinned.values(), np.uint8, len(self._pinned))
        for name in sorted(counted, key=lambda name: (len(counted[name][0]), name)):
            keys, counts = counted[name]
            places = np.searchsorted(every, keys)
            found = sides[places]
            self._draw(name, found, counts)
            sides[places] = found
        sides[sides == _FREE] = _TRAIN
        return Sides(every, sides, self._seed)

    def _draw(self, name: str, sides: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]) -> None:
        """Sets the sides of one input's groups that have none yet; the groups are in the order of their hashes."""
        if len(sides) < MIN_GROUPS:
            raise CorpusError(
                f"{name} has {len(sides)} group{'' if len(sides) == 1 else 's'}, and a split into training, validation "
                f"and test needs at least {MIN_GROUPS}: {MIN_GROUPS - len(sides)} missing. Give more data, or smaller "
                'groups (group = "document").'
            )
        total = int(counts.sum())
        for side, share in zip((_VALIDATION, _TEST), self._shares, strict=True):
            held = int(counts[sides == side].sum())
            needed_later = (_TEST if side == _VALIDATION else _TRAIN, _TRAIN)
            keep = sum(not bool((sides == later).any()) for later in set(needed_later))
            free = np.flatnonzero(sides == _FREE)
            drawn = _drawn(counts[free], share * total - held, at_least=int(held == 0), at_most=len(free) - keep)
            sides[free[drawn]] = side
        sides[sides == _FREE] = _TRAIN
        for number, side_name in enumerate(SIDES):
            if not (sides == number).any():
                raise CorpusError(
                    f"{name}: no group is left for {side_name}, because other inputs or evaluate.prompts have its "
                    f"{len(sides)} groups on other sides; give it records of groups that are in no other input"
                )


def _drawn(counts: npt.NDArray[np.int64], room: float, at_least: int, at_most: int) -> npt.NDArray[np.intp]:
    """Places of the groups to hold out: in order, while they fit `room`; the smallest one if none fits."""
    chosen: list[npt.NDArray[np.intp]] = []
    places = np.arange(len(counts))
    left = at_most
    while left > 0:
        places = places[counts[places] <= room]
        fits = int(np.searchsorted(np.cumsum(counts[places]), room, side="right"))
        taken = places[: min(fits, left)]
        if not len(taken):
            break
        chosen.append(taken)
        room -= float(counts[taken].sum())
        left -= len(taken)
        places = places[len(taken) :]
    if not chosen and at_least and at_most > 0:
        return np.array([int(np.argmin(counts))], np.intp)
    return np.concatenate(chosen) if chosen else np.empty(0, np.intp)


def _as_numpy(keys: array[int]) -> Hashes:
    return np.frombuffer(keys, np.uint64) if keys else np.empty(0, np.uint64)


def _hashed(group: str, seed: int) -> int:
    """64 bits that depend on the group and the seed alone: the same on every machine and in every process."""
    digest = blake2b(
        group.encode("utf-8", "surrogatepass"), digest_size=8, key=seed.to_bytes(16, "little", signed=True)
    )
    return int.from_bytes(digest.digest(), "little")
