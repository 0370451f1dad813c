"""Stage 2, supervised fine-tuning: the same loss on written responses turns the base model into an assistant.

    loss = - 1/N sum_t log p(y_t | x, y_<t)     over response tokens and the end of text behind them, never the prompt

Pairs are people's own words from the library: "What does `module.name` do?" and the first sentence of its docstring, or
"Complete the docstring of `module.name`: Return the" and the rest of that sentence.

Differs from the textbook: nothing in the algorithm. Sequences of like length share a batch, so little is padding; the
gradient is divided by the batch's target tokens, so a long response weighs by its length, as in pretraining.

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/sft
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import Run
from stategpt.data import Pair, Segment, read_library, sft_segment
from stategpt.data.randomness import permutation
from stategpt.errors import ContextOverflow, DataError
from stategpt.evaluate import evaluate_answers
from stategpt.model import GPT
from stategpt.stages.inputs import MODEL_KIND, Inputs, section_fingerprint
from stategpt.train.batches import TokenBatch, pad_sequences
from stategpt.train.loop import LoopSettings, fit
from stategpt.train.next_token import NextTokenTask

LENGTH_POOL_BATCHES = 16
"""Batches drawn together and sorted by length: enough to waste little on padding, few enough to keep the order
random.
"""


class SegmentBatches:
    """Batches of SFT; the order of an epoch is a function of (seed, epoch)."""

    def __init__(self, run: Run, segments: Sequence[Segment], pad: int, device: torch.device) -> None:
        self.segments, self.pad, self.device = segments, pad, device
        self.seed, self.batch_rows = run.seed, run.sft.batch_rows
        self.steps_per_epoch = math.ceil(len(segments) / self.batch_rows)
        self.steps = max(1, round(run.sft.epochs * self.steps_per_epoch))
        self._order: tuple[int, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] | None = None

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """One update of `batch_rows` sequences of like length."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            lengths = np.array([len(segment) for segment in self.segments])
            self._order = (epoch, batches_by_length(lengths, self.batch_rows, self.seed, epoch))
        yield [self.batch([self.segments[i] for i in self._order[1][index].tolist()])]

    def batch(self, segments: Sequence[Segment]) -> TokenBatch:
        """Segments as padded rows; targets and mask follow the same places."""
        padded = pad_sequences([segment.tokens for segment in segments], self.pad)
        targets = pad_sequences([segment.targets for segment in segments], self.pad).tokens
        mask = pad_sequences([segment.loss_mask.astype(np.int64) for segment in segments], 0).tokens.astype(bool)
        return TokenBatch.of_rows(padded, targets, mask, self.device)


def batches_by_length(
    lengths: np.ndarray[tuple[int], np.dtype[np.int64]], batch_rows: int, seed: int, epoch: int
) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Every index once, in batches of like length and random order.

    A random permutation is cut into pools; each pool is sorted by length and cut into batches; the batches are
    permuted. The last batch may be short; none is dropped.
    """
    order = permutation(len(lengths), seed, "sft", epoch)
    pool = batch_rows * LENGTH_POOL_BATCHES
    pools = [order[i : i + pool] for i in range(0, len(order), pool)]
    sorted_pools = [members[np.argsort(lengths[members], kind="stable")] for members in pools]
    batches = [members[i : i + batch_rows] for members in sorted_pools for i in range(0, len(members), batch_rows)]
    return [batches[i] for i in permutation(len(batches), seed, "sft batches", epoch)]


def segments_of(inputs: Inputs, pairs: Sequence[Pair]) -> list[Segment]:
    """Pairs as segments; one that does not fit the context is an error naming it, never cut."""
    segments = []
    for number, pair in enumerate(pairs):
        try:
            segments.append(
                sft_segment(inputs.tok, pair.prompt, pair.response, context_tokens=inputs.run.model.context_tokens)
            )
        except ContextOverflow as error:
            raise ContextOverflow(f"pair {number} ({pair.name}): {error}") from None
    return segments


def sft(run: Run, folder: RunFolder) -> None:
    """Fine-tunes the base model on the training pairs and evaluates it; returns at once when it is already there."""
    inputs = Inputs.of(run, folder)
    parents = (inputs.parent(folder.model("base")).fingerprint, inputs.parent(folder.corpus).fingerprint)
    fingerprint = section_fingerprint(run.seed, run.sft, parents=parents)
    evaluation = folder.stage("sft") / "evaluation.json"
    if folder.published(folder.model("sft"), MODEL_KIND, fingerprint) and evaluation.exists():
        return
    library = read_library(folder.corpus)
    if not library.pairs_train:
        raise DataError(f"{folder.corpus} has no training pairs; the corpus has no docstrings that read as a sentence")
    with folder.timed("sft"):
        base = inputs.load_model("base")
        model = _train(inputs, library.pairs_train, fingerprint)
        inputs.publish_model("sft", partial(model.save_pretrained, manifest=True), fingerprint, parents)
        folder.write_json(evaluation, evaluate_answers(inputs.engine(base), inputs.engine(model), library, run))


def _train(inputs: Inputs, pairs: Sequence[Pair], fingerprint: str) -> GPT:
    run, folder = inputs.run, inputs.folder
    model = inputs.load_model("base")
    batches = SegmentBatches(run, segments_of(inputs, pairs), inputs.control.pad, inputs.device)
    task = NextTokenTask("sft", model, batches)
    settings = LoopSettings(
        optim=run.sft.optim,
        folder=folder.stage("sft"),
        fingerprint=fingerprint,
        precision=run.sft.precision,
        checkpoint_every_steps=run.sft.checkpoint_every_steps,
        log_every_steps=run.sft.log_every_steps,
    )
    fit(task, model, settings)
    return model.eval()
