"""Settings of classification: how far few labels go with a pretrained model, with examples in a prompt, and alone."""

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
)
from stategpt.config.stages import LoopConfig
from stategpt.shown_fields import documented

Method = Literal["full", "lora", "few_shot", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
"""full: the pretrained model with a head, all weights trained. lora: the same, with adapters trained in their place.
few_shot: the pretrained model as it is, with labeled examples in its prompt. random: as full, from random weights.
"""
TRAINED: tuple[Method, ...] = ("full", "lora", "random")
"""The methods that train a classifier."""
TEXT, LABEL = "{text}", "{label}"
"""What `ClassifyConfig.template` stands around."""
MAX_SEEDS = 16
"""Largest `classify.seeds`."""


@documented
@dataclass(frozen=True)
class ClassifyConfig(LoopConfig):
    """Classification of labeled texts: the base model fine-tuned, prompted, and the same shape from random weights."""

    data: tuple[str, ...] = ()
    """Files of labeled texts, as paths or globs: JSONL, JSON or Parquet, also packed with gz or zst."""
    format: str = ""
    """Format of these files; empty: recognized by the keys of the first record."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The format's field names that are called otherwise in these files: field = "name in the file"."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of their numbers; empty: those of the data, sorted."""
    label_counts: tuple[int, ...] = (10, 100, 1000)
    """Numbers of labeled training texts, rising; each set holds the smaller ones, balanced over the classes."""
    seeds: int = 3
    """Draws of label sets; each trains with another head and another order of texts."""
    methods: tuple[Method, ...] = METHODS
    """What is compared; "full" is what the stage publishes, so it is always among them."""
    max_tokens: int = 128
    """Longest text in tokens; of a longer one the first tokens are kept. Fewer where the context is smaller."""
    test_texts: int = 1000
    """Most test texts that every method is measured on."""
    epochs: float = 4.0
    """Passes over the labeled texts."""
    min_steps: int = 60
    """Smallest number of optimizer steps, for sets that are read in fewer."""
    batch_texts: int = 16
    """Texts per optimizer step; all of a smaller set."""
    micro_batch_texts: int = 16
    """Most texts per forward and backward pass; the gradients of the passes of a step are added."""
    lora_rank: int = 8
    """Rank of the adapters of the method lora."""
    lora_alpha: float = 16.0
    """Scale of these adapters, over their rank."""
    lora_rate_scale: float = 5.0
    """Learning rate of the method lora, times optim.learning_rate."""
    random_rate_scale: float = 1.0
    """Learning rate of the method random, times optim.learning_rate."""
    shots: int = 16
    """Most labeled examples in a few-shot prompt; fewer where they do not fit the context."""
    shot_tokens: int = 64
    """Longest example in tokens; of a longer text the first tokens are kept."""
    template: str = "Text: {text}\nLabel: {label}"
    """Text of an example; the prompt ends with the one to be classified, up to its label."""
    verbalizers: Mapping[str, str] = field(default_factory=dict)
    """Words that a prompt has in the place of label names: label = "word"."""
    calibrate: bool = True
    """Whether label scores are taken relative to those after a text without content (arXiv 2102.09690)."""

    def __post_init__(self) -> None:
        self._require_loop("classify")
        require_patterns("classify.data", self.data)
        counts = self.label_counts
        rule = "must rise, each 1 or more"
        rising = bool(counts) and min(counts) > 0 and list(counts) == sorted(set(counts))
        require(rising, "classify.label_counts", counts, rule)
        rule = f"must be 1 to {MAX_SEEDS}"
        require(1 <= self.seeds <= MAX_SEEDS, "classify.seeds", self.seeds, rule)
        for method in self.methods:
            require_choice("classify.methods", method, METHODS)
        rule = 'must hold "full", which is what the stage publishes, and each method once'
        whole = "full" in self.methods and len(set(self.methods)) == len(self.methods)
        require(whole, "classify.methods", self.methods, rule)
        rule = "must name each class once, at least two"
        named = len(set(self.labels)) == len(self.labels) and len(self.labels) != 1 and all(self.labels)
        require(named, "classify.labels", self.labels, rule)
        require_positive(
            "classify",
            max_tokens=self.max_tokens,
            test_texts=self.test_texts,
            epochs=self.epochs,
            batch_texts=self.batch_texts,
            micro_batch_texts=self.micro_batch_texts,
            lora_rank=self.lora_rank,
            lora_alpha=self.lora_alpha,
            lora_rate_scale=self.lora_rate_scale,
            random_rate_scale=self.random_rate_scale,
            shot_tokens=self.shot_tokens,
        )
        require_not_negative("classify", min_steps=self.min_steps, shots=self.shots)
        ends = self.template.endswith(LABEL) and self.template.count(LABEL) == 1
        rule = f"must hold {TEXT} once, and end with {LABEL}"
        require(ends and self.template.count(TEXT) == 1, "classify.template", self.template, rule)
        require(all(self.verbalizers.values()), "classify.verbalizers", dict(self.verbalizers), "must be words")

    def shown_as(self, label: str) -> str:
        """What a prompt calls a label."""
        return self.verbalizers.get(label, label)

    def steps(self, texts: int) -> int:
        """Optimizer steps on a set of `texts` labeled texts."""
        per_epoch = -(-texts // self.batch_texts)
        return max(1, self.min_steps, round(self.epochs * per_epoch))
