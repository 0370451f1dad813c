"""Batches of rankings: token ids, attention layout, and where each completion's reward is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import Ids
from stategpt.config.stages import Arrangement
from stategpt.errors import ContextOverflow, InvalidArgument, RankingError

from .chat import ChatTokenizer, ControlTokens, chat_prompt, truncate_prompt
from .layout import Layout
from .randomness import permutation
from .rankings import Group, Pairs, Rankings, Rejected


@dataclass(frozen=True, eq=False)
class RankingBatch:
    """G prompts with their C completions (all of each prompt's) and P pairs, as one flat stream of N tokens."""

    tokens: Ids
    """uint32[N], padding included."""
    layout: Layout
    reward_index: npt.NDArray[np.int64]
    """int64[C]: index into `tokens` of each completion's reward token, the last token of its branch."""
    pairs: Pairs
    """int32[P, 2]: (winner, loser) as indices into `reward_index`."""
    pair_weights: npt.NDArray[np.float32]
    """float32[P]: 1 / pairs of the prompt, so each prompt weighs 1; divide their sum by the prompts of the step."""
    completion_offsets: npt.NDArray[np.int64]
    """int64[G + 1]: prompt g owns the completions `completion_offsets[g] : completion_offsets[g + 1]`."""
    ids: tuple[str, ...]
    """Id of each prompt's record."""
    token_count: int
    """Tokens that are not padding: what the arrangement costs."""


@dataclass(frozen=True)
class _Encoded:
    """A group as ids: the prompt (truncated if need be) and each completion with its end of text."""

    group: Group
    pieces: tuple[Ids, ...]


class RankingBatches:
    """The batches of one epoch, as `Rankings.batches` describes and makes them; `batches[i]` is a pure function of the
    rankings, the settings and i.

    `rejected` lists groups that do not fit the context, `truncated_prompts` counts prompts that lost their middle.
    """

    def __init__(
        self,
        rankings: Rankings,
        tok: ChatTokenizer,
        *,
        prompts_per_batch: int,
        arrange: Arrangement,
        context_tokens: int | None,
        seed: int | None,
        epoch: int,
    ) -> None:
        if prompts_per_batch < 1:
            raise InvalidArgument(f"prompts_per_batch is {prompts_per_batch}; it is at least 1")
        if arrange not in get_args(Arrangement):
            raise InvalidArgument(f'arrange is {arrange!r}; it is "rows" or "shared_prefix"')
        rankings.require_pairs()
        self.prompts_per_batch = prompts_per_batch
        self.arrange = arrange
        self.truncated_prompts = 0
        self.rejected: list[Rejected] = []
        self._control = ControlTokens.of(tok)
        self._groups = self._encode_all(rankings, tok, context_tokens)
        order = (
            np.arange(len(self._groups)) if seed is None else permutation(len(self._groups), seed, "rankings", epoch)
        )
        self._order: list[int] = order.tolist()

    def __len__(self) -> int:
        """Batches in the epoch; the last one may have fewer prompts."""
        return -(-len(self._groups) // self.prompts_per_batch)

    def __iter__(self) -> Iterator[RankingBatch]:
        """The batches in order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> RankingBatch:
        """Batch `index`, from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        chosen = self._order[index * self.prompts_per_batch : (index + 1) * self.prompts_per_batch]
        groups = [self._groups[number] for number in chosen]
        pieces = [piece for encoded in groups for piece in encoded.pieces]
        counts = [len(encoded.group.completions) for encoded in groups]
        control = self._control
        tokens, vectors, reward_index, row_tokens, token_count = _native.arrange_rankings(
            np.concatenate(pieces), _offsets([piece.size for piece in pieces]).astype(np.uint64), counts,
            self.arrange, control.reward, control.pad,
        )  # fmt: skip
        segment_start, prefix_end, branch_start, position = vectors
        first = _offsets(counts)
        pairs = [encoded.group.pairs + np.int32(start) for encoded, start in zip(groups, first[:-1], strict=True)]
        weights = [np.full(len(encoded.group.pairs), 1 / len(encoded.group.pairs)) for encoded in groups]
        return RankingBatch(
            tokens=tokens,
            layout=Layout(segment_start, prefix_end, branch_start, position, row_tokens),
            reward_index=reward_index,
            pairs=np.concatenate(pairs),
            pair_weights=np.concatenate(weights).astype(np.float32),
            completion_offsets=first,
            ids=tuple(encoded.group.id for encoded in groups),
            token_count=token_count,
        )

    def _encode_all(self, rankings: Rankings, tok: ChatTokenizer, context_tokens: int | None) -> list[_Encoded]:
        encoded = []
        for group in rankings.groups:
            if len(group.pairs) == 0:
                continue
            try:
                encoded.append(self._encode(group, tok, context_tokens))
            except ContextOverflow as error:
                message = f"group {group.id!r}: {error}"
                self.rejected.append(Rejected(group.line, group.byte_offset, "completion_too_long", message))
        if not encoded:
            raise RankingError(
                f"no group fits a context of {context_tokens} tokens; first: {self.rejected[0]}. Raise the context."
            )
        return encoded

    def _encode(self, group: Group, tok: ChatTokenizer, context_tokens: int | None) -> _Encoded:
        prompt = chat_prompt(tok, group.prompt)
        end = np.array([self._control.end_of_text], dtype=np.uint32)
        texts = zip(group.completions, group.ended, strict=True)
        completions = [np.append(tok.encode(text), end if ended else end[:0]) for text, ended in texts]
        if context_tokens is not None:
            # One cut for the whole group: its completions must be compared behind the same prompt.
            longest = max(completion.size for completion in completions)
            kept = truncate_prompt(prompt, context_tokens - longest - 1)
            self.truncated_prompts += kept.size < prompt.size
            prompt = kept
        return _Encoded(group, (prompt, *completions))


def _offsets(sizes: list[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *sizes], dtype=np.int64)
