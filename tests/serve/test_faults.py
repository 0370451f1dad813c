"""What goes wrong: clients that leave or are slow, a scheduler that fails, full queues, hostile requests, a shutdown.

Every fault is an answer with an error, or a closed connection; the next request works, and nothing runs on.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from live_server import CONFIG, WAIT_SECONDS, LiveServer, live_server, wait_until
from scripted_scheduler import Script, no_pages, scripted
from stategpt.serve.exchange import EventStream
from stategpt.serve.keys import Keys
from stategpt.serve.server import allow_open_files
from stategpt.serve.worker import Job

ASK: dict[str, Any] = {"prompt": "Return", "max_tokens": 3, "seed": 0}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 3}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def live(script: Script) -> Iterator[LiveServer]:
    with live_server({"tiny": scripted(script)}) as running:
        yield running


def works(live: LiveServer) -> bool:
    status, answer = live.post("/v1/completions", ASK)
    return status == 200 and answer["choices"][0]["text"] == "abc"


def error_of(answer: tuple[int, Any]) -> tuple[int, Any, Any]:
    """Status, field and code, of an answer that has the form of OpenAI's errors."""
    status, body = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return status, body["error"]["param"], body["error"]["code"]


def test_a_scheduler_that_raises_is_made_again(live: LiveServer, script: Script) -> None:
    script.raise_in_step.append(RuntimeError("the secret of another request"))
    status, answer = live.post("/v1/completions", ASK)
    assert error_of((status, answer)) == (500, None, "engine")
    assert "secret" not in json.dumps(answer)
    assert works(live)
    assert len(script.made) == 2
    assert "stategpt_engine_restarts 1" in live.get("/metrics")[1]


def test_a_request_that_fails_leaves_the_others(live: LiveServer, script: Script) -> None:
    script.fail_next.append(no_pages())
    status, answer = live.post("/v1/completions", ASK)
    assert error_of((status, answer)) == (503, None, "overloaded")
    assert "6 pages" in answer["error"]["message"]
    assert works(live)


def test_an_error_in_a_stream_is_its_last_event(live: LiveServer, script: Script) -> None:
    script.endless = True
    connection = live.connection()
    connection.request(
        "POST", "/v1/completions", json.dumps({**ASK, "stream": True}), {"Content-Type": "application/json"}
    )
    with connection.getresponse() as stream:
        first = stream.readline()
        assert first.startswith(b"data: ")
        script.raise_in_step.append(RuntimeError("late"))
        rest = stream.read()
    connection.close()
    last = [line for line in rest.split(b"\n") if line.startswith(b"data: ")][-1]
    assert b"[DONE]" not in rest
    assert json.loads(last[6:])["error"]["code"] == "engine"
    script.endless = False
    assert works(live)


def test_a_stream_is_in_flight_until_its_end(live: LiveServer, script: Script) -> None:
    script.endless = True
    connection = live.connection()
    connection.request(
        "POST", "/v1/completions", json.dumps({**ASK, "stream": True}), {"Content-Type": "application/json"}
    )
    with connection.getresponse() as stream:
        assert stream.readline().startswith(b"data: ")
        page = live.get("/metrics")[1]
        assert "stategpt_requests_in_flight 2" in page, "the stream, and the page itself"
        assert 'endpoint="/v1/completions"' not in page
        script.endless = False
        script.raise_in_step.append(RuntimeError("enough"))
        stream.read()
    connection.close()
    wait_until(lambda: 'endpoint="/v1/completions",status="200"} 1' in live.get("/metrics")[1])
    assert "stategpt_requests_in_flight 1" in live.get("/metrics")[1]


def test_a_full_queue_says_when_to_come_again(live: LiveServer, script: Script) -> None:
    script.full = True
    status, _, headers = live.request("POST", "/v1/completions", ASK)
    assert (status, headers["retry-after"]) == (503, "1")
    script.full = False
    assert works(live)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_frees_what_it_held(live: LiveServer, script: Script, streamed: bool) -> None:
    script.endless = True
    with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as client:
        client.sendall(raw_request({**ASK, "stream": streamed}))
        if streamed:
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
        else:
            wait_until(lambda: script.running == 1)
    wait_until(lambda: script.running == 0)
    assert script.made[-1].cancelled == 1
    script.endless = False
    assert works(live)
    wait_until(lambda: "stategpt_disconnects_total 1" in live.get("/metrics")[1])


