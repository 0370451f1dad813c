"""The gate of an endpoint: does it compute what the model here computes?

A model that was exported and is served by another program may read other ids, or compute otherwise: a wrong rotary
setting, a missing bias, a rounded weight. Answers look fluent all the same. So the log-probability of each token of
some texts is compared, by the ids of this package's tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.arguments import Ids, real, whole
from stategpt.errors import ExportMismatch, InvalidArgument
from stategpt.generate.log_prob_rows import score_tokens
from stategpt.model import GPT
from stategpt.model.text_batch import TextBatch, filler
from stategpt.shown_fields import documented, short_repr


class ScoresPrompts(Protocol):
    """An endpoint that gives the log-probabilities of prompts; `Endpoint` is one."""

    def prompt_log_probs(self, texts: Sequence[Ids]) -> list[NDArray[np.float32]]:
        """Log-probability of each id given those before it, NaN for the first."""
        ...


@documented
@dataclass(frozen=True)
class GateResult:
    """Differences of log-probabilities, in nats."""

    tokens: int
    """Tokens that were compared."""
    mean_difference: float
    """Mean of the absolute differences."""
    largest_difference: float
    """Largest absolute difference."""
    text: int
    """Which text has it."""
    position: int
    """At which of its tokens."""
    here: float
    """Log-probability of that token by the model here."""
    there: float
    """The same by the endpoint."""
    vocabulary: int
    """Ids over which the endpoint's softmax runs: those with text, or all rows of the output matrix."""

    __repr__ = short_repr


def compare_with_endpoint(
    model: GPT, texts: Sequence[Ids], endpoint: ScoresPrompts, *, vocabulary: int, tolerance: float = 0.05
) -> GateResult:
    """Compares log-probabilities of texts, computed here in the format of the weights and by an endpoint.

    A model may have more ids than its tokenizer. This package gives those no probability; vLLM and transformers, which
    know only the model, do. So of the two softmaxes the one counts that is nearer to the endpoint's on all tokens.

    Args:
        model: the model that was exported.
        texts: ids, of at least two tokens each.
        endpoint: where the exported model is served.
        vocabulary: number of ids with text, the tokenizer's `vocab_size`.
        tolerance: largest difference that passes, in nats. Programs that compute in bfloat16 differ by some hundredths,
            8-bit weights by some tenths; another rotary setting or a missing norm by whole nats.

    Raises:
        ExportMismatch: a difference is larger; the message has the token.
        EndpointError: the endpoint gives no log-probabilities of prompts.
        InvalidArgument: no text, or one of less than two tokens.
    """
    tolerance = real("tolerance", tolerance)
    if not texts or min(len(ids) for ids in texts) < 2:
        raise InvalidArgument(f"{len(texts)} texts were given; give at least one, each of at least 2 tokens")
    there = endpoint.prompt_log_probs(texts)
    sizes = dict.fromkeys((whole("vocabulary", vocabulary, 1), model.config.vocab_size))
    results = [_compared([_log_probs(model, ids, size) for ids in texts], there, size) for size in sizes]
    result = min(results, key=lambda each: each.mean_difference)
    if not result.largest_difference <= tolerance:  # also where it is not a number
        token = int(texts[result.text][result.position])
        raise ExportMismatch(
            f"the endpoint computes something else: token {result.position} of text {result.text} (id {token}) has the "
            f"log-probability {result.there:.4f} there and {result.here:.4f} here; mean difference of "
            f"{result.tokens} tokens {result.mean_difference:.4f}, tolerance {tolerance}"
        )
    return result


def _compared(here: list[NDArray[np.float32]], there: list[NDArray[np.float32]], vocabulary: int) -> GateResult:
    differences = [np.abs(mine - theirs[1:]) for mine, theirs in zip(here, there, strict=True)]
    text = int(np.argmax([each.max() for each in differences]))
    at = int(np.argmax(differences[text]))
    joined = np.concatenate(differences)
    return GateResult(
        tokens=len(joined),
        mean_difference=float(joined.mean()),
        largest_difference=float(differences[text][at]),
        text=text,
        position=at + 1,
        here=float(here[text][at]),
        there=float(there[text][at + 1]),
        vocabulary=vocabulary,
    )


def _log_probs(model: GPT, ids: Ids, vocabulary: int) -> NDArray[np.float32]:
    """Log-probability of each token but the first, among the first `vocabulary` ids."""
    batch = TextBatch.of([ids], filler(model.special_ids), model.device)
    with torch.inference_mode():
        hidden_TW = model.hidden(batch.tokens_N, batch.layout)[: len(ids) - 1]
        return score_tokens(model.unembed, hidden_TW, ids[1:], vocabulary=vocabulary).log_probs_T
