"""Settings of the measurements, and the thresholds of the gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from stategpt.config.checks import (
    require,
    require_choice,
    require_not_negative,
    require_patterns,
    require_positive,
    require_share,
)
from stategpt.config.stages import PRECISIONS, Precision
from stategpt.shown_fields import documented

GateFamily = Literal["base", "classify", "sft", "reward", "rl", "best_of_n", "relevance"]
GATE_FAMILIES: tuple[GateFamily, ...] = get_args(GateFamily)
"""Families of gates that a recipe can require; `stategpt.evaluate.gates.GATES` has the gates of each."""
GATE_STAGES: Mapping[str, str] = {
    "base": "pretrain",
    "classify": "classify",
    "sft": "sft",
    "reward": "reward",
    "rl": "compare",
    "best_of_n": "compare",
    "relevance": "sft",
}
"""Stage that measures what a family of gates promises."""


@documented
@dataclass(frozen=True)
class EvaluateConfig:
    """How much is measured, on test prompts and documents; the frontier of RL is on validation prompts."""

    test_tokens: int = 65_536
    """Test tokens per source on which bits per byte are measured."""
    ngram_order: int = 5
    """Order of the byte-level Kneser-Ney model that the base model is compared with."""
    sft_samples: int = 672
    """Test prompts answered once by the SFT model; all of them where there are fewer."""
    comparison_prompts: int = 672
    """Test prompts on which the systems are compared; all of them where there are fewer."""
    frontier_prompts: int = 192
    """Validation prompts for each point of the reward-over-KL figure."""
    best_of: tuple[int, ...] = (2, 4, 8)
    """Sizes of best-of-n: the answer of n that the reward model likes most."""
    few_shot_examples: int = 3
    """Examples in the document that prompts the base model."""
    precision: Precision = "float32"
    """Number format of sampling, in every stage that samples."""
    bootstrap_resamples: int = 2000
    """Resamples of groups for each interval."""
    seed: int = 1
    """Seed of the samples and of the bootstrap."""
    scorer: str = ""
    """Scores the answers of all systems, and decides wins: a built-in name or module:function; empty: that of
    rankings, or with people's rankings a judge, a second reward model trained on other prompts."""
    scorer_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the scorer, e.g. pattern = "yes|no"; those of rankings where the scorer is theirs."""
    max_failed_share: float = 0.01
    """Largest share of completions that a scorer, in any stage, may fail to score; beyond it the stage stops."""
    examples: int = 12
    """Prompts shown side by side in the report."""
    prompts: tuple[str, ...] = ()
    """Files of prompts to compare the systems on, as paths or globs; empty: the held-out ones of the conversations."""

    def __post_init__(self) -> None:
        require_positive(
            "evaluate",
            test_tokens=self.test_tokens,
            ngram_order=self.ngram_order,
            sft_samples=self.sft_samples,
            comparison_prompts=self.comparison_prompts,
            frontier_prompts=self.frontier_prompts,
            bootstrap_resamples=self.bootstrap_resamples,
        )
        require_not_negative(
            "evaluate", few_shot_examples=self.few_shot_examples, seed=self.seed, examples=self.examples
        )
        require_patterns("evaluate.prompts", self.prompts)
        rule = "must be a share, 0 to below 1"
        require(0 <= self.max_failed_share < 1, "evaluate.max_failed_share", self.max_failed_share, rule)
        require_choice("evaluate.precision", self.precision, PRECISIONS)
        sizes = self.best_of
        rule = "must rise, each size 2 or more"
        require(all(n >= 2 for n in sizes) and list(sizes) == sorted(set(sizes)), "evaluate.best_of", sizes, rule)


@documented
@dataclass(frozen=True)
class GatesConfig:
    """Thresholds of the gates. `run --check` fails where a required gate does; `run` alone only reports."""

    required: tuple[str, ...] = ()
    """Gates that must pass with `--check`: of base, classify, sft, reward, rl, best_of_n,
    relevance.
    """
    base_margin_bits_per_byte: float = 0.0
    """The interval of base minus Kneser-Ney must be below minus this."""
    classify_labels: int = 0
    """Number of labels at which the fine-tuned classifier is compared, one of classify.label_counts; 0: the largest."""
    classify_random_margin: float = 0.0
    """The interval of its accuracy minus that from random weights must be above this."""
    classify_few_shot_margin: float = 0.0
    """The interval of its accuracy minus a few-shot prompt's must be above this."""
    sft_ended_share: float = 0.97
    """The lower bound of the share of samples that end by themselves must be above this."""
    sft_samples: int = 400
    """Smallest number of samples that this share may be measured on."""
    sft_similarity_gain: float = 0.0
    """The interval of chrF (SFT) minus chrF (base), each against the reference, must be above this."""
    reward_pair_accuracy: float = 0.70
    """The lower bound of the share of test pairs put in the right order must be above this."""
    reward_length_margin: float = 0.0
    """The interval of that share minus a length-only baseline's on the same pairs must be above this."""
    rl_win_rate: float = 0.55
    """Lowest win rate against SFT by the scorer; ties count one half."""
    rl_win_rate_lower: float = 0.50
    """The lower bound of that win rate's interval must be above this."""
    rl_prompts: int = 500
    """Smallest number of prompts that the win rate may be measured on."""
    rl_kl: float = 12.0
    """Highest upper bound of the mean KL to the SFT model, in nats per completion."""
    rl_best_of: int = 4
    """n of the best-of-n that RL is compared with, one of evaluate.best_of."""
    rl_best_of_margin: float = 0.03
    """The interval of RL's win rate minus best-of-n's on the same prompts must be above minus this ..."""
    rl_kl_over_best_of_n: float = 2.0
    """... with the upper bound of RL's KL at most this many times best-of-n's bound, log n - (n - 1)/n."""
    diversity_unique_share: float = 0.80
    """Unless the lower bound of the share of different answers is above this the report warns; never a failure."""
    relevance_similarity_gain: float = 0.0
    """The interval of chrF against the reference minus chrF against shuffled references must be above this."""
    relevance_mentions_subject: float = 0.10
    """The lower bound of the share of answers that use a word of what they were asked about must be above this."""

    def __post_init__(self) -> None:
        for gate in self.required:
            require(gate in GATE_FAMILIES, "gates.required", self.required, "may name " + ", ".join(GATE_FAMILIES))
        require_share(
            "gates",
            sft_ended_share=self.sft_ended_share,
            reward_pair_accuracy=self.reward_pair_accuracy,
            rl_win_rate=self.rl_win_rate,
            rl_win_rate_lower=self.rl_win_rate_lower,
            diversity_unique_share=self.diversity_unique_share,
            relevance_mentions_subject=self.relevance_mentions_subject,
        )
        require_not_negative("gates", sft_samples=self.sft_samples, rl_prompts=self.rl_prompts, rl_kl=self.rl_kl)
        require_not_negative("gates", classify_labels=self.classify_labels)
        require_not_negative("gates", rl_best_of_margin=self.rl_best_of_margin)
        require_not_negative("gates", rl_kl_over_best_of_n=self.rl_kl_over_best_of_n)
        require(self.rl_best_of >= 2, "gates.rl_best_of", self.rl_best_of, "must be 2 or more")
