"""Reward modeling as a task of the loop: whole prompts as batches, the pairwise loss over all pairs of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stategpt.config import RewardConfig
from stategpt.config.cost import block_flops
from stategpt.config.stages import Arrangement
from stategpt.data import ChatTemplate, RankingBatch, RankingBatches, Rankings, ranking_batches
from stategpt.model import RewardModel
from stategpt.ops import TensorLayout
from stategpt.tokenizer import AnyTokenizer
from stategpt.train.loop import Loss
from stategpt.train.losses import ranking_loss


@dataclass(frozen=True)
class PairBatch:
    """Whole prompts: S completions as token rows, and the P clear pairs among them."""

    tokens_N: Tensor
    layout: TensorLayout
    reward_index_S: Tensor
    """Stream position of each completion's reward token."""
    pairs_P2: Tensor
    """(winner, loser) indices into the S completions."""
    pair_weights_P: Tensor
    """1 / pairs of the prompt."""
    prompts: int
    """Prompts, each with at least one clear pair: the batch's weight."""


class RewardTask:
    """Batches and loss of reward modeling; the order of prompts is a function of (seed, epoch).

    Args:
        config: epochs, batch and arrangement.
        model: the reward model; its config gives the context, its weights the device.
        rankings: what it learns from.
        tok: the tokenizer of `model`.
        seed: decides the order of prompts.
        chat: the tokenizer's chat format; None: this package's.
    """

    name = "reward"
    loss_unit = "loss_nats_per_prompt"

    def __init__(
        self,
        config: RewardConfig,
        model: RewardModel,
        rankings: Rankings,
        tok: AnyTokenizer,
        *,
        seed: int = 0,
        chat: ChatTemplate | None = None,
    ) -> None:
        self.config, self.model, self.rankings, self.tok, self.seed = config, model, rankings, tok, seed
        self.chat = chat
        if chat is not None and not chat.is_own:
            model.hold_reward_token(chat.control.reward)
        self.shape, self.device = model.gpt.config, next(model.parameters()).device
        self._epoch, self._batches = 0, self._epoch_batches(0)
        self.steps_per_epoch = len(self._batches)
        self.steps = max(1, round(config.epochs * self.steps_per_epoch))

    @property
    def batches(self) -> RankingBatches:
        """The batches of the current epoch, with what did not fit."""
        return self._batches

    def _epoch_batches(self, epoch: int) -> RankingBatches:
        return ranking_batches(
            self.rankings,
            self.tok,
            self.config.prompts_per_batch,
            context_tokens=self.shape.context_tokens,
            seed=self.seed,
            epoch=epoch,
            chat=self.chat,
        )

    def updates(self, step: int) -> Iterable[Sequence[PairBatch]]:
        """One update of up to `prompts_per_batch` whole prompts, in micro-batches of `micro_batch_prompts`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._epoch_batches(epoch)
        yield [to_tensors(batch, self.device) for batch in self._arranged(index)]

    def _arranged(self, index: int) -> list[RankingBatch]:
        """The micro-batches of step `index` of the epoch in the configured arrangement; with "auto" the cheaper one."""
        wanted = self.config.arrange
        kinds: tuple[Arrangement, ...] = ("shared_prefix", "rows") if wanted == "auto" else (wanted,)
        parts = [self._batches.parts(index, self.config.micro_batch_prompts, arrange) for arrange in kinds]
        return [min(alike, key=self._work) for alike in zip(*parts, strict=True)]

    def _work(self, batch: RankingBatch) -> float:
        return block_flops(self.shape, batch.layout.num_tokens, batch.layout.row_tokens)

    def weight(self, batch: PairBatch) -> float:
        """Prompts: each counts once, however many pairs it has."""
        return batch.prompts

    def tokens(self, batch: PairBatch) -> int:
        """Tokens read, padding included."""
        return batch.tokens_N.numel()

    def loss(self, batch: PairBatch) -> Loss:
        """Pairwise loss over the batch, and the share of pairs in the right order."""
        scores_S = self.model.scores(batch.tokens_N, batch.layout, batch.reward_index_S)
        margin_P = (scores_S[batch.pairs_P2[:, 0]] - scores_S[batch.pairs_P2[:, 1]]).detach()
        # A tie of scores is half right.
        right = ((margin_P > 0).float() + (margin_P == 0).float() / 2) * batch.pair_weights_P
        total = ranking_loss(scores_S, batch.pairs_P2, batch.pair_weights_P)
        return Loss(total, {"pair_accuracy": float(right.sum())})

    def step_metrics(self) -> dict[str, float]:
        """None beyond the loss and the accuracy."""
        return {}

    def ended(self) -> str:
        """Never early."""
        return ""

    def kept(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}


def to_tensors(batch: RankingBatch, device: torch.device) -> PairBatch:
    """A ranking batch on `device`."""
    return PairBatch(
        tokens_N=torch.from_numpy(batch.tokens.astype(np.int64)).to(device),
        layout=TensorLayout.of(batch.layout, device),
        reward_index_S=torch.from_numpy(batch.reward_index.astype(np.int64)).to(device),
        pairs_P2=torch.from_numpy(batch.pairs.astype(np.int64)).to(device),
        pair_weights_P=torch.from_numpy(batch.pair_weights).to(device),
        prompts=len(batch.ids),
    )
