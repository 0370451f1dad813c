"""What each stage of a run costs: tokens, FLOPs, memory and seconds, by its settings and the plan's assumptions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from stategpt.config.classify import TRAINED
from stategpt.config.cost import (
    FLOAT32_BYTES,
    backward_flops_per_token,
    block_flops,
    forward_flops_per_token,
    training_flops_per_token,
)
from stategpt.config.memory import Batch, merging_bytes, sampling_bytes, training_bytes
from stategpt.config.model import GPTConfig
from stategpt.config.plan_records import Assumptions, StagePlan
from stategpt.config.presence import REWARD_MODEL
from stategpt.config.run import RunConfig
from stategpt.config.stages import LoopConfig
from stategpt.config.trainable import headless, stage_training, trainable_parameters, trained_by
from stategpt.config.trained import Trained

_CHARACTERS_PER_TOKEN = 3.5
"""Of English text under a tokenizer of a few thousand tokens, roughly."""


def stage_plans(stage: str, run: RunConfig, assumed: Assumptions) -> tuple[StagePlan, ...]:
    """What a stage costs, each of its folders by itself; a stage without a formula in `COSTS` is not known."""
    cost = COSTS.get(stage)
    found = cost(run, assumed) if cost else StagePlan(stage, 0, 0, 0.0, 0, 0.0, known=False)
    trained = trainable_parameters(run, stage)
    return tuple(replace(each, trained=trained) for each in (found if isinstance(found, tuple) else (found,)))


def _tuning_bytes(model: GPTConfig, loop: LoopConfig, batch: Batch, trained: Trained) -> int:
    """Peak memory of a stage that continues a model: of its steps, or while adapters are merged after the last."""
    steps = training_bytes(model, loop, batch, trained=trained)
    return max(steps, merging_bytes(model, trained)) if trained.lora.rank else steps


def _policy_bytes(run: RunConfig, batch: Batch, trained: Trained) -> int:
    """The same of a policy, beside its reference and what scores and judges."""
    others = beside_policy(run, trained)
    steps = training_bytes(run.model, run.rl, batch, trained=trained, others=others)
    merging = merging_bytes(run.model, trained, shared=True) + FLOAT32_BYTES * others
    return max(steps, merging) if trained.lora.rank else steps


def _prepare(_run: RunConfig, assumed: Assumptions) -> StagePlan:
    return StagePlan("prepare", 0, 0, 0.0, 0, assumed.corpus_s, known=assumed.corpus_s > 0)


def _pretrain(run: RunConfig, assumed: Assumptions) -> StagePlan:
    tokens = run.pretrain_steps * run.step_tokens
    flops = tokens * training_flops_per_token(run.model, run.data.row_tokens)
    rows, passes = run.pretrain.micro_batch_rows, run.pretrain.batch_rows // run.pretrain.micro_batch_rows
    batch = Batch(rows * run.data.row_tokens, run.data.row_tokens, passes=passes)
    memory = training_bytes(run.model, run.pretrain, batch)
    return StagePlan("pretrain", run.pretrain_steps, tokens, flops, memory, flops / assumed.train_flops_per_s)


def _sequence(assumed: Assumptions) -> int:
    return assumed.prompt_tokens + assumed.answer_tokens


def _group(assumed: Assumptions, completions: int, completion_tokens: int) -> int:
    """Tokens of a prompt and its completions as training and scoring read them: the prompt once where that is less."""
    return assumed.prompt_tokens + completions * completion_tokens


def _sft(run: RunConfig, assumed: Assumptions) -> StagePlan:
    sequences = math.ceil(assumed.sft_pairs * run.sft.epochs)
    tokens = sequences * _sequence(assumed)
    trained = stage_training(run, "sft")
    flops = tokens * training_flops_per_token(run.model, _sequence(assumed), trained)
    rows, passes = run.sft.micro_batch_rows, run.sft.batch_rows // run.sft.micro_batch_rows
    batch = Batch(rows * run.sft_row_tokens, run.sft_row_tokens, passes=passes)
    memory = _tuning_bytes(run.model, run.sft, batch, trained)
    steps = round(tokens / (run.sft.batch_rows * run.sft_row_tokens))
    seconds, known = flops / assumed.train_flops_per_s, assumed.sft_pairs > 0
    return StagePlan("sft", steps, tokens, flops, memory, seconds, known)


def _classify(run: RunConfig, assumed: Assumptions) -> StagePlan:
    """Every method on every set of labels, each measured on all test texts; texts of the greatest length."""
    given, shape = run.classify, run.model
    length = min(given.max_tokens, shape.context_tokens)
    methods = [method for method in TRAINED if method in given.methods]
    read = sum(given.steps(count) * min(given.batch_texts, count) for count in given.label_counts) * length
    trained = {method: trained_by(run, method) for method in methods}
    each = read * given.seeds
    tested = given.test_texts * length * len(given.label_counts) * given.seeds * len(methods)
    prompt, prompts = _label_prompts(run)
    prompted = given.test_texts * prompt * given.seeds * prompts * ("few_shot" in given.methods)
    flops = block_flops(shape, each * len(methods) + tested, length)  # nothing is predicted
    flops += sum(each * backward_flops_per_token(shape, length, one, predicts=False) for one in trained.values())
    flops += block_flops(shape, prompted, prompt)
    at_once = min(given.micro_batch_texts, given.batch_texts)
    passes_of_step = math.ceil(given.batch_texts / at_once)
    batch = Batch(at_once * length, length, "score", passes_of_step)
    peaks = [training_bytes(headless(shape), given, batch, trained=one) for one in trained.values()]
    memory = max(peaks, default=FLOAT32_BYTES * shape.parameters)
    steps = sum(map(given.steps, given.label_counts)) * given.seeds * len(methods)
    seconds = flops / assumed.train_flops_per_s
    return StagePlan("classify", steps, each * len(methods) + tested + prompted, flops, memory, seconds)


def _label_prompts(run: RunConfig) -> tuple[int, int]:
    """Most tokens of a few-shot prompt, and how many different ones a draw has: one for all sets that fill it."""
    given, context = run.classify, run.model.context_tokens
    around = math.ceil(len(given.template) / _CHARACTERS_PER_TOKEN)
    length, example = given.max_tokens + around, given.shot_tokens + around
    fitting = min(given.shots, max(0, context - length) // example)
    return min(context, length + fitting * example), len({min(fitting, count) for count in given.label_counts})


def _sampled(run: RunConfig, assumed: Assumptions, prompts: int, completions: int) -> tuple[int, float, float]:
    """Tokens, FLOPs and seconds of sampling; a prompt is read once for all its completions."""
    tokens = prompts * (assumed.prompt_tokens + completions * assumed.answer_tokens)
    flops = tokens * forward_flops_per_token(run.model, _sequence(assumed))
    return tokens, flops, flops / assumed.sample_flops_per_s


def _sampling_bytes(run: RunConfig, assumed: Assumptions, sequences: int) -> int:
    return sampling_bytes(run.model, sequences, assumed.prompt_tokens + run.sampling.max_tokens)


def _rankings(run: RunConfig, assumed: Assumptions) -> StagePlan:
    if run.rankings.data:  # people's: nothing is sampled
        return StagePlan("rankings", 0, 0, 0.0, 0, 0.0)
    prompts = run.rankings.train_prompts + run.rankings.test_prompts
    tokens, flops, seconds = _sampled(run, assumed, prompts, run.rankings.completions)
    memory = FLOAT32_BYTES * run.model.parameters + _sampling_bytes(run, assumed, prompts * run.rankings.completions)
    return StagePlan("rankings", 0, tokens, flops, memory, seconds)


def _reward(run: RunConfig, assumed: Assumptions) -> StagePlan:
    ranked = assumed.ranked_prompts or run.rankings.train_prompts
    prompts = math.ceil(ranked * run.reward.epochs)
    completions = 2 if run.rankings.data else run.rankings.completions  # people's are pairs as a rule
    group = _group(assumed, completions, assumed.answer_tokens + 1)  # the reward token
    tokens = prompts * group
    trained = stage_training(run, "reward")
    flops = tokens * training_flops_per_token(run.model, group, trained)
    at_once = min(run.reward.prompts_per_batch, run.reward.micro_batch_prompts)
    passes = math.ceil(run.reward.prompts_per_batch / at_once)
    longest = max(group, assumed.longest_group_tokens)  # rows are padded to it
    batch = Batch(at_once * longest, longest, "score", passes)
    memory = _tuning_bytes(headless(run.model), run.reward, batch, trained)
    steps = math.ceil(prompts / run.reward.prompts_per_batch)
    return StagePlan("reward", steps, tokens, flops, memory, flops / assumed.train_flops_per_s)


def _rl(run: RunConfig, assumed: Assumptions) -> tuple[StagePlan, ...]:
    rl = run.rl
    sampled, sample_flops, sample_s = _sampled(run, assumed, rl.steps * rl.prompts_per_step, rl.completions)
    group = _group(assumed, rl.completions, assumed.answer_tokens)
    scored = rl.steps * rl.prompts_per_step * group
    # Three forward passes (policy as it sampled, reference, reward) and one pass that trains.
    trained = stage_training(run, "rl")
    trains = training_flops_per_token(run.model, group, trained)
    flops = scored * (3 * forward_flops_per_token(run.model, group) + trains)
    minibatch = rl.prompts_per_step * rl.completions // rl.minibatches
    at_once = min(minibatch, rl.micro_batch_completions)
    passes = math.ceil(minibatch / at_once)
    batch = Batch(math.ceil(at_once * group / rl.completions), group, "log-probabilities", passes)
    one = StagePlan(
        "rl",
        rl.steps * rl.minibatches,
        sampled + 4 * scored,
        sample_flops + flops,
        _policy_bytes(run, batch, trained),
        sample_s + flops / assumed.train_flops_per_s,
    )
    return tuple(replace(one, name=folder) for folder in rl.folders)


def beside_policy(run: RunConfig, trained: Trained) -> int:
    """Numbers of the models beside a policy: the reference, which shares what is frozen, with adapters all of it; what
    rewards and what decides wins; the trained numbers of the step before, which `rl.max_kl` may restore.
    """
    reference = 0 if trained.lora.rank else trained.numbers
    scorers = (run.rl.scorer == REWARD_MODEL) + run.trains_judge
    reward_model = headless(run.model).parameters + run.model.width
    return reference + scorers * reward_model + (trained.numbers if run.rl.max_kl > 0 else 0)


def _compare(run: RunConfig, assumed: Assumptions) -> StagePlan:
    """Bits per byte; one answer of base and SFT model; the comparison of all systems, RLHF once for each policy."""
    chosen = run.evaluate
    read = chosen.test_tokens * len(run.proportions)
    read_flops = read * forward_flops_per_token(run.model, run.data.row_tokens)
    answers = 3 + len(run.rl.folders) + max(chosen.best_of, default=0)
    first = _sampled(run, assumed, chosen.sft_samples, 2)
    second = _sampled(run, assumed, chosen.comparison_prompts, answers)
    seconds = read_flops / assumed.train_flops_per_s + first[2] + second[2] + assumed.report_s
    sequences = chosen.comparison_prompts * answers
    memory = 3 * FLOAT32_BYTES * run.model.parameters + _sampling_bytes(run, assumed, sequences)
    return StagePlan("compare", 0, read + first[0] + second[0], read_flops + first[1] + second[1], memory, seconds)


COSTS: Mapping[str, Callable[[RunConfig, Assumptions], StagePlan | tuple[StagePlan, ...]]] = {
    "prepare": _prepare,
    "pretrain": _pretrain,
    "classify": _classify,
    "sft": _sft,
    "rankings": _rankings,
    "reward": _reward,
    "rl": _rl,
    "compare": _compare,
}
"""The formula of each stage that has one."""
