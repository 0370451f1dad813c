"""Another server as a language model: our own plays it, and one that lies. And the gate of log-probabilities."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from live_server import CONFIG, LiveServer, live_server  # noqa: E402
from stategpt.errors import EndpointError, ExportMismatch, InvalidArgument  # noqa: E402
from stategpt.generate import Engine, LanguageModel  # noqa: E402
from stategpt.serve.endpoint import Endpoint  # noqa: E402
from stategpt.serve.gate import compare_with_endpoint  # noqa: E402
from stategpt.serve.host import Host  # noqa: E402
from tiny_models import full_logits, raw_log_probs, tiny_model, tiny_tokenizer  # noqa: E402

GOOD = {"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    with live_server({"tiny": Host(tiny_model(), tiny_tokenizer(), None, CONFIG).served("tiny")}) as running:
        yield running


@pytest.fixture
def endpoint(live: LiveServer) -> Endpoint:
    return Endpoint(f"{live.url}/v1", "tiny", tok=tiny_tokenizer())


def test_an_endpoint_is_a_language_model_like_the_engine(endpoint: Endpoint) -> None:
    engine = Engine(tiny_model(), tiny_tokenizer())
    models: list[LanguageModel] = [engine, endpoint]
    here, there = (model.generate(["Return"], n=3, max_tokens=8, seed=5) for model in models)
    assert [c.text for c in here] == [c.text for c in there]
    assert [(c.prompt_index, c.sample_index, c.reason) for c in here] == [
        (c.prompt_index, c.sample_index, c.reason) for c in there
    ]
    here_text, there_text = ("".join(model.stream("Return", max_tokens=8, seed=2)) for model in models)
    assert here_text == there_text
    prompts, behind = [np.array([20, 21], dtype=np.uint32)], ["the list"]
    mine, theirs = (model.score(prompts, behind)[0] for model in models)
    assert np.allclose(mine, theirs, atol=1e-5)
    assert endpoint.requests == 3
    assert endpoint.completion_tokens >= sum(len(c.ids) for c in here)


def test_ids_come_where_they_are_wanted(endpoint: Endpoint) -> None:
    engine = Engine(tiny_model(), tiny_tokenizer())
    (there,) = endpoint.generate(["Return"], max_tokens=8, seed=5, return_token_ids=True)
    assert there.ids.tolist() == engine.generate(["Return"], max_tokens=8, seed=5)[0].ids.tolist()


def test_the_gate_passes_the_same_model_and_names_the_token_of_another(endpoint: Endpoint) -> None:
    model = tiny_model()
    texts = [tiny_tokenizer().encode(text) for text in ("Return the length of a list", "True if the key")]
    found = compare_with_endpoint(model, texts, endpoint, vocabulary=tiny_tokenizer().vocab_size, tolerance=1e-3)
    assert found.tokens == sum(len(ids) - 1 for ids in texts)
    assert found.largest_difference < 1e-4
    assert np.isclose(found.here, raw_log_probs(model, texts[found.text], 1)[found.position - 1], atol=1e-5)
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight.mul_(1.5)
    with pytest.raises(ExportMismatch, match=r"token \d+ of text \d"):
        compare_with_endpoint(model, texts, endpoint, vocabulary=tiny_tokenizer().vocab_size, tolerance=0.05)


@pytest.mark.parametrize("knows_tokenizer", [True, False])
def test_ids_without_text_count_for_both_or_for_neither(knows_tokenizer: bool) -> None:
    """This package gives padding no probability; a server that knows the model alone does."""
    model, tok = tiny_model(padding=20), tiny_tokenizer()
    texts = [tok.encode("Return the length of a list")]
    if knows_tokenizer:
        with live_server({"tiny": Host(model, tok, None, CONFIG).served("tiny")}) as live:
            found = compare_with_endpoint(
                model, texts, Endpoint(f"{live.url}/v1", "tiny"), vocabulary=tok.vocab_size, tolerance=1e-3
            )
        assert found.vocabulary == tok.vocab_size
    else:
        found = compare_with_endpoint(model, texts, WholeMatrix(model), vocabulary=tok.vocab_size, tolerance=1e-3)
        assert found.vocabulary == tok.vocab_size + 20
    with pytest.raises(ExportMismatch):
        compare_with_endpoint(tiny_model(1, padding=20), texts, WholeMatrix(model), vocabulary=tok.vocab_size)


class WholeMatrix:
    """Scores as transformers and vLLM do: the softmax is over all rows of the output matrix."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def prompt_log_probs(self, texts: Any) -> list[Any]:
        found = []
        for ids in texts:
            rows = full_logits(self._model, ids[:-1]).log_softmax(-1).numpy()
            found.append(np.concatenate([[np.nan], rows[np.arange(len(ids) - 1), ids[1:]]]).astype(np.float32))
        return found


