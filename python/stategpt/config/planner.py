"""Estimates what a run costs: parameters, tokens, FLOPs, memory, time. Pure arithmetic; nothing is measured.

>>> from stategpt.config import RunConfig
>>> plan(RunConfig()).parameters
1967808
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from stategpt.config.checks import require
from stategpt.config.classify import TRAINED
from stategpt.config.cost import (
    FLOAT32_BYTES,
    backward_flops_per_token,
    block_flops,
    forward_flops_per_token,
    training_flops_per_token,
)
from stategpt.config.families import FAMILIES
from stategpt.config.memory import Batch, merging_bytes, sampling_bytes, training_bytes
from stategpt.config.model import GPTConfig
from stategpt.config.presence import REWARD_MODEL
from stategpt.config.run import RunConfig
from stategpt.config.stage_names import STAGES
from stategpt.config.stages import LoopConfig
from stategpt.config.trainable import headless, stage_training, trainable_parameters, trained_by
from stategpt.config.trained import Trained
from stategpt.shown_fields import documented, short_repr

SMALLEST, LARGEST_RATE = 1e-9, 1e24
"""Range of an assumed value."""
_CHARACTERS_PER_TOKEN = 3.5
"""Of English text under a tokenizer of a few thousand tokens, roughly."""


@documented
@dataclass(frozen=True)
class Assumptions:
    """What the plan cannot know from the config. The defaults are `tiny_cpu`'s on two AVX-512 cores.

    Raises:
        ConfigError: a value that is not between 1e-9 and 1e24 (or 0 where that has a meaning).
    """

    train_flops_per_s: float = 9.0e10
    """Sustained rate of training and scoring."""
    sample_flops_per_s: float = 1.8e10
    """Sustained rate of sampling with a KV cache: one token at a time keeps a machine less busy."""
    sft_pairs: int = 0
    """Training conversations that the corpus gives; 0 = what its source expects, else not known."""
    ranked_prompts: int = 0
    """Prompts that the reward model is trained on; 0 = what people's rankings hold, else rankings.train_prompts."""
    prompt_tokens: int = 20
    """Mean tokens of a chat prompt, control tokens included."""
    answer_tokens: int = 15
    """Mean tokens of a response or completion, its end included."""
    corpus_s: float = 0.0
    """Seconds for corpus, tokenizer and shards; 0 = what its source expects, else not known."""
    report_s: float = 45.0
    """Seconds for n-gram models, figures and start-up."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, at_zero = getattr(self, field.name), field.name in ("sft_pairs", "ranked_prompts", "corpus_s")
            fits = SMALLEST <= value <= LARGEST_RATE or (at_zero and value == 0)
            rule = "must lie between 1e-9 and 1e24" + (", or be 0" if at_zero else "")
            require(fits, f"plan.{field.name}", value, rule)

    def expecting(self, expected: Mapping[str, float]) -> Assumptions:
        """With the `conversations`, `rankings` and `seconds` expected of the corpus, where they are not set."""
        return replace(
            self,
            sft_pairs=self.sft_pairs or int(expected.get("conversations", 0)),
            ranked_prompts=self.ranked_prompts or int(expected.get("rankings", 0)),
            corpus_s=self.corpus_s or expected.get("seconds", 0.0),
        )


@dataclass(frozen=True)
class StagePlan:
    """Cost of one stage.

    Attributes:
        name: the stage, or the folder of one of RL's further policies.
        steps: optimizer steps; 0 where nothing is trained.
        tokens: tokens that pass through a model, prompts included.
        flops: floating-point operations of all passes.
        memory_bytes: weights, gradients, optimizer state, activations and logits at their highest.
        seconds: flops over the assumed rate.
        trained: numbers that are trained, heads and adapters included; 0 where nothing is.
        known: whether steps, tokens, flops and seconds could be planned; else they are 0, for the corpus decides them.
    """

    name: str
    steps: int
    tokens: int
    flops: float
    memory_bytes: int
    seconds: float
    known: bool = True
    trained: int = 0


@dataclass(frozen=True)
class Export:
    """Whether a saved model loads elsewhere without code of ours.

    Attributes:
        architecture: class of `transformers` that reads the folder, or "" if none.
        reason: why, or why not.
        limits: what other programs cannot do with the folder.
    """

    architecture: str
    reason: str
    limits: str = ""


@dataclass(frozen=True)
class Plan:
    """A run in numbers; see `plan`.

    Attributes:
        run: what was planned.
        assumptions: what was assumed.
        parameters: every weight of the model.
        embedding_parameters: those of the embedding (and of an untied prediction).
        tokens_per_parameter: pretraining tokens over parameters.
        tokens_by_source: pretraining tokens that each source gives.
        stages: the stages in order.
        export: whether the model loads in the wider ecosystem.
    """

    run: RunConfig
    assumptions: Assumptions
    parameters: int
    embedding_parameters: int
    tokens_per_parameter: float
    tokens_by_source: dict[str, int]
    stages: tuple[StagePlan, ...]
    export: Export

    __repr__ = short_repr

    @property
    def flops(self) -> float:
        """Floating-point operations of all stages."""
        return math.fsum(stage.flops for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Estimated seconds of all stages."""
        return math.fsum(stage.seconds for stage in self.stages)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Stages whose cost the corpus decides; totals leave them out."""
        return tuple(stage.name for stage in self.stages if not stage.known)

    @property
    def memory_bytes(self) -> int:
        """Model memory of the largest stage; the process itself (Python, torch, corpus) comes on top."""
        return max(stage.memory_bytes for stage in self.stages)


def plan(run: RunConfig, assumptions: Assumptions | None = None) -> Plan:
    """Plans a run: everything that follows from its settings.

    Exact: parameters, pretraining steps and tokens, RL rounds. Estimated from `assumptions`: tokens of the later
    stages, seconds. FLOPs are 6N + attention where all is trained, see
    `config.cost`. What the corpus decides is not known unless
    `assumptions` say it.
    """
    assumed = assumptions or Assumptions()
    tokens = run.pretrain_steps * run.step_tokens if "pretrain" in run.stages else 0
    stages = tuple(
        planned for stage in STAGES if stage.name in run.stages for planned in _planned(stage.name, run, assumed)
    )
    return Plan(
        run=run,
        assumptions=assumed,
        parameters=run.model.parameters,
        embedding_parameters=run.model.embedding_parameters,
        tokens_per_parameter=tokens / run.model.parameters,
        tokens_by_source={name: round(tokens * share) for name, share in run.proportions.items()},
        stages=stages,
        export=exportability(run.model),
    )


def exportability(model: GPTConfig) -> Export:
    """As what a model of this shape is saved with a tokenizer trained here, for `transformers` and what builds on it.

    `model.biased_llama` says why a Qwen2 shape is not saved as one.
    """
    family = model.family
    if family is None:
        return Export("", "no published architecture both norms and biases queries and keys; turn one off")
    limits = (
        "llama.cpp's converter refuses tokenizers trained here; the chat template takes one question and its answer"
    )
    if family.own_tokenizer:
        name = family.name
        reason = f"a {name} with output biases of zero: in a {name} folder this tokenizer would get other ids"
        return Export(FAMILIES["llama"].architecture("ForCausalLM"), reason, limits)
    return Export(family.architecture("ForCausalLM"), f"the shape is {family.name}'s", limits)


def _planned(stage: str, run: RunConfig, assumed: Assumptions) -> tuple[StagePlan, ...]:
    """What a stage costs, each of its folders by itself; a stage without a formula in `_COSTS` is not known."""
    cost = _COSTS.get(stage)
    found = cost(run, assumed) if cost else StagePlan(stage, 0, 0, 0.0, 0, 0.0, known=False)
    trained = trainable_parameters(run, stage)
    return tuple(replace(each, trained=trained) for each in (found if isinstance(found, tuple) else (found,)))


def _tuning_bytes(model: GPTConfig, loop: LoopConfig, batch: Batch, trained: Trained, others: int = 0) -> int:
    """Peak memory of a stage that continues a model: of its steps, or while adapters are merged after the last."""
    steps = training_bytes(model, loop, batch, trained=trained, others=others)
    return max(steps, merging_bytes(model, trained) + FLOAT32_BYTES * others) if trained.lora.rank else steps


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
    batch = Batch(at_once * group, group, "score", passes)
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
        _tuning_bytes(run.model, rl, batch, trained, beside_policy(run, trained)),
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


_COSTS: Mapping[str, Callable[[RunConfig, Assumptions], StagePlan | tuple[StagePlan, ...]]] = {
    "prepare": _prepare,
    "pretrain": _pretrain,
    "classify": _classify,
    "sft": _sft,
    "rankings": _rankings,
    "reward": _reward,
    "rl": _rl,
    "compare": _compare,
}
