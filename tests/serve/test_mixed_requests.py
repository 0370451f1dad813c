"""Five hundred requests of every kind at a time, with clients that leave: no wrong answer, no page left over."""

from __future__ import annotations

import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from live_server import CONFIG, WAIT_SECONDS, LiveServer, live_server
from stategpt.data import Message
from stategpt.generate import Engine
from stategpt.serve.host import Host
from tiny_models import TEXT, tiny_model, tiny_tokenizer

REQUESTS, AT_A_TIME = 500, 24
KINDS = ("text", "chat", "stream", "branches", "leaves", "leaves a stream", "wrong", "embedding", "long")


def settings_of(number: int) -> dict[str, Any]:
    draw = random.Random(number)
    return {
        "seed": draw.randrange(1000),
        "n": draw.choice([1, 1, 2, 3]),
        "max_tokens": draw.choice([1, 4, 9, 17]),
        "temperature": draw.choice([0.0, 0.7, 1.0]),
        **draw.choice([{}, {"top_k": 5}, {"top_p": 0.9}, {"stop": ["e"]}]),
    }


def prompt_of(number: int) -> str:
    """Prompts begin alike, so that they share pages."""
    draw = random.Random(number)
    return (TEXT * 3)[: draw.choice([6, 40, 90, 150])] + str(draw.randrange(8))


def expected(engine: Engine, number: int, kind: str) -> list[str]:
    settings = settings_of(number)
    prompt: Any = prompt_of(number)
    if kind == "chat":
        prompt = engine.dialogue.prompt([Message("user", prompt)])
    if kind == "branches":
        ids = engine.tok.encode(prompt)
        prompts = [[engine.end_ids[0], *ids.tolist(), *engine.tok.encode(suffix).tolist()] for suffix in ("a", "b")]
        return [c.text for c in engine.generate(prompts, **settings)]
    return [completion.text for completion in engine.generate([prompt], **settings)]


def ask(live: LiveServer, number: int) -> tuple[str, list[str] | None]:
    """Sends request `number`; returns its kind, and the texts that came if there should be any."""
    kind, settings = KINDS[number % len(KINDS)], settings_of(number)
    body = {"prompt": prompt_of(number), **settings}
    if kind in ("text", "long"):
        status, answer = live.post("/v1/completions", body)
        assert status == 200, answer
        return kind, [choice["text"] for choice in answer["choices"]]
    if kind == "chat":
        body = {"messages": [{"role": "user", "content": prompt_of(number)}], **settings}
        status, answer = live.post("/v1/chat/completions", body)
        assert status == 200, answer
        return kind, [choice["message"]["content"] for choice in answer["choices"]]
    if kind == "stream":
        texts = [""] * settings["n"]
        for event in live.events("/v1/completions", body):
            for choice in event["choices"]:
                texts[choice["index"]] += choice["text"]
        return kind, texts
    if kind == "branches":
        status, answer = live.post("/v1/completions", {**body, "branches": ["a", "b"]})
        assert status == 200, answer
        return kind, [choice["text"] for choice in answer["choices"]]
    if kind.startswith("leaves"):
        leave(live, {**body, "max_tokens": 400, "stream": kind.endswith("stream")}, number)
    if kind == "wrong":
        assert live.post("/v1/completions", {**body, "temperature": "warm"})[0] == 400
    if kind == "embedding":
        assert live.post("/v1/embeddings", {"input": prompt_of(number)})[0] == 200
    return kind, None


def leave(live: LiveServer, body: Any, number: int) -> None:
    """Sends a request and goes: at once, after some bytes of the answer, or in the middle of the request."""
    content = json.dumps(body).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as client:
        sent = head % len(content) + content
        client.sendall(sent if number % 3 else sent[: len(sent) // 2])
        if number % 3 == 1 and body["stream"]:
            client.recv(200)


@pytest.mark.slow
def test_mixed_requests_are_right_and_leave_nothing() -> None:
    model = tiny_model(context_tokens=512)
    config = replace(CONFIG, kv_bytes=1 << 20, batch_rows=16, step_tokens=64)
    host = Host(model, tiny_tokenizer(), None, config)
    with live_server({"tiny": host.served("tiny")}, config) as live:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            answers = list(pool.map(lambda number: ask(live, number), range(REQUESTS)))
        numbers = live.settled()["tiny"]
        assert numbers["pages_used"] == numbers["pages_cached"], "what is used is only the cache of prefixes"
        host.engine.memory.forget()
        assert live.gauges()["tiny"]["pages_used"] == 0
        assert numbers["cancelled"] > 0
        assert numbers["reused"] > 0
        assert live.context.worker.restarts == 0
        host.engine.memory.pool.check()
    engine = Engine(model, tiny_tokenizer())
    wrong = [
        (number, kind, texts)
        for number, (kind, texts) in enumerate(answers)
        if texts is not None and texts != expected(engine, number, kind)
    ]
    assert not wrong
    assert sum(texts is not None for _, texts in answers) > REQUESTS / 2
