"""What a plan assumes and what it says: records of `config.planner`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from stategpt.config.checks import require
from stategpt.config.run import RunConfig
from stategpt.shown_fields import documented, short_repr

SMALLEST, LARGEST_RATE = 1e-9, 1e24
"""Range of an assumed value."""


_ZERO = ("sft_pairs", "ranked_prompts", "longest_group_tokens", "corpus_s")
"""Assumptions that 0 leaves to the files."""


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
    longest_group_tokens: int = 0
    """Tokens of the longest prompt with its ranked completions, which decides the memory of the reward model's steps;
    0 = the longest that is found in people's rankings, else the mean."""
    corpus_s: float = 0.0
    """Seconds for corpus, tokenizer and shards; 0 = what its source expects, else not known."""
    report_s: float = 45.0
    """Seconds for n-gram models, figures and start-up."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, at_zero = getattr(self, field.name), field.name in _ZERO
            fits = SMALLEST <= value <= LARGEST_RATE or (at_zero and value == 0)
            rule = "must lie between 1e-9 and 1e24" + (", or be 0" if at_zero else "")
            require(fits, f"plan.{field.name}", value, rule)

    def expecting(self, expected: Mapping[str, float]) -> Assumptions:
        """With the `conversations`, `rankings`, `longest_group` (tokens) and `seconds` expected of the corpus, where
        they are not set.
        """
        return replace(
            self,
            sft_pairs=self.sft_pairs or int(expected.get("conversations", 0)),
            ranked_prompts=self.ranked_prompts or int(expected.get("rankings", 0)),
            longest_group_tokens=self.longest_group_tokens or int(expected.get("longest_group", 0)),
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
