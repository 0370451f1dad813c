"""All systems on the same test prompts: base, prompted base, SFT, best-of-n and RLHF, by the labeler and the
reward.

Win rates are against one SFT sample a prompt, ties one half, intervals by resampling groups. RLHF is a mean over the
policies of all seeds, and its intervals hold what the seed changes too; with one policy they leave the seed out.
Best-of-n draws from other SFT samples than that one: the completion of n that the reward model likes most (KL to SFT at
most log n - (n - 1)/n).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from stategpt.config import RunConfig
from stategpt.data import chat_prompt
from stategpt.data.corpus import Corpus
from stategpt.data.records import Prompt
from stategpt.evaluate.answers import HeldOut, answer, answer_few_shot, finished, held_out_prompts
from stategpt.evaluate.diversity import distinct_change, distinct_n, unique_change, unique_share_interval
from stategpt.evaluate.elo import elo
from stategpt.evaluate.records import (
    ComparedPrompt,
    ComparisonEvaluation,
    DiversityChange,
    FrontierPoint,
    PairedGain,
    SeedMeasures,
    SystemAnswer,
    SystemMeasures,
)
from stategpt.evaluate.reward_scorer import RewardScorer
from stategpt.evaluate.scorers.docstring_style import DocstringStyleLabeler
from stategpt.evaluate.statistics import Interval, seeded_bootstrap, win_points
from stategpt.generate import Completion, Engine
from stategpt.model import GPT
from stategpt.model.policy import log_ratios
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer


@documented
@dataclass(frozen=True)
class HeldOutComparison:
    """Held-out prompts with what judges a completion of them: the labeler's points, the reward, the KL to SFT."""

    run: RunConfig
    """The settings."""
    prompts: Sequence[Prompt]
    """The prompts, of one held-out side, with their references."""
    tok: AnyTokenizer
    """The tokenizer of all models."""
    labeler: DocstringStyleLabeler
    """Gives points to a text."""
    scorer: RewardScorer
    """Gives rewards."""
    reference: GPT
    """The SFT model."""

    __repr__ = short_repr

    @classmethod
    def of(
        cls,
        run: RunConfig,
        corpus: Corpus,
        side: HeldOut,
        prompts: int,
        tok: AnyTokenizer,
        scorer: RewardScorer,
        reference: GPT,
    ) -> HeldOutComparison:
        """A judge over `prompts` prompts of both kinds from one held-out side."""
        chosen = held_out_prompts(corpus, side, prompts, run.evaluate.seed)
        return cls(run, chosen, tok, DocstringStyleLabeler.fit(corpus), scorer, reference)

    def points(self, completions: Sequence[Completion]) -> NDArray[np.int64]:
        """The labeler's total of one completion a prompt."""
        judged = zip(self.prompts, completions, strict=True)
        return np.array([self.labeler.points(prompt, c.text, finished(c)).total for prompt, c in judged])

    def rewards(self, completions: Sequence[Completion], each: int = 1) -> NDArray[np.float32]:
        """Reward of `each` completions a prompt; one without any token (a stopped few-shot answer) counts as NaN."""
        prompts = [chat_prompt(self.tok, prompt) for prompt in self.prompts for _ in range(each)]
        some = [i for i, completion in enumerate(completions) if len(completion.ids)]
        rewards = np.full(len(completions), np.nan, dtype=np.float32)
        rewards[some] = self.scorer.scores([prompts[i] for i in some], [completions[i].ids for i in some])
        return rewards

    def kl(self, policy: GPT, completions: Sequence[Completion]) -> NDArray[np.float64]:
        """log pi(y|x) - log pi_sft(y|x) in nats of the policy's own completion of each prompt; the mean is the KL."""
        prompts = [chat_prompt(self.tok, prompt) for prompt in self.prompts]
        return log_ratios(
            policy,
            self.reference,
            prompts,
            [c.ids for c in completions],
            temperature=self.run.sampling.temperature,
            tok=self.tok,
        )

    def engine(self, model: GPT) -> Engine:
        """A sampler over `model`, in the precision of every measurement."""
        return Engine(model, self.tok, precision=self.run.evaluate.precision)

    def interval(self, values_SP: npt.ArrayLike) -> Interval:
        """Mean of `values_SP` [seeds, prompts] with its interval, by groups and, where there are several, by seeds."""
        groups = [prompt.group for prompt in self.prompts]
        return seeded_bootstrap(values_SP, groups, self.run.evaluate.seed, self.run.evaluate.bootstrap_resamples)


