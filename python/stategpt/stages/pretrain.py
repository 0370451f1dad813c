"""Stage 1, pretraining: next-token prediction on a mixture of raw documents gives the base model.

    loss = - 1/N sum_t log p(x_t | x_<t)     over the N target tokens of an optimizer step

Rows of `data.row_tokens` are packed from whole documents (best fit), each document its own segment `EOS d1 ... dn` with
targets `d1 ... dn EOS`, so the model learns to start and to stop. Sources are mixed by proportions in tokens.

Differs from the textbook: documents in a row do not see each other (`data.isolate_documents`; the talk's plain
concatenation is `--data.strategy concat --data.isolate_documents false`).

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/base
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch

from stategpt.artifacts import append_line, read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.data.sources.python_library import read_library
from stategpt.errors import CorruptArtifact
from stategpt.evaluate import evaluate_base
from stategpt.evaluate.records import DrawnSource, MixtureDrawn, PackedRows, RowToken, Sample
from stategpt.json_records import kind_of, to_json
from stategpt.model import GPT
from stategpt.model.token_batch import TokenBatch
from stategpt.packing import Mixture, Row, Shards, pack
from stategpt.packing.mixture import MixtureReport
from stategpt.stages.context import MODEL_KIND, StageContext, part_fingerprint
from stategpt.train.loop import LoopSettings, fit
from stategpt.train.next_token import NextTokenTask

SAMPLE_TEMPERATURE = 0.7
SAMPLES = "samples.jsonl"
SAMPLE = kind_of(Sample)
_ROWS_SHOWN = 4


class RowBatches:
    """Batches of pretraining; step s reads rows [s * batch_rows, (s + 1) * batch_rows) of the mixture."""

    def __init__(self, run: RunConfig, rows: Mixture, device: torch.device) -> None:
        self.rows, self.device = rows, device
        self.batch_rows = run.pretrain.batch_rows
        self.micro_batch_rows = run.pretrain.micro_batch_rows
        self.steps = run.pretrain_steps

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """One update: the step's rows in micro-batches."""
        first, micro = step * self.batch_rows, self.micro_batch_rows
        starts = range(first, first + self.batch_rows, micro)
        yield [TokenBatch.of(self.rows.batch(start, micro), self.device) for start in starts]


def open_mixture(inputs: StageContext) -> Mixture:
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


def pretrain(run: RunConfig, folder: RunFolder) -> None:
    """Trains the base model of `run` and evaluates it; returns at once when it is already there."""
    inputs = StageContext.of(run, folder)
    rows = open_mixture(inputs)
    parents = [inputs.parent(folder.shards(source, "train")).fingerprint for source in sorted(run.data.proportions)]
    made_from = (*parents, inputs.tok.fingerprint)
    fingerprint = part_fingerprint(run, "base/model", made_from)
    trained = folder.published(folder.model("base"), MODEL_KIND, fingerprint)
    if not (inputs.is_measured("base", fingerprint) and trained):
        with folder.timed("base"):
            if not trained:
                model = _train(inputs, rows, part_fingerprint(run, "base/checkpoints", made_from))
                tokenizer = inputs.parent(folder.tokenizer).fingerprint
                inputs.publish_model(
                    "base", partial(model.save_pretrained, manifest=True), fingerprint, (*parents, tokenizer)
                )
            _measure(inputs, rows, fingerprint)
    folder.close("base", fingerprint, (inputs.model_fingerprint("base"),), (SAMPLES,))


def _measure(inputs: StageContext, rows: Mixture, fingerprint: str) -> None:
    """Publishes base/evaluation: bits per byte, the samples of training, the mixture and one packed row."""
    if inputs.is_measured("base", fingerprint):
        return
    _refuse_lost_samples(inputs)
    library, seen = read_library(inputs.folder.corpus), seen_pieces(inputs, rows)
    values = {
        "evaluation.json": evaluate_base(inputs.load_model("base"), inputs.tok, inputs.run, library, seen),
        "mixture.json": _mixture_drawn(rows.report(_rows_read(inputs.run))),
        "rows.json": PackedRows(tuple(_row_tokens(inputs, rows[number]) for number in range(_ROWS_SHOWN))),
    }
    parents = (inputs.model_fingerprint("base"), inputs.parent(inputs.folder.corpus).fingerprint)
    inputs.publish_evaluation("base", fingerprint, parents, values, {SAMPLES: SAMPLE})


def _train(inputs: StageContext, rows: Mixture, fingerprint: str) -> GPT:
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
        logs={SAMPLES: SAMPLE},
    )
    fit(task, model, settings, hook=lambda step: _sample(inputs, model, step, task.steps))
    return model.eval()


def _sample(inputs: StageContext, model: GPT, step: int, steps: int) -> None:
    """Continues the same prompts with the same random numbers, so only the weights differ between samples."""
    if step not in _sampled_steps(inputs.run, steps):
        return
    path = inputs.folder.stage("base") / SAMPLES
    # A kill between two lines of a step leaves the first prompts' lines.
    have = sum(line["step"] == step for line in read_lines(path, SAMPLE))
    config = inputs.run.pretrain
    if have >= len(config.sample_prompts):
        return
    model.eval()
    completions = inputs.engine(model).generate(
        config.sample_prompts, temperature=SAMPLE_TEMPERATURE, max_tokens=config.sample_tokens, seed=inputs.run.seed
    )
    for prompt, completion in list(zip(config.sample_prompts, completions, strict=True))[have:]:
        append_line(path, to_json(Sample(step, prompt, completion.text)))


def _sampled_steps(run: RunConfig, steps: int) -> set[int]:
    wanted = {steps if at == "end" else int(at) for at in run.pretrain.sample_at}
    return {step for step in wanted if step <= steps}


def _refuse_lost_samples(inputs: StageContext) -> None:
    """The samples were written during training: what is lost of them cannot be measured on the finished model."""
    run, path = inputs.run, inputs.folder.stage("base") / SAMPLES
    wanted = _sampled_steps(run, run.pretrain_steps) if run.pretrain.sample_prompts else set()
    lost = wanted - {line["step"] for line in read_lines(path, SAMPLE)}
    if lost:
        raise CorruptArtifact(
            f"{path} lacks the samples of step {min(lost)}, which only training writes. Restore base/evaluation from a "
            f"copy, or delete {inputs.folder.stage('base')} to train this stage again."
        )


def _rows_read(run: RunConfig) -> int:
    return run.pretrain_steps * run.pretrain.batch_rows


def _mixture_drawn(report: MixtureReport) -> MixtureDrawn:
    return MixtureDrawn(report["planned"], {name: DrawnSource(**drawn) for name, drawn in report["drawn"].items()})


def _row_tokens(inputs: StageContext, row: Row) -> tuple[RowToken, ...]:
    """The tokens of a packed row, for the report; its padding is left out."""
    segments = np.cumsum(row.layout.segment_start == np.arange(len(row.tokens))) - 1
    return tuple(
        RowToken(
            id=int(row.tokens[i]),
            text=inputs.tok.decode(row.tokens[i : i + 1]),
            document=int(segments[i]),
            is_end=bool(row.tokens[i] == inputs.control.end_of_text),
            target=inputs.tok.decode(row.targets[i : i + 1]),
        )
        for i in range(len(row.tokens))
        if row.loss_mask[i]
    )


def seen_pieces(inputs: StageContext, rows: Mixture) -> list[bytes]:
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
