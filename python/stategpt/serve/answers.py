"""Answers to requests that sample, in the form of OpenAI's API: whole ones, and the chunks of a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .asks import Ask, Choice, total
from .reading import Wanted
from .token_texts import Offsets, TokenTexts, finite
from .tools import CallReader, Part

Json = dict[str, Any]

_OBJECTS = {
    "chat": ("chatcmpl", "chat.completion", "chat.completion.chunk"),
    "completion": ("cmpl", "text_completion", "text_completion"),
}


@dataclass
class Usage:
    """Tokens of a request."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def as_json(self) -> Json:
        """The object of OpenAI's API."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass
class _Sent:
    """What of a choice a stream has sent."""

    choice: Choice
    calls: CallReader
    offsets: Offsets
    """Places of its tokens, behind those of an echoed prompt."""
    tokens: int = 0
    """Tokens whose log-probabilities are sent."""
    characters: int = 0
    """Characters of the text that are sent."""
    number_of_calls: int = 0
    begun: bool = False
    pending: list[Part] = field(default_factory=list)


class Answer:
    """The answer to one request, built from the events of its choices."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        prefix, self._whole, self._chunk = _OBJECTS[wanted.endpoint]
        self.id = f"{prefix}-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.usage = Usage(prompt=total(len(ask.ids) for ask in wanted.asks))
        self.sampled = 0
        """Tokens that were sampled, whether or not the answer has them."""
        self._texts = TokenTexts(wanted.served.tok)
        self._cached = [0] * len(wanted.asks)
        tools = wanted.tools.callable
        self.choices = [Choice(ask.stop_ids) for ask in wanted.asks for _ in range(ask.n)]
        self._sent = [_Sent(choice, CallReader(tools), Offsets(self._texts)) for choice in self.choices]

    def add(self, index: int, event: Any) -> None:
        """Takes an event of choice `index`."""
        self.choices[index].add(event)
        self.sampled += len(event.ids)
        self.usage.completion = 0 if self.wanted.scored_only else self.sampled
        if event.finished is not None:
            self._cached[index // self.wanted.n] = event.handle.cached_tokens
            self.usage.cached = total(self._cached)

    def ask_of(self, index: int) -> Ask:
        """What choice `index` is a completion of."""
        return self.wanted.asks[index // self.wanted.n]

    def whole(self) -> Json:
        """The complete answer."""
        choices = [self._choice(index) for index in range(len(self.choices))]
        return {**self._head(self._whole), "choices": choices, "usage": self.usage.as_json()}

    def chunks(self, touched: Sequence[int]) -> list[Json]:
        """The chunks of a stream for choices that got events, with what of them is new."""
        return [chunk for index in dict.fromkeys(touched) for chunk in self._new_chunks(index)]

    def usage_chunk(self) -> Json:
        """The last chunk of a stream whose usage was wanted."""
        return {**self._head(self._chunk), "choices": [], "usage": self.usage.as_json()}

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.wanted.served.name}

    def _reason(self, index: int) -> str | None:
        choice = self.choices[index]
        if choice.finished is None:
            return None
        if choice.finished == "length":  # also behind a call: another one may be cut off
            return "length"
        return "tool_calls" if self._sent[index].number_of_calls else "stop"

    def _extras(self, index: int) -> Json:
        """Fields beyond OpenAI's: the branch, and ids."""
        found: Json = {}
        if self.wanted.branches:
            found["branch"] = index // self.wanted.n % self.wanted.branches
        return found

    def _ids(self, index: int) -> Json:
        if not self.wanted.return_ids:
            return {}
        ids = [] if self.wanted.scored_only else self.choices[index].ids
        return {"prompt_token_ids": self.ask_of(index).ids.tolist(), "token_ids": ids}

    def _choice(self, index: int) -> Json:
        form = self._chat_choice(index) if self.wanted.endpoint == "chat" else self._text_choice(index)
        return {"index": index, **form, **self._extras(index), **self._ids(index)}

    def _chat_choice(self, index: int) -> Json:
        choice, sent = self.choices[index], self._sent[index]
        parts = [*sent.calls.push(choice.text), *sent.calls.finish()]
        text = "".join(part.text for part in parts if part.kind == "text")
        calls = [_call(part) for part in parts if part.kind == "call"]
        sent.number_of_calls = len(calls)
        message: Json = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        log_probs = self._chat_log_probs(choice, 0) if self.wanted.log_probs else None
        return {"message": message, "logprobs": log_probs, "finish_reason": self._reason(index)}

    def _text_choice(self, index: int) -> Json:
        choice, ask = self.choices[index], self.ask_of(index)
        scored = self.wanted.scored_only
        prompt = self.wanted.served.tok.decode(ask.ids, skip_special=True) if self.wanted.echo else ""
        log_probs = None
        if self.wanted.log_probs:
            log_probs = _empty_log_probs()
            if self.wanted.echo:
                self._add_prompt(log_probs, ask, index)
            if not scored:
                self._add_tokens(log_probs, index, 0)
        reason = "length" if scored else self._reason(index)
        return {"text": prompt + ("" if scored else choice.text), "logprobs": log_probs, "finish_reason": reason}

    def _chat_log_probs(self, choice: Choice, first: int) -> Json:
        return {"content": [self._entry(choice, at) for at in range(first, choice.shown)], "refusal": None}

    def _entry(self, choice: Choice, at: int) -> Json:
        top = choice.top[at] if choice.top else ((), ())
        return {
            **self._token(choice.ids[at], choice.log_probs[at]),
            "top_logprobs": [self._token(token, value) for token, value in zip(*top, strict=True)],
        }

    def _token(self, token: int, log_prob: float) -> Json:
        content = self._texts.bytes_of(int(token))
        return {"token": self._texts.text_of(int(token)), "logprob": finite(log_prob), "bytes": list(content)}

    def _add_tokens(self, found: Json, index: int, first: int) -> None:
        choice, offsets = self.choices[index], self._sent[index].offsets
        for at in range(first, choice.shown):
            token = choice.ids[at]
            top = choice.top[at] if choice.top else ((), ())
            found["tokens"].append(self._texts.text_of(token))
            found["token_logprobs"].append(finite(choice.log_probs[at]))
            found["top_logprobs"].append(self._texts.table(*top) if choice.top else None)
            found["text_offset"].append(offsets.next(token))

    def _add_prompt(self, found: Json, ask: Ask, index: int) -> None:
        """The prompt's tokens: nothing precedes the first, so it has no log-probability."""
        choice, offsets = self.choices[index], self._sent[index].offsets
        for at, token in enumerate(ask.ids.tolist()):
            found["tokens"].append(self._texts.text_of(token))
            found["token_logprobs"].append(finite(choice.prompt_log_probs[at]) if at else None)
            found["top_logprobs"].append(None)
            found["text_offset"].append(offsets.next(token))

    def _new_chunks(self, index: int) -> list[Json]:
        make = self._chat_chunks if self.wanted.endpoint == "chat" else self._text_chunks
        extras = self._extras(index)
        return [
            {
                **self._head(self._chunk),
                "choices": [{"index": index, **form, **extras}],
                **({"usage": None} if self.wanted.include_usage else {}),
            }
            for form in make(index)
        ]

    def _chat_chunks(self, index: int) -> list[Json]:
        sent, choice = self._sent[index], self.choices[index]
        parts = sent.calls.push(choice.text[sent.characters :])
        sent.characters = len(choice.text)
        if choice.finished is not None:
            parts += sent.calls.finish()
        deltas: list[Json] = [] if sent.begun else [{"role": "assistant", "content": "", "refusal": None}]
        sent.begun = True
        text = ""
        for part in [*parts, Part("call", "")]:
            if part.kind == "text":
                text += part.text
                continue
            if text:
                deltas.append({"content": text})
                text = ""
            if part.name:
                deltas.append({"tool_calls": [{"index": sent.number_of_calls, **_call(part)}]})
                sent.number_of_calls += 1
        scored = self.wanted.log_probs and choice.shown > sent.tokens
        if (scored and (not deltas or "content" not in deltas[-1])) or (self.wanted.return_ids and not deltas):
            deltas.append({"content": ""})
        forms: list[Json] = [{"delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
        if scored:
            forms[-1]["logprobs"] = self._chat_log_probs(choice, sent.tokens)
        new = choice.ids[sent.tokens :]
        sent.tokens = len(choice.ids)
        if choice.finished is not None:
            forms.append({"delta": {}, "logprobs": None, "finish_reason": self._reason(index)})
        return self._with_ids(forms, index, new)

    def _text_chunks(self, index: int) -> list[Json]:
        sent, choice = self._sent[index], self.choices[index]
        text, log_probs = choice.text[sent.characters :], None
        if not text and choice.finished is None and not (self.wanted.log_probs or self.wanted.return_ids):
            return []
        if self.wanted.log_probs:
            log_probs = _empty_log_probs()
            self._add_tokens(log_probs, index, sent.tokens)
        new = choice.ids[sent.tokens :]
        sent.characters, sent.tokens = len(choice.text), len(choice.ids)
        form: Json = {"text": text, "logprobs": log_probs, "finish_reason": self._reason(index)}
        return self._with_ids([form], index, new)

    def _with_ids(self, forms: list[Json], index: int, new: list[int]) -> list[Json]:
        if self.wanted.return_ids and forms:
            forms[-1]["token_ids"] = new
        return forms


def _call(part: Part) -> Json:
    function = {"name": part.name, "arguments": part.text}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _empty_log_probs() -> Json:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
