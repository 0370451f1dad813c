"""Which ranked groups can be measured: their completions fit the context, and their preferred ones differ as tokens.

A prompt that is too long loses its middle, as in training; a completion that leaves no room for one takes its whole
group out. All of it is counted. Two completions whose tokens are equal have equal rewards, so a preference between them
is an error that no model can avoid: such a pair is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stategpt.arguments import Ids
from stategpt.data import ChatTemplate, RankedGroup, reward_sequence
from stategpt.data.chats.pieces import ChatTokenizer
from stategpt.data.ranking_ids import CompletionIds
from stategpt.errors import ContextOverflow, RankingError
from stategpt.evaluate.records import RankedFit
from stategpt.evaluate.reward_model import RankedPairs
from stategpt.tokenizer import AnyTokenizer


def fitting_pairs(
    pairs: RankedPairs, tok: AnyTokenizer, context_tokens: int, chat: ChatTemplate | None = None
) -> tuple[RankedPairs, RankedFit]:
    """The groups and pairs that can be measured, and counts of the others. `chat` is the tokenizer's format.

    Raises:
        RankingError: none can.
        ForeignArtifact: as `CompletionIds.of`.
    """
    ids_of, dialogue = CompletionIds(tok, chat), chat or ChatTemplate.own(tok)
    left_out: Counter[str] = Counter()
    kept: list[RankedGroup | None] = []
    completions: list[Ids] = []
    truncated = 0
    for group in pairs.groups:
        try:
            ids = ids_of.of(group)
            prompt = dialogue.prompt(group.prompt)
            rows = [reward_sequence(prompt, each, dialogue.control, context_tokens=context_tokens) for each in ids]
        except ContextOverflow:
            left_out["completion_too_long"] += 1
        except RankingError:
            left_out["unusable_ids"] += 1
        else:
            truncated += any(len(row) < len(prompt) + len(each) + 1 for row, each in zip(rows, ids, strict=True))
            kept.append(group)
            completions += ids
            continue
        kept.append(None)
        completions += [np.empty(0, np.uint32)] * len(group.completions)
    is_kept = np.repeat([group is not None for group in kept], [len(group.completions) for group in pairs.groups])
    equal = np.array(
        [
            np.array_equal(completions[winner], completions[loser])
            for winner, loser in zip(pairs.winners, pairs.losers, strict=True)
        ],
        bool,
    )
    chosen = is_kept[pairs.winners]
    fit = RankedFit(truncated, dict(left_out), int((equal & chosen).sum()))
    if not (chosen & ~equal).any():
        raise RankingError(
            f"no pair of the {len(pairs.groups)} groups can be measured: {dict(left_out)} groups are left out, and "
            f"{fit.equal_pairs} pairs are equal as tokens. Raise model.context_tokens, or give other rankings"
        )
    place = np.cumsum(is_kept) - 1  # of each completion among those that are left
    use = chosen & ~equal
    left = replace(
        pairs,
        groups=[group for group in kept if group is not None],
        winners=place[pairs.winners[use]],
        losers=place[pairs.losers[use]],
        clusters=[cluster for cluster, used in zip(pairs.clusters, use, strict=True) if used],
        margins=pairs.margins[use],
        lengths=pairs.lengths[is_kept],
    )
    return left, fit


def equal_pairs(groups: Sequence[RankedGroup], tok: ChatTokenizer, chat: ChatTemplate | None = None) -> int:
    """Clear pairs whose two completions are the same tokens; of a group whose ids cannot be used, none."""
    ids_of, found = CompletionIds(tok, chat), 0
    for group in groups:
        try:
            ids = ids_of.of(group)
        except RankingError:
            continue
        found += sum(np.array_equal(ids[winner], ids[loser]) for winner, loser in group.pairs)
    return found
