"""Stage 1, pretraining: next-token prediction on a mixture of raw documents gives the base model.

    loss = - 1/N sum_t log p(x_t | x_<t)     over the N target tokens of an optimizer step

Rows of `data.row_tokens` are packed from whole documents (best fit), each document its own segment `EOS d1 ... dn` with
targets `d1 ... dn EOS`, so the model learns to start and to stop. A start model that begins its texts with another
token has that one in front. Sources are mixed by proportions in tokens.

With [start] the weights are those of that model in the place of random ones: continued pretraining, with its tokenizer
and the settings of [pretrain]. What it scored before is measured on the same held-out documents.

Differs from the textbook: documents in a row do not see each other (`data.isolate_documents`; the talk's plain
concatenation is `--data.strategy concat --data.isolate_documents false`).

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/base
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from stategpt.arguments import Ids
from stategpt.artifacts import append_line, read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.data import ControlIds
from stategpt.data.beginnings import beginnings
from stategpt.data.corpus import Corpus
from stategpt.errors import ConfigError, CorruptArtifact
from stategpt.evaluate import evaluate_base
from stategpt.evaluate.records import (
    DrawnSource,
    LossReferences,
    MixtureDrawn,
    PackedRows,
    RowToken,
    Sample,
    ValidationLoss,
)
from stategpt.evaluate.validation import ValidationDocuments
from stategpt.json_records import kind_of, to_json
from stategpt.model import GPT
from stategpt.packing import Batch, Mixture, Row, Shards, pack
from stategpt.packing.first_tokens import begun_with
from stategpt.packing.mixture import MixtureReport
from stategpt.stages.context import StageContext
from stategpt.stages.stage import Stage, run_stage
from stategpt.tokenizer import AnyTokenizer, Tokenizer
from stategpt.train.batches import RowBatches
from stategpt.train.loop import fit
from stategpt.train.next_token import NextTokenTask

SAMPLE_TEMPERATURE = 0.7
SAMPLES, VALIDATION = "samples.jsonl", "validation.jsonl"
LOGS = {SAMPLES: kind_of(Sample), VALIDATION: kind_of(ValidationLoss)}
SAMPLE_DRAWS = 3
"""Random continuations of each sample prompt, beside the one of the most likely tokens."""
BEGINNINGS, BEGINNING_TOKENS = 4, 16
"""Held-out documents whose beginnings are continued where no sample prompts are set, and the tokens of each."""
_ROWS_SHOWN = 4
_VALIDATION_TOKENS = 8192


def open_mixture(context: StageContext) -> Mixture:
    """The run's training rows: every source packed by itself, mixed by proportions in tokens."""
    data = context.run.data
    packed = {
        source: (
            pack(
                # `prepare` verifies what it finds at the start of every run.
                Shards.open(context.folder.shards(source, "train"), tokenizer=context.tok, verify=False),
                row_tokens=data.row_tokens,
                strategy=data.strategy,
                isolate_documents=data.isolate_documents,
            ),
            share,
        )
        for source, share in context.run.proportions.items()
    }
    return Mixture(packed, seed=context.run.seed, max_epochs=data.maximum_epochs or None)


def pretrain(run: RunConfig, folder: RunFolder) -> None:
    """Trains the base model of `run` and evaluates it; returns at once when it is already there."""
    context = StageContext.of(run, folder)
    rows = open_mixture(context)
    _require_epochs(run, rows)
    start = (folder.model("start"),) if run.start.model else ()
    shards = tuple(folder.shards(source, "train") for source in sorted(run.proportions))
    stage = Stage(
        "base",
        (*shards, folder.tokenizer, *start, *context.corpus_parts("base/model")),
        artifact="model",
        make=lambda fingerprint: _train(context, rows, fingerprint),
        save=context.save_model,
        measure=lambda _: _measure(context, rows),
        logs=LOGS,
    )
    run_stage(context, stage)


def _require_epochs(run: RunConfig, rows: Mixture) -> None:
    """Refuses a run that would read a source more often than its `max_epochs`, before it trains."""
    limits = {name: source.max_epochs for name, source in run.sources.items() if source.max_epochs}
    if not limits:
        return
    drawn = rows.report(_rows_read(run))["drawn"]
    for name, limit in limits.items():
        if drawn[name]["epochs"] > limit:
            raise ConfigError(
                f"sources.{name}.max_epochs = {limit:g}: {run.pretrain_tokens:,} training tokens at a share of "
                f"{run.sources[name].share:g} read it {drawn[name]['epochs']:.2f} times. Lower pretrain.tokens or its "
                "share, or give it more documents"
            )


