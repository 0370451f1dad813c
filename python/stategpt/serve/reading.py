"""From the fields of a request to what is asked of a model: prompts, sampling, constraint, form of the answer."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from stategpt.arguments import Ids
from stategpt.config.serve import ServeConfig
from stategpt.errors import StategptError
from stategpt.json_reader import Anything, Flag, MapOf, Optional, Record, Text
from stategpt.shown_fields import documented, short_repr

from .asks import Ask, Served
from .conversation import checked_text, prompt_ids, read_messages, template_of
from .errors import ApiError, api_error, bad_field
from .fields import Fields, checked
from .tools import NO_TOOLS, ToolUse, read_tools

_MOST_CALLS = 8
"""Calls of one answer where a call is required and parallel_tool_calls is not false."""
_DEFAULT_TOKENS = 16
"""Tokens of a completion where a request to /v1/completions gives no number, as in OpenAI's API."""
_PLAIN = (
    *("temperature", "min_p", "typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    "min_tokens",
)
"""Fields that are settings of `Sampling` under the same name."""
_LEAST_TOP_P = 1e-9
_SCHEMA = Record(
    {
        "name": Text(max_chars=256),
        "schema": MapOf(Anything()),
        "strict": Optional(Flag()),
        "description": Optional(Text()),
    },
    closed=True,
)
ConstraintText = tuple[str, Any]
"""Kind and content of a constraint, not compiled."""


@documented
@dataclass(frozen=True)
class Wanted:
    """A request to sample, read and checked."""

    served: Served
    """The model."""
    endpoint: Literal["chat", "completion"]
    """Which form the answer has."""
    asks: tuple[Ask, ...]
    """What is sampled: of each prompt, and of each of its branches."""
    constraint: ConstraintText | None = None
    """What the text must be."""
    constraint_param: str = ""
    """Field that gave the constraint."""
    streamed: bool = False
    """Whether the answer comes in pieces."""
    include_usage: bool = False
    """Whether a streamed answer ends with its usage."""
    log_probs: bool = False
    """Whether log-probabilities are wanted."""
    echo: bool = False
    """Whether the text begins with the prompt."""
    scored_only: bool = False
    """Whether nothing is sampled: max_tokens is 0."""
    return_ids: bool = False
    """Whether ids are wanted beside the text."""
    branches: int = 0
    """Branches of each prompt; 0: none were given."""
    tools: ToolUse = NO_TOOLS
    """Tools of the request."""

    __repr__ = short_repr

    @property
    def n(self) -> int:
        """Completions of each ask."""
        return self.asks[0].n

    @property
    def worst_tokens(self) -> int:
        """Most tokens that it reads and writes."""
        return sum(len(ask.ids) + ask.n * ask.max_tokens for ask in self.asks)

    def with_constraint(self, compiled: Any) -> Wanted:
        """The same with its compiled constraint in every ask."""
        return replace(self, asks=tuple(replace(ask, constraint=compiled) for ask in self.asks))


def read_chat(fields: Fields, served: Served, limits: ServeConfig, scope: str) -> Wanted:
    """A request to /v1/chat/completions. Raises `ApiError` naming the field."""
    chat = template_of(served.chat, served.name)
    messages, tools = read_messages(fields["messages"]), read_tools(fields)
    ids = prompt_ids(chat, messages, tools.tools, continued=fields.get("continue_final_message", False))
    if "top_logprobs" in fields and not fields.get("logprobs"):
        raise bad_field("top_logprobs", "top_logprobs needs logprobs = true")
    if "max_tokens" in fields and "max_completion_tokens" in fields:
        raise bad_field("max_tokens", "give max_completion_tokens or max_tokens, not both")
    most: int = fields.get("max_completion_tokens") or fields.get("max_tokens", limits.max_tokens)
    if most == 0:
        raise bad_field("max_tokens", "max_tokens is 0; an answer has at least 1 token")
    constraint, param = read_constraint(fields, tools, limits)
    asks, branches = _asks([ids], fields, served, limits, scope, most, "messages", fields.get("top_logprobs", 0))
    return Wanted(
        served=served,
        endpoint="chat",
        asks=asks,
        constraint=constraint,
        constraint_param=param,
        log_probs=fields.get("logprobs", False),
        branches=branches,
        tools=tools,
        **_form(fields),
    )


def read_completion(fields: Fields, served: Served, limits: ServeConfig, scope: str) -> Wanted:
    """A request to /v1/completions. Raises `ApiError` naming the field."""
    given = several(fields["prompt"], "prompt", limits.max_n)
    prompts = [_prompt(served, value, f"prompt{at}") for value, at in given]
    most = fields.get("max_tokens", _DEFAULT_TOKENS)
    log_probs, echo = "logprobs" in fields, fields.get("echo", False)
    if most == 0 and not echo:
        raise bad_field("max_tokens", "max_tokens is 0, which only echo = true may have: it asks for the prompt alone")
    if echo and fields.get("stream"):
        raise bad_field("echo", "echo with stream is not supported; leave one of them out", "unsupported_parameter")
    constraint, param = read_constraint(fields, NO_TOOLS, limits)
    asks, branches = _asks(prompts, fields, served, limits, scope, max(1, most), "prompt", fields.get("logprobs", 0))
    if echo and log_probs:
        asks = tuple(replace(ask, prompt_log_probs=True) for ask in asks)
    return Wanted(
        served=served,
        endpoint="completion",
        asks=asks,
        constraint=constraint,
        constraint_param=param,
        log_probs=log_probs,
        echo=echo,
        scored_only=most == 0,
        branches=branches,
        **_form(fields),
    )


def _form(fields: Fields) -> dict[str, Any]:
    """Fields that decide the form of the answer."""
    options = fields.get("stream_options")
    if options is not None and not fields.get("stream"):
        raise bad_field("stream_options", "stream_options needs stream = true")
    return {
        "streamed": fields.get("stream", False),
        "include_usage": bool(options and options["include_usage"]),
        "return_ids": fields.get("return_token_ids", False),
    }


def several(value: Any, param: str, most: int) -> list[tuple[Any, str]]:
    """The texts of a request, each with its place: a text, its ids, or an array of those.

    Raises:
        ApiError: 400: there are more than `most`.
    """
    if isinstance(value, str) or (value and isinstance(value[0], int)):
        return [(value, "")]
    if len(value) > most:
        raise bad_field(param, f"{param} has {len(value)} texts; this server takes {most} a request")
    return [(item, f"[{number}]") for number, item in enumerate(value)]


def _prompt(served: Served, value: str | Sequence[int], path: str) -> Ids:
    if isinstance(value, str):
        return served.text_ids(checked_text(value, path))
    return checked_ids(served, value, path)


def checked_ids(served: Served, value: Sequence[int], path: str) -> Ids:
    """`value` as ids of the model. Raises `ApiError` for one that its tokenizer does not have."""
    ids = np.array(value, dtype=np.uint32)
    if ids.size and int(ids.max()) >= served.tok.vocab_size:
        raise bad_field(path, f"{path} holds id {int(ids.max())}; {served.name} has {served.tok.vocab_size} tokens")
    return ids


def _asks(
    prompts: Sequence[Ids],
    fields: Fields,
    served: Served,
    limits: ServeConfig,
    scope: str,
    most: int,
    param: str,
    top: int,
) -> tuple[tuple[Ask, ...], int]:
    """What is sampled, and the number of branches of each prompt."""
    n = fields.get("n", 1)
    suffixes = [checked_text(text, f"branches[{number}]") for number, text in enumerate(fields.get("branches", ()))]
    choices = len(prompts) * max(1, len(suffixes)) * n
    if choices > limits.max_n:
        raise bad_field(
            "n", f"{choices} completions (prompts x branches x n); this server makes {limits.max_n} a request"
        )
    sampling = read_sampling(fields, served)
    if top:
        sampling["top_log_probs"] = top
    scored = "logprobs" in fields and fields["logprobs"] is not False
    form = {"raw_log_probs": scored, "incremental": fields.get("stream", False)}
    stops = _stops(fields)
    ends = tuple(checked_ids(served, fields.get("stop_token_ids", ()), "stop_token_ids").tolist())
    asks = []
    for number, prompt in enumerate(prompts):
        for branch, suffix in enumerate(suffixes or [""]):
            ids = np.concatenate([prompt, served.tok.encode(suffix)]) if suffix else prompt
            room = _room(ids, served, limits, param)
            stream = number * max(1, len(suffixes)) + branch
            asks.append(Ask(ids, n, min(most, room), sampling, stops, ends, None, stream, scope, **form))
    return tuple(asks), len(suffixes)


def _room(ids: Ids, served: Served, limits: ServeConfig, param: str) -> int:
    """Tokens that can follow a prompt. Raises `ApiError` where it is empty or too long."""
    if not len(ids):
        raise bad_field(param, f"{param} has no tokens; give a text or ids")
    most = limits.max_prompt_tokens or served.context_tokens - 1
    if len(ids) > min(most, served.context_tokens - 1):
        raise ApiError(
            400,
            f"the prompt has {len(ids)} tokens; {served.name} has a context of {served.context_tokens}, and this "
            f"server reads prompts of {min(most, served.context_tokens - 1)}. Shorten it.",
            param=param,
            code="context_length_exceeded",
        )
    return served.context_tokens - len(ids)


def read_sampling(fields: Mapping[str, Any], served: Served) -> dict[str, Any]:
    """Settings of `Sampling` that a request gives. Without a seed it gets a random one."""
    found = {name: fields[name] for name in _PLAIN if name in fields}
    found["seed"] = fields["seed"] % 2**63 if "seed" in fields else secrets.randbits(63)
    if fields.get("top_k", 0) > 0:
        found["top_k"] = fields["top_k"]
    if fields.get("top_p", 1.0) < 1.0:
        found["top_p"] = max(fields["top_p"], _LEAST_TOP_P)
    if found.get("min_p") == 0.0:
        del found["min_p"]
    if found.get("typical_p") in (0.0, 1.0):
        del found["typical_p"]
    if "logit_bias" in fields:
        found["logit_bias"] = _biases(fields["logit_bias"], served)
    if "allowed_token_ids" in fields:
        found["allowed"] = tuple(checked_ids(served, fields["allowed_token_ids"], "allowed_token_ids").tolist())
    if fields.get("bad_words"):
        words = [checked_text(word, f"bad_words[{number}]") for number, word in enumerate(fields["bad_words"])]
        if not all(words):
            raise bad_field("bad_words", "bad_words holds an empty word")
        spelled = dict.fromkeys(
            tuple(served.tok.encode(text).tolist()) for word in words for text in (word, f" {word}")
        )
        found["bad_words"] = tuple(np.array(ids, dtype=np.uint32) for ids in spelled)
    return found


def _biases(given: Mapping[str, float], served: Served) -> dict[int, float]:
    biases = {}
    for key, value in given.items():
        if not key.isascii() or not key.isdigit() or int(key) >= served.tok.vocab_size:
            raise bad_field(
                "logit_bias", f"logit_bias has the key {key!a}; keys are ids of 0 .. {served.tok.vocab_size - 1}"
            )
        biases[int(key)] = float(value)
    return biases


def _stops(fields: Fields) -> tuple[str, ...]:
    given = fields.get("stop", ())
    stops = (given,) if isinstance(given, str) else tuple(given)
    if not all(stops):
        raise bad_field("stop", "stop holds an empty string, which would end every completion at once")
    return tuple(checked_text(text, "stop") for text in stops)


def read_constraint(fields: Fields, tools: ToolUse, limits: ServeConfig) -> tuple[ConstraintText | None, str]:
    """The one constraint of a request, and its field. Raises `ApiError` for several, or one that is too large."""
    found: list[tuple[ConstraintText, str]] = [
        ((name, fields[name]), name) for name in ("regex", "grammar", "choice") if name in fields
    ]
    given = fields.get("response_format")
    if given is not None:
        schema = _schema(given)
        found += [(("json_schema", schema), "response_format")] if schema is not None else []
    if tools.required:
        most = _MOST_CALLS if fields.get("parallel_tool_calls", True) else 1
        found.append((("tool_calls", ([tool.as_json() for tool in tools.callable], most)), "tool_choice"))
    if len(found) > 1:
        names = [param for _, param in found]
        raise bad_field(names[1], f"{' and '.join(names)} constrain the same text; give one of them")
    if found and tools.callable and not tools.required:
        raise bad_field(found[0][1], f"{found[0][1]} leaves no room for a call; set tool_choice to none or required")
    if not found:
        return None, ""
    (kind, content), param = found[0]
    size = len(content if isinstance(content, str) else json.dumps(content))
    if size > limits.max_schema_bytes:
        raise bad_field(
            param, f"{param} has {size} bytes; this server takes {limits.max_schema_bytes}", "schema_too_large"
        )
    return (kind, content), param


def _schema(given: Any) -> Any:
    """The JSON schema of a response_format; None for text."""
    if not isinstance(given, dict):
        raise bad_field("response_format", f"response_format is of type {type(given).__name__}; it must be an object")
    kind = given.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise bad_field("response_format.type", f"{kind!a:.80} is none of text, json_object, json_schema")
    known = {"type", "json_schema"} if kind == "json_schema" else {"type"}
    if unknown := sorted(given.keys() - known):
        raise bad_field(f"response_format.{unknown[0][:80]}", f"{unknown[0]!a:.80} is no field of this response_format")
    if kind == "json_schema":
        return checked(given.get("json_schema"), _SCHEMA, "response_format.json_schema")["schema"]
    return {"type": "object"} if kind == "json_object" else None


def compiled(served: Served, constraint: ConstraintText, param: str) -> Any:
    """The constraint for the model's tokenizer. Raises `ApiError` for one that cannot be compiled."""
    try:
        return served.compile(*constraint)
    except StategptError as error:
        raise api_error(error, param) from None
