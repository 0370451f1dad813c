"""The fields of requests: their types and limits, and fields of OpenAI's API that are refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stategpt.arguments import nearest_hint
from stategpt.config.serve import ServeConfig
from stategpt.errors import DataError
from stategpt.json_reader import (
    Anything,
    Flag,
    Integer,
    Items,
    Kind,
    MapOf,
    Mismatch,
    OneOf,
    Optional,
    Real,
    Record,
    Text,
    parse_json,
)

from .errors import ApiError, bad_field

Fields = dict[str, Any]

_SHOWN_CHARS = 80
_ID = Integer(0, 2**32 - 1)
_PATH = re.compile(r"(?:^|(?<=; or ))\$\.?([\w.\[\]]*)")
_ROOT = re.compile(r"(?:^|(?<=; or ))\$")

_UNSUPPORTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "audio": ((), "this server has no audio"),
    "modalities": ((["text"],), "this server writes text only"),
    "prediction": ((), "this server takes no predicted output"),
    "web_search_options": ((), "this server searches nothing"),
    "functions": ((), "it was replaced by tools; give those"),
    "function_call": ((), "it was replaced by tool_choice; give that"),
    "reasoning_effort": ((), "the models here have no such setting"),
    "verbosity": ((), "the models here have no such setting"),
    "suffix": (("",), "the models here do not fill gaps"),
    "best_of": ((1,), "sample n completions and choose among them by their logprobs"),
    "dimensions": ((), "the models here have one width"),
    "store": ((False,), "this server keeps no conversation"),
    "service_tier": (("auto", "default"), "this server has one tier"),
}
"""Fields of OpenAI's API that change the answer there and are not done here: values that ask for nothing, and why."""
_WITHOUT_EFFECT: Mapping[str, Kind] = {
    "user": Text(max_chars=1024),
    "safety_identifier": Text(max_chars=1024),
    "prompt_cache_key": Text(max_chars=1024),
    "metadata": MapOf(Text(max_chars=4096), max_items=64),
}
"""Fields that label a request for its sender; they decide nothing of the answer."""

_CONSTRAINTS: Mapping[str, Kind] = {
    "regex": Text(),
    "grammar": Text(),
    "choice": Items(Text(max_chars=4096), 1, 1024),
}


def sampling_fields(limits: ServeConfig) -> dict[str, Kind]:
    """Fields of both endpoints that sample."""
    return {
        "model": Text(max_chars=1024),
        "n": Integer(1, limits.max_n),
        "max_tokens": Integer(0, limits.max_tokens),
        "stream": Flag(),
        "stream_options": Record(
            {"include_usage": Optional(Flag(), False), "include_obfuscation": Optional(Flag(), False)}, closed=True
        ),
        "stop": OneOf((Text(max_chars=256), Items(Text(max_chars=256), 0, 16))),
        "seed": Integer(),
        "temperature": Real(0.0, 100.0),
        "top_p": Real(0.0, 1.0),
        "top_k": Integer(-1, 2**31 - 1),
        "min_p": Real(0.0, 1.0),
        "typical_p": Real(0.0, 1.0),
        "repetition_penalty": Real(0.01, 100.0),
        "presence_penalty": Real(-2.0, 2.0),
        "frequency_penalty": Real(-2.0, 2.0),
        "logit_bias": MapOf(Real(-100.0, 100.0), max_items=1024, max_key_chars=10),
        "bad_words": Items(Text(max_chars=256), 0, 256),
        "allowed_token_ids": Items(_ID, 1, 1 << 16),
        "stop_token_ids": Items(_ID, 0, 64),
        "min_tokens": Integer(0, limits.max_tokens),
        "branches": Items(Text(max_chars=limits.max_body_bytes), 1, limits.max_n),
        "return_token_ids": Flag(),
        **_CONSTRAINTS,
        **_WITHOUT_EFFECT,
    }