def _measure(context: StageContext, rows: Mixture) -> dict[str, Any]:
    """What base/evaluation holds beside the samples: bits per byte, the mixture and the first packed rows."""
    _refuse_lost_lines(context)
    run = context.run
    start = context.load_model("start") if run.start.model else None
    corpus, seen = context.corpus(), seen_pieces(context, rows)
    return {
        "evaluation.json": evaluate_base(
            context.load_model("base"), context.tok, run, corpus, seen, start, context.chat
        ),
        "mixture.json": _mixture_drawn(rows.report(_rows_read(context.run)), corpus),
        "rows.json": PackedRows(tuple(_row_tokens(context, rows[number]) for number in range(_ROWS_SHOWN))),
        "loss_references.json": _loss_references(context, rows, validation_documents(context)),
    }


def _train(context: StageContext, rows: Mixture, fingerprint: str) -> GPT:
    run = context.run
    torch.manual_seed(run.seed)
    model = context.load_model("start") if run.start.model else GPT(run.model).to(context.device)
    config = run.pretrain
    batches = RowBatches(
        rows, run.pretrain_steps, config.batch_rows, config.micro_batch_rows, context.device, _begun(context.control)
    )
    task = NextTokenTask("pretrain", model, batches)
    settings = context.loop("pretrain", "base", fingerprint, LOGS)
    documents, prompts = validation_documents(context), sample_prompts(context)

    def hook(step: int) -> None:
        if step in _sampled_steps(run, task.steps):
            model.eval()
            _sample(context, model, step, prompts)
            _validate(context, model, step, documents)

    fit(task, model, settings, hook=hook)
    return model.eval()


def _begun(control: ControlIds) -> Callable[[Batch], Batch] | None:
    """Puts the model's beginning of text before every document; None where that is the end of text of the shards."""
    if control.document_begin == control.end_of_text:
        return None
    return lambda batch: begun_with(batch, control.end_of_text, control.document_begin)


def sample_prompts(context: StageContext) -> tuple[str, ...]:
    """`pretrain.sample_prompts`, else beginnings of validation documents that leave room for the samples."""
    run = context.run
    if run.pretrain.sample_prompts:
        return run.pretrain.sample_prompts
    tokens = max(1, min(BEGINNING_TOKENS, run.model.context_tokens - run.pretrain.sample_tokens - 1))
    return beginnings(context.corpus(), BEGINNINGS, context.tok, tokens=tokens, seed=run.seed)


