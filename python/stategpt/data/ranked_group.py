"""One prompt with ranked completions, and why a record is none: the records that `data.rankings` reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stategpt.arguments import Ids
from stategpt.visible_text import visible_line

from .records import Message

Pairs = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Vote:
    """The order that one annotator gave to the completions of a group.

    Attributes:
        annotator: name of the person or model; empty where it is not known.
        ranks: K ranks from 1, the best; None for a completion that was not judged.
    """

    annotator: str
    ranks: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class RankedGroup:
    """One prompt and its K completions; `ranks`, `ended`, `pairs` and `votes` speak of them by index.

    Attributes:
        id: of its record, unique in its source.
        prompt: the text of one user message, or the messages of a dialogue that ends with the user or a tool.
        completions: K texts, 2 to 16, without end of text.
        ranks: K numbers from 1, the best; equal ranks are a tie.
        ended: K flags: did the completion end by itself, so that end of text follows, or at a length limit?
        pairs: int32[n, 2], (winner, loser), each preference once; n = C(K,2) minus ties, 0 when all are tied.
        line: line of its source, from 1.
        byte_offset: byte at which that line starts, from 0.
        token_ids: ids of each completion as they were sampled, uint32, end of text included; None where only its text
            is known; empty where the record has no ids.
        tokenizer: fingerprint of the tokenizer that those ids are of.
        votes: the order of each annotator, where several judged, or one with a name. `pairs` are then the pairs that
            more annotators prefer one way than the other; what contradicts them is in the votes.
        group: unit of splits and of bootstrap resampling; empty where the record and its reader name none.
        file: name of its source.
    """

    id: str
    prompt: str | tuple[Message, ...]
    completions: tuple[str, ...]
    ranks: tuple[int, ...]
    ended: tuple[bool, ...]
    pairs: Pairs
    line: int
    byte_offset: int
    token_ids: tuple[Ids | None, ...] = ()
    tokenizer: str | None = None
    votes: tuple[Vote, ...] = ()
    group: str = ""
    file: str = ""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as messages."""
        return (Message("user", self.prompt),) if isinstance(self.prompt, str) else self.prompt

    @property
    def question(self) -> str:
        """Text of the prompt's last message."""
        return self.messages[-1].content

    @property
    def ties(self) -> int:
        """Pairs of completions without a preference."""
        completions = len(self.completions)
        return completions * (completions - 1) // 2 - len(self.pairs)

    def __repr__(self) -> str:
        """RankedGroup(id, prompt, completions, pairs, line), cut short."""
        return (
            f"RankedGroup({short_text(self.id)}, prompt={short_text(self.question)}, "
            f"{len(self.completions)} completions, "
            f"{len(self.pairs)} pairs, line {self.line})"
        )


@dataclass(frozen=True)
class Rejected:
    """A record that cannot be used.

    Attributes:
        line: line of its source, from 1.
        byte_offset: byte at which that line starts, from 0.
        code: a stable name of what is wrong, e.g. "unknown_rank".
        message: what is wrong and what to do; may change.
    """

    line: int
    byte_offset: int
    code: str
    message: str

    def __str__(self) -> str:
        """`line 3 (byte 120): unknown_rank: ...`."""
        return f"line {self.line} (byte {self.byte_offset}): {self.code}: {self.message}"


def short_text(text: str) -> str:
    """A text in a repr: quoted, on one line, cut after 60 characters."""
    return repr(visible_line(text if len(text) <= 60 else f"{text[:60]}..."))
