"""What the stage `classify` compares: methods on nested label sets, and the texts of each as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stategpt.config import RunConfig
from stategpt.config.classify import Method
from stategpt.data.label_sets import drawn_sequence, drawn_tests, label_names
from stategpt.data.records import LabeledText
from stategpt.evaluate.label_prompts import LabelPrompt
from stategpt.model import GPT, SpecialIds
from stategpt.model.padding import with_padding
from stategpt.model.text_batch import text_ids
from stategpt.randomness import bits
from stategpt.stages.context import StageContext

Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class Arm:
    """One method on the first `texts` labeled texts of one draw."""

    method: Method
    texts: int
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.method}_{self.texts}_{self.seed}"


@dataclass(frozen=True)
class Texts:
    """The labeled texts of a run as the stage reads them."""

    context: StageContext

    @cached_property
    def base(self) -> GPT:
        """The pretrained model as it is; never trained."""
        return base_model(self.context)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return label_names(self.context.run, self.context.corpus())

    @cached_property
    def tests(self) -> list[LabeledText]:
        """The held-out texts that every method is measured on."""
        run = self.context.run
        return drawn_tests(self.context.corpus().labels["test"], run.classify.test_texts, run.seed)

    def drawn(self, seed: int) -> list[LabeledText]:
        """The training texts of a draw; the first n are its label set of n."""
        run = self.context.run
        return drawn_sequence(
            self.context.corpus().labels["train"],
            self.labels,
            run.classify.label_counts[-1],
            draw_seed(run.seed, seed),
        )

    def prompt(self, count: int, seed: int) -> LabelPrompt:
        """The few-shot prompt of a label set."""
        drawn = self.drawn(seed)[:count]
        return LabelPrompt.fitting(self.base, self.context.tok, self.context.run.classify, self.labels, drawn)

    def ids(self, texts: Sequence[LabeledText]) -> list[Ids]:
        """Texts as the model reads them."""
        most = min(self.context.run.classify.max_tokens, self.base.config.context_tokens)
        return [text_ids(self.context.tok, self.base.special_ids, each.text, most) for each in texts]

    def numbers(self, texts: Sequence[LabeledText]) -> list[int]:
        """Number of each text's label."""
        return [self.labels.index(each.label) for each in texts]


def base_model(context: StageContext) -> GPT:
    """The pretrained model, with the ids that texts and prompts have here.

    They begin as its documents do, end in the end that its folder states first, and rows have another padding.
    """
    model, control = context.load_model("base"), context.control
    ids = SpecialIds(control.document_begin, model.special_ids.eos or control.ends, model.special_ids.pad)
    model.special_ids = with_padding(context.tok, ids)
    return model


def draw_seed(seed: int, draw: int) -> int:
    """Seed of a draw of label sets, its heads and its orders, in a run with `seed`: 52 bits of a hash."""
    return int(bits(seed, "classify", draw) >> np.uint64(12))


def planned_sets(texts: Texts) -> dict[tuple[Method, int], list[Arm]]:
    """The arms of each method and number of labels, one a draw.

    A few-shot prompt that has no room for more examples is the same with more labels, and is one arm.
    """
    given = texts.context.run.classify
    return {
        (method, count): [
            Arm(method, len(texts.prompt(count, seed).examples) if method == "few_shot" else count, seed)
            for seed in range(given.seeds)
        ]
        for method in given.methods
        for count in given.label_counts
    }


def published_arm(run: RunConfig) -> Arm:
    """The arm whose classifier is published: all weights, most labels, first draw."""
    return Arm("full", run.classify.label_counts[-1], 0)
