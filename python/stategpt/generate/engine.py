"""The engine: prompts in, sampled completions out, over a key-value cache.

A prompt is computed once and its cache is copied for each of its samples. Prompts of similar length share a batch;
finished rows are removed from it. A sample depends on (seed, stream, sample) and the weights, not on the rest of its
batch: in float32 two batches differ by 1e-6 in a probability, so about one token in a million differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.arguments import one_of, whole
from stategpt.config.stages import PRECISIONS
from stategpt.data import ChatTemplate
from stategpt.data.control_ids import ControlIds
from stategpt.errors import ForeignArtifact, InvalidArgument, UnknownToken
from stategpt.model import GPT, Precision, autocast, padding_ids
from stategpt.shown_fields import documented, short_repr

from .decode_batch import DecodeBatch, Item, Reason, Sampled
from .detokenized_stream import DetokenizedStream
from .requests import check_prompts, number, prompt_ids, random_streams, stop_strings, token_ids
from .sampler import Sampler
from .sampling_ids import SamplingIds, for_model, own_chat

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]
Progress = Callable[[int, int], None]
"""Called with (completions done, total number of completions)."""


@documented
@dataclass(frozen=True)
class Completion:
    """One sample of one prompt."""

    prompt_index: int
    """Which of the prompts it continues."""
    sample_index: int
    """Which of that prompt's samples it is, from 0."""
    ids: Ids
    """The tokens as they were sampled, with the final end of text if there is one: what training must use."""
    log_probs: NDArray[np.float32]
    """Log-probability of each token under the distribution it was drawn from: temperature, forbidden ids, top-k and
    top-p applied (at temperature 0, that of temperature 1)."""
    ended: bool
    """The model ended it: by end of text, or by another end id of its folder (`GPT.special_ids`)."""
    reason: Reason
    """"end": an end id; "stop": a stop string; "length": max_tokens, or the context was full."""
    text: str
    """The tokens as text, without the end id and cut before the stop string."""

    __repr__ = short_repr


MAX_COMPLETIONS = 1 << 22
"""Most completions of one call: what is kept of each takes some hundred bytes before the first token is sampled."""


