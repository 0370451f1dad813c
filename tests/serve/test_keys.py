"""API keys: who may ask, how much, and whose prompts share the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from live_server import CONFIG, LiveServer, live_server, wait_until
from scripted_scheduler import Script, scripted
from stategpt.errors import ConfigError, OutOfPages
from stategpt.generate import Engine
from stategpt.serve.errors import ApiError
from stategpt.serve.host import Host
from stategpt.serve.keys import DAY_SECONDS, Key, Keys, read_keys
from stategpt.serve.server import open_socket
from tiny_models import TEXT, tiny_model, tiny_tokenizer

ALICE, BOB = "sk-alice-0123456789", "sk-bob-0123456789"
ASK: dict[str, Any] = {"prompt": "Return", "max_tokens": 3}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def keys(clock: Clock, limit: int | None = None) -> Keys:
    digests = [hashlib.sha256(key.encode()).digest() for key in (ALICE, BOB)]
    return Keys([Key("alice", digests[0], limit), Key("bob", digests[1])], clock)


@pytest.fixture
def live() -> Iterator[LiveServer]:
    with live_server({"tiny": scripted(Script())}, keys=keys(Clock(), limit=20)) as running:
        yield running


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", f"Bearer {ALICE}x", ALICE]
)
def test_without_a_known_key_there_is_no_answer(live: LiveServer, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    for path in ("/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize"):
        status, answer = live.post(path, ASK, **headers)
        assert (status, answer["error"]["code"], answer["error"]["type"]) == (
            401,
            "invalid_api_key",
            "authentication_error",
        )
    assert live.get("/v1/models", **headers)[0] == live.get("/metrics", **headers)[0] == 401
    assert live.get("/health")[0] == 200


def test_a_key_spends_its_day(live: LiveServer) -> None:
    def ask(key: str, **more: Any) -> tuple[int, Any]:
        return live.post("/v1/completions", {**ASK, "prompt": [20, 21], **more}, Authorization=f"Bearer {key}")

    assert ask(ALICE)[0] == 200  # 2 + 3 tokens
    status, answer = ask(ALICE, max_tokens=100)
    assert (status, answer["error"]["code"]) == (429, "insufficient_quota")
    assert "15 of 20 left" in answer["error"]["message"]
    assert [ask(ALICE)[0] for _ in range(4)] == [200, 200, 200, 429]
    assert ask(BOB, max_tokens=100)[0] == 200
    assert 'stategpt_key_tokens_total{key="alice"} 20' in live.get("/metrics", Authorization=f"Bearer {BOB}")[1]


def test_what_a_request_does_not_use_is_given_back_and_a_day_begins_again() -> None:
    clock = Clock()
    held = keys(clock, limit=100)
    alice = held.find(f"Bearer {ALICE}")
    assert alice is not None
    reservation = held.reserve(alice, 90)
    with pytest.raises(ApiError, match="10 of 100 left"):
        held.reserve(alice, 20)
    reservation.settle(30)
    reservation.settle(30)
    assert alice.used == 30
    late = held.reserve(alice, 70)
    clock.now = DAY_SECONDS
    held.reserve(alice, 100)
    late.settle(0)
    assert alice.used == 100, "what was reserved yesterday is not given back today"


def test_scoring_a_prompt_is_charged(live: LiveServer) -> None:
    body = {"prompt": [20, 21, 22, 23], "max_tokens": 0, "echo": True}
    found = [live.post("/v1/completions", body, Authorization=f"Bearer {ALICE}") for _ in range(5)]
    assert [status for status, _ in found] == [200, 200, 200, 200, 429]
    assert found[0][1]["usage"]["total_tokens"] == 4


@pytest.mark.parametrize("error", [RuntimeError("broken"), OutOfPages("no pages")])
def test_a_request_that_fails_gives_its_reservation_back(error: Exception) -> None:
    script, held = Script(), keys(Clock(), limit=100)
    alice = held.find(f"Bearer {ALICE}")
    assert alice is not None
    with live_server({"tiny": scripted(script)}, keys=held) as live:
        (script.fail_next if isinstance(error, OutOfPages) else script.raise_in_step).append(error)
        assert live.post("/v1/completions", {**ASK, "max_tokens": 90}, Authorization=f"Bearer {ALICE}")[0] >= 500
        assert alice.used == 0
        refused = {**ASK, "regex": "bad", "max_tokens": 90}
        assert live.post("/v1/completions", refused, Authorization=f"Bearer {ALICE}")[0] == 400
        assert alice.used == 0
        assert live.post("/v1/embeddings", {"input": [20, 21]}, Authorization=f"Bearer {ALICE}")[0] == 200
        assert alice.used == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_pays_for_what_was_computed(streamed: bool) -> None:
    script = Script()
    script.endless = True
    held = keys(Clock(), limit=10_000)
    with live_server({"tiny": scripted(script)}, keys=held) as live:
        body = json.dumps({**ASK, "prompt": [20, 21], "max_tokens": 4000, "stream": streamed})
        connection = live.connection()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ALICE}"}
        connection.request("POST", "/v1/completions", body, headers)
        wait_until(lambda: any(handle.written > 5 for handle in [*script.made[-1].open.values()]))
        script.may_step.clear()
        (handle,) = script.made[-1].open.values()
        connection.close()
        wait_until(lambda: live.context.metrics.disconnects.value() == 1)
        script.may_step.set()
        alice = held.find(f"Bearer {ALICE}")
        assert alice is not None
        wait_until(lambda: script.made[-1].cancelled == 1 and alice.used < 4002)
        assert alice.used == 2 + handle.written
        assert (
            f'stategpt_key_tokens_total{{key="alice"}} {alice.used}'
            in live.get("/metrics", Authorization=f"Bearer {BOB}")[1]
        )


def test_tokens_that_no_event_told_are_counted_when_a_request_is_cancelled() -> None:
    engine = Engine(tiny_model(), tiny_tokenizer())
    scheduler = engine.scheduler
    request = replace(engine.request("Return", 3, max_tokens=40, forbidden=engine.end_ids), incremental=False)
    handle = scheduler.submit(request)
    for _ in range(6):
        assert not scheduler.step()
    scheduler.cancel(handle)
    assert handle.untold_tokens == scheduler.counters.decoded > 9


@pytest.mark.parametrize("sharing", ["key", "all"])
def test_keys_share_prefixes_only_where_that_is_set(sharing: Literal["key", "all"]) -> None:
    config = replace(CONFIG, share_prefixes=sharing)
    host = Host(tiny_model(context_tokens=512), tiny_tokenizer(), None, config)
    with live_server({"tiny": host.served("tiny")}, config, keys=keys(Clock())) as live:

        def cached(key: str) -> int:
            body = {"prompt": TEXT * 2, "max_tokens": 1}
            status, answer = live.post("/v1/completions", body, Authorization=f"Bearer {key}")
            assert status == 200
            return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

        assert cached(ALICE) == 0
        assert cached(ALICE) > 0
        assert (cached(BOB) > 0) == (sharing == "all")


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_of_keys(tmp_path: Path) -> None:
    digest = hashlib.sha256(BOB.encode()).hexdigest()
    text = f'[keys.alice]\nkey = "{ALICE}"\ntokens_per_day = 5\n[keys.bob]\nsha256 = "{digest}"\n'
    found = read_keys(written(tmp_path, text), Clock())
    alice, bob = found.find(f"Bearer {ALICE}"), found.find(f"bearer {BOB}")
    assert alice is not None
    assert bob is not None
    assert (alice.name, alice.tokens_per_day, bob.name, bob.tokens_per_day) == ("alice", 5, "bob", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the field keys"),
        ("[keys]", "holds no key"),
        ("[keys.a]", "needs key or sha256"),
        ('[keys.a]\nkey = "short"', "at least 16"),
        ('[keys.a]\nkey = "with a space in it"', "at least 16"),
        ('[keys.a]\nsha256 = "abc"', "64 digits"),
        (f'[keys.a]\nkey = "{ALICE}"\n[keys.b]\nkey = "{ALICE}"', "a and b have the same key"),
        (f'[keys.a]\nkey = "{ALICE}"\nlimit = 4', "unknown field"),
        ('[keys."a b"]\nkey = "0123456789abcdef"', "cannot name a key"),
        ("keys = ", "not TOML"),
    ],
)
def test_a_wrong_file_of_keys_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_keys(written(tmp_path, text), Clock())


def test_plain_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(written(tmp_path, f'[keys.a]\nkey = "{ALICE}"', 0o644), Clock())
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "none.toml", Clock())


def test_an_open_address_needs_keys() -> None:
    from stategpt.config.serve import ServeConfig

    with pytest.raises(ConfigError, match="nobody needs a key"):
        open_socket(ServeConfig(host="0.0.0.0", port=0))
    with open_socket(ServeConfig(host="0.0.0.0", port=0, open=True)) as sock:
        port = sock.getsockname()[1]
        sock.listen()
        with pytest.raises(ConfigError, match=f"port {port}"):
            open_socket(ServeConfig(port=port))
