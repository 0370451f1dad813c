"""Stage 2, supervised fine-tuning: the same loss on written responses turns the base model into an assistant.

    loss = - 1/N sum_t log p(y_t | x, y_<t)     over response tokens and the end of text behind them, never the prompt

Differs from the textbook: nothing in the algorithm. The gradient is divided by the step's target tokens, and a step's
conversations are drawn without regard to their length. So every token weighs the same, except that steps with longer
answers give theirs less weight, as in pretraining. Sequences share rows and see only themselves: little is padding.

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/sft
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.cost import block_flops
from stategpt.data import Segment
from stategpt.data.corpus import read_corpus
from stategpt.errors import DataError
from stategpt.evaluate import evaluate_answers
from stategpt.model import GPT
from stategpt.model.token_batch import TokenBatch
from stategpt.randomness import evenly_spread, permutation
from stategpt.stages.context import StageContext
from stategpt.stages.requirements import segments_of
from stategpt.stages.stage import Stage, run_stage
from stategpt.train.loop import fit
from stategpt.train.next_token import NextTokenTask


class SegmentBatches:
    """Batches of SFT; the order of an epoch is a function of (seed, epoch)."""

    def __init__(self, run: RunConfig, segments: Sequence[Segment], pad: int, device: torch.device) -> None:
        self.segments, self.pad, self.device = segments, pad, device
        self.model, self.seed = run.model, run.seed
        self.batch_rows, self.micro_batch_rows = run.sft.batch_rows, run.sft.micro_batch_rows
        self.steps_per_epoch = math.ceil(len(segments) / self.batch_rows)
        self.steps = max(1, round(run.sft.epochs * self.steps_per_epoch))
        self._order: tuple[int, list[NDArray[np.int64]]] | None = None

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """One update of up to `batch_rows` sequences, in micro-batches of up to `micro_batch_rows`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            order = permutation(len(self.segments), self.seed, "sft", epoch)
            self._order = (epoch, evenly_spread(order, self.batch_rows))
        yield [
            self.batch([self.segments[i] for i in chosen.tolist()])
            for chosen in evenly_spread(self._order[1][index], self.micro_batch_rows)
        ]

    def batch(self, segments: Sequence[Segment]) -> TokenBatch:
        """Segments end to end in rows of the width that gives this model the least to do."""
        return TokenBatch.packed(segments, self.pad, partial(block_flops, self.model), self.device)


def sft(run: RunConfig, folder: RunFolder) -> None:
    """Fine-tunes the base model on the training conversations and evaluates it; returns at once if that is done."""
    context = StageContext.of(run, folder)
    stage = Stage(
        "sft",
        (folder.model("base"), folder.corpus),
        artifact="model",
        make=lambda fingerprint: _train(context, fingerprint),
        save=context.save_model,
        measure=lambda _: _measure(context),
    )
    run_stage(context, stage)


def _measure(context: StageContext) -> dict[str, Any]:
    base, tuned = (context.engine(context.load_model(stage)) for stage in ("base", "sft"))
    return {"evaluation.json": evaluate_answers(base, tuned, read_corpus(context.folder.corpus), context.run)}


def _train(context: StageContext, fingerprint: str) -> GPT:
    run, conversations = context.run, read_corpus(context.folder.corpus).conversations["train"]
    if not conversations:
        raise DataError(f"{context.folder.corpus} has no training conversations; give the corpus some to learn from")
    model = context.load_model("base")
    segments = segments_of(context.tok, conversations, run.model.context_tokens)
    batches = SegmentBatches(run, segments, context.control.pad, context.device)
    fit(NextTokenTask("sft", model, batches), model, context.loop("sft", "sft", fingerprint))
    return model.eval()