def test_wrong_arguments(endpoint: Endpoint, live: LiveServer) -> None:
    with pytest.raises(InvalidArgument, match="give one as http"):
        Endpoint("ftp://host", "tiny")
    with pytest.raises(InvalidArgument, match="no tokenizer"):
        Endpoint(f"{live.url}/v1", "tiny").score(["a"], ["b"])
    with pytest.raises(EndpointError, match=r"status 404: no model is called 'huge'"):
        Endpoint(f"{live.url}/v1", "huge").generate(["a"])
    with pytest.raises(EndpointError, match="is no field of this request"):
        endpoint.generate(["a"], tempo=3)


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers what the test has put in its list, one after another."""

    answers: ClassVar[list[tuple[int, bytes]]] = []
    seen: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        self.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, content = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def liar() -> Iterator[tuple[type[Liar], Endpoint, list[float]]]:
    waits: list[float] = []
    Liar.answers, Liar.seen = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield Liar, Endpoint(url, "tiny", tok=tiny_tokenizer(), wait=waits.append), waits
        server.shutdown()
        thread.join()


def test_what_passes_is_tried_again(liar: Any) -> None:
    answers, endpoint, waits = liar
    answers.answers = [(429, b"{}"), (503, b"busy"), (200, json.dumps(GOOD).encode())]
    assert endpoint.generate(["a"])[0].text == "a"
    assert waits == [7.0, 1.0]
    assert (endpoint.requests, endpoint.prompt_tokens, endpoint.completion_tokens) == (1, 3, 1)
    answers.answers = [(500, b'{"error": {"message": "broken\\nhere"}}')] * 3
    with pytest.raises(EndpointError, match=r"status 500: broken\\nhere \(tried 3 times\)"):
        endpoint.generate(["a"])


def test_what_does_not_pass_is_not_tried_again(liar: Any) -> None:
    answers, endpoint, waits = liar
    answers.answers = [(400, b'{"error": "no"}')]
    with pytest.raises(EndpointError, match="status 400: no"):
        endpoint.generate(["a"])
    assert waits == []


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"text": 5}]}',
        b'{"choices": [{"text": "a", "finish_reason": "stop"}, {"text": "b"}]}',
        b'{"choices": [{"text": "a"}], "usage": {"prompt_tokens": -1}}',
        b'{"choices": [{"text": "a", "token_ids": ["x"]}]}',
    ],
)
def test_an_answer_that_is_none_is_an_error(liar: Any, content: bytes) -> None:
    answers, endpoint, _ = liar
    answers.answers = [(200, content)]
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1"):
        endpoint.generate(["a"])


@pytest.mark.parametrize(
    "log_probs",
    [None, {"tokens": [], "token_logprobs": []}, {"tokens": ["a"], "token_logprobs": [-1.0]},
     {"tokens": ["a", "b"], "token_logprobs": [None, None]}],
)  # fmt: skip
def test_scores_are_never_made_up(liar: Any, log_probs: Any) -> None:
    answers, endpoint, _ = liar
    answers.answers = [(200, json.dumps({"choices": [{"text": "a", "logprobs": log_probs}]}).encode())]
    with pytest.raises(EndpointError, match="log-probabilities"):
        endpoint.score([np.array([20], dtype=np.uint32)], [np.array([21], dtype=np.uint32)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'data: {"choices": [{"text": "a"}]}\n\n', r"without \[DONE\]"),
        (b'data: {"error": {"message": "late"}}\n\n', "late"),
        (b"data: {\n\n", "not valid JSON"),
        (b'data: {"choices": 5}\n\n', "an array"),
    ],
)
def test_a_stream_that_breaks_is_an_error(liar: Any, content: bytes, message: str) -> None:
    answers, endpoint, _ = liar
    answers.answers = [(200, content)]
    with pytest.raises(EndpointError, match=message):
        list(endpoint.stream("a"))


def test_nobody_there() -> None:
    with pytest.raises(EndpointError, match=r"no answer: .*\(tried 2 times\)"):
        Endpoint("http://127.0.0.1:9/v1", "tiny", retries=1, wait=lambda seconds: None).generate(["a"])
