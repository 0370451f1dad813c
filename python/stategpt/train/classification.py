"""Classification as a task of the loop: labeled texts as batches, cross-entropy over the labels of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.config import ClassifyConfig
from stategpt.errors import InvalidArgument
from stategpt.model import Classifier
from stategpt.model.text_batch import TextBatch, filler
from stategpt.randomness import evenly_spread, permutation
from stategpt.train.loop import Loss
from stategpt.train.losses import next_token_loss

Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class LabeledBatch:
    """S texts and the numbers of their labels."""

    texts: TextBatch
    labels_S: Tensor
    """int64 number of each text's label."""


class ClassifyTask:
    """Batches and loss of classification; the order of texts is a function of (seed, epoch).

    Args:
        config: epochs and batch.
        model: the classifier, whose weights give the device.
        sequences: the texts as ids.
        labels: number of each text's label.
        seed: decides the order of texts.
        name: shown with the progress.

    Raises:
        InvalidArgument: no text, or not one label a text.
    """

    loss_unit = "loss_nats_per_text"

    def __init__(
        self,
        config: ClassifyConfig,
        model: Classifier,
        sequences: Sequence[Ids],
        labels: Sequence[int],
        *,
        seed: int = 0,
        name: str = "classify",
    ) -> None:
        if not sequences or len(sequences) != len(labels):
            raise InvalidArgument(f"{len(sequences)} texts and {len(labels)} labels; give one label a text")
        self.config, self.model, self.seed, self.name = config, model, seed, name
        self.sequences, self.labels = list(sequences), np.asarray(labels, dtype=np.int64)
        self.device, self.pad = model.device, filler(model.gpt.special_ids)
        self.steps = config.steps(len(sequences))
        self.steps_per_epoch = -(-len(sequences) // config.batch_texts)

    def updates(self, step: int) -> Iterable[Sequence[LabeledBatch]]:
        """One update of up to `batch_texts` texts, in micro-batches of `micro_batch_texts`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        order = permutation(len(self.sequences), self.seed, "classify", epoch)
        chosen = evenly_spread(order, self.config.batch_texts)[index]
        yield [self._batch(part) for part in evenly_spread(chosen, self.config.micro_batch_texts)]

    def _batch(self, chosen: NDArray[np.int64]) -> LabeledBatch:
        texts = TextBatch.of([self.sequences[number] for number in chosen.tolist()], self.pad, self.device)
        return LabeledBatch(texts, torch.from_numpy(self.labels[chosen]).to(self.device))

    def weight(self, batch: LabeledBatch) -> float:
        """Texts."""
        return batch.labels_S.numel()

    def tokens(self, batch: LabeledBatch) -> int:
        """Tokens read, padding included."""
        return batch.texts.tokens_N.numel()

    def loss(self, batch: LabeledBatch) -> Loss:
        """Cross-entropy of the labels, summed over the texts, and how many are right."""
        texts = batch.texts
        scores_SC = self.model.scores(texts.tokens_N, texts.layout, texts.last_S)
        right = (scores_SC.argmax(dim=1) == batch.labels_S).sum()
        return Loss(next_token_loss(scores_SC, batch.labels_S), {"accuracy": float(right)})

    def step_metrics(self) -> dict[str, float]:
        """None beyond the loss and the accuracy."""
        return {}

    def ended(self) -> str:
        """Never early."""
        return ""

    def kept(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}