def _sample(context: StageContext, model: GPT, step: int, prompts: tuple[str, ...]) -> None:
    """Continues the same prompts with the same random numbers, so only the weights differ between samples."""
    path = context.folder.stage("base") / SAMPLES
    # A kill between two lines of a step leaves the first lines.
    have = sum(line["step"] == step for line in read_lines(path, LOGS[SAMPLES]))
    config, engine = context.run.pretrain, context.engine(model)
    if have >= len(prompts) * (1 + SAMPLE_DRAWS):
        return
    kept: list[Sample] = []
    for draws, temperature in ((1, 0.0), (SAMPLE_DRAWS, SAMPLE_TEMPERATURE)):
        completions = engine.generate(
            prompts,
            n=draws,
            temperature=temperature,
            max_tokens=config.sample_tokens,
            seed=context.run.seed,
        )
        first = 0 if temperature == 0 else 1
        kept += [
            Sample(step, prompts[number // draws], completion.text, first + number % draws)
            for number, completion in enumerate(completions)
        ]
    for sample in kept[have:]:
        append_line(path, to_json(sample))


def validation_documents(context: StageContext) -> ValidationDocuments:
    """The documents of the validation split that the loss is measured on during training."""
    run = context.run
    row_tokens = min(run.data.row_tokens, run.model.context_tokens)
    return ValidationDocuments.of(
        context.corpus(), context.tok, run.proportions, _VALIDATION_TOKENS, row_tokens, seed=run.seed
    )


def _validate(context: StageContext, model: GPT, step: int, documents: ValidationDocuments) -> None:
    """Appends the loss on the validation documents; nothing where there are none, or the step has its line."""
    path = context.folder.stage("base") / VALIDATION
    if documents.tokens and all(line["step"] != step for line in read_lines(path, LOGS[VALIDATION])):
        append_line(path, to_json(ValidationLoss(step, documents.nats_per_token(model, context.control))))


def _loss_references(context: StageContext, rows: Mixture, documents: ValidationDocuments) -> LossReferences:
    """The baselines of the validation loss, from the tokens of the training rows."""
    counts_V = np.zeros(context.run.model.vocab_size, np.int64)
    for first in range(0, _rows_read(context.run), context.run.pretrain.batch_rows):
        batch = rows.batch(first, context.run.pretrain.batch_rows)
        counts_V += np.bincount(batch.targets[batch.loss_mask.astype(bool)], minlength=len(counts_V))
    return documents.references(counts_V, context.control.end_of_text)


def _sampled_steps(run: RunConfig, steps: int) -> set[int]:
    wanted = {steps if at == "end" else int(at) for at in run.pretrain.sample_at}
    return {step for step in wanted if step <= steps}


def _refuse_lost_lines(context: StageContext) -> None:
    """These logs were written during training: what is lost of them cannot be measured on the finished model."""
    run = context.run
    wanted = {
        SAMPLES: bool(sample_prompts(context)),
        VALIDATION: bool(validation_documents(context).tokens),
    }
    for name in (name for name, is_wanted in wanted.items() if is_wanted):
        path = context.folder.stage("base") / name
        lost = _sampled_steps(run, run.pretrain_steps) - {line["step"] for line in read_lines(path, LOGS[name])}
        if lost:
            raise CorruptArtifact(
                f"{path} lacks step {min(lost)}, which only training writes. Restore base/evaluation from a copy, or "
                f"delete {context.folder.stage('base')} to train this stage again."
            )


def _rows_read(run: RunConfig) -> int:
    return run.pretrain_steps * run.pretrain.batch_rows


def _mixture_drawn(report: MixtureReport, corpus: Corpus) -> MixtureDrawn:
    """The mixture, planned and drawn, with the size of each source's training split."""
    sizes = corpus.counts()["sources"]
    drawn = {name: DrawnSource(**row, **sizes[name]["train"]) for name, row in report["drawn"].items()}
    return MixtureDrawn(report["planned"], drawn)


def _row_tokens(context: StageContext, row: Row) -> tuple[RowToken, ...]:
    """The tokens of a packed row, for the report; its padding is left out."""
    segments = np.cumsum(row.layout.segment_start == np.arange(len(row.tokens))) - 1
    return tuple(
        RowToken(
            id=int(row.tokens[i]),
            text=context.tok.decode(row.tokens[i : i + 1]),
            document=int(segments[i]),
            is_end=bool(row.tokens[i] == context.control.end_of_text),
            target=context.tok.decode(row.targets[i : i + 1]),
        )
        for i in range(len(row.tokens))
        if row.loss_mask[i]
    )


def seen_pieces(context: StageContext, rows: Mixture) -> list[bytes]:
    """The raw bytes the model has seen, each once: what the n-gram baseline trains on.

    Documents, and pieces of those that were cut; what a second epoch repeats is not repeated here, since Kneser-Ney's
    discounts mistake a repetition for a habit.
    """
    pieces: dict[bytes, None] = {}
    for first in range(0, _rows_read(context.run), context.run.pretrain.batch_rows):
        batch = rows.batch(first, context.run.pretrain.batch_rows)
        starts = np.flatnonzero(batch.layout.segment_start == np.arange(len(batch.tokens)))
        for segment in np.split(batch.tokens, starts[1:]):
            text = segment[(segment != context.control.end_of_text) & (segment != context.control.pad)]
            if len(text):
                pieces.setdefault(_bytes_of(context.tok, text))
    return list(pieces)


def _bytes_of(tok: AnyTokenizer, ids: Ids) -> bytes:
    """The bytes of ids. A cut may part the bytes of a character, which the tokenizers library gives as U+FFFD only."""
    return tok.decode_bytes(ids) if isinstance(tok, Tokenizer) else tok.decode(ids).encode()