@documented
@dataclass(frozen=True)
class FrontierProbe:
    """Reward, labeler wins and KL of a policy in training, on a fixed set of validation prompts."""

    judge: HeldOutComparison
    """The prompts and what judges their completions."""
    sft_points: NDArray[np.int64]
    """int64[prompts], points of the SFT model's answers."""

    __repr__ = short_repr

    @classmethod
    def of(
        cls, run: RunConfig, corpus: Corpus, tok: AnyTokenizer, reference: GPT, scorer: RewardScorer
    ) -> FrontierProbe:
        """Answers the probe's prompts with the SFT model once."""
        judge = HeldOutComparison.of(run, corpus, "validation", run.evaluate.frontier_prompts, tok, scorer, reference)
        return cls(judge, judge.points(answer(judge.engine(reference), judge.prompts, run, "sft")))

    def measure(self, step: int, policy: GPT) -> FrontierPoint:
        """The point of a policy after `step` steps."""
        policy.eval()
        completions = answer(self.judge.engine(policy), self.judge.prompts, self.judge.run, "rlhf")
        return FrontierPoint(
            step=step,
            prompts=len(self.judge.prompts),
            kl=self.judge.interval([self.judge.kl(policy, completions)]),
            reward=self.judge.interval([self.judge.rewards(completions)]),
            win_rate=self.judge.interval([win_points(self.judge.points(completions), self.sft_points)]),
        )


@documented
@dataclass(frozen=True)
class Answered:
    """What a system answered to every prompt and what that earned: one set a training seed, one set where none is."""

    completions: list[list[Completion]]
    """[seeds][prompts]."""
    points_SP: NDArray[np.int64]
    """int64[seeds, prompts], the labeler's points."""
    rewards_SP: NDArray[np.float32]
    """float32[seeds, prompts]; NaN where nothing was answered."""

    __repr__ = short_repr

    @classmethod
    def of(cls, judge: HeldOutComparison, *sets: list[Completion]) -> Answered:
        """Judges the sets."""
        points = np.stack([judge.points(given) for given in sets])
        return cls(list(sets), points, np.stack([judge.rewards(given) for given in sets]))

    def of_seed(self, index: int) -> Answered:
        """One set alone."""
        part = slice(index, index + 1)
        return Answered(self.completions[part], self.points_SP[part], self.rewards_SP[part])

    def wins_over(self, other: Answered) -> NDArray[np.float64]:
        """Win points [seeds, prompts] against the first set of `other`, ties one half."""
        return np.stack([win_points(points_P, other.points_SP[0]) for points_P in self.points_SP])

    @property
    def texts(self) -> list[list[str]]:
        """[seeds][prompts], without the space around."""
        return [[completion.text.strip() for completion in given] for given in self.completions]


def compare_systems(
    judge: HeldOutComparison, corpus: Corpus, base: GPT, policies: Iterable[tuple[str, GPT]]
) -> ComparisonEvaluation:
    """Measures every system; the frontiers of training are left empty.

    `policies` are the RL policies by folder, which differ by their seed; each is asked for once, in order.
    """
    run, prompts = judge.run, judge.prompts
    answers = _answers(judge, corpus, base)
    sft = answers["sft"]
    stages, sets, kls = [], [], []
    for number, (stage, policy) in enumerate(policies):
        # Other random numbers for each: sampling is a part of what a seed changes.
        sets.append(answer(judge.engine(policy), prompts, run, f"rlhf {number}" if number else "rlhf"))
        kls.append(judge.kl(policy, sets[-1]))
        stages.append(stage)
    rlhf = answers["rlhf"] = Answered.of(judge, *sets)
    systems = {system: SystemMeasures(**_measures(judge, given, sft)) for system, given in answers.items()}
    of_seeds = tuple(
        SeedMeasures(**_measures(judge, rlhf.of_seed(i), sft), stage=stage, kl=judge.interval(kls[i : i + 1]))
        for i, stage in enumerate(stages)
    )
    systems["rlhf"] = replace(systems["rlhf"], kl=judge.interval(kls), seeds=of_seeds)
    for size in run.evaluate.best_of:
        name = f"best_of_{size}"
        systems[name] = replace(systems[name], kl_bound=best_of_kl_bound(size))
    groups = [prompt.group for prompt in prompts]
    return ComparisonEvaluation(
        prompts=len(prompts),
        subjects=len({prompt.subject for prompt in prompts}),
        seeds=len(stages),
        systems=systems,
        against_best_of={str(size): _against(judge, answers, size) for size in run.evaluate.best_of},
        elo=_elo(judge, answers, groups),
        diversity_change=DiversityChange(
            distinct_2=distinct_change(sft.texts[0], rlhf.texts, groups),
            unique_share=unique_change(sft.texts[0], rlhf.texts, groups),
        ),
        examples=_examples(prompts, answers, run.evaluate.examples),
    )


