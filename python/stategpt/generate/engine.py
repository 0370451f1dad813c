"""The engine: prompts in, sampled completions out, over a key-value cache.

A prompt is computed once and its cache copied for each of its samples; prompts of like length share a batch; finished
rows leave it. A sample depends on (seed, stream, sample) and the weights, not on what else is in its batch: in float32
two batches differ by 1e-6 in a probability, so about one token in a million falls on the other side of a border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.data.chat import ControlTokens
from stategpt.errors import ContextOverflow, ForeignArtifact, InvalidArgument, UnknownToken
from stategpt.model import GPT, Precision, autocast

from .batch import Batch, Item, Reason, Sampled
from .sampler import Sampler
from .text import GrowingText

if TYPE_CHECKING:
    from stategpt.data.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]
Progress = Callable[[int, int], None]
"""Called with (completions done, completions in all)."""


@dataclass(frozen=True)
class Completion:
    """One sample of one prompt."""

    prompt_index: int
    """Which of the prompts it continues."""
    sample_index: int
    """Which of that prompt's samples it is, from 0."""
    ids: Ids
    """The tokens as they were sampled, with the final end of text if there is one: what training must use."""
    logprobs: NDArray[np.float32]
    """Log-probability of each token under the distribution it was drawn from: temperature, forbidden ids, top-k and
    top-p applied (at temperature 0, that of temperature 1)."""
    ended: bool
    """The model ended it: by end of text, or by another end id of its folder (`GPT.special_ids`)."""
    reason: Reason
    """"end": an end id; "stop": a stop string; "length": max_tokens, or the context was full."""
    text: str
    """The tokens as text, without the end id and cut before the stop string."""


