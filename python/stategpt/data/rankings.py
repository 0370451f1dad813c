"""Rankings: prompts with several completions in order of preference, read, checked and made into batches.

One record a line (JSONL, also .gz):

    {"id": "7", "prompt": "What does math.sin do?",
     "completions": [{"text": "Return the sine of x.", "rank": 1, "ended": true}, {"text": "A sine", "rank": 2}]}

`rank` 1 is best and equal ranks are a tie; `ended` (default true) says whether the completion stopped by itself. A
completion may also have `score`, `points` and `source`, a record `meta`: for people, not trained on. A record's
`pairs`, [[winner, loser], ...], replaces the pairs its ranks imply, for labelers whose ties are not transitive.

Pairs: C(K,2) minus ties, winner first; all pairs of a prompt stay in one batch element and weigh 1 together
(Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, section 3.5: shuffled pairs overfit in one epoch).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.config.stages import Arrangement
from stategpt.errors import InvalidArgument, RankingError, StorageError

if TYPE_CHECKING:
    from .chat import ChatTokenizer
    from .ranking_batches import RankingBatches

Pairs = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Group:
    """One prompt and its K completions; `ranks`, `ended` and `pairs` speak of them by index."""

    id: str
    prompt: str
    completions: tuple[str, ...]
    ranks: tuple[int, ...]
    ended: tuple[bool, ...]
    pairs: Pairs
    """int32[n, 2]: (winner, loser), each preference once; n = C(K,2) minus ties, 0 when all are tied."""
    line: int
    """Line of its source, from 1."""
    byte_offset: int
    """Byte at which that line starts, from 0."""

    @property
    def ties(self) -> int:
        """Pairs of completions without a preference."""
        completions = len(self.completions)
        return completions * (completions - 1) // 2 - len(self.pairs)


@dataclass(frozen=True)
class Rejected:
    """A record that cannot be used: where it stands, a stable code, and what to do."""

    line: int
    byte_offset: int
    code: str
    message: str

    def __str__(self) -> str:
        """`line 3 (byte 120): unknown_rank: ...`."""
        return f"line {self.line} (byte {self.byte_offset}): {self.code}: {self.message}"


@dataclass(frozen=True, eq=False)
class Rankings:
    """The groups of one source and what was rejected: lines = groups + rejected + blank lines, always."""

    groups: Sequence[Group]
    rejected: Sequence[Rejected]
    blank_lines: int = 0

    @classmethod
    def read(cls, source: str | os.PathLike[str] | Iterable[Mapping[str, object]]) -> Rankings:
        """Reads a JSONL file (`.gz` too) or records already in memory; malformed ones land in `rejected`.

        Raises StorageError when the file cannot be read, RankingError when it is not the gzip it claims to be, and
        InvalidArgument for a record in memory that is not JSON.
        """
        if not isinstance(source, str | os.PathLike):
            return cls._of(_native.parse_rankings(_as_lines(source)))
        path = Path(source)
        if path.suffix == ".gz":
            return cls._of(_native.parse_rankings(_gunzip(path)))
        return cls._of(_native.read_rankings(str(path)))

    @classmethod
    def _of(cls, table: _native.RankingTable) -> Rankings:
        texts, ranks, ended = table.texts, table.ranks.tolist(), table.ended
        pairs = table.pairs.astype(np.int32).reshape(-1, 2)
        first, first_pair = table.completion_offsets.tolist(), table.pair_offsets.tolist()
        lines, byte_offsets = table.lines, table.byte_offsets
        groups = tuple(
            Group(
                id=name,
                prompt=prompt,
                completions=tuple(texts[first[g] : first[g + 1]]),
                ranks=tuple(ranks[first[g] : first[g + 1]]),
                ended=tuple(ended[first[g] : first[g + 1]]),
                pairs=pairs[first_pair[g] : first_pair[g + 1]],
                line=lines[g],
                byte_offset=byte_offsets[g],
            )
            for g, (name, prompt) in enumerate(zip(table.ids, table.prompts, strict=True))
        )
        return cls(groups, tuple(Rejected(*row) for row in table.rejected), table.blank_count)

    def __len__(self) -> int:
        """Valid groups."""
        return len(self.groups)

    def pairs(self, group: Group) -> Pairs:
        """The preferences of `group`: int32[n, 2], (winner, loser)."""
        return group.pairs

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

    def split(self, validation_share: float, *, seed: int = 0) -> tuple[Rankings, Rankings]:
        """(training, validation), by a hash of the prompt: records of one prompt never stand on both sides.

        Rejections stay with the training part.
        """
        if not 0.0 <= validation_share <= 1.0:
            raise InvalidArgument(f"validation_share is {validation_share}; it is a share between 0 and 1")
        if not 0 <= seed < 2**64:
            raise InvalidArgument(f"seed is {seed}; it is between 0 and 2^64 - 1")
        held_out = [_prompt_place(group.prompt, seed) < validation_share for group in self.groups]
        training = [group for group, out in zip(self.groups, held_out, strict=True) if not out]
        validation = [group for group, out in zip(self.groups, held_out, strict=True) if out]
        return Rankings(training, self.rejected, self.blank_lines), Rankings(validation, ())

    def batches(
        self,
        tok: ChatTokenizer,
        prompts_per_batch: int = 8,
        arrange: Arrangement = "rows",
        context_tokens: int | None = None,
        *,
        seed: int | None = None,
        epoch: int = 0,
    ) -> RankingBatches:
        """Token batches in which one prompt with all its completions is one element.

        `arrange="rows"` lays each completion behind a copy of its prompt; `"shared_prefix"` lays the prompt once and
        the completions as branches that see the prompt and themselves. Both give the same rewards.
        `seed` shuffles the groups anew in every `epoch`; without it they keep their order. Groups without a pair are
        left out. A prompt too long for `context_tokens` loses its middle; a group with a completion that does not fit
        is left out and listed in the batches' `rejected`.

        Raises RankingError when no group has a pair.
        """
        from .ranking_batches import RankingBatches

        return RankingBatches(
            self,
            tok,
            prompts_per_batch=prompts_per_batch,
            arrange=arrange,
            context_tokens=context_tokens,
            seed=seed,
            epoch=epoch,
        )

    def require_pairs(self) -> None:
        """Raises RankingError, with the first rejection, when there is nothing to learn from."""
        if any(len(group.pairs) for group in self.groups):
            return
        reason = f"; first rejected: {self.rejected[0]}" if self.rejected else ""
        raise RankingError(
            f"no preference in {len(self.groups)} groups ({len(self.rejected)} records rejected{reason}). "
            "Give records with at least two completions of different rank."
        )


def _as_lines(records: Iterable[Mapping[str, object]]) -> bytes:
    lines = []
    for number, record in enumerate(records, 1):
        try:
            lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"record {number} cannot be written as JSON: {error}") from error
    return b"".join(lines)


def _gunzip(path: Path) -> bytes:
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (gzip.BadGzipFile, EOFError) as error:
        raise RankingError(f"{path} is not a whole gzip file: {error}. Fetch or write it again.") from error
    except OSError as error:
        raise StorageError(f"cannot read the rankings {path}: {error}") from error


def _prompt_place(prompt: str, seed: int) -> float:
    """A place in [0, 1) that depends on the prompt and the seed only."""
    digest = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little") / 2.0**64
