"""Rankings: prompts with several completions in order of preference, read and checked.

One record a line (JSONL, also .gz and .zst):

    {"id": "7", "prompt": "What does math.sin do?",
     "completions": [{"text": "Return the sine of x.", "rank": 1, "ended": true}, {"text": "A sine", "rank": 2}]}

`rank` 1 is best and equal ranks are a tie; `ended` (default true) says whether the completion stopped by itself. A
completion may also have `score`, `parts` and `source`, a record `meta`: for people, not trained on. A record's
`pairs`, [[winner, loser], ...], replaces the pairs its ranks imply, where ties are not transitive.

A completion that a model sampled may have its `ids` as they were sampled, end of text included, and then the record has
the fingerprint of their `tokenizer`. They are used in place of the text's (`ranking_ids.py` checks them):

    {"id": "8", "prompt": "...", "tokenizer": "blake3:...",
     "completions": [{"text": "Return it.", "ids": [341, 12, 0], "rank": 1}, ...]}

Pairs: C(K,2) minus ties, winner first; all pairs of a prompt stay in one batch element and weigh 1 together
(Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, section 3.5: shuffled pairs overfit in one epoch).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stategpt import _native
from stategpt.arguments import Ids, several
from stategpt.errors import InvalidArgument, RankingError
from stategpt.visible_text import visible_line

from .lines import BadLine, Line, Source, read_lines
from .ranked_group import Pairs as Pairs
from .ranked_group import RankedGroup as RankedGroup
from .ranked_group import Rejected as Rejected
from .ranked_group import Vote as Vote
from .ranked_group import short_text
from .ranking_dialogues import EXTENDED_FIELDS, extended_record

_CODES_OF_EXTENDED = frozenset({"unknown_field", "missing_field", "wrong_type"})
"""Codes with which the compiled reader rejects a record that has fields it does not know."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """The groups of one source and what was rejected: lines = groups + rejected + blank lines, always.

    A record, one a line of a JSONL file (also .gz and .zst) or a dict in memory:

        {"id": "7", "prompt": "What does math.sin do?",
         "completions": [{"text": "Return the sine of x.", "rank": 1, "ended": true}, {"text": "A sine", "rank": 2}]}

    2 to 16 completions; `rank` 1 is best, equal ranks are a tie, gaps are allowed. `ended` (default true): did the
    completion stop by itself? A completion may also have `score`, `parts` and `source`, a record `meta`: for people,
    not trained on. Completions of a model may have the `ids` it sampled, end of text included, of the record's
    `tokenizer` (its fingerprint): batches use them in place of the text's. A record's `pairs`, [[winner, loser], ...]
    by index, replaces the pairs that its ranks imply. Other fields, a key twice, an id twice and equal completions
    ranked apart are rejected. Dialogues {"chosen", "rejected"} and votes have readers of their own:
    `stategpt.data.read_chosen_rejected` and `read_votes`.

    Attributes:
        groups: one `RankedGroup` for each valid record, in order.
        rejected: one `Rejected` for each other line that is not blank.
        blank_lines: lines of white space.

    Example:
        >>> completions = [{"text": "yes", "rank": 1}, {"text": "no", "rank": 2}]
        >>> rankings = Rankings.read([{"id": "1", "prompt": "Is it?", "completions": completions}])
        >>> rankings.groups[0].pairs.tolist()
        [[0, 1]]
    """

    groups: Sequence[RankedGroup]
    rejected: Sequence[Rejected]
    blank_lines: int = 0

    @classmethod
    def read(cls, source: str | os.PathLike[str] | Iterable[Mapping[str, object]]) -> Rankings:
        """Reads a JSONL file (`.gz` and `.zst` too) or records already in memory; malformed ones land in `rejected`.

        A line longer than 16 MiB is rejected and never held. A byte-order mark at the start of a file is skipped.

        Raises:
            StorageError: the file cannot be read, or is a folder, FIFO or device; MissingFile where it does not exist.
            RankingError: it is a damaged `.gz` or `.zst`, or unpacks to far more than text does.
            InvalidArgument: a record in memory is not JSON, or `source` is one record or bytes.
        """
        if not isinstance(source, str | os.PathLike):
            several("source", source, "Give a path as str or Path, or a list of records.")
            lines = _as_lines(source)
            found = cls._of(_native.parse_rankings(lines))
            return found._with_dialogues(_lines_in_memory(lines)) if found._may_have_dialogues else found
        with Source(source, RankingError) as file:
            found = cls._of(_native.read_rankings(file.native))
        if found._may_have_dialogues:
            with Source(source, RankingError) as file:
                found = found._with_dialogues(read_lines(file))
        return replace(found, groups=tuple(replace(group, file=os.fspath(source)) for group in found.groups))

    @property
    def _may_have_dialogues(self) -> bool:
        return any(rejected.code in _CODES_OF_EXTENDED for rejected in self.rejected)

    def _with_dialogues(self, lines: Iterable[Line]) -> Rankings:
        """With the records that the compiled reader does not know: dialogues, groups, votes of several annotators."""
        unknown = {rejected.line: rejected for rejected in self.rejected if rejected.code in _CODES_OF_EXTENDED}
        line_of_id = {group.id: group.line for group in self.groups}
        groups, rejected = list(self.groups), [each for each in self.rejected if each.line not in unknown]
        for line in lines:
            before = unknown.get(line.number)
            if before is None:
                continue
            try:
                group = _extended_group(line)
            except BadLine as bad:
                rejected.append(Rejected(line.number, line.byte_offset, bad.code, bad.message))
                continue
            if group is None:
                rejected.append(replace(before, message=before.message + _other_format(line)))
            elif (first := line_of_id.setdefault(group.id, group.line)) != group.line:
                message = f"id {short_text(group.id)} was used on line {first}; ids are unique in a file"
                rejected.append(Rejected(group.line, group.byte_offset, "duplicate_id", message))
            else:
                groups.append(group)
        groups.sort(key=lambda group: group.line)
        return Rankings(tuple(groups), tuple(sorted(rejected, key=lambda each: each.line)), self.blank_lines)

    @classmethod
    def _of(cls, table: _native.RankingTable) -> Rankings:
        texts, ranks, ended = table.texts, table.ranks.tolist(), table.ended
        pairs = table.pairs.astype(np.int32).reshape(-1, 2)
        first, first_pair = table.completion_offsets.tolist(), table.pair_offsets.tolist()
        lines, byte_offsets, tokenizers = table.lines, table.byte_offsets, table.tokenizers
        cuts = zip(table.token_offsets[:-1].tolist(), table.token_offsets[1:].tolist(), strict=True)
        flat = table.token_ids
        ids = [flat[start:end] if end > start else None for start, end in cuts]
        groups = tuple(
            RankedGroup(
                id=name,
                prompt=prompt,
                completions=tuple(texts[first[g] : first[g + 1]]),
                ranks=tuple(ranks[first[g] : first[g + 1]]),
                ended=tuple(ended[first[g] : first[g + 1]]),
                pairs=pairs[first_pair[g] : first_pair[g + 1]],
                line=lines[g],
                byte_offset=byte_offsets[g],
                token_ids=_ids_of(ids[first[g] : first[g + 1]]),
                tokenizer=tokenizers[g],
            )
            for g, (name, prompt) in enumerate(zip(table.ids, table.prompts, strict=True))
        )
        return cls(groups, tuple(Rejected(*row) for row in table.rejected), table.blank_count)

    def __len__(self) -> int:
        """Valid groups."""
        return len(self.groups)

    def __add__(self, other: Rankings) -> Rankings:
        """Groups, rejections and blank lines of both, this one's first. Lines and bytes stay those of their sources.

        Raises:
            InvalidArgument: both have a group of one id; `with_id_prefix` keeps them apart.
        """
        if not isinstance(other, Rankings):
            return NotImplemented
        shared = sorted({group.id for group in self.groups} & {group.id for group in other.groups})
        if shared:
            raise InvalidArgument(
                f"{len(shared)} ids are in both rankings, first {short_text(shared[0])}; ids are unique. "
                'Use `one.with_id_prefix("one/") + other.with_id_prefix("other/")`.'
            )
        return Rankings(
            (*self.groups, *other.groups), (*self.rejected, *other.rejected), self.blank_lines + other.blank_lines
        )

    def with_id_prefix(self, prefix: str) -> Rankings:
        """The same with `prefix` before every id, so that two sources that number alike can be added."""
        groups = tuple(replace(group, id=prefix + group.id) for group in self.groups)
        return Rankings(groups, self.rejected, self.blank_lines)

    def __repr__(self) -> str:
        """Rankings(counts, the first rejection), however many groups there are."""
        first = f", first {self.rejected[0]}"[:200] if self.rejected else ""
        return f"Rankings({len(self.groups):,} groups, {len(self.rejected):,} rejected{visible_line(first)})"

    def summary(self) -> dict[str, int]:
        """Counts: groups, those without a pair (all tied: kept, but no loss), completions, pairs, ties, blank lines,
        rejected, and `rejected.<code>` for each code that occurred."""
        return {
            "groups": len(self.groups),
            "groups_without_pairs": sum(len(group.pairs) == 0 for group in self.groups),
            "completions": sum(len(group.completions) for group in self.groups),
            "pairs": sum(len(group.pairs) for group in self.groups),
            "ties": sum(group.ties for group in self.groups),
            "blank_lines": self.blank_lines,
            "rejected": len(self.rejected),
            **{f"rejected.{code}": n for code, n in sorted(Counter(r.code for r in self.rejected).items())},
        }

    def require_pairs(self) -> None:
        """Raises RankingError, with the first rejection, when there is nothing to learn from."""
        if any(len(group.pairs) for group in self.groups):
            return
        reason = f"; first rejected: {self.rejected[0]}" if self.rejected else ""
        raise RankingError(
            f"no preference in {len(self.groups)} groups ({len(self.rejected)} records rejected{reason}). "
            "Give records with at least two completions of different rank."
        )


def _extended_group(line: Line) -> RankedGroup | None:
    """The group of a record with one of `EXTENDED_FIELDS`; None where it has none of them. Raises BadLine."""
    row = line.json_object()
    if not EXTENDED_FIELDS & row.keys():
        return None
    plain, restore = extended_record(row)
    found = Rankings._of(_native.parse_rankings(_as_lines([plain])))
    if found.rejected:
        raise BadLine(found.rejected[0].code, found.rejected[0].message)
    return replace(restore(found.groups[0]), line=line.number, byte_offset=line.byte_offset)


def _other_format(line: Line) -> str:
    """The reader of a record that is of another format of rankings, for messages."""
    from .formats.registry import FORMATS  # formats read rankings

    row = line.json_object()
    scores = {form.name: form.score(row) for form in FORMATS.values() if form.kind == "ranking"}
    best = max(scores, key=lambda name: scores[name])
    if not scores[best] or best == "ranking":
        return ""
    return f"; it is a record of the format {best!r}, which stategpt.data.formats.read_ranked reads"


def _lines_in_memory(lines: bytes) -> Iterator[Line]:
    """The lines of records that were written as JSON."""
    offset = 0
    for number, content in enumerate(lines.split(b"\n"), 1):
        yield Line(number, offset, content, len(content))
        offset += len(content) + 1


def _ids_of(ids: Sequence[Ids | None]) -> tuple[Ids | None, ...]:
    """Nothing where no completion of a record has ids."""
    return tuple(ids) if any(each is not None for each in ids) else ()


def _as_lines(records: Iterable[Mapping[str, object]]) -> bytes:
    lines = []
    for number, record in enumerate(records, 1):
        try:
            # ASCII: a lone surrogate stays an escape, for which the parser rejects this record and no other.
            lines.append(json.dumps(record, allow_nan=False).encode() + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(f"record {number} cannot be written as JSON: {error}") from error
    return b"".join(lines)