class Engine:
    """Samples from `model` through `tok`; the model may be trained between calls.

    A completion ends at the tokenizer's end of text and at every end id of the model (`GPT.special_ids`).
    Raises `ForeignArtifact` when the tokenizer has more ids than the model.
    """

    def __init__(
        self, model: GPT, tok: AnyTokenizer, *, precision: Precision = "float32", batch_rows: int = 256
    ) -> None:
        if tok.vocab_size > model.config.vocab_size:
            raise ForeignArtifact(
                f"the tokenizer has {tok.vocab_size} tokens, the model {model.config.vocab_size}; "
                "load the tokenizer that was saved with the model"
            )
        if batch_rows < 1:
            raise InvalidArgument(f"batch_rows is {batch_rows}; give at least 1")
        self.model = model
        self.tok = tok
        self.control = ControlTokens.of(tok)
        self.end_ids = tuple(dict.fromkeys((self.control.end_of_text, *model.special_ids.eos)))
        """Ids that end a completion."""
        self.precision = precision
        self.batch_rows = batch_rows

    def generate(
        self,
        prompts: Sequence[str | Ids],
        n: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 48,
        forbidden: Sequence[int] | None = None,
        stream_base: int | Sequence[int] = 0,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """`n` completions of each prompt, prompt-major.

        A prompt of ids is taken as it is; a string is the beginning of a document, so end of text is put before it.

        Args:
            temperature: divides the logits; 0 takes the likeliest token.
            top_k: draw from the k likeliest tokens only.
            top_p: draw from the fewest likeliest tokens that hold this probability.
            seed: with stream, sample and position it decides every draw.
            stop: strings that end a completion; its text leaves them out.
            max_tokens: most tokens of a completion; the context may be full before.
            forbidden: ids never drawn; None stands for every control token but those that end a text.
            stream_base: number of the first prompt's random stream (the others follow it), or a number for each prompt.
            progress: called as completions finish.

        Raises:
            ContextOverflow: a prompt leaves no room for a token.
            InvalidArgument: an empty prompt, or a setting out of its range.
            UnknownToken: a prompt id outside the vocabulary.
        """
        sampler = Sampler(temperature, top_k, top_p, self._forbidden(forbidden), seed)
        ids = [self._prompt_ids(index, prompt) for index, prompt in enumerate(prompts)]
        items = self._items(ids, n, max_tokens, stream_base)
        done: dict[tuple[int, int], Completion] = {}
        for sampled, text in self._run(sorted(items), ids, sampler, stop):
            item = sampled.item
            done[item.prompt, item.sample] = self._completion(sampled, text)
            if progress is not None:
                progress(len(done), len(items))
        return [done[item.prompt, item.sample] for item in items]

    def stream(
        self,
        prompt: str | Ids,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 256,
        forbidden: Sequence[int] | None = None,
    ) -> Iterator[str]:
        """One completion's text in pieces, as it is sampled; together they are `generate`'s text for these settings.

        A piece ends at a whole character and holds nothing that might belong to a stop string. Raises as `generate`, at
        the call, not at the first piece.
        """
        sampler = Sampler(temperature, top_k, top_p, self._forbidden(forbidden), seed)
        ids = self._prompt_ids(0, prompt)
        items = self._items([ids], 1, max_tokens, 0)
        return self._stream(items, ids, sampler, GrowingText(self.tok, stop))

    def _stream(self, items: list[Item], ids: Ids, sampler: Sampler, text: GrowingText) -> Iterator[str]:
        batch: Batch | None = None
        while batch is None or batch.running:
            # Entered for each step: a generator must not leave its caller's code in inference mode.
            with torch.inference_mode(), autocast(self.precision, self.model.device):
                batch = batch or Batch(self.model, sampler, items, [ids], self.end_ids, [text])
                if batch.step():
                    text.finish()
            if piece := text.take():
                yield piece

    def _run(
        self, items: Sequence[Item], ids: Sequence[Ids], sampler: Sampler, stop: Sequence[str]
    ) -> Iterator[tuple[Sampled, str | None]]:
        """Finished rows as they come, each with its text if stop strings made us follow it."""
        for start in range(0, len(items), self.batch_rows):
            chunk = items[start : start + self.batch_rows]
            texts = {item: GrowingText(self.tok, stop) for item in chunk} if stop else {}
            batch: Batch | None = None
            while batch is None or batch.running:
                with torch.inference_mode(), autocast(self.precision, self.model.device):
                    batch = batch or Batch(self.model, sampler, chunk, ids, self.end_ids, list(texts.values()))
                    finished = batch.step()
                for sampled in finished:
                    text = texts.get(sampled.item)
                    if text is not None:
                        text.finish()
                    yield sampled, None if text is None else text.text

    def _completion(self, sampled: Sampled, text: str | None) -> Completion:
        ended = sampled.reason == "end"
        return Completion(
            prompt_index=sampled.item.prompt,
            sample_index=sampled.item.sample,
            ids=sampled.ids,
            logprobs=sampled.log_probs,
            ended=ended,
            reason=sampled.reason,
            text=self.tok.decode(sampled.ids[:-1] if ended else sampled.ids) if text is None else text,
        )

    def _items(self, ids: Sequence[Ids], n: int, max_tokens: int, stream_base: int | Sequence[int]) -> list[Item]:
        if n < 1 or max_tokens < 1:
            raise InvalidArgument(f"n is {n} and max_tokens {max_tokens}; both are at least 1")
        streams = range(stream_base, stream_base + len(ids)) if isinstance(stream_base, int) else stream_base
        if len(streams) != len(ids):
            raise InvalidArgument(f"{len(streams)} random streams for {len(ids)} prompts; give one for each")
        context = self.model.config.context_tokens
        return [
            Item(len(prompt), index, sample, int(stream), min(max_tokens, context - len(prompt)))
            for index, (prompt, stream) in enumerate(zip(ids, streams, strict=True))
            for sample in range(n)
        ]

    def _prompt_ids(self, index: int, prompt: str | Ids) -> Ids:
        if isinstance(prompt, str):
            ids = np.concatenate([np.array([self.control.end_of_text], dtype=np.uint32), self.tok.encode(prompt)])
        else:
            ids = np.asarray(prompt, dtype=np.uint32)
        context, vocabulary = self.model.config.context_tokens, self.model.config.vocab_size
        if ids.size == 0:
            raise InvalidArgument(f"prompt {index} has no tokens; begin with end of text ({self.control.end_of_text})")
        if ids.size >= context:
            raise ContextOverflow(
                f"prompt {index} has {ids.size} tokens, the context {context}: no room for an answer. "
                "Shorten the prompt or use a model with a longer context."
            )
        if int(ids.max()) >= vocabulary:
            raise UnknownToken(
                f"prompt {index} holds id {int(ids.max())}, the model knows ids below {vocabulary}; "
                "encode it with the model's own tokenizer"
            )
        return ids

    def _forbidden(self, forbidden: Sequence[int] | None) -> tuple[int, ...]:
        """Ids that are never drawn; those a padded vocabulary has beyond the tokenizer's always belong to them."""
        ours = (token for token in self.control.forbidden if token not in self.end_ids)
        chosen = tuple(ours) if forbidden is None else tuple(forbidden)
        return (*chosen, *range(self.tok.vocab_size, self.model.config.vocab_size))
