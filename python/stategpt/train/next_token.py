"""Next-token prediction, the task of pretraining and SFT, which differ only in their batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from stategpt.model import GPT
from stategpt.model.token_batch import TokenBatch
from stategpt.ops import linear_cross_entropy, logit_rows, next_token_loss_by_chunks
from stategpt.train.loop import Loss


class TokenBatches(Protocol):
    """The batches of a stage, a pure function of the step."""

    steps: int

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """The optimizer updates of one step, each a sequence of micro-batches."""
        ...


class NextTokenTask:
    """The loop's `Task` of a stage whose loss is next-token prediction at the targets of its batches."""

    loss_unit = "loss_nats_per_token"

    def __init__(self, name: str, model: GPT, batches: TokenBatches) -> None:
        self.name, self.model, self.batches = name, model, batches
        self.steps = batches.steps

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """The optimizer updates of one step, from `batches`."""
        return self.batches.updates(step)

    def weight(self, batch: TokenBatch) -> float:
        """Targets: documents' tokens and their ends in pretraining, those of responses in SFT."""
        return batch.target_count

    def tokens(self, batch: TokenBatch) -> int:
        """Tokens read, padding included."""
        return batch.tokens_N.numel()

    def loss(self, batch: TokenBatch) -> Loss:
        """Cross-entropy at the targets; logits are only made where there is one, so a prompt gets none at all.

        They are made for some rows at a time: with their gradient (`ops.linear_cross_entropy`) where they are a plain
        product on a CPU, else twice (`ops.row_chunks`).
        """
        hidden_MD = self.model.hidden(batch.tokens_N, batch.layout)[batch.target_index_M]
        matrix_VD = self.model.prediction_matrix
        if matrix_VD is not None and hidden_MD.device.type == "cpu" and not torch.compiler.is_compiling():
            return Loss(linear_cross_entropy(hidden_MD, matrix_VD, batch.targets_M))
        max_rows = logit_rows(self.model.config.vocab_size)
        return Loss(next_token_loss_by_chunks(self.model.unembed, hidden_MD, batch.targets_M, max_rows))

    def step_metrics(self) -> dict[str, float]:
        """None beyond the loss."""
        return {}

    def ended(self) -> str:
        """Never early."""
        return ""

    def kept(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}
