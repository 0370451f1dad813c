"""What llama.cpp's tests of its own server ask, asked here: a second list of behaviors, beside the official client's.

The list is that of tools/server/tests/unit in llama.cpp, file by file. What is not done here is a row of the table in
docs/guides/serving.md, and each row is sent.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from live_server import CONFIG, LiveServer, live_server, wait_until
from stategpt.serve.host import Host
from tiny_models import TEXT, tiny_model, tiny_tokenizer

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "serving.md"
PROMPT = "Return the length of"
CONTEXT = 256
SAID: list[Any] = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is a list?"}]


def served(**settings: Any) -> Any:
    config = replace(CONFIG, **settings)
    return {"tiny": Host(tiny_model(context_tokens=CONTEXT), tiny_tokenizer(), None, config).served("tiny")}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    with live_server(served()) as running:
        yield running


def complete(live: LiveServer, prompt: Any = PROMPT, **settings: Any) -> Any:
    """The answer to a completion."""
    status, answer = live.post("/v1/completions", {"prompt": prompt, "max_tokens": 8, "seed": 1, **settings})
    assert status == 200, answer
    return answer


def chat(live: LiveServer, messages: Any = None, **settings: Any) -> Any:
    """The answer to a chat."""
    body = {"messages": messages or SAID, "max_tokens": 8, "seed": 1, **settings}
    status, answer = live.post("/v1/chat/completions", body)
    assert status == 200, answer
    return answer


def text_of(answer: Any) -> str:
    choice = answer["choices"][0]
    found = choice["text"] if "text" in choice else choice["message"]["content"]
    assert isinstance(found, str)
    return found


def refused(live: LiveServer, path: str, body: Any) -> tuple[int, Any]:
    status, answer = live.post(path, body)
    return status, answer["error"]


# test_completion.py


@pytest.mark.parametrize(("most", "prompt"), [(1, "Return"), (8, PROMPT), (64, TEXT)])
def test_a_completion_has_as_many_tokens_as_it_says(live: LiveServer, most: int, prompt: str) -> None:
    answer = complete(live, prompt, max_tokens=most, return_token_ids=True)
    (choice,) = answer["choices"]
    usage = answer["usage"]
    assert usage["prompt_tokens"] == len(choice["prompt_token_ids"])
    assert usage["completion_tokens"] == len(choice["token_ids"]) <= most
    assert (usage["completion_tokens"] == most) == (choice["finish_reason"] == "length")
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"


@pytest.mark.parametrize("settings", [{}, {"logprobs": 2}, {"stop": ["e"]}, {"n": 3}, {"regex": "[a-z]{4,9}"}])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_is_the_answer_in_pieces(live: LiveServer, path: str, settings: Any) -> None:
    chats = "chat" in path
    if chats and "logprobs" in settings:
        settings = {"logprobs": True, "top_logprobs": 2}
    body = {**({"messages": SAID} if chats else {"prompt": PROMPT}), "max_tokens": 24, "seed": 4, **settings}
    status, whole = live.post(path, body)
    assert status == 200
    events = live.events(path, {**body, "stream_options": {"include_usage": True}})
    assert {event["id"] for event in events} == {events[0]["id"]} != {whole["id"]}
    assert events[-1]["choices"] == []
    assert {**events[-1]["usage"], "prompt_tokens_details": 0} == {**whole["usage"], "prompt_tokens_details": 0}
    for choice in whole["choices"]:
        pieces = [each for event in events for each in event["choices"] if each["index"] == choice["index"]]
        texts = [each["delta"].get("content") if chats else each["text"] for each in pieces]
        assert "".join(text or "" for text in texts) == (choice["message"]["content"] if chats else choice["text"])
        assert [each["finish_reason"] for each in pieces] == [None] * (len(pieces) - 1) + [choice["finish_reason"]]
        key = "content" if chats else "token_logprobs"
        scores = [entry for each in pieces if each["logprobs"] for entry in each["logprobs"][key]]
        assert scores == (choice["logprobs"][key] if choice["logprobs"] else [])
        if chats:
            assert pieces[0]["delta"]["role"] == "assistant"
            assert not any("role" in each["delta"] for each in pieces[1:])
            assert pieces[-1]["delta"] == {}


def test_offsets_of_a_streamed_text_are_those_of_the_whole(live: LiveServer) -> None:
    body = {"prompt": PROMPT, "max_tokens": 12, "seed": 2, "logprobs": 1}
    whole = live.post("/v1/completions", body)[1]["choices"][0]["logprobs"]
    scores = [event["choices"][0]["logprobs"] for event in live.events("/v1/completions", body)]
    for name in ("tokens", "text_offset", "top_logprobs"):
        assert [entry for each in scores for entry in each[name]] == whole[name]


def test_offsets_count_characters_of_the_text(live: LiveServer) -> None:
    """The parts of a character that several tokens spell are at its place."""
    choice = complete(live, "é媽🤗 é", echo=True, logprobs=0, logit_bias={"40": 100}, max_tokens=2)["choices"][0]
    scores = choice["logprobs"]
    pieces = live.post("/tokenize", {"prompt": "é媽🤗 é", "return_token_strs": True})[1]
    assert scores["tokens"][: pieces["count"]] == pieces["token_strs"]
    assert scores["text_offset"][: pieces["count"]] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 4, 4]
    assert scores["text_offset"][pieces["count"] :] == [5, 6]
    assert len(choice["text"]) == 7


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_seed_decides_the_answer_whatever_the_batch(live: LiveServer, rows: int, temperature: float) -> None:
    expected = text_of(complete(live, temperature=temperature, seed=42))
    with live_server(served(batch_rows=rows, step_tokens=16)) as other, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: text_of(complete(other, temperature=temperature, seed=42)), range(6)))
    assert found == [expected] * 6


def test_another_seed_gives_another_answer(live: LiveServer) -> None:
    assert len({text_of(complete(live, seed=seed, max_tokens=16)) for seed in range(4)}) == 4


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_known_prefix_changes_nothing(temperature: float) -> None:
    with live_server(served()) as live:
        first, again = (complete(live, TEXT, temperature=temperature, max_tokens=20) for _ in range(2))
    assert text_of(first) == text_of(again)
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert {key: again["usage"][key] for key in ("prompt_tokens", "completion_tokens")} == {
        key: first["usage"][key] for key in ("prompt_tokens", "completion_tokens")
    }


def test_usage_counts_every_prompt_and_every_completion(live: LiveServer) -> None:
    answer = complete(live, ["Return", TEXT], n=3, return_token_ids=True, branches=[" a", " the list"])
    choices = answer["choices"]
    assert len(choices) == 12
    prompts = {tuple(choice["prompt_token_ids"]) for choice in choices}
    assert len(prompts) == 4
    assert answer["usage"]["prompt_tokens"] == sum(map(len, prompts))
    assert answer["usage"]["completion_tokens"] == sum(len(choice["token_ids"]) for choice in choices)


def test_cached_tokens_of_a_prompt_are_counted_once() -> None:
    with live_server(served()) as live:
        complete(live, TEXT)
        usage = complete(live, TEXT, n=4)["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_a_full_queue_of_the_engine_is_said() -> None:
    with live_server(served(batch_rows=1, max_waiting=1)) as live, ThreadPoolExecutor(6) as pool:
        body = {"prompt": PROMPT, "max_tokens": 200, "logit_bias": {"40": 100}}
        found = list(pool.map(lambda _: live.request("POST", "/v1/completions", body), range(6)))
        assert text_of(complete(live))
    assert {status for status, _, _ in found} == {200, 503}
    assert {headers.get("retry-after") for status, _, headers in found if status == 503} == {"1"}


def test_prompts_may_be_ids_texts_and_both(live: LiveServer) -> None:
    ids = live.post("/tokenize", {"prompt": PROMPT})[1]["tokens"]
    alone = text_of(complete(live, temperature=0))
    assert text_of(complete(live, ids, temperature=0)) == alone
    both = complete(live, [ids, PROMPT, [*ids]], temperature=0)["choices"]
    assert [choice["text"] for choice in both] == [alone] * 3
    assert [choice["index"] for choice in both] == [0, 1, 2]
    status, error = refused(live, "/v1/completions", {"prompt": [1, 2, PROMPT, 3]})
    assert (status, error["param"]) == (400, "prompt[2]")
    for wrong in ({"prompt_string": "a"}, 5, [], [[]], [None]):
        assert refused(live, "/v1/completions", {"prompt": wrong})[0] == 400


@pytest.mark.parametrize(("rows", "requests"), [(1, 3), (2, 4), (4, 2)])
def test_more_requests_than_places_are_all_answered(rows: int, requests: int) -> None:
    with live_server(served(batch_rows=rows)) as live, ThreadPoolExecutor(requests) as pool:
        found = list(pool.map(lambda seed: text_of(complete(live, seed=seed, max_tokens=24)), range(requests)))
        assert found == [text_of(complete(live, seed=seed, max_tokens=24)) for seed in range(requests)]


def test_log_probabilities_are_ordered_and_no_larger_than_zero(live: LiveServer) -> None:
    scores = complete(live, logprobs=10, temperature=0, max_tokens=5)["choices"][0]["logprobs"]
    assert len(scores["tokens"]) == len(scores["top_logprobs"]) <= 5
    for token, value, top in zip(scores["tokens"], scores["token_logprobs"], scores["top_logprobs"], strict=True):
        assert value <= 0
        assert next(iter(top)) == token
        assert list(top.values()) == sorted(top.values(), reverse=True)
        assert 1 < len(top) <= 10


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("settings", [{"logit_bias": {"0": 100}}, {"logit_bias": {"40": 100}, "stop_token_ids": [40]}])
def test_the_id_that_ends_an_answer_is_no_part_of_it(live: LiveServer, settings: Any, streamed: bool) -> None:
    body = {"prompt": PROMPT, "logprobs": 2, "max_tokens": 5, **settings}
    if streamed:
        choices = [choice for event in live.events("/v1/completions", body) for choice in event["choices"]]
        tokens = [token for choice in choices for token in choice["logprobs"]["tokens"]]
        text, reason = "".join(choice["text"] for choice in choices), choices[-1]["finish_reason"]
    else:
        answer = complete(live, **body)
        (choice,) = answer["choices"]
        tokens, text, reason = choice["logprobs"]["tokens"], choice["text"], choice["finish_reason"]
        assert answer["usage"]["completion_tokens"] == 1
    assert (tokens, text, reason) == ([], "", "stop")


def test_a_bias_keeps_tokens_out(live: LiveServer) -> None:
    usual = complete(live, temperature=0, max_tokens=12, return_token_ids=True)["choices"][0]["token_ids"]
    bias = {str(token): -100 for token in usual}
    other = complete(live, temperature=0, max_tokens=12, return_token_ids=True, logit_bias=bias)["choices"][0]
    assert not set(usual) & set(other["token_ids"])
    only = complete(live, max_tokens=5, return_token_ids=True, logit_bias={"40": 100})["choices"][0]["token_ids"]
    assert only == [40] * 5


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_is_given_up_frees_its_place(streamed: bool) -> None:
    with live_server(served(batch_rows=1)) as live:
        body = {"prompt": PROMPT, "max_tokens": 200, "logit_bias": {"40": 100}, "stream": streamed, "n": 8}
        connection = live.connection()
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        wait_until(lambda: live.gauges()["tiny"]["running"] > 0)
        connection.close()
        wait_until(lambda: live.settled()["tiny"]["cancelled"] == 1)
        numbers = live.gauges()["tiny"]
        assert numbers["pages_used"] == numbers["pages_cached"]
        assert text_of(complete(live))


# test_chat_completion.py, test_template.py


def test_a_chat_has_the_form_of_the_api(live: LiveServer) -> None:
    answer = chat(live)
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("length", "stop")
    assert answer["id"].startswith("chatcmpl-")
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_parts_of_text_are_joined(live: LiveServer) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "a list?"}]
    body = {"messages": [SAID[0], {"role": "user", "content": parts}]}
    assert live.post("/tokenize", body)[1]["tokens"] == live.post("/tokenize", {"messages": SAID})[1]["tokens"]


def test_the_template_can_be_seen(live: LiveServer) -> None:
    found = live.post("/tokenize", {"messages": SAID, "return_token_strs": True})[1]
    text = live.post("/detokenize", {"tokens": found["tokens"]})[1]["content"]
    assert text == "".join(found["token_strs"])
    assert text.index("<|system|>") < text.index("Be short.") < text.index("<|user|>") < text.index("What is a list?")
    assert text.endswith("<|assistant|>")
    assert found["count"] == chat(live)["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    "prefill", ["A list is", [{"type": "text", "text": "A list"}, {"type": "text", "text": " is"}]]
)
def test_an_answer_that_is_begun_is_continued(live: LiveServer, prefill: Any) -> None:
    messages = [*SAID, {"role": "assistant", "content": prefill}]
    answer = chat(live, messages, continue_final_message=True, return_token_ids=True)
    ids = answer["choices"][0]["prompt_token_ids"]
    expected = [
        *live.post("/tokenize", {"messages": SAID})[1]["tokens"],
        *live.post("/tokenize", {"content": "A list is"})[1]["tokens"],
    ]
    assert ids == expected
    status, error = refused(live, "/v1/chat/completions", {"messages": messages})
    assert (status, error["param"]) == (400, "messages")


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"const": "42"}}}, '"42"'),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": [1, 2]}}}, "[12]"),
        ({"type": "json_object"}, r"\{.*"),
        ({"type": "text"}, ".*"),
        ({"type": "sound"}, None),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": 123}}, None),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 123}}}, None),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "hiccup"}}}, None),
        ({"type": "json_schema", "json_schema": {"schema": {"const": "42"}}}, None),
        ("json_object", None),
    ],
)
def test_the_form_of_an_answer(live: LiveServer, form: Any, pattern: str | None) -> None:
    if pattern is None:
        status, error = refused(live, "/v1/chat/completions", {"messages": SAID, "response_format": form})
        assert status == 400
        assert error["param"].startswith("response_format")
    else:
        assert re.fullmatch(pattern, text_of(chat(live, response_format=form, max_tokens=16)), re.DOTALL)


def test_grammars_in_two_notations(live: LiveServer) -> None:
    assert text_of(chat(live, grammar='root ::= "a"{5,5}')) == "aaaaa"
    assert text_of(chat(live, grammar='start: "a"{5}')) == "aaaaa"
    for wrong in ('root ::= "a', "start: nothing_here"):
        status, error = refused(live, "/v1/chat/completions", {"messages": SAID, "grammar": wrong})
        assert (status, error["param"]) == (400, "grammar")


@pytest.mark.parametrize(
    "messages",
    [
        None, "string", [], [123], [{}], [{"role": 123}], [{"role": "system", "content": 123}], [{"content": "hello"}],
        [{"role": "system", "content": "test"}, {}],
        [*SAID, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file://a.png"}}]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}],
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
def test_messages_that_are_none_are_refused(live: LiveServer, messages: Any, streamed: bool) -> None:
    status, error = refused(live, "/v1/chat/completions", {"messages": messages, "stream": streamed})
    assert status == 400
    assert error["param"].startswith("messages")


@pytest.mark.parametrize("streamed", [False, True])
def test_the_tokens_of_the_log_probabilities_are_the_text(live: LiveServer, streamed: bool) -> None:
    settings = {"messages": SAID, "max_tokens": 9, "seed": 6, "logprobs": True, "top_logprobs": 4}
    if streamed:
        events = live.events("/v1/chat/completions", settings)
        choices = [choice for event in events for choice in event["choices"]]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        entries = [entry for choice in choices if choice["logprobs"] for entry in choice["logprobs"]["content"]]
    else:
        (choice,) = live.post("/v1/chat/completions", settings)[1]["choices"]
        text, entries = choice["message"]["content"], choice["logprobs"]["content"]
    assert entries
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode("utf-8", "replace") == text
    assert all(entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 4 for entry in entries)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_is_too_long_says_how_long(live: LiveServer, streamed: bool) -> None:
    for path, body in (
        ("/v1/chat/completions", {"messages": [*SAID[:1], {"role": "user", "content": TEXT * 40}]}),
        ("/v1/completions", {"prompt": TEXT * 40}),
    ):
        status, error = refused(live, path, {**body, "stream": streamed})
        assert (status, error["code"]) == (400, "context_length_exceeded")
        assert re.search(rf"has \d+ tokens; tiny has a context of {CONTEXT}", error["message"])


# test_ctx_shift.py


@pytest.mark.parametrize("streamed", [False, True])
def test_a_full_context_ends_the_answer(live: LiveServer, streamed: bool) -> None:
    body = {"prompt": PROMPT, "max_tokens": 4096, "logit_bias": {"40": 100}}
    if streamed:
        events = live.events("/v1/completions", {**body, "stream_options": {"include_usage": True}})
        usage, reason = events[-1]["usage"], events[-2]["choices"][0]["finish_reason"]
    else:
        answer = complete(live, **body)
        usage, reason = answer["usage"], answer["choices"][0]["finish_reason"]
    assert (usage["total_tokens"], reason) == (CONTEXT, "length")


# test_basic.py, test_metrics.py


def test_health_and_metrics_are_there(live: LiveServer) -> None:
    assert live.get("/health") == (200, '{"status":"ok"}')
    before = numbers_of(live.get("/metrics")[1])
    answer = complete(live, TEXT, max_tokens=9)
    usage = answer["usage"]
    after = numbers_of(live.get("/metrics")[1])

    def grew(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grew('stategpt_prompt_tokens_total{model="tiny"}') == usage["prompt_tokens"]
    assert grew('stategpt_generated_tokens_total{model="tiny"}') == usage["completion_tokens"]
    assert grew('stategpt_cached_prompt_tokens_total{model="tiny"}') == usage["prompt_tokens_details"]["cached_tokens"]
    assert grew("stategpt_first_token_seconds_count") == 1
    assert after['stategpt_model{model="tiny",number="running"}'] == 0


def numbers_of(page: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


# test_tokenize.py


@pytest.mark.parametrize("text", ["What is the capital of France ?", "unicode 媽 and 🤗", " a\n\tb ", ""])
def test_ids_become_the_text_again(live: LiveServer, text: str) -> None:
    found = live.post("/tokenize", {"content": text, "return_token_strs": True})[1]
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert live.post("/detokenize", {"tokens": found["tokens"]})[1] == {"prompt": text, "content": text}


def test_the_first_id_is_put_before_a_prompt_only(live: LiveServer) -> None:
    plain, begun = (live.post("/tokenize", {name: PROMPT})[1]["tokens"] for name in ("content", "prompt"))
    end = tiny_tokenizer().special_tokens["<|endoftext|>"]
    assert begun == [end, *plain]
    assert live.post("/tokenize", {"content": PROMPT, "add_special_tokens": True})[1]["tokens"] == begun
    assert live.post("/tokenize", {"prompt": PROMPT, "add_special_tokens": False})[1]["tokens"] == plain
    for wrong in ({}, {"content": "a", "prompt": "b"}, {"content": 5}):
        assert refused(live, "/tokenize", wrong)[0] == 400
    for ids in ([-1], [4000], ["a"], None):
        assert refused(live, "/detokenize", {"tokens": ids})[0] == 400


# test_embedding.py


def vectors(live: LiveServer, texts: Any, **settings: Any) -> Any:
    status, answer = live.post("/v1/embeddings", {"input": texts, **settings})
    assert status == 200, answer
    return answer


@pytest.mark.parametrize(
    "texts", ["text", [20, 21, 22], ["text", "other"], ["text", [20, 21]], [[20, 21], [20, 21]], [TEXT * 2] * 5]
)
def test_embeddings_of_texts_and_ids(live: LiveServer, texts: Any) -> None:
    data = vectors(live, texts)["data"]
    several = isinstance(texts, list) and not isinstance(texts[0], int)
    assert len(data) == (len(texts) if several else 1)
    assert [each["index"] for each in data] == list(range(len(data)))
    assert np.allclose(np.linalg.norm([each["embedding"] for each in data], axis=1), 1, atol=1e-4)


@pytest.mark.parametrize(
    "texts", ["", [], [[]], ["a", ""], {"content": "a"}, [20, "a"], ["a", {"content": []}], [4000], 5, TEXT * 40]
)
def test_what_has_no_embedding_is_refused(live: LiveServer, texts: Any) -> None:
    status, error = refused(live, "/v1/embeddings", {"input": texts})
    assert status == 400
    assert error["param"].startswith("input")


def test_an_embedding_as_text_is_the_same_numbers(live: LiveServer) -> None:
    (plain,) = vectors(live, PROMPT)["data"]
    (coded,) = vectors(live, PROMPT, encoding_format="base64")["data"]
    assert np.frombuffer(base64.b64decode(coded["embedding"]), "<f4").tolist() == pytest.approx(plain["embedding"])
    assert refused(live, "/v1/embeddings", {"input": "a", "encoding_format": "hex"})[0] == 400


def test_equal_texts_have_equal_embeddings_and_are_all_counted(live: LiveServer) -> None:
    answer = vectors(live, [PROMPT] * 5)
    rows = [each["embedding"] for each in answer["data"]]
    assert np.allclose(rows, rows[:1], atol=1e-5)
    one = live.post("/tokenize", {"prompt": PROMPT})[1]["count"]
    assert answer["usage"] == {"prompt_tokens": 5 * one, "total_tokens": 5 * one}


# test_speculative.py


@pytest.mark.parametrize("speculate", [1, 4])
def test_proposed_tokens_change_no_answer(live: LiveServer, speculate: int) -> None:
    settings: list[dict[str, Any]] = [{"temperature": 0, "max_tokens": 60}, {"logit_bias": {"40": 6}, "max_tokens": 60}]
    with live_server(served(speculate=speculate)) as other:
        for each in settings:
            assert text_of(complete(other, TEXT, **each)) == text_of(complete(live, TEXT, **each))
        assert other.gauges()["tiny"]["proposed"] > 0
        answer = complete(other, TEXT * 2, max_tokens=4000, logit_bias={"40": 100})
        assert answer["usage"]["total_tokens"] == CONTEXT
    assert live.gauges()["tiny"]["proposed"] == 0


# What is not done here


def rows() -> list[tuple[str, int]]:
    found = re.findall(r"^\| `(.+?)` \| (\d+) \| .+ \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(asked, int(status)) for asked, status in found]


def test_the_table_is_read() -> None:
    assert len(rows()) > 25


@pytest.mark.parametrize(("asked", "status"), rows())
def test_what_is_not_done_is_an_error_with_the_field_or_path(live: LiveServer, asked: str, status: int) -> None:
    if asked.startswith('"'):
        name = json.loads(f"{{{asked}}}")
        for path, body in (("/v1/completions", {"prompt": "a"}), ("/v1/chat/completions", {"messages": SAID})):
            found, error = refused(live, path, {**body, **name})
            assert (found, error["param"].partition(".")[0]) == (status, next(iter(name)))
    else:
        method, path = asked.split()
        found, content, _ = live.request(method, path, {} if method == "POST" else None)
        assert found == status
        assert json.loads(content)["error"]["code"] == "not_found"


def test_many_at_a_time_are_in_flight_together() -> None:
    """Requests of several clients run in one batch: with a place for each, none waits for another's end."""
    with live_server(served(batch_rows=4)) as live:
        most = 0
        done = threading.Event()
        with ThreadPoolExecutor(4) as pool:
            asking = [
                pool.submit(complete, live, PROMPT, max_tokens=200, logit_bias={"40": 100}, seed=seed)
                for seed in range(4)
            ]
            while not all(each.done() for each in asking):
                most = max(most, int(live.gauges()["tiny"]["running"]))
                done.wait(0.001)
        assert most > 1