def raw_request(body: Any, path: str = "/v1/completions") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, None, "invalid_json")),
        (b"[1]", (400, None, "invalid_json")),
        (b'{"prompt": "a", "prompt": "b"}', (400, None, "invalid_json")),
        (b"[" * 100_000, (400, None, "invalid_json")),
        (b'{"prompt": NaN}', (400, None, "invalid_json")),
        ({}, (400, "prompt", "missing_required_parameter")),
        ({**ASK, "tempreature": 1}, (400, "tempreature", "unknown_parameter")),
        ({**ASK, "temperature": "hot"}, (400, "temperature", "invalid_value")),
        ({**ASK, "temperature": -1}, (400, "temperature", "invalid_value")),
        ({**ASK, "n": 65}, (400, "n", "invalid_value")),
        ({**ASK, "n": True}, (400, "n", "invalid_value")),
        ({**ASK, "prompt": ["a"] * 9, "n": 8}, (400, "n", "invalid_value")),
        ({**ASK, "max_tokens": 5000}, (400, "max_tokens", "invalid_value")),
        ({**ASK, "max_tokens": 0}, (400, "max_tokens", "invalid_value")),
        ({**ASK, "best_of": 3}, (400, "best_of", "unsupported_parameter")),
        ({**ASK, "suffix": "b"}, (400, "suffix", "unsupported_parameter")),
        ({**ASK, "model": "huge"}, (404, "model", "model_not_found")),
        ({**ASK, "prompt": ""}, (400, "prompt", "invalid_value")),
        ({**ASK, "prompt": [1, 4000]}, (400, "prompt", "invalid_value")),
        ({**ASK, "prompt": ["ok", "\ud800"]}, (400, "prompt[1]", "invalid_value")),
        ({**ASK, "prompt": list(range(16, 290)) * 15}, (400, "prompt", "context_length_exceeded")),
        ({**ASK, "logit_bias": {"x": 1}}, (400, "logit_bias", "invalid_value")),
        ({**ASK, "logit_bias": {"5000": 1}}, (400, "logit_bias", "invalid_value")),
        ({**ASK, "stop": [""]}, (400, "stop", "invalid_value")),
        ({**ASK, "stop": [1]}, (400, "stop[0]", "invalid_value")),
        ({**ASK, "stream_options": {"include_usage": True}}, (400, "stream_options", "invalid_value")),
        ({**ASK, "regex": "a" * 70_000}, (400, "regex", "schema_too_large")),
        ({**ASK, "regex": "bad"}, (400, "regex", "invalid_value")),
        ({**ASK, "regex": "a", "choice": ["b"]}, (400, "choice", "invalid_value")),
        ({**ASK, "response_format": {"type": "xml"}}, (400, "response_format.type", "invalid_value")),
    ],
)
def test_a_bad_request_is_refused_by_its_field(live: LiveServer, body: Any, expected: Any) -> None:
    assert error_of(live.post("/v1/completions", body)) == expected
    assert works(live)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a", "mood": "b"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id"),
        ({**CHAT, "top_logprobs": 2}, "top_logprobs"),
        ({**CHAT, "functions": []}, "functions"),
        ({**CHAT, "reasoning_effort": "high"}, "reasoning_effort"),
        ({**CHAT, "tool_choice": "required"}, "tool_choice"),
        ({**CHAT, "tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({**CHAT, "max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({**CHAT, "continue_final_message": True}, "continue_final_message"),
    ],
)
def test_a_bad_chat_is_refused_by_its_field(live: LiveServer, body: Any, param: str) -> None:
    assert error_of(live.post("/v1/chat/completions", body))[:2] == (400, param)
    assert live.post("/v1/chat/completions", CHAT)[0] == 200


def test_fields_that_ask_for_nothing_are_taken(live: LiveServer) -> None:
    neutral = {"user": "me", "store": False, "service_tier": "auto", "metadata": {"a": "b"}, "seed": None, "best_of": 1}
    assert live.post("/v1/completions", {**ASK, **neutral})[0] == 200


def test_paths_methods_and_content_types(live: LiveServer) -> None:
    assert error_of(live.post("/v1/edits", {}))[0] == 404
    status, content = live.get("/v1/completions")
    assert (status, json.loads(content)["error"]["code"]) == (405, "not_found")
    status, content, _ = live.request("POST", "/v1/completions", ASK, Content_Type="text/plain")
    assert (status, json.loads(content)["error"]["code"]) == (415, "unsupported_media_type")


