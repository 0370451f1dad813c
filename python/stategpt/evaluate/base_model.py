"""Measures the base model: bits per byte on test documents, next to a byte-level Kneser-Ney model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stategpt.config import RunConfig
from stategpt.data import ChatTemplate
from stategpt.data.corpus import Corpus
from stategpt.evaluate.bits import DocumentNats, document_nats
from stategpt.evaluate.ngram import KneserNey
from stategpt.evaluate.records import PretrainEvaluation, SourceBits
from stategpt.evaluate.statistics import Floats, Interval, mixed_ratio_bootstrap
from stategpt.model import GPT
from stategpt.tokenizer import AnyTokenizer

NATS_PER_BIT = float(np.log(2))


def evaluate_base(
    model: GPT,
    tok: AnyTokenizer,
    run: RunConfig,
    corpus: Corpus,
    seen: Sequence[bytes],
    start: GPT | None = None,
    chat: ChatTemplate | None = None,
) -> PretrainEvaluation:
    """Bits per byte by source and mixed, of the base model and of a Kneser-Ney model trained on `seen`, and of the
    model `start` that pretraining began with.

    `seen` are the raw bytes the model saw, in pieces; `chat` is the tokenizer's format. The mixed figure weighs the
    sources as the training mixture does; the interval of the paired difference comes from resampling groups.
    """
    baseline = KneserNey.train(seen, order=run.evaluate.ngram_order)
    shares = run.proportions
    measured: dict[str, DocumentNats] = {}
    baseline_nats: dict[str, Floats] = {}
    for source in shares:
        held = _document_nats(model, tok, run, corpus, source, chat)
        measured[source], baseline_nats[source] = held, baseline.nats(held.documents)
    of_model = {s: float(held.nats.sum() / held.bytes.sum() / NATS_PER_BIT) for s, held in measured.items()}
    of_baseline = {s: float(baseline_nats[s].sum() / held.bytes.sum() / NATS_PER_BIT) for s, held in measured.items()}
    of_start = {} if start is None else _bits_per_byte(start, tok, run, corpus, chat)
    return PretrainEvaluation(
        sources={
            s: SourceBits(
                of_model[s],
                of_baseline[s],
                len(held.documents),
                int(held.bytes.sum()),
                start_bits_per_byte=of_start.get(s),
            )
            for s, held in measured.items()
        },
        mixed=SourceBits(
            bits_per_byte=sum(share * of_model[source] for source, share in shares.items()),
            kneser_ney_bits_per_byte=sum(share * of_baseline[source] for source, share in shares.items()),
            documents=sum(len(held.documents) for held in measured.values()),
            bytes=int(sum(held.bytes.sum() for held in measured.values())),
            difference=_difference(run, measured, baseline_nats),
            start_bits_per_byte=sum(share * of_start[s] for s, share in shares.items()) if of_start else None,
        ),
        kneser_ney_order=run.evaluate.ngram_order,
        kneser_ney_trained_on_bytes=sum(len(document) for document in seen),
    )


def _document_nats(
    model: GPT, tok: AnyTokenizer, run: RunConfig, corpus: Corpus, source: str, chat: ChatTemplate | None
) -> DocumentNats:
    return document_nats(model, tok, corpus.sources[source], run.evaluate.test_tokens, run.data.row_tokens, chat=chat)


def _bits_per_byte(
    model: GPT, tok: AnyTokenizer, run: RunConfig, corpus: Corpus, chat: ChatTemplate | None
) -> dict[str, float]:
    """Bits per byte of a model on the test documents, by source."""
    found = {}
    for source in run.proportions:
        held = _document_nats(model, tok, run, corpus, source, chat)
        found[source] = float(held.nats.sum() / held.bytes.sum() / NATS_PER_BIT)
    return found


def _difference(run: RunConfig, measured: Mapping[str, DocumentNats], baseline_nats: Mapping[str, Floats]) -> Interval:
    """Base model minus Kneser-Ney on the mixture, in bits per byte."""
    shares = run.proportions
    return mixed_ratio_bootstrap(
        np.concatenate([measured[s].nats - baseline_nats[s] for s in shares]) / NATS_PER_BIT,
        np.concatenate([measured[s].bytes for s in shares]),
        np.concatenate([measured[s].groups for s in shares]),
        np.concatenate([np.full(len(measured[s].bytes), s) for s in shares]),
        shares,
        seed=run.evaluate.seed,
        resamples=run.evaluate.bootstrap_resamples,
    )
