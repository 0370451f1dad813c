"""What is measured after the stages, and the thresholds a recipe promises."""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.config.checks import require, require_choice, require_not_negative, require_positive, require_share
from stategpt.config.stages import PRECISIONS, Precision
from stategpt.shown_fields import documented

GATES = ("base", "sft", "reward", "rl", "relevance")
"""Gates a recipe can require; diversity only warns."""


@documented
@dataclass(frozen=True)
class EvaluateConfig:
    """How much is measured; every set is held out by module."""

    validation_tokens: int = 65_536
    """Tokens per source on which bits per byte are measured."""
    ngram_order: int = 5
    """Order of the byte-level Kneser-Ney model that the base model is compared with."""
    sft_samples: int = 672
    """Held-out prompts answered once by the SFT model; all of them where there are fewer."""
    comparison_prompts: int = 672
    """Held-out prompts on which the systems are compared; all of them where there are fewer."""
    frontier_prompts: int = 192
    """Held-out prompts behind each point of the reward-over-KL figure."""
    best_of: tuple[int, ...] = (2, 4, 8)
    """Sizes of best-of-n: the answer of n that the reward model likes most."""
    few_shot_examples: int = 3
    """Examples in the document that prompts the base model."""
    precision: Precision = "float32"
    """Number format of sampling, in every stage that samples."""
    bootstrap_resamples: int = 2000
    """Resamples by module behind each interval."""
    seed: int = 1
    """Seed of the samples and of the bootstrap."""
    examples: int = 12
    """Prompts shown side by side in the report."""

    def __post_init__(self) -> None:
        require_positive(
            "evaluate",
            validation_tokens=self.validation_tokens,
            ngram_order=self.ngram_order,
            sft_samples=self.sft_samples,
            comparison_prompts=self.comparison_prompts,
            frontier_prompts=self.frontier_prompts,
            bootstrap_resamples=self.bootstrap_resamples,
        )
        require_not_negative(
            "evaluate", few_shot_examples=self.few_shot_examples, seed=self.seed, examples=self.examples
        )
        require_choice("evaluate.precision", self.precision, PRECISIONS)
        sizes = self.best_of
        rule = "must rise, each size 2 or more"
        require(all(n >= 2 for n in sizes) and list(sizes) == sorted(set(sizes)), "evaluate.best_of", sizes, rule)


@documented
@dataclass(frozen=True)
class GatesConfig:
    """Thresholds of the gates. `run --check` fails where a required gate does; `run` alone only reports."""

    required: tuple[str, ...] = ("base", "sft", "reward", "rl")
    """Gates that `--check` demands: of base, sft, reward, rl, relevance."""
    base_margin_bits_per_byte: float = 0.0
    """The interval of base minus Kneser-Ney must lie below minus this."""
    sft_ended_share: float = 0.97
    """Least share of samples that end by themselves."""
    sft_samples: int = 400
    """Fewest samples that this share may be measured on."""
    sft_similarity_gain: float = 0.0
    """The interval of chrF (SFT) minus chrF (base), each against the reference, must lie above this."""
    reward_pair_accuracy: float = 0.75
    """Least share of held-out pairs put in the right order."""
    reward_mcnemar_p: float = 0.01
    """The reward model beats the length-only baseline at this level."""
    rl_win_rate: float = 0.55
    """Least win rate against SFT by the labeler; ties count one half."""
    rl_win_rate_lower: float = 0.50
    """The lower bound of that win rate's interval must lie above this."""
    rl_prompts: int = 500
    """Fewest prompts that the win rate may be measured on."""
    rl_kl: float = 12.0
    """Highest mean KL to the SFT model, in nats per completion."""
    diversity_unique_share: float = 0.80
    """Below this share of different answers the report warns; never a failure."""
    relevance_similarity_gain: float = 0.0
    """The interval of chrF against the reference minus chrF against shuffled references must lie above this."""
    relevance_mentions_name: float = 0.10
    """Least share of answers that use a word of the name they were asked about."""

    def __post_init__(self) -> None:
        for gate in self.required:
            require(gate in GATES, "gates.required", self.required, "may name " + ", ".join(GATES))
        require_share(
            "gates",
            sft_ended_share=self.sft_ended_share,
            reward_pair_accuracy=self.reward_pair_accuracy,
            reward_mcnemar_p=self.reward_mcnemar_p,
            rl_win_rate=self.rl_win_rate,
            rl_win_rate_lower=self.rl_win_rate_lower,
            diversity_unique_share=self.diversity_unique_share,
            relevance_mentions_name=self.relevance_mentions_name,
        )
        require_not_negative("gates", sft_samples=self.sft_samples, rl_prompts=self.rl_prompts, rl_kl=self.rl_kl)
