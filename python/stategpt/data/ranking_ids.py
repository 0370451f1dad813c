"""The token ids of a ranked completion: those that were sampled where the record has them, else its text encoded.

A model samples ids that encoding its text again would not always give (1 % at temperature 0.7, 10 % at 1 in the default
job). The policy is scored on what it samples, so the reward model learns and is measured on what was sampled too. Ids
come from files, so they are checked: they must be ids of the text in the record, without control tokens except the
end of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from stategpt.arguments import Ids
from stategpt.errors import ForeignArtifact, InvalidArgument, RankingError, UnknownToken
from stategpt.visible_text import visible_line

from .chats.pieces import ChatTokenizer
from .chats.template import ChatTemplate
from .rankings import RankedGroup


@runtime_checkable
class IdTokenizer(ChatTokenizer, Protocol):
    """The methods of a tokenizer that check sampled ids; `stategpt.Tokenizer` has them."""

    @property
    def fingerprint(self) -> str:
        """Identity of the tokenizer."""
        ...

    @property
    def vocab_size(self) -> int:
        """Ids are below it."""
        ...

    def decode(self, ids: npt.NDArray[np.integer] | Sequence[int]) -> str:
        """Text of ids."""
        ...


class CompletionIds:
    """Gives the ids of ranked completions, with one tokenizer for many groups.

    Args:
        tok: the tokenizer.
        chat: its chat format, whose tokens end a completion; None: this package's.
    """

    def __init__(self, tok: ChatTokenizer, chat: ChatTemplate | None = None) -> None:
        chat = chat or ChatTemplate.own(tok)
        self._tok, control = tok, chat.control
        self._ends, self._end = control.ends, control.ends[0]
        # What a model of another family may write beside text, as markers of its thoughts, stays.
        named = tok.special_tokens.values() if chat.is_own else control.forbidden
        self._special = frozenset({*named, *control.ends})

    def of(self, group: RankedGroup) -> list[Ids]:
        """Ids of each completion of `group`, what ends an answer last where it ended. uint32 each.

        Raises:
            ForeignArtifact: the record's ids are of another tokenizer.
            RankingError: ids that are not those of their completion.
            InvalidArgument: the record has ids and the tokenizer no fingerprint to compare.
        """
        sampled = group.token_ids or (None,) * len(group.completions)
        if any(ids is not None for ids in sampled):
            self._require_tokenizer_of(group)
        return [
            self._encoded(group, place) if ids is None else self._checked(group, place, ids)
            for place, ids in enumerate(sampled)
        ]

    def _encoded(self, group: RankedGroup, place: int) -> Ids:
        end = np.array([self._end] if group.ended[place] else [], dtype=np.uint32)
        return np.append(self._tok.encode(group.completions[place]), end)

    @cached_property
    def _id_tokenizer(self) -> tuple[IdTokenizer, str]:
        """The tokenizer and its fingerprint, which may take a while to compute."""
        if not isinstance(self._tok, IdTokenizer):
            raise InvalidArgument(
                f"the records have token ids, and tok of type {type(self._tok).__name__} no fingerprint to compare "
                "with theirs; pass a sg.Tokenizer, or remove `ids` from the records so that their texts are encoded"
            )
        return self._tok, self._tok.fingerprint

    def _require_tokenizer_of(self, group: RankedGroup) -> None:
        _, fingerprint = self._id_tokenizer
        if group.tokenizer != fingerprint:
            raise ForeignArtifact(
                f"{_place(group)} has ids of the tokenizer {visible_line(str(group.tokenizer))!r:.100}; the one in "
                f"use is {fingerprint!r}. Use that tokenizer, or remove `ids` and `tokenizer` from the records so that "
                "their texts are encoded."
            )

    def _checked(self, group: RankedGroup, place: int, ids: Ids) -> Ids:
        tok, _ = self._id_tokenizer
        written = ids
        if group.ended[place]:
            written = ids[:-1]
            if int(ids[-1]) not in self._ends:
                ends = " or ".join(map(str, self._ends))
                reason = f"end in {ids[-1]}, but the completion ended: the last is end of text, {ends}"
                raise _unusable(group, place, reason)
        if (largest := int(ids.max())) >= tok.vocab_size:
            raise _unusable(group, place, f"hold {largest}; the tokenizer knows ids of 0 to {tok.vocab_size - 1}")
        if special := self._special.intersection(written.tolist()):
            raise _unusable(group, place, f"hold {min(special)}, a control token; only end of text may end them")
        try:
            text = tok.decode(written)
        except UnknownToken as error:
            raise _unusable(group, place, f"cannot be decoded: {error}") from None
        if text != group.completions[place]:
            raise _unusable(group, place, f"are those of {visible_line(text)!r:.60}, not of its text")
        return ids


def _unusable(group: RankedGroup, place: int, reason: str) -> RankingError:
    return RankingError(
        f"{_place(group)}: the ids of completion {place} {reason}. Remove its `ids` so that its text is encoded."
    )


def _place(group: RankedGroup) -> str:
    return f"group {visible_line(group.id)!r:.80} (line {group.line})"