def completion_fields(limits: ServeConfig) -> dict[str, Kind]:
    """Fields of /v1/completions."""
    text = Text(max_chars=limits.max_body_bytes)
    ids = Items(_ID, 1, limits.max_body_bytes)
    return {
        **sampling_fields(limits),
        "prompt": OneOf((text, ids, Items(OneOf((text, ids)), 1, limits.max_body_bytes))),
        "echo": Flag(),
        "logprobs": Integer(0, limits.max_top_logprobs),
        "response_format": Anything(),
    }


def chat_fields(limits: ServeConfig) -> dict[str, Kind]:
    """Fields of /v1/chat/completions."""
    return {
        **sampling_fields(limits),
        "messages": Items(Anything(), 1, 1 << 16),
        "max_completion_tokens": Integer(1, limits.max_tokens),
        "logprobs": Flag(),
        "top_logprobs": Integer(0, limits.max_top_logprobs),
        "tools": Items(Anything(), 0, 128),
        "tool_choice": Anything(),
        "parallel_tool_calls": Flag(),
        "response_format": Anything(),
        "continue_final_message": Flag(),
    }


def embedding_fields(limits: ServeConfig) -> dict[str, Kind]:
    """Fields of /v1/embeddings."""
    text = Text(max_chars=limits.max_body_bytes)
    ids = Items(_ID, 1, limits.max_body_bytes)
    return {
        "model": Text(max_chars=1024),
        "input": OneOf((text, ids, Items(OneOf((text, ids)), 1, limits.max_body_bytes))),
        "encoding_format": Text(("float", "base64")),
        **_WITHOUT_EFFECT,
    }


def tokenize_fields(limits: ServeConfig) -> dict[str, Kind]:
    """Fields of /tokenize."""
    text = Text(max_chars=limits.max_body_bytes)
    return {
        "model": Text(max_chars=1024),
        "prompt": text,
        "content": text,
        "messages": Items(Anything(), 1, 1 << 16),
        "tools": Items(Anything(), 0, 128),
        "add_special_tokens": Flag(),
        "return_token_strs": Flag(),
    }


def detokenize_fields(limits: ServeConfig) -> dict[str, Kind]:
    """Fields of /detokenize."""
    return {"model": Text(max_chars=1024), "tokens": Items(_ID, 0, limits.max_body_bytes)}


def read_fields(body: bytes, kinds: Mapping[str, Kind]) -> Fields:
    """The fields of a request's JSON body that are given and not null, each of its kind.

    Raises:
        ApiError: 400: no JSON object, an unknown or unsupported field, a wrong type or value; `param` names the field.
    """
    try:
        found = parse_json(body, where="the body", error=DataError)
    except DataError as error:
        raise ApiError(400, str(error), code="invalid_json") from None
    if not isinstance(found, dict):
        raise ApiError(
            400, f"the body is of type {type(found).__name__}; it must be a JSON object", code="invalid_json"
        )
    return {name: _checked(name, value, kinds) for name, value in found.items() if _is_given(name, value, kinds)}


def _is_given(name: str, value: Any, kinds: Mapping[str, Kind]) -> bool:
    if name in kinds:
        return value is not None
    if name in _UNSUPPORTED:
        neutral, reason = _UNSUPPORTED[name]
        if value is None or value in neutral:
            return False
        raise bad_field(name, f"{name} is not supported: {reason}", "unsupported_parameter")
    shown = name[:_SHOWN_CHARS]
    hint = nearest_hint(shown, kinds, "the fields are " + ", ".join(kinds))
    raise bad_field(shown, f"{shown!a} is no field of this request; {hint}", "unknown_parameter")


def _checked(name: str, value: Any, kinds: Mapping[str, Kind]) -> Any:
    return checked(value, kinds[name], name)


def checked(value: Any, kind: Kind, param: str) -> Any:
    """`value` if it is of `kind`; `param` is its path in the request, for the error."""
    try:
        return kind.check(value, "$")
    except Mismatch as mismatch:
        text = str(mismatch)
        inside = max(_PATH.findall(text), key=len)  # of several kinds that do not fit, the one that came furthest
        path = f"{param}{'' if not inside or inside.startswith('[') else '.'}{inside}"
        raise bad_field(path, _ROOT.sub(param.replace("\\", ""), text)) from None
