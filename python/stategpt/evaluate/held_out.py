"""Held-out prompts with what measures a completion of them, and the probe of a policy in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from stategpt.config import RunConfig
from stategpt.data import ChatTemplate
from stategpt.data.corpus import Corpus
from stategpt.data.records import Prompt
from stategpt.errors import ScorerError
from stategpt.evaluate.answers import HeldOut, answer, held_out_prompts
from stategpt.evaluate.records import FrontierPoint
from stategpt.evaluate.scorers import Scorer
from stategpt.evaluate.statistics import Interval, seeded_bootstrap, win_points
from stategpt.generate import Completion, Engine
from stategpt.model import GPT
from stategpt.model.policy import log_ratios
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

PROBE_RESAMPLES = 2000
"""Of the intervals of a frontier; no setting, since the frontier cannot be measured again after training."""


@documented
@dataclass(frozen=True)
class HeldOutComparison:
    """Held-out prompts with what measures a completion of them: score, reward, and KL to the SFT model."""

    run: RunConfig
    """The settings."""
    prompts: Sequence[Prompt]
    """The prompts, of one held-out side, with their references."""
    tok: AnyTokenizer
    """The tokenizer of all models."""
    scorer: Scorer
    """Decides wins: `evaluate.scorer`."""
    rewarder: Scorer
    """Gives rewards: `rl.scorer`."""
    reference: GPT
    """The SFT model."""
    chat: ChatTemplate | None = None
    """Their chat format; None: this package's."""

    __repr__ = short_repr

    @classmethod
    def of(
        cls,
        run: RunConfig,
        corpus: Corpus,
        side: HeldOut,
        prompts: int,
        tok: AnyTokenizer,
        scorer: Scorer,
        rewarder: Scorer,
        reference: GPT,
        chat: ChatTemplate | None = None,
    ) -> HeldOutComparison:
        """A comparison on `prompts` prompts of one held-out side."""
        chosen = held_out_prompts(corpus, side, prompts, run.evaluate.seed)
        return cls(run, chosen, tok, scorer, rewarder, reference, chat)

    @property
    def dialogue(self) -> ChatTemplate:
        """The chat format. Raises `InvalidArgument` without one for a tokenizer of another model."""
        return ChatTemplate.own(self.tok) if self.chat is None else self.chat

    def only(self, kept_P: NDArray[np.bool_]) -> HeldOutComparison:
        """The same with the prompts where `kept_P` holds."""
        return replace(self, prompts=[prompt for prompt, kept in zip(self.prompts, kept_P, strict=True) if kept])

    @property
    def groups(self) -> list[str]:
        """Group of each prompt: what the bootstrap resamples."""
        return [prompt.group for prompt in self.prompts]

    def scores(self, completions: Sequence[Completion]) -> NDArray[np.float32]:
        """The scorer's score of one completion for each prompt."""
        return self.scorer.scores(self.prompts, completions).values

    def rewards(self, completions: Sequence[Completion], each: int = 1) -> NDArray[np.float32]:
        """Reward of `each` completions of every prompt; NaN for one without tokens (a stopped few-shot answer)."""
        prompts = [prompt for prompt in self.prompts for _ in range(each)]
        some = [i for i, completion in enumerate(completions) if len(completion.ids)]
        rewards = np.full(len(completions), np.nan, dtype=np.float32)
        rewards[some] = self.rewarder.scores([prompts[i] for i in some], [completions[i] for i in some]).values
        return rewards

    def kl(self, policy: GPT, completions: Sequence[Completion]) -> NDArray[np.float64]:
        """log pi(y|x) - log pi_sft(y|x) in nats of the policy's own completion of each prompt; the mean is the KL."""
        prompts = [self.dialogue.prompt(prompt) for prompt in self.prompts]
        return log_ratios(
            policy,
            self.reference,
            prompts,
            [c.ids for c in completions],
            temperature=self.run.sampling.temperature,
            tok=self.tok,
            chat=self.chat,
        )

    def engine(self, model: GPT) -> Engine:
        """A sampler over `model`, in the precision of every measurement."""
        return Engine(model, self.tok, self.chat, precision=self.run.evaluate.precision)

    def interval(self, values_SP: npt.ArrayLike, resamples: int | None = None) -> Interval:
        """Mean of `values_SP` [seeds, prompts] with its interval, by groups and, where there are several, by seeds."""
        chosen = self.run.evaluate
        return seeded_bootstrap(values_SP, self.groups, chosen.seed, resamples or chosen.bootstrap_resamples)


