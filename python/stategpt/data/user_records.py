"""Conversations, rankings, prompts and labeled texts of a user's files: read, checked and divided before documents are.

The side of a record does not depend on the documents, so the held-out ones are known when documents are curated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from stategpt.config import RunConfig
from stategpt.data.formats import read_conversations, read_labeled, read_prompts, read_ranked
from stategpt.data.groups import group_of
from stategpt.data.rankings import RankedGroup
from stategpt.data.records import Conversation, LabeledText, Prompt
from stategpt.data.rejections import Tally
from stategpt.data.splitting import SIDES, GroupSplit, Side, Sides, require_groups
from stategpt.errors import CorpusError

Grouped = TypeVar("Grouped", Conversation, Prompt, RankedGroup, LabeledText)
AnyRecord = Conversation | Prompt | RankedGroup | LabeledText
HELD_OUT = "evaluate.prompts"
"""The setting whose prompts are held out of every input."""


@dataclass
class UserRecords:
    """What was read, by what it is for."""

    conversations: list[Conversation] = field(default_factory=list)
    rankings: list[RankedGroup] = field(default_factory=list)
    prompts: dict[str, list[Prompt]] = field(default_factory=dict)
    labels: list[LabeledText] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def inputs(self) -> dict[str, Sequence[AnyRecord]]:
        """The records by the setting that names their files."""
        return {
            "sft.data": self.conversations,
            "rankings.data": self.rankings,
            **{f"{use}.prompts": given for use, given in self.prompts.items()},
            "classify.data": self.labels,
        }


@dataclass(frozen=True)
class DividedRecords:
    """The records by side; the same attributes as a corpus has."""

    conversations: Mapping[Side, list[Conversation]]
    rankings: Mapping[Side, list[RankedGroup]]
    prompts: Mapping[str, Mapping[Side, list[Prompt]]]
    labels: Mapping[Side, list[LabeledText]]


def read_records(run: RunConfig, root: Path, files: Mapping[str, list[Path]]) -> UserRecords:
    """Reads the records of all settings but `sources`, each input checked for too many rejections.

    Args:
        run: the settings.
        root: folder that places are relative to.
        files: by the setting that names them.

    Raises:
        CorpusError: too many records of an input are rejected, or none can be used.
    """
    found = UserRecords()
    for name, listed in files.items():
        if name.startswith("sources."):
            continue
        records, found.tallies[name] = _read(run, name, listed, root, found)
        found.tallies[name].require(run.corpus.max_rejected_share, name)
        if not records:
            total = found.tallies[name].total
            raise CorpusError(f"{name}: none of the {total:,} records of its files can be used")
    return found


def _read(
    run: RunConfig, name: str, files: list[Path], root: Path, into: UserRecords
) -> tuple[Sequence[AnyRecord], Tally]:
    if name == "sft.data":
        into.conversations, tally = read_conversations(files, format=run.sft.format, columns=run.sft.columns, base=root)
        return into.conversations, tally
    if name == "rankings.data":
        ranked = run.rankings
        into.rankings, tally = read_ranked(files, format=ranked.format, columns=ranked.columns, base=root)
        return into.rankings, tally
    if name == "classify.data":
        given = run.classify
        into.labels, tally = read_labeled(files, format=given.format, columns=given.columns, base=root)
        return into.labels, tally
    use = name.partition(".")[0]
    into.prompts[use], tally = read_prompts(files, base=root)
    return into.prompts[use], tally


def divide_records(run: RunConfig, records: UserRecords, split: GroupSplit) -> DividedRecords:
    """Decides the sides of all records; `split` keeps them for the documents that share a group.

    Raises:
        CorpusError: an input has too few groups.
    """
    inputs = records.inputs()
    for name, given in inputs.items():
        for record in given:
            if name == HELD_OUT:
                split.pin(group_of(record), "test")
            else:
                split.add(name, group_of(record))
    for name, given in inputs.items():
        if given and name != HELD_OUT:
            require_groups(name, split.groups(name), run.corpus.validation_share, run.corpus.test_share)
    sides = split.settle()
    return DividedRecords(
        _by_side(records.conversations, sides),
        _by_side(records.rankings, sides) if records.rankings else {},
        {use: _by_side(given, sides) for use, given in records.prompts.items()},
        _by_side(records.labels, sides) if records.labels else {},
    )


def _by_side(records: Sequence[Grouped], sides: Sides) -> dict[Side, list[Grouped]]:
    found: dict[Side, list[Grouped]] = {side: [] for side in SIDES}
    for record in records:
        found[sides.of(group_of(record))].append(record)
    return found
