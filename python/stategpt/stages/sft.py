"""Stage 2, supervised fine-tuning: the same loss on written responses turns the base model into an assistant.

    loss = - 1/N sum_t log p(y_t | x, y_<t)     over response tokens and the end of text behind them, never the prompt

Differs from the textbook: nothing in the algorithm. Conversations are packed into rows (best fit) and see only
themselves, as documents in pretraining. The gradient is divided by the step's target tokens, and rows are drawn without
regard to what is in them, so every token weighs the same, except that steps with more answer tokens give each less.

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/sft
"""

from __future__ import annotations

from typing import Any

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.data.corpus import CONVERSATIONS
from stategpt.errors import ContextOverflow
from stategpt.evaluate import evaluate_answers
from stategpt.model import GPT
from stategpt.packing import Mixture, Shards, pack
from stategpt.packing.first_tokens import without_begin
from stategpt.stages.context import StageContext
from stategpt.stages.fine_tuning import FineTuning
from stategpt.stages.stage import Stage, run_stage
from stategpt.train.batches import RowBatches
from stategpt.train.loop import fit
from stategpt.train.next_token import NextTokenTask


def sft(run: RunConfig, folder: RunFolder) -> None:
    """Fine-tunes the base model on the training conversations and evaluates it; returns at once if that is done."""
    context = StageContext.of(run, folder)
    stage = Stage(
        "sft",
        (folder.model("base"), folder.shards(CONVERSATIONS, "train"), *context.corpus_parts("sft/model")),
        artifact="model",
        make=lambda fingerprint: _train(context, fingerprint),
        save=context.save_model,
        measure=lambda _: _measure(context),
        measured_from=context.corpus_parts("sft/evaluation"),
    )
    run_stage(context, stage)


def _measure(context: StageContext) -> dict[str, Any]:
    base, tuned = (context.engine(context.load_model(stage)) for stage in ("base", "sft"))
    return {"evaluation.json": evaluate_answers(base, tuned, context.corpus(), context.run)}


def _train(context: StageContext, fingerprint: str) -> GPT:
    tuning = FineTuning.of(context.run, "sft", context.load_model("base"), context.run.seed)
    model = tuning.model
    fit(NextTokenTask("sft", model, open_batches(context)), model, context.loop("sft", "sft", fingerprint))
    tuning.finish(context.folder.stage("sft"), fingerprint)
    return model.eval()


def open_batches(context: StageContext) -> RowBatches:
    """Batches of the run's training conversations, packed into rows whose order changes with every epoch."""
    run = context.run
    # `prepare` verifies what it finds at the start of every run.
    shards = Shards.open(context.folder.shards(CONVERSATIONS, "train"), tokenizer=context.tok, verify=False)
    packed = pack(shards, run.sft_row_tokens, too_long="reject")
    if packed.rejected.documents:
        raise ContextOverflow(
            f"{packed.rejected.documents} training conversations exceed sft.row_tokens = {run.sft_row_tokens}. "
            "Raise it, or leave them out."
        )
    rows = Mixture({CONVERSATIONS: (packed, 1.0)}, seed=run.seed)
    changed = None if context.chat.is_own else without_begin
    steps = max(1, round(run.sft.epochs * packed.num_rows / run.sft.batch_rows))
    return RowBatches(rows, steps, run.sft.batch_rows, run.sft.micro_batch_rows, context.device, changed)
