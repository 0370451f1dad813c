"""Stage 1, pretraining: next-token prediction on a mixture of raw documents gives the base model.

    loss = - 1/N sum_t log p(x_t | x_<t)     over the N target tokens of an optimizer step

Rows of `data.row_tokens` are packed from whole documents (best fit), each document its own segment `EOS d1 ... dn` with
targets `d1 ... dn EOS`, so the model learns to start and to stop. Sources are mixed by proportions in tokens.

Differs from the textbook: documents in a row do not see each other (`data.isolate_documents`; the talk's plain
concatenation is `--data.strategy concat --data.isolate_documents false`).

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/base
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch

from stategpt.artifacts import append_line
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import Run
from stategpt.data import Mixture, Shards, pack, read_library
from stategpt.evaluate import evaluate_base
from stategpt.model import GPT
from stategpt.stages.inputs import MODEL_KIND, Inputs, section_fingerprint
from stategpt.train.batches import TokenBatch
from stategpt.train.loop import LoopSettings, fit
from stategpt.train.next_token import NextTokenTask

SAMPLE_TEMPERATURE = 0.7


class RowBatches:
    """Batches of pretraining; step s reads rows [s * batch_rows, (s + 1) * batch_rows) of the mixture."""

    def __init__(self, run: Run, rows: Mixture, device: torch.device) -> None:
        self.rows, self.device = rows, device
        self.batch_rows = run.pretrain.batch_rows
        self.micro_batch_rows = run.pretrain.micro_batch_rows
        self.steps = run.pretrain_steps

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """One update: the step's rows in micro-batches."""
        first, micro = step * self.batch_rows, self.micro_batch_rows
        starts = range(first, first + self.batch_rows, micro)
        yield [TokenBatch.of(self.rows.batch(start, micro), self.device) for start in starts]


def open_mixture(inputs: Inputs) -> Mixture:
    """The run's training rows: every source packed by itself, mixed by proportions in tokens."""
    data = inputs.run.data
    packed = {
        source: (
            pack(
                # `prepare` verifies what it finds at the start of every run.
                Shards.open(inputs.folder.shards(source, "train"), tokenizer=inputs.tok, verify=False),
                row_tokens=data.row_tokens,
                strategy=data.strategy,
                isolate_documents=data.isolate_documents,
            ),
            share,
        )
        for source, share in data.proportions.items()
    }
    return Mixture(packed, seed=inputs.run.seed, max_epochs=data.maximum_epochs or None)


def pretrain(run: Run, folder: RunFolder) -> None:
    """Trains the base model of `run` and evaluates it; returns at once when it is already there."""
    inputs = Inputs.of(run, folder)
    rows = open_mixture(inputs)
    parents = [inputs.parent(folder.shards(source, "train")).fingerprint for source in sorted(run.data.proportions)]
    fingerprint = section_fingerprint(
        run.seed, run.model, run.data, run.pretrain, parents=(*parents, inputs.tok.fingerprint)
    )
    evaluation = folder.stage("base") / "evaluation.json"
    if folder.published(folder.model("base"), MODEL_KIND, fingerprint) and evaluation.exists():
        return
    with folder.timed("base"):
        model = _train(inputs, rows, fingerprint)
        tokenizer = inputs.parent(folder.tokenizer).fingerprint
        inputs.publish_model("base", partial(model.save_pretrained, manifest=True), fingerprint, (*parents, tokenizer))
        _describe_data(inputs, rows)
        library, seen = read_library(folder.corpus), seen_pieces(inputs, rows)
        folder.write_json(evaluation, evaluate_base(model, inputs.tok, run, library, seen))


def _train(inputs: Inputs, rows: Mixture, fingerprint: str) -> GPT:
    run, folder = inputs.run, inputs.folder
    torch.manual_seed(run.seed)
    model = GPT(run.model).to(inputs.device)
    task = NextTokenTask("pretrain", model, RowBatches(run, rows, inputs.device))
    settings = LoopSettings(
        optim=run.pretrain.optim,
        folder=folder.stage("base"),
        fingerprint=fingerprint,
        precision=run.pretrain.precision,
        checkpoint_every_steps=run.pretrain.checkpoint_every_steps,
        log_every_steps=run.pretrain.log_every_steps,
    )
    fit(task, model, settings, hook=lambda step: _sample(inputs, model, step, task.steps))
    return model.eval()


def _sample(inputs: Inputs, model: GPT, step: int, steps: int) -> None:
    """Continues the same prompts with the same random numbers, so only the weights differ between samples."""
    wanted = {steps if at == "end" else int(at) for at in inputs.run.pretrain.sample_at}
    if step not in wanted:
        return
    path = inputs.folder.stage("base") / "samples.jsonl"
    have = {json.loads(line)["step"] for line in path.read_text().splitlines()} if path.exists() else set()
    if step in have:
        return
    config = inputs.run.pretrain
    model.eval()
    completions = inputs.engine(model).generate(
        config.sample_prompts, temperature=SAMPLE_TEMPERATURE, max_tokens=config.sample_tokens, seed=inputs.run.seed
    )
    for prompt, completion in zip(config.sample_prompts, completions, strict=True):
        append_line(path, {"step": step, "prompt": prompt, "text": completion.text})


def _rows_read(run: Run) -> int:
    return run.pretrain_steps * run.pretrain.batch_rows


def _describe_data(inputs: Inputs, rows: Mixture) -> None:
    """Writes what the mixture drew and one packed row, for the report."""
    base = inputs.folder.stage("base")
    report = rows.report(_rows_read(inputs.run))
    inputs.folder.write_json(base / "mixture.json", report)
    row = rows[0]
    eos = inputs.control.end_of_text
    segments = np.cumsum(row.layout.segment_start == np.arange(len(row.tokens))) - 1
    pieces = [
        [
            inputs.tok.decode(row.tokens[i : i + 1]),
            int(segments[i]),
            int(row.tokens[i]) == eos,
            inputs.tok.decode(row.targets[i : i + 1]),
        ]
        for i in range(len(row.tokens))
        if row.loss_mask[i]
    ]
    inputs.folder.write_json(base / "row.json", {"pieces": pieces})


def seen_pieces(inputs: Inputs, rows: Mixture) -> list[bytes]:
    """The raw bytes the model has seen, each once: what the n-gram baseline trains on.

    Documents, and pieces of those that were cut; what a second epoch repeats is not repeated here, since Kneser-Ney's
    discounts mistake a repetition for a habit.
    """
    pieces: dict[bytes, None] = {}
    for first in range(0, _rows_read(inputs.run), inputs.run.pretrain.batch_rows):
        batch = rows.batch(first, inputs.run.pretrain.batch_rows)
        starts = np.flatnonzero(batch.layout.segment_start == np.arange(len(batch.tokens)))
        for segment in np.split(batch.tokens, starts[1:]):
            text = segment[(segment != inputs.control.end_of_text) & (segment != inputs.control.pad)]
            if len(text):
                pieces.setdefault(inputs.tok.decode_bytes(text))
    return list(pieces)