def best_of_kl_bound(size: int) -> float:
    """log n - (n - 1)/n nats: the KL of best-of-n to what it draws from is at most this (arXiv 2401.01879)."""
    return float(np.log(size) - (size - 1) / size)


def _against(judge: HeldOutComparison, answers: Mapping[str, Answered], size: int) -> PairedGain:
    """RLHF minus best-of-`size`, prompt by prompt: what the two gain over the same SFT answers, and reward.

    More reward at no more wins is over-optimization: the reward model's errors are what RLHF gained.
    """
    rlhf, best, sft = answers["rlhf"], answers[f"best_of_{size}"], answers["sft"]
    rewards_SP = rlhf.rewards_SP.astype(np.float64) - best.rewards_SP[0]
    wins = judge.interval(rlhf.wins_over(sft) - best.wins_over(sft))
    return PairedGain(wins, judge.interval(rewards_SP), best_of_kl_bound(size))


def _measures(judge: HeldOutComparison, given: Answered, sft: Answered) -> dict[str, Any]:
    """Every measure of one system that its answers alone decide; a mean over its sets."""
    groups = [prompt.group for prompt in judge.prompts]
    return {
        "win_rate_vs_sft": judge.interval(given.wins_over(sft)),
        "score_mean": float(given.points_SP.mean()),
        "reward_mean": float(np.nanmean(given.rewards_SP)),
        "distinct_2": float(np.mean([distinct_n(texts) for texts in given.texts])),
        "unique_share": unique_share_interval(given.texts, groups),
        "length_tokens": float(np.mean([[len(c.ids) for c in answered] for answered in given.completions])),
        "ended_share": float(np.mean([[finished(c) for c in answered] for answered in given.completions])),
    }


def _elo(judge: HeldOutComparison, answers: Mapping[str, Answered], groups: Sequence[str]) -> dict[str, Interval]:
    """Each policy plays all others on every prompt; its groups are resampled, its seeds are not."""
    seeds = max(len(given.points_SP) for given in answers.values())
    points = {
        system: np.broadcast_to(given.points_SP, (seeds, len(groups))).ravel() for system, given in answers.items()
    }
    chosen = judge.run.evaluate
    return elo(points, "sft", chosen.seed, list(groups) * seeds, chosen.bootstrap_resamples)


def _answers(judge: HeldOutComparison, corpus: Corpus, base: GPT) -> dict[str, Answered]:
    """One completion a prompt of every system but RLHF, in the order of the report."""
    run, prompts = judge.run, judge.prompts
    drawn = 1 + max(run.evaluate.best_of, default=0)
    samples = answer(judge.engine(judge.reference), prompts, run, "sft", n=drawn)
    by_prompt = [samples[i : i + drawn] for i in range(0, len(samples), drawn)]
    pool_rewards = judge.rewards(samples, each=drawn).reshape(len(prompts), drawn)[:, 1:]
    best = {
        f"best_of_{size}": [
            group[1 + int(np.argmax(rewards[:size]))] for group, rewards in zip(by_prompt, pool_rewards, strict=True)
        ]
        for size in run.evaluate.best_of
    }
    given = {
        "base": answer(judge.engine(base), prompts, run, "base"),
        "prompted_base": answer_few_shot(judge.engine(base), prompts, corpus, run),
        "sft": [group[0] for group in by_prompt],
        **best,
    }
    return {system: Answered.of(judge, completions) for system, completions in given.items()}


def _examples(prompts: Sequence[Prompt], answers: Mapping[str, Answered], count: int) -> tuple[ComparedPrompt, ...]:
    """The first prompts with every system's answer; of RLHF, the first seed's."""
    return tuple(
        ComparedPrompt(
            prompt.text,
            {
                "reference": SystemAnswer(prompt.reference or ""),
                **{
                    system: SystemAnswer(given.completions[0][number].text, float(given.points_SP[0, number]))
                    for system, given in answers.items()
                },
            },
        )
        for number, prompt in enumerate(prompts[:count])
    )