def test_a_page_of_another_site_is_kept_out(live: LiveServer) -> None:
    status, content, headers = live.request("POST", "/v1/completions", ASK, Host="evil.example:80")
    assert (status, json.loads(content)["error"]["code"]) == (403, "unknown_host")
    status, content, headers = live.request("OPTIONS", "/v1/completions", None, Origin="http://evil.example")
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_body_that_is_too_large_or_never_comes(script: Script) -> None:
    config = replace(CONFIG, max_body_bytes=1000, body_seconds=0.2, header_seconds=0.2)
    with live_server({"tiny": scripted(script)}, config) as live:
        assert error_of(live.post("/v1/completions", {**ASK, "prompt": "a" * 2000}))[::2] == (413, "request_too_large")
        with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as slow:
            slow.sendall(raw_request(ASK)[:-5])
            assert slow.recv(1024).startswith(b"HTTP/1.1 408")
        with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as silent:
            silent.sendall(b"POST /v1/comp")
            assert silent.recv(1024) == b"", "a connection without headers is closed"
        assert works(live)


def test_a_body_that_is_too_large_without_saying_so(script: Script) -> None:
    with live_server({"tiny": scripted(script)}, replace(CONFIG, max_body_bytes=1000)) as live:
        for size, expected in ((900, 200), (1001, 413)):
            content = json.dumps(ASK).encode().ljust(size)
            head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            chunks = [content[at : at + 100] for at in range(0, size, 100)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
            with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as client:
                client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")
                assert client.recv(64).startswith(b"HTTP/1.1 %d" % expected)


@pytest.mark.parametrize(
    ("setting", "path", "body", "expected"),
    [
        ({"max_tokens": 5}, "completions", {**ASK, "max_tokens": 6}, (400, "max_tokens")),
        ({"max_tokens": 5}, "completions", {**ASK, "min_tokens": 6}, (400, "min_tokens")),
        ({"max_tokens": 5}, "chat/completions", {**CHAT, "max_tokens": 6}, (400, "max_tokens")),
        ({"max_n": 2}, "completions", {**ASK, "n": 3}, (400, "n")),
        ({"max_n": 2}, "completions", {**ASK, "n": 2, "branches": ["a", "b"]}, (400, "n")),
        ({"max_n": 2}, "completions", {**ASK, "prompt": ["a"] * 3}, (400, "prompt")),
        ({"max_prompt_tokens": 3}, "completions", {**ASK, "prompt": [20] * 4}, (400, "prompt")),
        ({"max_prompt_tokens": 3}, "chat/completions", CHAT, (400, "messages")),
        ({"max_top_logprobs": 2}, "completions", {**ASK, "logprobs": 3}, (400, "logprobs")),
        ({"max_top_logprobs": 2}, "chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 3},
         (400, "top_logprobs")),
        ({"max_inputs": 2}, "embeddings", {"input": ["a"] * 3}, (400, "input")),
        ({"max_schema_bytes": 9}, "completions", {**ASK, "regex": "a" * 10}, (400, "regex")),
        ({"max_schema_bytes": 9}, "completions", {**ASK, "choice": ["aaaaaaaaaa"]}, (400, "choice")),
        ({"max_body_bytes": 9}, "completions", ASK, (413, None)),
    ],
)  # fmt: skip
def test_each_limit_of_a_request_is_a_setting(setting: Any, path: str, body: Any, expected: Any) -> None:
    with live_server({"tiny": scripted(Script())}) as live:
        assert live.post(f"/v1/{path}", body)[0] == 200
    config = replace(CONFIG, **setting)
    with live_server({"tiny": scripted(Script())}, config) as live:
        assert error_of(live.post(f"/v1/{path}", body))[:2] == expected


def test_a_chat_without_a_number_of_tokens_has_as_many_as_the_setting_says() -> None:
    with live_server({"tiny": scripted(Script())}, replace(CONFIG, max_tokens=5)) as live:
        assert live.post("/v1/chat/completions", {"messages": CHAT["messages"]})[1]["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(("every", "expected"), [(1, [1] * 8), (3, [1, 3, 3, 1]), (99, [1, 7])])
def test_a_stream_has_as_many_tokens_in_an_event_as_the_setting_says(
    monkeypatch: pytest.MonkeyPatch, every: int, expected: list[int]
) -> None:
    delivered, receive = [], Job.receive

    def noted(job: Job, events: list[Any], *more: Any) -> None:
        delivered.append(len(events))
        receive(job, events, *more)

    monkeypatch.setattr(Job, "receive", noted)
    with live_server({"tiny": scripted(Script())}, replace(CONFIG, stream_tokens=every)) as running:
        body = {**ASK, "max_tokens": 8}
        events = running.events("/v1/completions", body)
        assert "".join(event["choices"][0]["text"] for event in events) == "abcdefgh"
        assert [each for each in delivered if each] == expected
        delivered.clear()
        assert running.post("/v1/completions", body)[1]["choices"][0]["text"] == "abcdefgh"
        assert [each for each in delivered if each] == [8]


def test_an_idle_connection_is_closed_and_one_in_use_is_kept() -> None:
    with live_server({"tiny": scripted(Script())}, replace(CONFIG, keep_alive_seconds=1)) as live:
        connection = live.connection()
        for _ in range(2):
            connection.request("GET", "/health")
            assert connection.getresponse().read()
        assert len(live.context.connections) == 1
        wait_until(lambda: len(live.context.connections) == 0)
        connection.close()


def test_a_stream_that_nobody_reads_is_given_up() -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncGenerator[list[Any], None]:
        try:
            yield [1]
            raise AssertionError("nobody has read the first piece")
        finally:
            ended.set()

    async def blocked(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def send() -> None:
        async with asyncio.timeout(5):
            await EventStream(pieces(), replace(CONFIG, send_seconds=0.05))({}, blocked, blocked)  # type: ignore[arg-type]
        assert ended.is_set(), "its request ends with it, not when somebody collects it"

    asyncio.run(send())


def test_a_client_that_does_not_read_is_given_up(script: Script) -> None:
    script.endless = True
    with live_server({"tiny": scripted(script)}, replace(CONFIG, send_seconds=0.3)) as live:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", live.port))
            client.sendall(raw_request({**ASK, "stream": True, "n": 64}))
            wait_until(lambda: script.made[-1].cancelled == 1)
        script.endless = False
        assert works(live)


def test_one_connection_too_many_gets_503_and_far_too_many_are_closed(script: Script) -> None:
    with live_server({"tiny": scripted(script)}, replace(CONFIG, max_connections=2)) as live:
        held = [socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) for _ in range(2)]
        wait_until(lambda: len(live.context.connections) == 2)
        status, content, headers = live.request("POST", "/v1/completions", ASK)
        assert (status, headers["retry-after"], json.loads(content)["error"]["code"]) == (503, "1", "overloaded")
        wait_until(lambda: len(live.context.connections) == 2)
        held += [socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) for _ in range(2)]
        wait_until(lambda: len(live.context.connections) == 4)
        with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as fifth:
            assert closed_at_once(fifth)
        held[0].sendall(raw_request(ASK))
        assert held[0].recv(64).startswith(b"HTTP/1.1 200"), "those that were there still work"
        for each in held:
            each.close()
        wait_until(lambda: len(live.context.connections) == 0)


def closed_at_once(client: socket.socket) -> bool:
    """Whether a connection ends although nothing was sent, before the time in which headers must come."""
    client.settimeout(CONFIG.header_seconds / 2)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_the_thousandth_connection_works_and_the_next_gets_503(script: Script, open_files: int) -> None:
    limit = 1000 if open_files >= 2500 else 40
    with live_server({"tiny": scripted(script)}, replace(CONFIG, max_connections=limit)) as live:
        held = [socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) for _ in range(limit - 1)]
        wait_until(lambda: len(live.context.connections) == limit - 1)
        assert works(live)
        held.append(socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS))
        wait_until(lambda: len(live.context.connections) == limit)
        status, content, headers = live.request("POST", "/v1/completions", ASK)
        assert (status, headers["retry-after"], json.loads(content)["error"]["code"]) == (503, "1", "overloaded")
        held[3].sendall(raw_request(ASK))
        assert held[3].recv(64).startswith(b"HTTP/1.1 200"), "those that were there still work"
        for each in held:
            each.close()
        wait_until(lambda: len(live.context.connections) == 0)
        assert works(live)


