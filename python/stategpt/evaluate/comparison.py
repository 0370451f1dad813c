"""Compares all systems on the same test prompts: base, prompted base, SFT, best-of-n, RLHF, RL policies of other betas,
and the reference answers, by scorer and reward.

Win rates are against one SFT sample for each prompt, ties one half, intervals by resampling groups. RLHF is the mean
over the policies of all seeds, and its intervals include what the seed changes too; with one policy they leave the seed
out. Best-of-n draws from other SFT samples than that one: the completion of n with the highest reward (KL to SFT at
most log n - (n - 1)/n).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stategpt.config import RunConfig
from stategpt.config.run import JUDGE
from stategpt.data.corpus import Corpus
from stategpt.errors import ScorerError
from stategpt.evaluate.answers import answer, answer_few_shot, finished
from stategpt.evaluate.diversity import (
    distinct_change,
    distinct_n,
    most_repeated,
    ngram_budget,
    unique_change,
    unique_share_interval,
)
from stategpt.evaluate.elo import elo
from stategpt.evaluate.held_out import Answered, HeldOutComparison, reference_completions
from stategpt.evaluate.records import (
    ComparedPrompt,
    ComparisonEvaluation,
    DiversityChange,
    PairedGain,
    RepeatedAnswer,
    SeedMeasures,
    SystemAnswer,
    SystemMeasures,
)
from stategpt.evaluate.statistics import Interval
from stategpt.generate import Completion
from stategpt.model import GPT

Policies = Iterable[tuple[str, GPT]]
"""RL policies by the folder of the run that they are in; each is used once, in order."""


def compare_systems(
    judge: HeldOutComparison, corpus: Corpus, base: GPT, seeds: Policies, betas: Policies
) -> ComparisonEvaluation:
    """Measures every system; the frontiers of training are left empty.

    `seeds` are the policies at `rl.beta`, which differ by their seed, `betas` those of `rl.extra_betas`.
    """
    run = judge.run
    answers = _answers(judge, corpus, base)
    kls: dict[str, list[Any]] = {}
    rlhf, stages = _policies_of_seeds(judge, seeds, kls)
    answers["rlhf"] = rlhf
    folders = {"rlhf": stages[0]}
    for stage, policy in betas:
        name = f"rlhf_beta_{run.rl.beta_folders[stage]:g}"
        answers[name] = _of_policy(judge, policy, name, kls.setdefault(name, []))
        folders[name] = stage
    references = reference_completions(judge)
    if references is not None:
        answers["reference"] = Answered.of(judge, references)
    judge, answers, kls, failed = _scored_prompts(judge, answers, kls)
    rlhf = answers["rlhf"]
    budget = ngram_budget(texts for given in answers.values() for texts in given.texts)
    sft, groups = answers["sft"], judge.groups
    systems = {name: _system(judge, name, given, sft, budget, folders, kls) for name, given in answers.items()}
    of_seeds = tuple(
        SeedMeasures(
            **_measures(judge, rlhf.of_seed(i), sft, budget)
            | {"stage": stage, "kl": judge.interval(kls["rlhf"][i : i + 1])}
        )
        for i, stage in enumerate(stages)
    )
    systems["rlhf"] = replace(systems["rlhf"], seeds=of_seeds)
    subjects = {prompt.subject for prompt in judge.prompts} - {""}
    return ComparisonEvaluation(
        scorer=wins_by(run),
        optimized=run.rl.scorer,
        prompts=len(judge.prompts),
        failed_prompts=failed,
        subjects=len(subjects) or None,
        seeds=len(stages),
        distinct_2_bigrams=budget,
        systems=systems,
        against_best_of={
            str(size): replace(_gain(judge, answers, "rlhf", f"best_of_{size}"), kl_bound=best_of_kl_bound(size))
            for size in run.evaluate.best_of
        },
        against_rlhf={name: _gain(judge, answers, name, "rlhf") for name in folders if name != "rlhf"},
        elo=_elo(judge, answers),
        diversity_change=DiversityChange(
            distinct_2=distinct_change(sft.texts[0], rlhf.texts, groups, budget=budget),
            unique_share=unique_change(sft.texts[0], rlhf.texts, groups),
        ),
        examples=_examples(judge, answers),
    )


def _scored_prompts(
    judge: HeldOutComparison, answers: dict[str, Answered], kls: dict[str, list[Any]]
) -> tuple[HeldOutComparison, dict[str, Answered], dict[str, list[Any]], int]:
    """What is left of all systems alike without the prompts that a scorer failed on, and how many those are."""
    kept_P = ~np.any([given.failed for given in answers.values()], axis=0)
    if kept_P.all():
        return judge, answers, kls, 0
    if not kept_P.any():
        raise ScorerError(f"each of the {len(kept_P)} prompts has an answer without a score: nothing can be compared")
    left = {name: given.only(kept_P) for name, given in answers.items()}
    return (
        judge.only(kept_P),
        left,
        {name: [kl[kept_P] for kl in rows] for name, rows in kls.items()},
        int(sum(~kept_P)),
    )


def wins_by(run: RunConfig) -> str:
    """Name of what decides wins: a scorer's, or `JUDGE`."""
    setting = run.decides_wins
    return setting if setting == JUDGE else str(getattr(run, setting.partition(".")[0]).scorer)


def best_of_kl_bound(size: int) -> float:
    """log n - (n - 1)/n nats: the KL of best-of-n to what it draws from is at most this (arXiv 2401.01879)."""
    return float(np.log(size) - (size - 1) / size)