class Engine:
    """Samples from `model` through `tok`; the model may be trained between calls.

    A completion ends where the chat template ends an answer, at the tokenizer's end of text and at every end id of the
    model (`GPT.special_ids`). The template is by default this package's, where the tokenizer has its control tokens;
    without one the engine continues documents.

    A model in bfloat16 (`dtype=torch.bfloat16`) or with int8 layers (`sg.quantize`) computes with what it holds;
    `precision="bfloat16"` casts float32 weights again in each step.

    Raises:
        ForeignArtifact: the tokenizer has more ids than the model.
        InvalidArgument: nothing says what ends a text; `chat` is of another tokenizer.
    """

    def __init__(
        self,
        model: GPT,
        tok: AnyTokenizer,
        chat: ChatTemplate | None = None,
        *,
        precision: Precision = "float32",
        batch_rows: int = 256,
    ) -> None:
        if not hasattr(model, "decode"):  # a compiled GPT is another class
            raise InvalidArgument(
                f"model is of type {type(model).__name__}; it must be a GPT. "
                "Load one with sg.GPT.from_pretrained(folder), or make one: sg.GPT(config)."
            )
        if not hasattr(tok, "encode") or not hasattr(tok, "vocab_size"):
            raise InvalidArgument(
                f"tok is of type {type(tok).__name__}; it must be a tokenizer. Load it with sg.Tokenizer.load(path)."
            )
        one_of("precision", precision, PRECISIONS)
        if tok.vocab_size > model.config.vocab_size:
            raise ForeignArtifact(
                f"the tokenizer has {tok.vocab_size} tokens, the model {model.config.vocab_size}; "
                "load the tokenizer that was saved with the model"
            )
        batch_rows = whole("batch_rows", batch_rows, 1)
        self.model = model
        self.tok = tok
        if chat is not None and dict(chat.tok.special_tokens) != dict(tok.special_tokens):
            raise InvalidArgument("chat is of another tokenizer than tok; make it with this one: ChatTemplate.load")
        self.chat = own_chat(tok) if chat is None else for_model(chat, model)
        """How messages become prompts: `engine.chat.prompt(messages)`."""
        self._ids = SamplingIds.of(model, tok, self.chat)
        self.end_ids = self._ids.ends
        """Ids that end a completion."""
        self.precision = precision
        self.batch_rows = batch_rows

    @property
    def control(self) -> ControlIds:
        """The control ids of the chat format. Raises `InvalidArgument` without one."""
        return self.dialogue.control

    @property
    def dialogue(self) -> ChatTemplate:
        """The chat format. Raises `InvalidArgument` without one."""
        return ChatTemplate.own(self.tok) if self.chat is None else self.chat

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
        first_stream: int | Sequence[int] = 0,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Samples `n` completions of each prompt; those of one prompt are next to each other.

        A prompt of ids is taken as it is; a string is the beginning of a document, so what begins one (end of text, or
        the model's beginning of text) is put before it.

        Args:
            temperature: divides the logits; 0 takes the most likely token.
            top_k: draw from the k most likely tokens only.
            top_p: draw from the fewest most likely tokens that hold this probability.
            seed: with stream, sample and position it decides every draw.
            stop: strings that end a completion; its text leaves them out.
            max_tokens: most tokens of a completion; the context may be full before.
            forbidden: ids never drawn; None = every control token that an answer never holds.
            first_stream: number of the first prompt's random stream (the others follow it), or one number per
                prompt.
            progress: called as completions finish.

        Raises:
            ContextOverflow: a prompt fills the context, so no token can follow.
            InvalidArgument: one string where several are meant, a prompt that is empty or neither text nor ids, or a
                setting of the wrong type or out of its range.
            UnknownToken: a prompt id outside the vocabulary.
        """
        check_prompts(prompts)
        stops = stop_strings(stop)
        sampler = self._sampler(temperature, top_k, top_p, forbidden, seed)
        ids = [self._prompt_ids(index, prompt) for index, prompt in enumerate(prompts)]
        items = self._items(ids, n, max_tokens, first_stream)
        done: dict[tuple[int, int], Completion] = {}
        for sampled, text in self._run(sorted(items), ids, sampler, stops):
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
        """Yields one completion's text in pieces, as it is sampled; together they are the text that `generate` returns.

        A piece ends at a whole character and holds nothing that might belong to a stop string. Raises as `generate`, at
        the call, not at the first piece.
        """
        sampler = self._sampler(temperature, top_k, top_p, forbidden, seed)
        ids = self._prompt_ids(0, prompt)
        items = self._items([ids], 1, max_tokens, 0)
        return self._stream(items, ids, sampler, DetokenizedStream(self.tok, stop_strings(stop)))

    def _sampler(
        self,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        forbidden: Sequence[int] | None,
        seed: int,
    ) -> Sampler:
        return Sampler(
            number("temperature", temperature),
            None if top_k is None else whole("top_k", top_k),
            None if top_p is None else number("top_p", top_p),
            self._forbidden(forbidden),
            whole("seed", seed),
        )

    def _stream(self, items: list[Item], ids: Ids, sampler: Sampler, text: DetokenizedStream) -> Iterator[str]:
        batch: DecodeBatch | None = None
        while batch is None or batch.running:
            # Entered for each step: a generator must not leave its caller's code in inference mode.
            with torch.inference_mode(), autocast(self.precision, self.model.device):
                batch = batch or DecodeBatch(self.model, sampler, items, [ids], self.end_ids, [text])
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
            texts = {item: DetokenizedStream(self.tok, stop) for item in chunk} if stop else {}
            batch: DecodeBatch | None = None
            while batch is None or batch.running:
                with torch.inference_mode(), autocast(self.precision, self.model.device):
                    batch = batch or DecodeBatch(self.model, sampler, chunk, ids, self.end_ids, list(texts.values()))
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
            log_probs=sampled.log_probs,
            ended=ended,
            reason=sampled.reason,
            text=self.tok.decode(sampled.ids[:-1] if ended else sampled.ids) if text is None else text,
        )

    def _items(self, ids: Sequence[Ids], n: int, max_tokens: int, first_stream: int | Sequence[int]) -> list[Item]:
        samples, most = whole("n", n, 1), whole("max_tokens", max_tokens, 1)
        if samples * len(ids) > MAX_COMPLETIONS:
            raise InvalidArgument(
                f"n is {samples}, for {len(ids)} prompts; a call makes at most {MAX_COMPLETIONS:,} completions. "
                "Ask for fewer at a time."
            )
        streams = random_streams(first_stream, len(ids))
        context = self.model.config.context_tokens
        return [
            Item(len(prompt), index, sample, stream, min(most, context - len(prompt)))
            for index, (prompt, stream) in enumerate(zip(ids, streams, strict=True))
            for sample in range(samples)
        ]

    def _prompt_ids(self, index: int, prompt: str | Ids) -> Ids:
        config = self.model.config
        return prompt_ids(index, prompt, self.tok, self._ids.begin, config.context_tokens, config.vocab_size)

    def _forbidden(self, forbidden: Sequence[int] | None) -> tuple[int, ...]:
        """Ids that are never drawn; those a padded vocabulary has beyond the tokenizer's always belong to them."""
        if forbidden is None:
            return self._ids.undrawn
        chosen = token_ids("forbidden", forbidden)
        vocabulary = self.model.config.vocab_size
        if unknown := [token for token in chosen if token >= vocabulary]:
            raise UnknownToken(f"forbidden holds id {unknown[0]}, the model knows ids of 0 .. {vocabulary - 1}")
        return (*chosen, *padding_ids(self.model, self.tok))

    def __repr__(self) -> str:
        config = self.model.config
        shape = f"depth={config.depth}, width={config.width}, vocab_size={config.vocab_size}"
        return f"Engine(GPT({shape}), precision={self.precision!r}, batch_rows={self.batch_rows})"
