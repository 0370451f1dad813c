"""Makes requests of the arguments of an engine's calls: checked, and by the ids of its model and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stategpt.arguments import Ids, whole
from stategpt.errors import InvalidArgument, UnknownToken
from stategpt.model import GPT, padding_ids

from .request import Request
from .requests import number, prompt_ids, random_streams, stop_strings, token_ids
from .sampling import Sampling
from .sampling_ids import SamplingIds
from .sampling_settings import SamplingSettings, checked_settings
from .stops import StopFilter

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

    from .constraint import Constraint, ConstraintSpec

MAX_COMPLETIONS = 1 << 22
"""Most completions of one call: what is kept of each takes some hundred bytes before the first token is sampled."""


class RequestBuilder:
    """Checks arguments for `model` and `tok`; `ids` are those that begin and end texts and are never drawn."""

    def __init__(self, model: GPT, tok: AnyTokenizer, ids: SamplingIds) -> None:
        self._model, self._tok, self._ids = model, tok, ids

    def sampling(
        self,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        seed: int,
        forbidden: Sequence[int] | None,
        settings: SamplingSettings,
    ) -> Sampling:
        """Makes settings of sampling; without `forbidden`, control tokens that an answer never holds are not drawn."""
        return Sampling(
            temperature=number("temperature", temperature),
            top_k=None if top_k is None else whole("top_k", top_k),
            top_p=None if top_p is None else number("top_p", top_p),
            seed=whole("seed", seed),
            forbidden=self._forbidden(forbidden),
            **checked_settings(settings),
        )

    def settings(
        self,
        stop: Sequence[str],
        max_tokens: int,
        stop_ids: Sequence[int],
        constraint: Constraint | ConstraintSpec | None,
        **more: Any,
    ) -> dict[str, Any]:
        """Arguments of a `Request`, checked."""
        stops = stop_strings(stop)
        StopFilter(stops)  # refuses an empty one
        if constraint is not None and not hasattr(constraint, "mask"):
            if not hasattr(constraint, "compile"):
                raise InvalidArgument(
                    f"constraint is of type {type(constraint).__name__}; make one with stategpt.generate.constraints"
                )
            constraint = constraint.compile(self._tok, self._model.config.vocab_size, self._ids.ends)
        return {
            "max_tokens": whole("max_tokens", max_tokens, 1),
            "stops": stops,
            "stop_ids": tuple(token_ids("stop_ids", stop_ids)),
            "constraint": constraint,
            **more,
        }

    def requests(
        self,
        prompts: Sequence[str | Ids],
        n: int,
        sampling: Sampling,
        first_stream: int | Sequence[int],
        more: dict[str, Any],
    ) -> list[Request]:
        """A request for each prompt; `more` is of `settings`."""
        ids = [self.prompt_ids(index, prompt) for index, prompt in enumerate(prompts)]
        samples = whole("n", n, 1)
        if samples * len(ids) > MAX_COMPLETIONS:
            raise InvalidArgument(
                f"n is {samples}, for {len(ids)} prompts; a call makes at most {MAX_COMPLETIONS:,} completions. "
                "Ask for fewer at a time."
            )
        streams = random_streams(first_stream, len(ids))
        return [
            Request(prompt, sampling, n=samples, stream=stream, **more)
            for prompt, stream in zip(ids, streams, strict=True)
        ]

    def prompt_ids(self, index: int, prompt: str | Ids) -> Ids:
        """Returns the ids of a call's prompt number `index`; a string is the beginning of a document."""
        config = self._model.config
        return prompt_ids(index, prompt, self._tok, self._ids.begin, config.context_tokens, config.vocab_size)

    def continuation_ids(self, continuation: str | Ids) -> Ids:
        """Returns the ids of a text that continues another, encoded by itself, or of ids."""
        return prompt_ids(0, continuation, self._tok, None, 1 << 62, self._model.config.vocab_size)

    def _forbidden(self, forbidden: Sequence[int] | None) -> tuple[int, ...]:
        """Ids that are never drawn; those a padded vocabulary has beyond the tokenizer's always belong to them."""
        if forbidden is None:
            return self._ids.undrawn
        chosen = token_ids("forbidden", forbidden)
        vocabulary = self._model.config.vocab_size
        if unknown := [token for token in chosen if token >= vocabulary]:
            raise UnknownToken(f"forbidden holds id {unknown[0]}, the model knows ids of 0 .. {vocabulary - 1}")
        return (*chosen, *padding_ids(self._model, self._tok))
