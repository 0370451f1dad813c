"""Stage 3, reward modeling: a scalar at the reward token, trained on all pairs of a prompt at once.

    loss = - 1/pairs sum_(w,l) log sigmoid(r(x, y_w) - r(x, y_l))      (Ouyang et al. 2022, arXiv 2203.02155, eq. 1)

A prompt with its K completions is one batch element: K forwards and C(K,2) pairs minus ties, weight 1/pairs, so a pair
is never an independent example (shuffled pairs overfit in one epoch, same paper, section 3.5). The scalar is read at
the reward token, which is always present and last; its index comes from the lengths, never from a search for an id.

After training the scores are shifted so that the written demonstrations score 0 on average: `reward_offset`, kept with
the model. Ties stay out of the loss and are counted.

A prompt's completions share one copy of it where that is less to compute (`reward.arrange`); the rewards are the same.
Batches and loss are in `train/reward.py`, which `leave_one_out` uses too.

Differs from the textbook: the head starts at zero mean with standard deviation 1/sqrt(width + 1) (Stiennon et al. 2020)
and has no bias, so the folder loads elsewhere as a sequence classifier with one label.

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/reward
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.run import JUDGE
from stategpt.data import Rankings, reward_sequence
from stategpt.data.prompts import prompt_of
from stategpt.data.records import Prompt
from stategpt.errors import ContextOverflow
from stategpt.evaluate import RankedPairs, RewardScorer, evaluate_reward
from stategpt.evaluate.ranked_fit import fitting_pairs
from stategpt.evaluate.records import RankedFit
from stategpt.model import RewardModel
from stategpt.progress import console
from stategpt.randomness import bits
from stategpt.stages.context import StageContext
from stategpt.stages.fine_tuning import FineTuning
from stategpt.stages.stage import Stage, run_stage
from stategpt.train.loop import fit
from stategpt.train.reward import RewardTask


def reward(run: RunConfig, folder: RunFolder) -> None:
    """Trains and evaluates the reward model, and where `run.trains_judge` the judge; each returns at once when it is
    already there.

    The judge differs in its prompt groups, in its initial head and in the order of its prompts; RL never reads it.
    """
    context = StageContext.of(run, folder)
    run_stage(context, _stage(context, Learner("reward", "train", run.seed)))
    if run.trains_judge:
        run_stage(context, _stage(context, Learner(f"reward/{JUDGE}", JUDGE, judge_seed(run.seed))))


@dataclass(frozen=True)
class Learner:
    """One of the reward models of a run."""

    folder: str
    """Its folder in the run: "reward" or "reward/judge"."""
    records: str
    """The file of the ranking records that it learns from, without .jsonl."""
    seed: int
    """Of its head and of the order of its prompts."""


def judge_seed(seed: int) -> int:
    """Seed of the judge of a run with `seed`: 52 bits of a hash."""
    return int(bits(seed, JUDGE) >> np.uint64(12))


def _stage(context: StageContext, learner: Learner) -> Stage[Trained]:
    run, folder = context.run, context.folder
    return Stage(
        learner.folder,
        (folder.model(run.policy), folder.stage("rankings") / "records", *context.corpus_parts("reward/model")),
        artifact="model",
        make=lambda fingerprint: _train(context, learner, fingerprint),
        save=lambda trained, target: context.save_model(trained.model, target),
        measure=lambda trained: _measure(context, learner, trained),
    )


@dataclass(frozen=True)
class Trained:
    """A reward model, and the scores of the training demonstrations under it."""

    model: RewardModel
    demonstrations: NDArray[np.float32]

    @classmethod
    def of(cls, context: StageContext, model: RewardModel) -> Trained:
        """Centers the model on the training demonstrations, or without any on the best-ranked completions."""
        corpus = context.corpus()
        prompts = [conversation.prompt() for conversation in corpus.conversations["train"]] or [
            replace(prompt_of(group), reference=group.completions[group.ranks.index(min(group.ranks))])
            for group in corpus.rankings["train"]
        ]
        return cls(model, center_on_references(context, model, context.reward_scorer(model), prompts))


def _measure(context: StageContext, learner: Learner, trained: Trained | None) -> dict[str, Any]:
    if trained is None:
        model = RewardModel.from_pretrained(context.folder.model(learner.folder)).to(context.device).eval()
        trained = Trained.of(context, model)
    train, tested = _ranked_pairs(context, learner)
    tokens = context.run.model.context_tokens
    held_out, of_test = fitting_pairs(tested, context.tok, tokens, context.chat)
    scorer = context.reward_scorer(trained.model)
    found = evaluate_reward(scorer, context.tok, train, held_out, trained.demonstrations, context.run)
    fit = {"train": fitting_pairs(train, context.tok, tokens, context.chat)[1], "test": of_test}
    for side, counts in fit.items():
        say_what_is_cut(f"{learner.folder} {side}", counts, tokens)
    return {"evaluation.json": replace(found, fit=fit)}


def _ranked_pairs(context: StageContext, learner: Learner) -> tuple[RankedPairs, RankedPairs]:
    """The ranked training and test prompts with their clear pairs."""
    records = context.folder.stage("rankings") / "records"
    return RankedPairs.read(records / f"{learner.records}.jsonl"), RankedPairs.read(records / "test.jsonl")


def _train(context: StageContext, learner: Learner, fingerprint: str) -> Trained:
    train, _ = _ranked_pairs(context, learner)  # refuses rankings without a clear pair on either side
    torch.manual_seed(learner.seed)
    model = RewardModel(context.load_model(context.run.policy)).to(context.device)
    tuning = FineTuning.of(context.run, "reward", model, learner.seed)
    rankings = Rankings(train.groups, ())
    task = RewardTask(context.run.reward, model, rankings, context.tok, seed=learner.seed, chat=context.chat)
    fit(task, model, context.loop("reward", learner.folder, fingerprint))
    trained = Trained.of(context, model.eval())
    tuning.finish(context.folder.stage(learner.folder), fingerprint)
    return trained


def say_what_is_cut(name: str, fit: RankedFit, context_tokens: int) -> None:
    """Prints how many prompts lost their middle and how many groups are left out, by code; nothing where none did."""
    said = [f"{count:,} groups left out ({code})" for code, count in sorted(fit.left_out.items())]
    if fit.truncated_prompts:
        said.insert(0, f"{fit.truncated_prompts:,} prompts lost their middle")
    if fit.equal_pairs:
        said.append(f"{fit.equal_pairs:,} pairs left out (equal_completions_ranked_apart)")
    if said:
        console.print(
            f"notice: rankings of {name}: {', '.join(said)}; the context has {context_tokens:,} tokens "
            "(model.context_tokens).",
            markup=False,
        )


def center_on_references(
    inputs: StageContext, model: RewardModel, scorer: RewardScorer, prompts: Sequence[Prompt]
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Sets `reward_offset` so that the prompts' reference answers score 0 on average; returns their shifted scores.

    One that leaves no room for a prompt is left out. These are demonstrations, not preference pairs: the policy
    starts as a model of the demonstrations, so 0 is "as good as people".
    """
    model.reward_offset = 0.0
    end = np.array(inputs.control.ends[:1], dtype=np.uint32)
    answers = [(prompt, np.concatenate([inputs.tok.encode(prompt.reference or ""), end])) for prompt in prompts]
    fitting = [(prompt, answer) for prompt, answer in answers if _leaves_room(inputs, answer)]
    if not fitting:
        raise ContextOverflow(
            f"each of the {len(prompts)} reference answers leaves no room for a prompt in the "
            f"{inputs.run.model.context_tokens} tokens of the context. Raise model.context_tokens"
        )
    raw = scorer.scores([inputs.chat.prompt(prompt) for prompt, _ in fitting], [answer for _, answer in fitting])
    model.reward_offset = -float(raw.mean(dtype=np.float64))
    return raw + np.float32(model.reward_offset)


def _leaves_room(inputs: StageContext, answer: NDArray[np.uint32]) -> bool:
    """Whether the reward model can read an answer with something of its prompt."""
    least = inputs.chat.prompt(Prompt.of("x"))
    try:
        reward_sequence(least, answer, inputs.control, context_tokens=inputs.run.model.context_tokens)
    except ContextOverflow:
        return False
    return True
