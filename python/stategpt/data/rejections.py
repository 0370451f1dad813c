"""What became of the records of an input: kept, duplicate, removed by a rule of curation, or rejected with a code.

The counts add up exactly: `total = kept + duplicate + removed (by rule) + rejected (by code)`. A duplicate is a record
that is left out because an equal one is kept: of conversations, rankings and prompts always, of documents where
`curate.exact_duplicates` asks for it. Without that equal documents are all kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from stategpt.data.records import Place
from stategpt.errors import CorpusError
from stategpt.json_records import Limit
from stategpt.shown_fields import documented, short_repr

SHOWN_REJECTIONS = 10
"""Rejections that a tally keeps, the first ones."""


@documented
@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be used."""

    where: Place
    """File, line and byte of the record."""
    code: str
    """Stable name of what is wrong, e.g. `empty_text`."""
    message: str
    """What is wrong and what to do; may change."""

    def __str__(self) -> str:
        """`chats.jsonl:7 (byte 512): empty_text: ...`."""
        return f"{self.where}: {self.code}: {self.message}"


@documented
@dataclass(slots=True)
class Tally:
    """Counts of one input."""

    kept: int = 0
    """Records that are used."""
    duplicate: int = 0
    """Records that are left out because they are equal to a kept one."""
    removed: Annotated[dict[str, int], Limit(1000)] = field(default_factory=dict)
    """Documents that curation removed, by rule; those that equal a kept one are counted as `duplicate`."""
    rejected: Annotated[dict[str, int], Limit(1000)] = field(default_factory=dict)
    """Records that cannot be used, by code."""
    first: tuple[Rejection, ...] = ()
    """The first ten rejections."""
    replaced: int = 0
    """Kept records in which parts that are not Unicode were replaced with U+FFFD."""
    later_turns: int = 0
    """Turns of kept prompts after the first, which are not asked."""
    formats: Annotated[dict[str, str], Limit(1_000_000, max_key_chars=1 << 16)] = field(default_factory=dict)
    """Format of each file of conversations, prompts or rankings, as it was recognized or given."""

    __repr__ = short_repr

    @property
    def total(self) -> int:
        """Records of the input: kept + duplicate + removed + rejected."""
        return self.kept + self.duplicate + sum(self.removed.values()) + self.rejected_count

    @property
    def rejected_count(self) -> int:
        """Rejected records of all codes."""
        return sum(self.rejected.values())

    def keep(self) -> None:
        """Counts a kept record."""
        self.kept += 1

    def drop_duplicate(self) -> None:
        """Counts a record that is equal to a kept one."""
        self.duplicate += 1

    def reject(self, rejection: Rejection) -> None:
        """Counts a rejected record."""
        self.rejected[rejection.code] = self.rejected.get(rejection.code, 0) + 1
        if len(self.first) < SHOWN_REJECTIONS:
            self.first = (*self.first, rejection)

    def drop(self, rule: str, count: int, *, duplicate: bool = False) -> None:
        """Counts kept records that curation removed by a rule, or because they are `duplicate`."""
        self.kept -= count
        if duplicate:
            self.duplicate += count
        else:
            self.removed[rule] = self.removed.get(rule, 0) + count

    def require(self, max_share: float, what: str) -> None:
        """Checks that at most `max_share` of the records were rejected.

        Args:
            max_share: largest share of rejected records.
            what: the input, for the message, e.g. "sources.notes".

        Raises:
            CorpusError: more were; the message has the counts by code and the first ten.
        """
        rejected = self.rejected_count
        if rejected <= max_share * self.total:
            return
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(self.rejected.items()))
        shown = "".join(f"\n  {rejection}" for rejection in self.first)
        raise CorpusError(
            f"{what}: {rejected:,} of {self.total:,} records were rejected ({codes}), more than the share "
            f"{max_share:g} of corpus.max_rejected_share. Correct them, or raise that share. The first "
            f"{len(self.first)}:{shown}"
        )

    def to_json(self) -> Mapping[str, Any]:
        """The counts as JSON values, the first rejections as texts."""
        return {
            "total": self.total,
            "kept": self.kept,
            "duplicate": self.duplicate,
            **({"removed": dict(self.removed)} if self.removed else {}),
            "rejected": dict(sorted(self.rejected.items())),
            "replaced": self.replaced,
            **({"later_turns": self.later_turns} if self.later_turns else {}),
            "first": [str(rejection) for rejection in self.first],
            **({"formats": dict(self.formats)} if self.formats else {}),
        }