@pytest.fixture
def open_files() -> Iterator[int]:
    """As many open files as a test needs, where the system allows them."""
    resource = pytest.importorskip("resource", reason="limits of this kind are a matter of Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = max(soft, min(hard, 4096))
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    yield allowed
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_to_what_connections_need(
    open_files: int, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource", reason="limits of this kind are a matter of Unix")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_open_files(replace(CONFIG, max_connections=200))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (528, hard)
    allow_open_files(replace(CONFIG, max_connections=20))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (528, hard), "it is never lowered"
    assert not caplog.messages
    if hard != resource.RLIM_INFINITY:
        allow_open_files(replace(CONFIG, max_connections=hard))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert f"allows {hard} open files" in caplog.text


def test_a_constraint_that_takes_too_long_is_an_error(script: Script) -> None:
    with live_server({"tiny": scripted(script)}, replace(CONFIG, compile_seconds=0.05)) as live:
        assert error_of(live.post("/v1/completions", {**ASK, "regex": "slow"})) == (400, "regex", "schema_too_complex")
        script.may_compile.set()
        assert works(live)


def test_constraints_that_hang_hold_up_nothing_but_constraints(script: Script) -> None:
    with live_server({"tiny": scripted(script)}, replace(CONFIG, compile_seconds=0.5)) as live:
        with ThreadPoolExecutor(40) as pool:
            answers = pool.map(lambda _: live.post("/v1/completions", {**ASK, "regex": "slow"}), range(40))
            found = {error_of(answer) for answer in answers}
        assert found == {(400, "regex", "schema_too_complex"), (503, None, "overloaded")}
        large = {**ASK, "user": "a" * 1000, "prompt": "a " * 20_000, "max_tokens": 1}  # read in another thread
        assert error_of(live.post("/v1/completions", large))[2] == "context_length_exceeded"
        assert works(live)
        script.may_compile.set()
        wait_until(lambda: live.post("/v1/completions", {**ASK, "regex": "a"})[0] == 200)


def test_embeddings_of_a_client_that_left_are_not_computed(live: LiveServer, script: Script) -> None:
    script.may_step.clear()
    with socket.create_connection(("127.0.0.1", live.port), WAIT_SECONDS) as client:
        client.sendall(raw_request({"input": [[20] * 2000] * 5}, "/v1/embeddings"))
        wait_until(lambda: live.context.metrics.in_flight.value() == 1)
    wait_until(lambda: len(live.context.connections) == 0)
    script.may_step.set()
    wait_until(lambda: live.context.metrics.disconnects.value() == 1)
    assert script.embedded == 1
    assert works(live)


def test_stopping_lets_requests_finish(script: Script) -> None:
    found: list[Any] = []
    with live_server({"tiny": scripted(script)}) as live:
        script.may_step.clear()
        asking = threading.Thread(target=lambda: found.append(live.post("/v1/completions", ASK)))
        asking.start()
        wait_until(lambda: script.running == 1)
        live.server.should_exit = True
        wait_until(lambda: live.context.draining)
        script.may_step.set()
        asking.join(WAIT_SECONDS)
    assert found[0][0] == 200


def test_stopping_cancels_what_does_not_finish(script: Script) -> None:
    script.endless = True
    found: list[Any] = []
    with live_server({"tiny": scripted(script)}, replace(CONFIG, grace_seconds=0.2)) as live:
        asking = threading.Thread(target=lambda: found.append(live.post("/v1/completions", ASK)))
        asking.start()
        wait_until(lambda: script.running == 1)
        live.server.should_exit = True
        asking.join(WAIT_SECONDS)
    assert error_of(found[0]) == (503, None, "shutting_down")
    assert not live.context.worker.alive


def test_a_dead_worker_shows_in_the_health(live: LiveServer, script: Script) -> None:
    script.raise_in_step.append(SystemExit("gone"))
    assert live.post("/v1/completions", ASK)[0] == 503
    wait_until(lambda: not live.context.worker.alive)
    status, content = live.get("/health")
    assert (status, json.loads(content)["error"]["code"]) == (503, "engine_dead")
    assert error_of(live.post("/v1/completions", ASK))[0] == 503


def test_without_keys_nobody_needs_one(live: LiveServer) -> None:
    assert not Keys((), lambda: 0.0).required
    assert live.get("/v1/models")[0] == 200
