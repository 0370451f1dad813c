"""Checks of the engine's arguments, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, several, whole
from stategpt.errors import ContextOverflow, InvalidArgument, UnknownToken

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

    from .request import Request


_CHAT_HINT = (
    "For a chat turn pass stategpt.data.chat_prompt(tok, question); for a document its beginning as a string, "
    "or its token ids."
)


def check_request(request: Request, context_tokens: int, vocab_size: int) -> None:
    """Refuses a request that no step could compute.

    Raises:
        InvalidArgument: no ids, or not a vector of uint32; fewer than one sample or token, or no more than thoughts
            may take.
        ContextOverflow: the prompt fills the context.
        UnknownToken: an id outside the vocabulary.
    """
    ids = request.ids
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype != np.uint32:
        raise InvalidArgument("ids of a request are a vector of uint32; Engine.request makes one of a text or a list")
    if not len(ids):
        raise InvalidArgument("the request has no ids; give at least one")
    whole("n", request.n, 1)
    whole("max_tokens", request.max_tokens, 1)
    reserved = 0 if request.constraint is None else request.constraint.reserved_tokens
    if reserved and reserved >= min(request.max_tokens, context_tokens - len(ids)):
        raise InvalidArgument(
            f"thoughts and their end may take {reserved} tokens, and max_tokens is {request.max_tokens} in a context "
            f"of {context_tokens} with a prompt of {len(ids)}: nothing is left for the output. Raise max_tokens, or "
            "lower the budget of the thoughts."
        )
    if len(ids) >= context_tokens:
        raise ContextOverflow(
            f"the prompt has {len(ids)} tokens, the context {context_tokens}: no token can follow. "
            "Shorten it or use a model with a longer context."
        )
    if int(ids.max()) >= vocab_size:
        raise UnknownToken(f"the prompt holds id {int(ids.max())}, the model knows ids of 0 .. {vocab_size - 1}")


def check_prompts(prompts: Iterable[Any]) -> None:
    """Refuses one prompt instead of a list of prompts.

    Raises:
        InvalidArgument: one string, one vector of ids, a mapping, or nothing that can be iterated.
    """
    several("prompts", prompts, "Put one prompt into a list: generate([prompt]).")
    if isinstance(prompts, np.ndarray) and prompts.ndim < 2:
        raise InvalidArgument(
            f"prompts is one vector of ids, {prompts.dtype}{list(prompts.shape)}; put it into a list: [prompt]"
        )


def stop_strings(stop: Iterable[str]) -> tuple[str, ...]:
    """Returns `stop` as a tuple of strings.

    Raises:
        InvalidArgument: one string instead of several, or what is no string. (An empty one is refused by the filter.)
    """
    several("stop", stop, f"Put it into a list: stop=[{stop!r}].")
    held = tuple(stop)
    for text in held:
        if not isinstance(text, str):
            raise InvalidArgument(f"stop holds {text!r}; stop strings are strings, for ids see `forbidden`")
    return held


def token_ids(name: str, ids: Any) -> list[int]:
    """Returns token ids, each a whole number of 0 or more.

    Raises:
        InvalidArgument: one id or a string instead of several ids, or what is no id.
    """
    several(name, ids, f"Put it into a list: {name}=[...].")
    return [whole(f"an id in {name}", token) for token in ids]


def number(name: str, value: Any) -> float:
    """Returns a real number, also one of numpy, as a float.

    Raises:
        InvalidArgument: it is none.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidArgument(f"{name} is {value!r}; it must be a number")
    return float(value)


def prompt_ids(
    index: int, prompt: Any, tok: AnyTokenizer, begin: int | None, context_tokens: int, vocab_size: int
) -> Ids:
    """Returns the tokens of a prompt; a string is the beginning of a document. -> uint32[n], 0 < n < context.

    Raises:
        InvalidArgument: neither a string nor a vector of whole numbers, or empty.
        ContextOverflow: it fills the context, so no token can follow.
        UnknownToken: an id outside the vocabulary.
    """
    ids: NDArray[np.integer[Any]]
    if isinstance(prompt, str):
        start = np.array([] if begin is None else [begin], dtype=np.uint32)
        ids = np.concatenate([start, tok.encode(prompt)]).astype(np.int64)
    else:
        ids = _vector(index, prompt)
    if ids.size == 0:
        raise InvalidArgument(
            f"prompt {index} has no tokens; "
            + ("give a text or ids" if begin is None else f"begin with the id that begins a document ({begin})")
        )
    if ids.size >= context_tokens:
        raise ContextOverflow(
            f"prompt {index} has {ids.size} tokens, the context {context_tokens}: no token can follow. "
            "Shorten the prompt or use a model with a longer context."
        )
    outside = ids[(ids < 0) | (ids >= vocab_size)]
    if outside.size:
        raise UnknownToken(
            f"prompt {index} holds id {outside[0]}, the model knows ids of 0 .. {vocab_size - 1}; "
            "encode it with the model's own tokenizer"
        )
    return ids.astype(np.uint32)


def _vector(index: int, prompt: Any) -> NDArray[np.integer[Any]]:
    kind = type(prompt).__name__
    if isinstance(prompt, Sequence) and any(isinstance(part, str | bytes | dict) for part in prompt):
        kind = f"{kind} of {type(prompt[0]).__name__}"
    if isinstance(prompt, dict | bytes | bytearray) or " of " in kind or prompt is None:
        raise InvalidArgument(f"prompt {index} is a {kind}; it must be a string or a vector of ids. {_CHAT_HINT}")
    try:
        ids = np.asarray(prompt)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a device
        raise InvalidArgument(f"prompt {index} is a {kind} that is no vector of ids ({error}). {_CHAT_HINT}") from error
    if ids.ndim != 1 or not (ids.dtype.kind in "iu" or ids.size == 0):
        raise InvalidArgument(
            f"prompt {index} is {ids.dtype}{list(ids.shape)}; it must be a string or a vector of whole numbers. "
            f"{_CHAT_HINT}"
        )
    return ids if ids.dtype.kind in "iu" else ids.astype(np.int64)


def random_streams(first_stream: Any, prompts: int) -> list[int]:
    """Returns the number of each prompt's random stream.

    Raises:
        InvalidArgument: not a whole number or one for each prompt.
    """
    if isinstance(first_stream, str | bytes | dict) or first_stream is None:
        raise InvalidArgument(f"first_stream is {first_stream!r}; give a whole number, or one for each prompt")
    if not isinstance(first_stream, Iterable) or (isinstance(first_stream, np.ndarray) and first_stream.ndim == 0):
        first = whole("first_stream", first_stream)
        return list(range(first, first + prompts))
    streams = [whole("a stream of first_stream", stream) for stream in first_stream]
    if len(streams) != prompts:
        raise InvalidArgument(f"{len(streams)} random streams for {prompts} prompts; give one for each")
    return streams
