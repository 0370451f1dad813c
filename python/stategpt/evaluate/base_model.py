"""How good the base model is: bits per byte on test documents, beside a byte-level Kneser-Ney model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stategpt.config import RunConfig
from stategpt.data.corpus import Corpus
from stategpt.evaluate.bits import DocumentNats, document_nats
from stategpt.evaluate.ngram import KneserNey
from stategpt.evaluate.statistics import mixed_ratio_bootstrap
from stategpt.model import GPT
from stategpt.tokenizer import AnyTokenizer

NATS_PER_BIT = float(np.log(2))


def evaluate_base(
    model: GPT, tok: AnyTokenizer, run: RunConfig, corpus: Corpus, seen: Sequence[bytes]
) -> dict[str, Any]:
    """base/evaluation.json: bits per byte by source and mixed, of the model and of Kneser-Ney trained on `seen`.

    `seen` are the raw bytes the model saw, in pieces. The mixed figure weighs the sources as the training mixture
    does; the interval of the paired difference comes from resampling groups.
    """
    baseline = KneserNey.train(seen, order=run.evaluate.ngram_order)
    measured: dict[str, DocumentNats] = {}
    sources: dict[str, dict[str, float]] = {}
    baseline_nats: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for source in run.data.proportions:
        held = document_nats(model, tok, corpus.sources[source], run.evaluate.test_tokens, run.data.row_tokens)
        measured[source] = held
        baseline_nats[source] = baseline.nats(held.documents)
        sources[source] = {
            "bits_per_byte": float(held.nats.sum() / held.bytes.sum() / NATS_PER_BIT),
            "kneser_ney_5": float(baseline_nats[source].sum() / held.bytes.sum() / NATS_PER_BIT),
            "documents": len(held.documents),
            "bytes": int(held.bytes.sum()),
        }
    return {
        "sources": sources,
        "mixed": _mixed(run, sources, measured, baseline_nats),
        "kneser_ney_trained_on_bytes": sum(len(document) for document in seen),
    }


def _mixed(
    run: RunConfig,
    sources: Mapping[str, Mapping[str, float]],
    measured: Mapping[str, DocumentNats],
    baseline_nats: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]],
) -> dict[str, Any]:
    shares = run.data.proportions
    difference = mixed_ratio_bootstrap(
        np.concatenate([measured[s].nats - baseline_nats[s] for s in shares]) / NATS_PER_BIT,
        np.concatenate([measured[s].bytes for s in shares]),
        np.concatenate([measured[s].groups for s in shares]),
        np.concatenate([np.full(len(measured[s].bytes), s) for s in shares]),
        shares,
        seed=run.evaluate.seed,
        resamples=run.evaluate.bootstrap_resamples,
    )
    return {
        "bits_per_byte": sum(share * sources[source]["bits_per_byte"] for source, share in shares.items()),
        "kneser_ney_5": sum(share * sources[source]["kneser_ney_5"] for source, share in shares.items()),
        "difference": difference.to_json(),
    }
