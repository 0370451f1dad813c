"""All systems on the same held-out prompts: base, prompted base, SFT, best-of-n and RLHF, by the labeler and the
reward.

Win rates are against one SFT sample a prompt, ties one half, intervals by resampling modules. Best-of-n draws from
other SFT samples than that one: the completion of n that the reward model likes most (KL to SFT at most log n - (n -
1)/n).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.config import Run
from stategpt.data import AnyTokenizer, Pair, PythonLibrary, chat_prompt
from stategpt.evaluate.answers import answer, answer_few_shot, finished, held_out_pairs
from stategpt.evaluate.diversity import distinct_change, distinct_n, unique_change, unique_share
from stategpt.evaluate.elo import elo
from stategpt.evaluate.labeler import DocstringStyleLabeler
from stategpt.evaluate.reward_scorer import RewardScorer
from stategpt.evaluate.statistics import cluster_bootstrap, win_points, win_rate
from stategpt.generate import Completion, Engine
from stategpt.model import GPT
from stategpt.shown_fields import documented, short_repr
from stategpt.train.policy import log_ratios


@documented
@dataclass(frozen=True)
class Judge:
    """Held-out prompts with what judges a completion of them: the labeler's points, the reward, the KL to SFT."""

    run: Run
    """The settings."""
    pairs: Sequence[Pair]
    """The held-out prompts with their references."""
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
        cls, run: Run, library: PythonLibrary, tok: AnyTokenizer, scorer: RewardScorer, reference: GPT, prompts: int
    ) -> Judge:
        """A judge over `prompts` held-out prompts of both kinds."""
        pairs = held_out_pairs(library, None, prompts, run.evaluate.seed)
        return cls(run, pairs, tok, DocstringStyleLabeler.fit(library), scorer, reference)

    def points(self, completions: Sequence[Completion]) -> NDArray[np.int64]:
        """The labeler's total of one completion a prompt."""
        judged = zip(self.pairs, completions, strict=True)
        return np.array([self.labeler.points(pair, c.text, finished(c)).total for pair, c in judged])

    def rewards(self, completions: Sequence[Completion], each: int = 1) -> NDArray[np.float32]:
        """Reward of `each` completions a prompt; one without any token (a stopped few-shot answer) counts as NaN."""
        prompts = [chat_prompt(self.tok, pair.prompt) for pair in self.pairs for _ in range(each)]
        some = [i for i, completion in enumerate(completions) if len(completion.ids)]
        rewards = np.full(len(completions), np.nan, dtype=np.float32)
        rewards[some] = self.scorer.scores([prompts[i] for i in some], [completions[i].ids for i in some])
        return rewards

    def kl(self, policy: GPT, completions: Sequence[Completion]) -> float:
        """Mean over prompts of log pi(y|x) - log pi_sft(y|x) in nats, on the policy's own completions."""
        prompts = [chat_prompt(self.tok, pair.prompt) for pair in self.pairs]
        ratios = log_ratios(
            policy,
            self.reference,
            prompts,
            [c.ids for c in completions],
            temperature=self.run.sampling.temperature,
            control=self.scorer.control,
        )
        return float(ratios.mean())


@documented
@dataclass(frozen=True)
class FrontierProbe:
    """Reward, labeler wins and KL of a policy in training, on a fixed set of held-out prompts."""

    judge: Judge
    """The prompts and what judges their completions."""
    sft_points: NDArray[np.int64]
    """int64[prompts], points of the SFT model's answers."""

    __repr__ = short_repr

    @classmethod
    def of(
        cls, run: Run, library: PythonLibrary, tok: AnyTokenizer, reference: GPT, scorer: RewardScorer
    ) -> FrontierProbe:
        """Answers the probe's prompts with the SFT model once."""
        judge = Judge.of(run, library, tok, scorer, reference, run.evaluate.frontier_prompts)
        return cls(judge, judge.points(answer(Engine(reference, tok), judge.pairs, run, "sft")))

    def measure(self, policy: GPT) -> dict[str, float]:
        """One point of the frontier: `kl`, `reward_mean`, `win_rate`."""
        policy.eval()
        completions = answer(Engine(policy, self.judge.tok), self.judge.pairs, self.judge.run, "rlhf")
        return {
            "kl": self.judge.kl(policy, completions),
            "reward_mean": float(np.nanmean(self.judge.rewards(completions))),
            "win_rate": win_rate(self.judge.points(completions), self.sft_points),
        }