@documented
@dataclass(frozen=True)
class FrontierProbe:
    """Measures reward, wins and KL of a policy in training, on a fixed set of validation prompts."""

    judge: HeldOutComparison
    """The prompts and what measures their completions."""
    sft_scores: NDArray[np.float32]
    """float32[prompts], scores of the SFT model's answers."""
    sft_rewards: NDArray[np.float32]
    """float32[prompts], their rewards."""

    __repr__ = short_repr

    @classmethod
    def of(
        cls,
        run: RunConfig,
        corpus: Corpus,
        tok: AnyTokenizer,
        reference: GPT,
        scorer: Scorer,
        rewarder: Scorer,
        chat: ChatTemplate | None = None,
    ) -> FrontierProbe:
        """Answers the probe's prompts with the SFT model once."""
        count = run.evaluate.frontier_prompts
        judge = HeldOutComparison.of(run, corpus, "validation", count, tok, scorer, rewarder, reference, chat)
        completions = answer(judge.engine(reference), judge.prompts, run, "sft")
        return cls(judge, judge.scores(completions), judge.rewards(completions))

    def measure(self, step: int, policy: GPT) -> FrontierPoint:
        """The point of a policy after `step` steps.

        At step 0 the policy is the SFT model: KL 0 and half of the wins by definition, not up to sampling noise, and
        the reward of the SFT answers that wins are counted against.
        """
        judge, prompts = self.judge, len(self.judge.prompts)
        if step == 0:
            kept_P = np.isfinite(self.sft_rewards)
            reward = judge.only(kept_P).interval(self.sft_rewards[None, kept_P], PROBE_RESAMPLES)
            return FrontierPoint(0, prompts, Interval(0.0, 0.0, 0.0), reward, Interval(0.5, 0.5, 0.5))
        policy.eval()
        completions = answer(judge.engine(policy), judge.prompts, judge.run, "rlhf")
        scores, rewards = judge.scores(completions), judge.rewards(completions)
        measured = (judge.kl(policy, completions), rewards, win_points(scores, self.sft_scores))
        # Prompts with an answer that a scorer failed on are left out of the point, not counted as lost.
        kept_P = np.isfinite(scores) & np.isfinite(self.sft_scores) & np.isfinite(rewards)
        if not kept_P.any():
            raise ScorerError(f"no answer to the {prompts} prompts of the frontier has a score at step {step}")
        left = judge.only(kept_P)
        intervals = [left.interval(values[None, kept_P], PROBE_RESAMPLES) for values in measured]
        return FrontierPoint(step, len(left.prompts), *intervals)


@documented
@dataclass(frozen=True)
class Answered:
    """What a system answered to every prompt, with scores and rewards: one set for each training seed, or one set."""

    completions: list[list[Completion]]
    """[seeds][prompts]."""
    scores_SP: NDArray[np.float32]
    """float32[seeds, prompts], the scorer's scores."""
    rewards_SP: NDArray[np.float32]
    """float32[seeds, prompts]; NaN where nothing was answered."""

    __repr__ = short_repr

    @classmethod
    def of(cls, judge: HeldOutComparison, *sets: list[Completion]) -> Answered:
        """Scores the sets."""
        scores = np.stack([judge.scores(given) for given in sets])
        return cls(list(sets), scores, np.stack([judge.rewards(given) for given in sets]))

    @property
    def failed(self) -> NDArray[np.bool_]:
        """bool[prompts]: whether a scorer failed on an answer; an answer without tokens has no reward and is none."""
        empty_SP = np.array([[not len(completion.ids) for completion in given] for given in self.completions])
        failed: NDArray[np.bool_] = (np.isnan(self.scores_SP) | (np.isnan(self.rewards_SP) & ~empty_SP)).any(axis=0)
        return failed

    def only(self, kept_P: NDArray[np.bool_]) -> Answered:
        """The answers to the prompts where `kept_P` holds."""
        sets = [[each for each, kept in zip(given, kept_P, strict=True) if kept] for given in self.completions]
        return Answered(sets, self.scores_SP[:, kept_P], self.rewards_SP[:, kept_P])

    def of_seed(self, index: int) -> Answered:
        """One set alone."""
        part = slice(index, index + 1)
        return Answered(self.completions[part], self.scores_SP[part], self.rewards_SP[part])

    def wins_over(self, other: Answered) -> NDArray[np.float64]:
        """Win points [seeds, prompts] against the first set of `other`, ties one half."""
        return np.stack([win_points(scores_P, other.scores_SP[0]) for scores_P in self.scores_SP])

    @property
    def texts(self) -> list[list[str]]:
        """[seeds][prompts], without the space around."""
        return [[completion.text.strip() for completion in given] for given in self.completions]


def reference_completions(judge: HeldOutComparison) -> list[Completion] | None:
    """The reference answers as completions that ended; None where a prompt has none."""
    end = np.array(judge.dialogue.control.ends[:1], dtype=np.uint32)
    completions = []
    for number, prompt in enumerate(judge.prompts):
        if prompt.reference is None:
            return None
        ids = np.concatenate([judge.tok.encode(prompt.reference), end])
        nothing = np.zeros(len(ids), dtype=np.float32)
        completions.append(Completion(number, 0, ids, nothing, ended=True, reason="end", text=prompt.reference))
    return completions