def _policies_of_seeds(
    judge: HeldOutComparison, policies: Policies, kls: dict[str, list[Any]]
) -> tuple[Answered, list[str]]:
    """The answers of all seeds' policies, and the policies' folders."""
    stages, sets = [], []
    for number, (stage, policy) in enumerate(policies):
        # Other random numbers for each: sampling is a part of what a seed changes.
        sets.append(answer(judge.engine(policy), judge.prompts, judge.run, f"rlhf {number}" if number else "rlhf"))
        kls.setdefault("rlhf", []).append(judge.kl(policy, sets[-1]))
        stages.append(stage)
    return Answered.of(judge, *sets), stages


def _of_policy(judge: HeldOutComparison, policy: GPT, name: str, kls: list[Any]) -> Answered:
    completions = answer(judge.engine(policy), judge.prompts, judge.run, name)
    kls.append(judge.kl(policy, completions))
    return Answered.of(judge, completions)


def _answers(judge: HeldOutComparison, corpus: Corpus, base: GPT) -> dict[str, Answered]:
    """One completion for each prompt of every system that is not a policy of RL, in the order of the report."""
    run, prompts = judge.run, judge.prompts
    drawn = 1 + max(run.evaluate.best_of, default=0)
    samples = answer(judge.engine(judge.reference), prompts, run, "sft", n=drawn)
    by_prompt = [samples[i : i + drawn] for i in range(0, len(samples), drawn)]
    pool_rewards = judge.rewards(samples, each=drawn).reshape(len(prompts), drawn)[:, 1:]
    best = {
        f"best_of_{size}": [
            group[1 + int(np.argmax(np.nan_to_num(rewards[:size], nan=-np.inf)))]
            for group, rewards in zip(by_prompt, pool_rewards, strict=True)
        ]
        for size in run.evaluate.best_of
    }
    own = {} if run.policy == "base" else {"base": answer(judge.engine(base), prompts, run, "base")}
    given = {
        **own,
        **_prompted(judge, corpus, base),
        "sft": [group[0] for group in by_prompt],
        **best,
    }
    return {system: Answered.of(judge, completions) for system, completions in given.items()}


def _prompted(judge: HeldOutComparison, corpus: Corpus, base: GPT) -> dict[str, list[Completion]]:
    """The base model with a document of examples; nothing where the corpus has no demonstrations to make it of."""
    if not corpus.conversations["train"]:
        return {}
    return {"prompted_base": answer_few_shot(judge.engine(base), judge.prompts, corpus, judge.run)}


def _gain(judge: HeldOutComparison, answers: Mapping[str, Answered], system: str, other: str) -> PairedGain:
    """One system minus another, prompt by prompt: what the two gain over the same SFT answers, and reward.

    More reward at no more wins is over-optimization: the reward model's errors are what was gained.
    """
    first, second, sft = answers[system], answers[other], answers["sft"]
    rewards_SP = first.rewards_SP.astype(np.float64) - second.rewards_SP.mean(axis=0, dtype=np.float64)
    wins_SP = first.wins_over(sft) - second.wins_over(sft).mean(axis=0)
    return PairedGain(judge.interval(wins_SP), judge.interval(rewards_SP))


def _system(
    judge: HeldOutComparison,
    name: str,
    given: Answered,
    sft: Answered,
    budget: int,
    folders: Mapping[str, str],
    kls: Mapping[str, Sequence[Any]],
) -> SystemMeasures:
    rl, stage = judge.run.rl, folders.get(name, "")
    texts = [text for of_seed in given.texts for text in of_seed]
    return SystemMeasures(
        **_measures(judge, given, sft, budget),
        stage=stage,
        kl=judge.interval(kls[name]) if stage else None,
        beta=rl.beta_folders.get(stage, rl.beta) if stage else None,
        kl_bound=best_of_kl_bound(int(name.removeprefix("best_of_"))) if name.startswith("best_of_") else None,
        answers=len(texts),
        repeated=tuple(RepeatedAnswer(text, count) for text, count in most_repeated(texts)),
    )


def _measures(judge: HeldOutComparison, given: Answered, sft: Answered, budget: int) -> dict[str, Any]:
    """Every measure of one system that its answers alone decide; a mean over its sets."""
    return {
        "win_rate_vs_sft": judge.interval(given.wins_over(sft)),
        "score_mean": float(given.scores_SP.mean(dtype=np.float64)),
        "reward_mean": float(np.nanmean(given.rewards_SP)),
        "distinct_2": float(np.mean([distinct_n(texts, budget=budget) for texts in given.texts])),
        "unique_share": unique_share_interval(given.texts, judge.groups),
        "length_tokens": float(np.mean([[len(c.ids) for c in answered] for answered in given.completions])),
        "ended_share": float(np.mean([[finished(c) for c in answered] for answered in given.completions])),
    }


def _elo(judge: HeldOutComparison, answers: Mapping[str, Answered]) -> dict[str, Interval]:
    """Each system plays all others on every prompt; groups of prompts are resampled, seeds are not."""
    seeds = max(len(given.scores_SP) for given in answers.values())
    scores = {
        system: np.broadcast_to(given.scores_SP, (seeds, len(judge.prompts))).ravel()
        for system, given in answers.items()
    }
    chosen = judge.run.evaluate
    return elo(scores, "sft", chosen.seed, judge.groups * seeds, chosen.bootstrap_resamples)


def _examples(judge: HeldOutComparison, answers: Mapping[str, Answered]) -> tuple[ComparedPrompt, ...]:
    """The first prompts with every system's answer; of RLHF, the first seed's."""
    return tuple(
        ComparedPrompt(prompt.text, {system: _answer_to(given, i) for system, given in answers.items()})
        for i, prompt in enumerate(judge.prompts[: judge.run.evaluate.examples])
    )


def _answer_to(given: Answered, number: int) -> SystemAnswer:
    return SystemAnswer(
        given.completions[0][number].text, float(given.scores_SP[0, number]), float(given.rewards_SP[0, number])
    )
