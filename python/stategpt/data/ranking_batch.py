"""Batches of rankings: token ids, attention layout, and where each completion's reward is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import Ids, seed_number, whole
from stategpt.config.stages import Arrangement
from stategpt.errors import ContextOverflow, InvalidArgument, RankingError
from stategpt.packing import Layout
from stategpt.randomness import evenly_spread, permutation
from stategpt.visible_text import visible_line

from .chat import truncate_prompt
from .chats.pieces import ChatTokenizer
from .chats.template import ChatTemplate
from .ranking_ids import CompletionIds
from .rankings import Pairs, RankedGroup, Rankings, Rejected


@dataclass(frozen=True, eq=False)
class RankingBatch:
    """G prompts with their C completions (all of each prompt's) and P pairs, as one flat stream of N tokens.

    Attributes:
        tokens: uint32[N], padding included; a model wants int64.
        layout: which tokens each token attends to, and its position.
        reward_index: int64[C], index into `tokens` of each completion's reward token, the last token of its branch.
        pairs: int32[P, 2], (winner, loser) as indices into `reward_index`.
        pair_weights: float32[P], 1 / pairs of the prompt, so each prompt weighs 1; divide their sum by the prompts of
            the step.
        completion_offsets: int64[G + 1]; prompt g owns the completions from entry g to entry g + 1.
        ids: id of each of the G prompts' records.
        token_count: tokens that are not padding: what the arrangement costs.
    """

    tokens: Ids
    layout: Layout
    reward_index: npt.NDArray[np.int64]
    pairs: Pairs
    pair_weights: npt.NDArray[np.float32]
    completion_offsets: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    token_count: int

    def __repr__(self) -> str:
        """RankingBatch(prompts, completions, pairs, tokens)"""
        return (
            f"RankingBatch({len(self.ids)} prompts, {len(self.reward_index)} completions, {len(self.pairs)} pairs, "
            f"{self.token_count:,} tokens of {len(self.tokens):,})"
        )


class _SameTokens(ValueError):
    """Two completions of different rank that the tokenizer does not tell apart."""


@dataclass(frozen=True)
class _Encoded:
    """A group as ids: the prompt (truncated if need be) and each completion with its end of text."""

    group: RankedGroup
    pieces: tuple[Ids, ...]


def ranking_batches(
    rankings: Rankings,
    tok: ChatTokenizer,
    prompts_per_batch: int = 8,
    arrange: Arrangement = "rows",
    context_tokens: int | None = None,
    *,
    seed: int | None = None,
    epoch: int = 0,
    chat: ChatTemplate | None = None,
) -> RankingBatches:
    """Token batches of `rankings` in which one prompt with all its completions is one element.

    Groups without a pair are left out. Groups are spread evenly: batches differ by one prompt at most.

    Args:
        rankings: the ranked prompts.
        tok: the tokenizer.
        prompts_per_batch: maximum number of prompts in a batch.
        arrange: "rows" puts each completion after its own copy of the prompt; "shared_prefix" puts the prompt once and
            the completions as branches, each of which sees the prompt and itself. Both give the same rewards.
        context_tokens: maximum length of a sequence. A longer prompt loses its middle; a group with a completion that
            does not fit is left out and listed in `rejected`, as is one whose `ids` are not those of its texts.
        seed: shuffles the groups, differently in every epoch; None keeps their order.
        epoch: number of the epoch, from 0.
        chat: the tokenizer's chat format; None: this package's.

    Raises:
        RankingError: no group has a pair, or none fits.
        ForeignArtifact: a group has ids of another tokenizer.
        InvalidArgument: a setting is out of range.
    """
    return RankingBatches(
        rankings,
        tok,
        prompts_per_batch=prompts_per_batch,
        arrange=arrange,
        context_tokens=context_tokens,
        seed=seed,
        epoch=epoch,
        chat=chat,
    )


class RankingBatches:
    """The batches of one epoch, which `ranking_batches` makes; `batches[i]` is a pure function of the rankings, the
    settings and i.

    Attributes:
        rejected: groups that were left out: `completion_too_long` for the context, `equal_completions_ranked_apart`
            where texts that differ are the same tokens (a tokenizer that normalizes or lower-cases), `unusable_ids`
            where a record's ids are not those of its completions.
        truncated_prompts: prompts that lost their middle.
        prompts_per_batch: maximum number of prompts in a batch; batches differ by one at most.
        arrange: "rows" or "shared_prefix".
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
        chat: ChatTemplate | None = None,
    ) -> None:
        whole("prompts_per_batch", prompts_per_batch, least=1)
        whole("epoch", epoch)
        if seed is not None:
            seed = seed_number(seed)
        if context_tokens is not None:
            whole("context_tokens", context_tokens, least=1)
        if arrange not in get_args(Arrangement):
            raise InvalidArgument(f'arrange is {arrange!r}; it is "rows" or "shared_prefix"')
        rankings.require_pairs()
        self.prompts_per_batch = prompts_per_batch
        self.arrange = arrange
        self.truncated_prompts = 0
        self.rejected: list[Rejected] = []
        self._chat = chat or ChatTemplate.own(tok)
        self._control = self._chat.control
        self._groups = self._encode_all(rankings, CompletionIds(tok, chat), context_tokens)
        order = (
            np.arange(len(self._groups)) if seed is None else permutation(len(self._groups), seed, "rankings", epoch)
        )
        self._parts = evenly_spread(order, prompts_per_batch)

    def __len__(self) -> int:
        """Batches in the epoch."""
        return len(self._parts)

    def __iter__(self) -> Iterator[RankingBatch]:
        """The batches in order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> RankingBatch:
        """Batch `index`, from 0."""
        return self._batch(self._groups_of(index), self.arrange)

    def parts(self, index: int, prompts: int, arrange: Arrangement | None = None) -> list[RankingBatch]:
        """Batch `index` in parts of at most `prompts` whole prompts, to add up the gradients of smaller passes.

        Prompts of similar length share a part, which reduces padding. `arrange` is the epoch's unless given.
        """
        groups = self._groups_of(index)
        if whole("prompts", prompts, least=1) < len(groups):
            groups = sorted(groups, key=lambda encoded: sum(piece.size for piece in encoded.pieces))
        places = evenly_spread(np.arange(len(groups)), prompts)
        return [self._batch([groups[place] for place in part], arrange or self.arrange) for part in places]

    def _groups_of(self, index: int) -> list[_Encoded]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return [self._groups[number] for number in self._parts[index]]

    def _batch(self, groups: Sequence[_Encoded], arrange: Arrangement) -> RankingBatch:
        pieces = [piece for encoded in groups for piece in encoded.pieces]
        counts = [len(encoded.group.completions) for encoded in groups]
        control = self._control
        tokens, vectors, reward_index, row_tokens, token_count = _native.arrange_rankings(
            np.concatenate(pieces), _offsets([piece.size for piece in pieces]).astype(np.uint64), counts,
            arrange, control.reward, control.pad,
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

    def _encode_all(
        self, rankings: Rankings, completion_ids: CompletionIds, context_tokens: int | None
    ) -> list[_Encoded]:
        encoded = []
        for group in rankings.groups:
            if len(group.pairs) == 0:
                continue
            try:
                encoded.append(self._encode(group, completion_ids, context_tokens))
            except ContextOverflow as error:
                self._reject(group, "completion_too_long", str(error))
            except _SameTokens as error:
                self._reject(group, "equal_completions_ranked_apart", str(error))
            except RankingError as error:
                self._reject(group, "unusable_ids", str(error))
        if not encoded:
            counts = Counter(rejected.code for rejected in self.rejected)
            reasons = ", ".join(f"{number} {code}" for code, number in counts.items())
            raise RankingError(f"no group fits a batch ({reasons}); the first: {self.rejected[0]}")
        return encoded

    def _reject(self, group: RankedGroup, code: str, reason: str) -> None:
        message = f"group {visible_line(group.id)!r:.80}: {reason}"
        self.rejected.append(Rejected(group.line, group.byte_offset, code, message))

    def _encode(self, group: RankedGroup, completion_ids: CompletionIds, context_tokens: int | None) -> _Encoded:
        prompt = self._chat.prompt(group.prompt)
        completions = completion_ids.of(group)
        for winner, loser in group.pairs:
            if np.array_equal(completions[winner], completions[loser]):
                raise _SameTokens(
                    f"completions {winner} and {loser} are the same {completions[winner].size} tokens, but one is "
                    "preferred; give them one rank, or use a tokenizer that tells them apart"
                )
        if context_tokens is not None:
            # One cut for the whole group: its completions must follow the same prompt to be comparable.
            longest = max(completion.size for completion in completions)
            kept = truncate_prompt(prompt, context_tokens - longest - 1, self._control)
            self.truncated_prompts += kept.size < prompt.size
            prompt = kept
        return _Encoded(group, (prompt, *completions))


def _offsets(sizes: list[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *sizes], dtype=np.int64)