def compare_systems(
    judge: Judge, library: PythonLibrary, base: GPT, rlhf: GPT, frontiers: Mapping[str, Any]
) -> dict[str, Any]:
    """comparison/evaluation.json."""
    run, pairs = judge.run, judge.pairs
    answers = _answers(judge, library, base, rlhf)
    points = {system: judge.points(given) for system, given in answers.items()}
    modules = [pair.module for pair in pairs]
    texts = {system: [c.text.strip() for c in given] for system, given in answers.items()}
    systems = {
        system: {
            "win_rate_vs_sft": cluster_bootstrap(
                win_points(points[system], points["sft"]), modules, run.evaluate.seed, run.evaluate.bootstrap_resamples
            ).to_json(),
            "points_mean": float(points[system].mean()),
            "reward_mean": float(np.nanmean(judge.rewards(given))),
            "distinct_2": distinct_n(texts[system]),
            "unique_share": unique_share(texts[system]),
            "length_tokens": float(np.mean([len(c.ids) for c in given])),
            "ended_share": float(np.mean([finished(c) for c in given])),
        }
        for system, given in answers.items()
    }
    systems["rlhf"]["kl"] = judge.kl(rlhf, answers["rlhf"])
    for size in run.evaluate.best_of:
        systems[f"best_of_{size}"]["kl_bound"] = float(np.log(size) - (size - 1) / size)
    ratings = elo(points, "sft", run.evaluate.seed, modules, run.evaluate.bootstrap_resamples)
    return {
        "prompts": len(pairs),
        "systems": systems,
        "elo": {system: rating.to_json() for system, rating in ratings.items()},
        "diversity_change": {
            "distinct_2": distinct_change(texts["sft"], texts["rlhf"], modules).to_json(),
            "unique_share": unique_change(texts["sft"], texts["rlhf"], modules).to_json(),
        },
        **frontiers,
        "examples": _examples(pairs, answers, points, run.evaluate.examples),
    }


def _answers(judge: Judge, library: PythonLibrary, base: GPT, rlhf: GPT) -> dict[str, list[Completion]]:
    """One completion a prompt of every system, in the order of the report."""
    run, pairs, tok = judge.run, judge.pairs, judge.tok
    drawn = 1 + max(run.evaluate.best_of, default=0)
    samples = answer(Engine(judge.reference, tok), pairs, run, "sft", n=drawn)
    by_prompt = [samples[i : i + drawn] for i in range(0, len(samples), drawn)]
    pool_rewards = judge.rewards(samples, each=drawn).reshape(len(pairs), drawn)[:, 1:]
    best = {
        f"best_of_{size}": [
            group[1 + int(np.argmax(rewards[:size]))] for group, rewards in zip(by_prompt, pool_rewards, strict=True)
        ]
        for size in run.evaluate.best_of
    }
    return {
        "base": answer(Engine(base, tok), pairs, run, "base"),
        "prompted_base": answer_few_shot(Engine(base, tok), pairs, library, run),
        "sft": [group[0] for group in by_prompt],
        **best,
        "rlhf": answer(Engine(rlhf, tok), pairs, run, "rlhf"),
    }


def _examples(
    pairs: Sequence[Pair],
    answers: Mapping[str, Sequence[Completion]],
    points: Mapping[str, NDArray[np.int64]],
    count: int,
) -> list[dict[str, Any]]:
    return [
        {
            "prompt": pair.prompt,
            "reference": pair.response,
            **{
                system: {"text": answers[system][number].text, "points": int(points[system][number])}
                for system in answers
            },
        }
        for number, pair in enumerate(pairs[:count])
    ]
