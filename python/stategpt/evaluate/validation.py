"""Loss on validation documents while the base model trains, beside two baselines that need no context.

    uniform = ln V                       every token of the vocabulary is equally likely
    unigram = - mean ln p(token)         p: how often a token occurs in the training rows, one added to each count

A model whose loss is above the first has learned nothing; one below the second uses context.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stategpt.data import ControlIds
from stategpt.data.corpus import Corpus
from stategpt.evaluate.bits import token_nats
from stategpt.evaluate.records import LossReferences
from stategpt.model import GPT
from stategpt.randomness import permutation
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]


@documented
@dataclass(frozen=True)
class ValidationDocuments:
    """Validation documents of every source of the mixture, as token ids without the end of text."""

    by_source: Mapping[str, list[Ids]]
    """Documents of each source that has any."""
    shares: Mapping[str, float]
    """Weight of each source: its share of the mixture, over those of all sources that have documents."""
    row_tokens: int
    """A longer document is scored in pieces of this many tokens."""

    __repr__ = short_repr

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        tok: AnyTokenizer,
        proportions: Mapping[str, float],
        max_tokens: int,
        row_tokens: int,
        seed: int,
    ) -> ValidationDocuments:
        """Takes about `max_tokens` tokens of whole documents, by the proportions, in an order that `seed` decides."""
        found = {
            source: _documents(corpus, source, tok, share * max_tokens, seed) for source, share in proportions.items()
        }
        by_source = {source: documents for source, documents in found.items() if documents}
        total = sum(proportions[source] for source in by_source)
        return cls(by_source, {source: proportions[source] / total for source in by_source}, row_tokens)

    @property
    def tokens(self) -> int:
        """Predicted tokens, the end of each document included."""
        return sum(len(ids) + 1 for documents in self.by_source.values() for ids in documents)

    def nats_per_token(self, model: GPT, control: ControlIds) -> float:
        """Mean loss of `model`, each source weighted by its share; NaN where there is no document."""
        nats = {s: float(token_nats(model, ids, control, self.row_tokens).sum()) for s, ids in self.by_source.items()}
        return self._mean(nats)

    def references(self, counts: NDArray[np.int64], end: int) -> LossReferences:
        """The two baselines; `counts` has the occurrences of each id of the vocabulary in the training rows."""
        nats_V = -np.log((counts + 1) / (counts.sum() + len(counts)))
        nats = {
            source: float(sum(nats_V[ids].sum() + nats_V[end] for ids in documents))
            for source, documents in self.by_source.items()
        }
        unigram = self._mean(nats)
        return LossReferences(math.log(len(counts)), unigram if math.isfinite(unigram) else None, self.tokens)

    def _mean(self, nats: Mapping[str, float]) -> float:
        if not self.by_source:
            return math.nan
        targets = {source: sum(len(ids) + 1 for ids in documents) for source, documents in self.by_source.items()}
        return sum(share * nats[source] / targets[source] for source, share in self.shares.items())


def _documents(corpus: Corpus, source: str, tok: AnyTokenizer, max_tokens: float, seed: int) -> list[Ids]:
    documents = corpus.sources[source].validation
    found: list[Ids] = []
    tokens = 0
    for number in permutation(len(documents), seed, "validation loss", source).tolist():
        if tokens >= max_tokens:
            break
        found.append(tok.encode(documents[number].text))
        tokens += len(found[-1]) + 1
    return found
