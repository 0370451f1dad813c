"""Texts whose tokens are scored: ids, which of them count, and bytes of the text; their log-probabilities.

A text is scored as a document, from what begins one; one that is longer than the context in windows of the context's
length, each half a context further, so that every token but the first ones sees at least half a context before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids
from stategpt.cli.record_file import text_field
from stategpt.data import ChatTemplate
from stategpt.data.lines import BadLine
from stategpt.data.message_records import messages_of
from stategpt.data.records import Conversation, Message
from stategpt.errors import ContextOverflow
from stategpt.generate import Engine
from stategpt.generate.sampling_ids import SamplingIds

BATCH_TOKENS = 1 << 16
"""Tokens that are given to the engine at once."""


@dataclass(frozen=True)
class ScoredText:
    """What is scored of a record."""

    ids: Ids
    """All ids."""
    counted: NDArray[np.bool_]
    """Which of them are scored; never the first."""
    bytes: int
    """UTF-8 bytes of the text that is scored."""


@dataclass(frozen=True)
class Score:
    """Log-probability of a text."""

    log_prob: float
    """In nats, of all scored tokens."""
    tokens: int
    bytes: int

    def __add__(self, other: Score) -> Score:
        return Score(self.log_prob + other.log_prob, self.tokens + other.tokens, self.bytes + other.bytes)

    def to_json(self) -> dict[str, Any]:
        """The score and what follows from it; null for a perplexity beyond a double, and bits of no bytes."""
        each = self.log_prob / self.tokens
        return {
            "log_prob": self.log_prob,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "log_prob_per_token": each,
            "perplexity": math.exp(-each) if -each < 709 else None,
            "bits_per_byte": -self.log_prob / math.log(2) / self.bytes if self.bytes else None,
        }

    def __str__(self) -> str:
        """One line for a terminal."""
        values = self.to_json()
        shown = {name: "none" if value is None else f"{value:.4f}" for name, value in values.items()}
        return (
            f"log-probability {shown['log_prob']} nats, {self.tokens:,} tokens, {shown['log_prob_per_token']} a token, "
            f"perplexity {shown['perplexity']}, bits per byte {shown['bits_per_byte']}"
        )


class TextReader:
    """Makes a `ScoredText` of a record: `text`; `prompt` and `completion`; or `messages`.

    A completion is encoded by itself, as `Engine.score` does. In a chat template what training predicts is scored:
    answers, and the token that ends each.
    """

    def __init__(self, engine: Engine, *, chat: bool) -> None:
        self._engine, self._context = engine, engine.model.config.context_tokens
        self._template: ChatTemplate | None = engine.dialogue if chat else None
        self._begin = SamplingIds.of(engine.model, engine.tok, engine.chat).begin

    def __call__(self, record: dict[str, Any]) -> ScoredText:
        """Raises `BadLine` or `StategptError`."""
        if self._template is not None:
            return self._answers(self._template, record)
        if record.get("text") is not None:
            return self._document(text_field(record, "text"))
        if "messages" in record:
            raise BadLine("missing_field", "there are messages and no text; with --chat messages are read")
        if "completion" not in record:
            raise BadLine("missing_field", "there is neither text nor prompt and completion")
        return self._completion(text_field(record, "prompt"), text_field(record, "completion"))

    def _document(self, text: str) -> ScoredText:
        engine = self._engine
        ids = engine.continuation_ids(text)
        if self._begin is not None:
            ids = np.concatenate([np.array([self._begin], dtype=np.uint32), ids])
        if len(ids) < 2:
            raise BadLine("empty_text", "the text has no token that another one is before")
        counted = np.ones(len(ids), dtype=np.bool_)
        counted[0] = False
        unscored = 0 if self._begin is not None else len(engine.tok.decode(ids[:1]).encode())
        return ScoredText(ids, counted, len(text.encode()) - unscored)

    def _completion(self, prompt: str, completion: str) -> ScoredText:
        before, behind = self._engine.request(prompt).ids, self._engine.continuation_ids(completion)
        counted = np.arange(len(before) + len(behind)) >= len(before)
        return self._whole(ScoredText(np.concatenate([before, behind]), counted, len(completion.encode())))

    def _answers(self, template: ChatTemplate, record: dict[str, Any]) -> ScoredText:
        if record.get("messages") is not None:
            messages = messages_of(record["messages"], "messages")
        else:
            pair = text_field(record, "prompt"), text_field(record, "completion")
            messages = Conversation.of(*pair).messages
        encoded = template.encode(Conversation(messages))
        size = sum(len(_written(message)) for message in messages if message.trained)
        return self._whole(ScoredText(encoded.ids, encoded.loss_mask, size))

    def _whole(self, text: ScoredText) -> ScoredText:
        if len(text.ids) > self._context:
            raise ContextOverflow(f"prompt and completion have {len(text.ids)} tokens, the context {self._context}")
        return text


def _written(message: Message) -> bytes:
    return message.text.encode()


def scores(engine: Engine, texts: Iterable[ScoredText]) -> Iterator[NDArray[np.float32]]:
    """Yields the log-probability of each counted token of each text, in order; texts are read as they are needed.

    Memory: some 65,000 tokens and the longest text.
    """
    held: list[ScoredText] = []
    tokens = 0
    for text in texts:
        held.append(text)
        tokens += len(text.ids)
        if tokens >= BATCH_TOKENS:
            yield from _scored(engine, held)
            held, tokens = [], 0
    yield from _scored(engine, held)


def _scored(engine: Engine, texts: Sequence[ScoredText]) -> Iterator[NDArray[np.float32]]:
    windows = [list(windows_of(text, engine.model.config.context_tokens)) for text in texts]
    flat = [text.ids[start:end] for text, found in zip(texts, windows, strict=True) for start, _, end in found]
    firsts = [first - start for found in windows for start, first, _ in found]
    log_probs = iter(
        engine.score(
            [ids[:first] for ids, first in zip(flat, firsts, strict=True)],
            [ids[first:] for ids, first in zip(flat, firsts, strict=True)],
        )
    )
    for text, found in zip(texts, windows, strict=True):
        whole = np.concatenate([next(log_probs) for _ in found])
        yield whole[text.counted[len(text.ids) - len(whole) :]]


def windows_of(text: ScoredText, context_tokens: int) -> Iterator[tuple[int, int, int]]:
    """Yields the parts of a text that are scored together: where each starts, its first scored token, its end."""
    first = int(np.argmax(text.counted))
    end = min(len(text.ids), context_tokens)
    yield 0, first, end
    while end < len(text.ids):
        first, end = end, min(len(text.ids), end + max(1, context_tokens // 2))
        yield end - context_tokens, first, end
