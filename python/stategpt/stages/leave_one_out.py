"""Leave one group out: how a reward model orders answers to prompts it has not seen, where there are too few to split.

For each group (by default a prompt) a reward model is trained from the same weights on all other groups and measured on
the pairs of that one. Every pair is measured once, by a model that did not learn from its group; so is the length-only
baseline. The unit of the intervals is the group: with a dozen of them they are wide.

    found = leave_one_out(run, model, tok, rankings)      # run.reward, run.seed and run.evaluate are read
    print(found.accuracy, found.length_only, found.length_margin)
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.config import RunConfig
from stategpt.config.dial import resolved_optim
from stategpt.data import ChatTemplate, RankedGroup, RankingBatches, Rankings, ranking_batches
from stategpt.data.groups import group_of
from stategpt.errors import RankingError
from stategpt.evaluate import RewardScorer
from stategpt.evaluate.reward_model import score_groups
from stategpt.evaluate.reward_quality import LengthBaseline
from stategpt.evaluate.statistics import Interval, cluster_bootstrap, paired_difference, win_points
from stategpt.model import GPT, RewardModel
from stategpt.shown_fields import documented
from stategpt.stages.fine_tuning import FineTuning
from stategpt.tokenizer import AnyTokenizer
from stategpt.train import LoopSettings, fit
from stategpt.train.reward import RewardTask

_Points = NDArray[np.float64]


@documented
@dataclass(frozen=True)
class Fold:
    """What the model that did not learn from a group does on its pairs."""

    group: str
    """Name of the group."""
    question: str
    """Text of its first prompt."""
    pairs: int
    """Clear pairs that are measured."""
    left_out: int
    """Ranked prompts that cannot be measured: an answer longer than the context, or answers of equal tokens."""
    accuracy: float
    """Share of the pairs in the right order; equal rewards count one half."""
    length_only: float
    """The same of the baseline that sees lengths only, fitted on the other groups."""


@documented
@dataclass(frozen=True)
class LeaveOneOut:
    """All folds together. Pairs weigh the same; intervals resample groups."""

    folds: tuple[Fold, ...]
    """One for each group with a clear pair, in the order of their first record."""
    accuracy: Interval
    """Share of held-out pairs in the right order."""
    length_only: Interval
    """The same of the length-only baseline."""
    length_margin: Interval
    """Their difference on the same pairs."""


def leave_one_out(
    run: RunConfig, policy: GPT, tok: AnyTokenizer, rankings: Rankings, chat: ChatTemplate | None = None
) -> LeaveOneOut:
    """Trains a reward model for each group of `rankings` on all others, and measures it on that group.

    Args:
        run: `reward` says how each is trained, `seed` its head and the order of prompts, `evaluate` the intervals.
        policy: the model that each starts from; it is not changed.
        tok: its tokenizer.
        chat: its chat format; None: this package's.
        rankings: ranked prompts; `group` says which belong together, by default those of one first question.

    Raises:
        RankingError: fewer than two groups have a clear pair, or no pair of a group can be measured.
        TrainingDiverged: as `fit`.
    """
    names = list(dict.fromkeys(group_of(group) for group in rankings.groups if len(group.pairs)))
    if len(names) < 2:
        raise RankingError(f"{len(names)} groups of {len(rankings)} have a clear pair; leaving one out takes two")
    held_out = {name: _part(rankings, {name}) for name in names}
    batches = {
        name: _batches(run, policy, tok, chat, part) for name, part in held_out.items()
    }  # errors before any training
    folds, right, by_length = [], [], []
    for name in names:
        others = _part(rankings, set(names) - {name})
        model = _trained(run, policy, tok, chat, others)
        fold, right_P, length_P = _measured(model, tok, chat, name, held_out[name], batches[name], others)
        folds.append(fold)
        right.append(right_P)
        by_length.append(length_P)
    right_N, length_N = np.concatenate(right), np.concatenate(by_length)
    clusters = [fold.group for fold in folds for _ in range(fold.pairs)]
    seed, resamples = run.evaluate.seed, run.evaluate.bootstrap_resamples
    return LeaveOneOut(
        tuple(folds),
        cluster_bootstrap(right_N, clusters, seed, resamples),
        cluster_bootstrap(length_N, clusters, seed, resamples),
        paired_difference(right_N, length_N, clusters, seed, resamples),
    )


def _measured(
    model: RewardModel,
    tok: AnyTokenizer,
    chat: ChatTemplate | None,
    name: str,
    held_out: Rankings,
    batches: RankingBatches,
    others: Rankings,
) -> tuple[Fold, _Points, _Points]:
    """A fold, and the points of each of its pairs: of the model, and of the baseline fitted on the other groups."""
    by_id = {group.id: group for group in held_out.groups}
    measured = [by_id[each] for batch in batches for each in batch.ids]  # without what does not fit
    right_P = _right(RewardScorer(model, tok, chat=chat), measured)
    length_P = LengthBaseline.fit(*_lengths(others.groups)).points(*_lengths(measured))
    fold = Fold(
        group=name,
        question=held_out.groups[0].question,
        pairs=len(right_P),
        left_out=len(batches.rejected),
        accuracy=float(right_P.mean()),
        length_only=float(length_P.mean()),
    )
    return fold, right_P, length_P


def _part(rankings: Rankings, names: set[str]) -> Rankings:
    """The ranked prompts with a clear pair of some groups."""
    return Rankings(tuple(each for each in rankings.groups if len(each.pairs) and group_of(each) in names), ())


def _batches(
    run: RunConfig, policy: GPT, tok: AnyTokenizer, chat: ChatTemplate | None, held_out: Rankings
) -> RankingBatches:
    context = policy.config.context_tokens
    return ranking_batches(held_out, tok, run.reward.prompts_per_batch, context_tokens=context, chat=chat)


def _trained(
    run: RunConfig, policy: GPT, tok: AnyTokenizer, chat: ChatTemplate | None, rankings: Rankings
) -> RewardModel:
    torch.manual_seed(run.seed)
    model = RewardModel(deepcopy(policy)).to(next(policy.parameters()).device)
    FineTuning.of(run, "reward", model, run.seed)
    task = RewardTask(run.reward, model, rankings, tok, seed=run.seed, chat=chat)
    with TemporaryDirectory() as folder:
        settings = LoopSettings(
            optim=resolved_optim(run, "reward"),
            folder=Path(folder),
            fingerprint="",
            precision=run.reward.precision,
            weights=run.reward.weights,
            gradient_checkpointing=run.reward.gradient_checkpointing,
            checkpoint_every_steps=task.steps,
            log_every_steps=run.reward.log_every_steps,
        )
        fit(task, model, settings)
    return model.eval()


def _right(scorer: RewardScorer, groups: Sequence[RankedGroup]) -> _Points:
    """1 for each pair in the right order, 1/2 where the rewards are equal, else 0: [pairs].

    An answer that is in many pairs is scored once.
    """
    scores = score_groups(scorer, scorer.tok, groups)
    first = np.cumsum([0, *(len(group.completions) for group in groups)])
    pairs_P2 = np.concatenate([group.pairs + start for group, start in zip(groups, first[:-1], strict=True)])
    return win_points(scores[pairs_P2[:, 0]], scores[pairs_P2[:, 1]])


def _lengths(groups: Sequence[RankedGroup]) -> tuple[list[int], list[int]]:
    """Characters of the winner and of the loser of every pair."""
    pairs = [(group, *pair) for group in groups for pair in group.pairs.tolist()]
    return [len(g.completions[w]) for g, w, _ in pairs], [len(g.completions[lo]) for g, _, lo in pairs]
