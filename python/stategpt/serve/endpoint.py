"""Another program's server with OpenAI's API as a language model: vLLM, SGLang, llama.cpp, or this package's own.

    endpoint = Endpoint("http://127.0.0.1:8000/v1", "tiny", tok=tok)
    endpoint.generate(["Return"], n=4, max_tokens=32)

Prompts go to /v1/completions as ids where a tokenizer is given, else as texts. What an answer lacks is never made up:
without ids in it a completion has none, and scores need the log-probabilities of a prompt (`echo`).
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, whole
from stategpt.errors import EndpointError, InvalidArgument
from stategpt.generate.completion import Completion, Usage
from stategpt.generate.request import Reason
from stategpt.generate.requests import check_prompts, stop_strings
from stategpt.json_reader import Integer, Items, OneOf, Optional, Real, Record, Text, check_value, parse_json

if TYPE_CHECKING:
    from stategpt.data import ChatTemplate
    from stategpt.tokenizer import AnyTokenizer

_RETRIED = (408, 429, 500, 502, 503, 504)
_LIMIT_BYTES = 1 << 28
_LONGEST_WAIT_SECONDS = 30.0
_NUMBER = Optional(Real())
_LOG_PROBS = Record({"tokens": Items(Text()), "token_logprobs": Items(_NUMBER)})
_CHOICE = Record(
    {
        "text": Text(max_chars=_LIMIT_BYTES),
        "finish_reason": Optional(Text(max_chars=64)),
        "logprobs": Optional(_LOG_PROBS),
        "token_ids": Optional(Items(Integer(0, 2**32 - 1))),
    }
)
_USAGE = Record(
    {
        "prompt_tokens": Integer(0),
        "completion_tokens": Optional(Integer(0), 0),
        "prompt_tokens_details": Optional(Record({"cached_tokens": Optional(Integer(0), 0)})),
    }
)
_ANSWER = Record({"choices": Items(_CHOICE, 1), "usage": Optional(_USAGE)})
_CHUNK = Record({"choices": Items(Record({"text": Optional(Text(max_chars=_LIMIT_BYTES), "")}))})
_FAILURE = Record({"error": OneOf((Record({"message": Text()}), Text()))})


class Endpoint:
    """A model behind an endpoint; a `LanguageModel`.

    Args:
        url: what the paths begin with, up to /v1.
        model: its name there.
        tok: its tokenizer: prompts then go as ids, and the endpoint cannot read them otherwise.
        chat: its chat format, for who makes prompts of messages.
        api_key: sent as a bearer token.
        timeout: seconds without a byte after which a request fails.
        retries: how often a request is sent again that failed for a reason that passes: no connection, or one of the
            statuses 408, 429 and 5xx.
        parallel: requests at a time.
        wait: called with seconds between two tries.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        tok: AnyTokenizer | None = None,
        chat: ChatTemplate | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
        retries: int = 2,
        parallel: int = 8,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument(f"url is {url!r:.200}; give one as http://127.0.0.1:8000/v1")
        self.url, self.model, self.tok, self.chat = url.rstrip("/"), model, tok, chat
        self._parts, self._timeout, self._wait = parts, timeout, wait
        self._retries, self._parallel = whole("retries", retries), whole("parallel", parallel, 1)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._lock = threading.Lock()
        self.requests = self.prompt_tokens = self.completion_tokens = 0
        """What it has cost so far: requests that were answered, and tokens as the endpoint counts them."""

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
        **settings: Any,
    ) -> list[Completion]:
        """Samples `n` completions of each prompt; those of one prompt are next to each other.

        Each prompt is a request; the seed of the i-th is `seed` + i. `settings` are further fields: with
        `return_token_ids=True` completions have their ids, where the endpoint knows that field (vLLM, this package).

        Raises:
            EndpointError: it cannot be reached, refuses, or answers what is no answer.
        """
        check_prompts(prompts)
        body = self._body(n, temperature, top_k, top_p, stop, max_tokens, settings)
        bodies = [{**body, "prompt": self._prompt(prompt), "seed": seed + at} for at, prompt in enumerate(prompts)]
        answers = self._all(bodies)
        return [
            self._completion(index, sample, choice, answer, bool(stop))
            for index, answer in enumerate(answers)
            for sample, choice in enumerate(_choices(answer, n, self.url))
        ]

    def stream(
        self,
        prompt: str | Ids,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 256,
        **settings: Any,
    ) -> Iterator[str]:
        """Yields one completion's text in pieces. Raises as `generate`."""
        body = self._body(1, temperature, top_k, top_p, stop, max_tokens, settings)
        body |= {"prompt": self._prompt(prompt), "seed": seed, "stream": True}
        body["stream_options"] = {"include_usage": True}
        connection, answer = self._send("/completions", body)
        try:
            yield from self._pieces(answer)
        except (OSError, http.client.HTTPException) as error:
            raise EndpointError(f"{self.url}: the stream broke off: {error}") from error
        finally:
            connection.close()

    def score(self, prompts: Sequence[str | Ids], continuations: Sequence[str | Ids]) -> list[NDArray[np.float32]]:
        """Log-probability of each token of `continuations[i]` behind `prompts[i]`.

        Raises:
            EndpointError: also where it gives no log-probabilities of a prompt.
            InvalidArgument: no tokenizer was given, so nothing says where a continuation begins.
        """
        if len(prompts) != len(continuations):
            raise InvalidArgument(f"{len(prompts)} prompts and {len(continuations)} continuations; give one for each")
        pairs = [
            (self._ids(prompt), self._ids(continuation))
            for prompt, continuation in zip(prompts, continuations, strict=True)
        ]
        if empty := [at for at, (first, _) in enumerate(pairs) if not len(first)]:
            raise InvalidArgument(f"prompt {empty[0]} is empty; nothing says how likely a first token is")
        found = self.prompt_log_probs([np.concatenate(pair) for pair in pairs])
        return [values[len(first) :] for values, (first, _) in zip(found, pairs, strict=True)]

    def prompt_log_probs(self, texts: Sequence[Ids]) -> list[NDArray[np.float32]]:
        """Log-probability of each id given those before it, NaN for the first. Raises as `score`."""
        bodies = [
            {
                "model": self.model,
                "prompt": ids.tolist(),
                "max_tokens": 1,
                "temperature": 0,
                "echo": True,
                "logprobs": 0,
            }
            for ids in texts
        ]
        return [self._scores(answer, len(ids)) for answer, ids in zip(self._all(bodies), texts, strict=True)]

    def _scores(self, answer: Any, tokens: int) -> NDArray[np.float32]:
        log_probs = answer["choices"][0]["logprobs"]
        if log_probs is None:
            raise EndpointError(
                f"{self.url} gives no log-probabilities of a prompt (echo and logprobs of /completions)"
            )
        values = log_probs["token_logprobs"]
        if len(values) < tokens or values[0] is not None or any(value is None for value in values[1:tokens]):
            raise EndpointError(
                f"{self.url} gives {len(values)} log-probabilities for a prompt of {tokens} ids; it read other tokens"
            )
        return np.array([math.nan if value is None else value for value in values[:tokens]], dtype=np.float32)

    def _body(
        self,
        n: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        stop: Sequence[str],
        max_tokens: int,
        settings: Mapping[str, Any],
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "n": whole("n", n, 1), "temperature": temperature, **settings}
        body["max_tokens"] = whole("max_tokens", max_tokens, 1)
        given = {"top_k": top_k, "top_p": top_p, "stop": list(stop_strings(stop)) or None}
        return body | {name: value for name, value in given.items() if value is not None}

    def _prompt(self, prompt: str | Ids) -> str | list[int]:
        if isinstance(prompt, str):
            return prompt
        return np.asarray(prompt).tolist()  # type: ignore[no-any-return]

    def _ids(self, text: str | Ids) -> Ids:
        if not isinstance(text, str):
            return np.asarray(text, dtype=np.uint32)
        if self.tok is None:
            raise InvalidArgument("the endpoint was given no tokenizer; give ids, or Endpoint(..., tok=...)")
        return self.tok.encode(text)

    def _completion(self, index: int, sample: int, choice: Any, answer: Any, has_stops: bool) -> Completion:
        """What the endpoint says of a choice; ids only where it gives them.

        OpenAI's API has one word for an end id and a stop string: with stop strings it counts as one of those.
        """
        ids = np.array(choice["token_ids"] or (), dtype=np.uint32)
        usage = answer["usage"]
        reason: Reason = "length" if choice["finish_reason"] == "length" else "stop" if has_stops else "end"
        details = (usage or {}).get("prompt_tokens_details") or {"cached_tokens": 0}
        return Completion(
            prompt_index=index,
            sample_index=sample,
            ids=ids,
            log_probs=np.empty(0, dtype=np.float32),
            ended=reason == "end",
            reason=reason,
            text=choice["text"],
            usage=Usage(usage["prompt_tokens"] if usage else 0, details["cached_tokens"], len(ids)),
        )

    def _all(self, bodies: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The answers to several requests, some of them at a time."""
        with ThreadPoolExecutor(self._parallel) as pool:
            return list(pool.map(self._answer, bodies))

    def _answer(self, body: Mapping[str, Any]) -> Any:
        connection, answer = self._send("/completions", body)
        try:
            content = answer.read(_LIMIT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise EndpointError(f"{self.url}: the answer broke off: {error}") from error
        finally:
            connection.close()
        found = check_value(self._json(content), _ANSWER, where=f"the answer of {self.url}", error=EndpointError)
        self._count(found["usage"])
        return found

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        with self._lock:
            self.requests += 1
            if usage is not None:
                self.prompt_tokens += usage["prompt_tokens"]
                self.completion_tokens += usage["completion_tokens"]

    def _pieces(self, answer: http.client.HTTPResponse) -> Iterator[str]:
        where = f"an event of {self.url}"
        for line in answer:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = self._json(data)
            if isinstance(event, dict) and event.get("error"):
                raise EndpointError(f"{self.url}: {_failure(data, 200)}")
            found = check_value(event, _CHUNK, where=where, error=EndpointError)
            yield from (choice["text"] for choice in found["choices"] if choice["text"])
            if event.get("usage") is not None:
                self._count(check_value(event["usage"], _USAGE, where=where, error=EndpointError))
        raise EndpointError(f"{self.url}: the stream ended without [DONE]")

    def _json(self, content: bytes) -> Any:
        return parse_json(content, where=f"the answer of {self.url}", error=EndpointError)

    def _send(self, path: str, body: Mapping[str, Any]) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Sends a request, again where that may help; returns the open connection and an answer of status 200."""
        data, tries = json.dumps(body).encode(), 0
        while True:
            connection = self._connection()
            after = None
            try:
                connection.request("POST", self._parts.path.rstrip("/") + path, data, self._headers)
                answer = connection.getresponse()
                if answer.status == 200:
                    return connection, answer
                problem = _failure(answer.read(1 << 16), answer.status)
                again, after = answer.status in _RETRIED, answer.getheader("Retry-After")
            except (OSError, http.client.HTTPException) as error:
                problem, again = f"no answer: {error or type(error).__name__}", True
            connection.close()
            if not again or tries == self._retries:
                raise EndpointError(f"{self.url}{path}: {problem}" + (f" (tried {tries + 1} times)" if tries else ""))
            tries += 1
            self._wait(_pause(tries, after))

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname, self._parts.port
        assert host is not None
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"


def _choices(answer: Any, n: int, url: str) -> list[Any]:
    choices: list[Any] = answer["choices"]
    if len(choices) != n:
        raise EndpointError(f"{url} gave {len(choices)} completions; {n} were wanted")
    return choices


def _failure(content: bytes, status: int) -> str:
    """What a refused request's answer says, short and on one line."""
    try:
        error = check_value(parse_json(content, where="", error=EndpointError), _FAILURE, where="", error=EndpointError)
        message = error["error"] if isinstance(error["error"], str) else error["error"]["message"]
    except EndpointError:
        message = content[:200].decode("utf-8", "replace")
    return f"status {status}: {ascii(message)[1:-1][:400]}"


def _pause(tries: int, after: str | None) -> float:
    """Seconds before the next try: what the endpoint says, else twice as long each time."""
    if after is not None and after.isdigit():
        return min(float(after), _LONGEST_WAIT_SECONDS)
    return min(0.5 * 2.0 ** (tries - 1), _LONGEST_WAIT_SECONDS)
