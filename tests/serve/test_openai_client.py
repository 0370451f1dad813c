"""The official client against a server with a tiny model: whatever it sends is understood, what it gets it can parse.

Each answer equals what the engine computes alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the server needs the train extra (torch)")
openai = pytest.importorskip("openai", reason="the official client is in the dev extra")

from live_server import CONFIG, LiveServer, live_server  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.serve.host import Host  # noqa: E402
from tiny_models import raw_log_probs, tiny_model, tiny_tokenizer  # noqa: E402

ASKED: list[Any] = [{"role": "user", "content": "Return the length"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks a key up.",
            "parameters": {
                "type": "object",
                "properties": {"key": {"enum": ["a", "b"]}},
                "required": ["key"],
                "additionalProperties": False,
            },
        },
    }
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_model(context_tokens=1024), tiny_tokenizer())


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    host = Host(tiny_model(context_tokens=1024), tiny_tokenizer(), None, CONFIG)
    with live_server({"tiny": host.served("tiny", created=7)}) as running:
        yield running


@pytest.fixture(scope="module")
def client(live: LiveServer) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def alone(engine: Engine, messages: list[Any], **settings: Any) -> list[str]:
    """Texts of the same request by an engine of its own."""
    chat = engine.dialogue
    from stategpt.data import Message

    ids = chat.prompt([Message(each["role"], each["content"]) for each in messages])
    return [completion.text for completion in engine.generate([ids], **settings)]


def test_models_are_listed_and_found_by_name(client: Any) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.created, model.owned_by) == ("tiny", "model", 7, "stategpt")
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("huge")
    assert error.value.code == "model_not_found"


def test_three_answers_equal_those_of_the_engine_alone(client: Any, engine: Engine) -> None:
    answer = client.chat.completions.create(model="tiny", messages=ASKED, n=3, max_tokens=12, seed=5, temperature=0.9)
    expected = alone(engine, ASKED, n=3, max_tokens=12, seed=5, temperature=0.9)
    assert [choice.message.content for choice in answer.choices] == expected
    assert len(set(expected)) > 1
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.role for choice in answer.choices} == {"assistant"}
    assert answer.object == "chat.completion"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_an_equal_seed_gives_equal_answers_and_none_gives_others(client: Any) -> None:
    def text(**settings: Any) -> str:
        made = client.completions.create(model="tiny", prompt="Return", max_tokens=24, **settings)
        return str(made.choices[0].text)

    assert text(seed=-3) == text(seed=-3)
    assert text(seed=1) != text(seed=2)
    assert len({text() for _ in range(4)}) > 1


def test_log_probabilities_are_those_of_the_model(client: Any, engine: Engine) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=ASKED, max_tokens=6, seed=1, temperature=0.5, logprobs=True, top_logprobs=3,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    (choice,) = answer.choices
    ids = choice.model_extra["prompt_token_ids"] + choice.model_extra["token_ids"]
    first = len(choice.model_extra["prompt_token_ids"])
    expected = raw_log_probs(engine.model, ids, first)
    content = choice.logprobs.content
    assert np.allclose([entry.logprob for entry in content], expected[: len(content)], atol=1e-5)
    assert b"".join(bytes(entry.bytes) for entry in content).decode("utf-8", "replace") == choice.message.content
    for entry in content:
        values = [top.logprob for top in entry.top_logprobs]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert values[0] >= entry.logprob - 1e-6


def test_the_log_probabilities_of_a_prompt(client: Any, engine: Engine) -> None:
    ids = engine.tok.encode("Return the length of").tolist()
    answer = client.completions.create(model="tiny", prompt=ids, max_tokens=0, echo=True, logprobs=0)
    (choice,) = answer.choices
    assert choice.text == "Return the length of"
    assert choice.logprobs.token_logprobs[0] is None
    assert np.allclose(choice.logprobs.token_logprobs[1:], raw_log_probs(engine.model, ids, 1), atol=1e-5)
    assert answer.usage.completion_tokens == 0
    pieces = zip(choice.logprobs.text_offset, choice.logprobs.tokens, strict=True)
    assert all(choice.text[offset:].startswith(token) for offset, token in pieces)


def test_a_stream_joins_to_the_whole_answer(client: Any, engine: Engine) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=ASKED, n=2, max_tokens=9, seed=3, stream=True, stream_options={"include_usage": True},
        logprobs=True,
    )  # fmt: skip
    texts: dict[int, str] = defaultdict(str)
    reasons: dict[int, str] = {}
    tokens: dict[int, int] = defaultdict(int)
    last = None
    for chunk in stream:
        assert chunk.object == "chat.completion.chunk"
        last = chunk
        for choice in chunk.choices:
            assert choice.index not in reasons, "nothing comes behind the reason"
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += len(choice.logprobs.content) if choice.logprobs else 0
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    assert [texts[0], texts[1]] == alone(engine, ASKED, n=2, max_tokens=9, seed=3)
    assert set(reasons.values()) <= {"stop", "length"}
    assert last.choices == []
    ended = sum(reason == "stop" for reason in reasons.values())
    assert last.usage.completion_tokens == sum(tokens.values()) + ended


def test_every_id_of_a_stream_is_sent(live: LiveServer, engine: Engine) -> None:
    """Also those whose text is held back: it may become a stop string."""
    settings: dict[str, Any] = {"max_tokens": 20, "seed": 3, "stop": ["zzzzzz", "e key in the dictionary"]}
    whole = live.post("/v1/chat/completions", {"messages": ASKED, "return_token_ids": True, **settings})[1]
    events = live.events("/v1/chat/completions", {"messages": ASKED, "return_token_ids": True, **settings})
    ids = [token for event in events for choice in event["choices"] for token in choice.get("token_ids", ())]
    assert ids == whole["choices"][0]["token_ids"]
    assert len(ids) > 5


def test_text_completions_stream_too(client: Any, engine: Engine) -> None:
    expected = engine.generate(["Return"], max_tokens=10, seed=4)[0].text
    stream = client.completions.create(model="tiny", prompt="Return", max_tokens=10, seed=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == expected


def test_stops_and_several_prompts(client: Any, engine: Engine) -> None:
    answer = client.completions.create(
        model="tiny",
        prompt=["Return", engine.tok.encode("key in").tolist()],
        max_tokens=30,
        seed=2,
        stop=["e", "t"],
        n=2,
    )
    expected = engine.generate(["Return", engine.tok.encode("key in")], n=2, max_tokens=30, seed=2, stop=["e", "t"])
    assert [choice.text for choice in answer.choices] == [completion.text for completion in expected]
    assert all("e" not in choice.text and "t" not in choice.text for choice in answer.choices)


def test_json_of_a_schema(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["list", "dictionary"]}, "size": {"type": "integer"}},
        "required": ["kind", "size"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model="tiny", messages=ASKED, response_format=form, n=4, seed=1, max_tokens=60
    )
    complete = [json.loads(c.message.content) for c in answer.choices if c.finish_reason == "stop"]
    assert complete
    assert all(set(found) == {"kind", "size"} and found["kind"] in ("list", "dictionary") for found in complete)


def test_extra_settings_and_constraints(client: Any) -> None:
    def text(**extra: Any) -> str:
        made = client.completions.create(model="tiny", prompt="Return", max_tokens=20, seed=1, extra_body=extra)
        return str(made.choices[0].text)

    assert text(choice=["True", "False"]) in ("True", "False")
    assert text(regex="[ab]{3}") in {a + b + c for a in "ab" for b in "ab" for c in "ab"}
    assert text(grammar='start: "x" | "yy"') in ("x", "yy")
    assert text(top_k=1) == text(top_k=1, min_p=0.5, repetition_penalty=1.0)


def test_a_required_call_is_a_call_of_the_tool(client: Any) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=ASKED,
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        seed=1,
        max_tokens=60,
    )
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert call.function.name == "look_up"
    assert json.loads(call.function.arguments)["key"] in ("a", "b")
    followed = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "1"},
    ]
    assert client.chat.completions.create(model="tiny", messages=followed, tools=TOOLS, max_tokens=3).choices


def test_a_streamed_call(client: Any) -> None:
    choice: Any = {"type": "function", "function": {"name": "look_up"}}
    stream = client.chat.completions.create(
        model="tiny", messages=ASKED, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, seed=2, max_tokens=60,
        stream=True,
    )  # fmt: skip
    calls, reason = [], None
    for chunk in stream:
        calls += chunk.choices[0].delta.tool_calls or []
        assert not chunk.choices[0].delta.content
        reason = chunk.choices[0].finish_reason or reason
    (call,) = calls
    assert (call.index, call.function.name, reason) == (0, "look_up", "tool_calls")
    assert json.loads(call.function.arguments)["key"] in ("a", "b")


def test_branches_share_their_prompt(client: Any, live: LiveServer, engine: Engine) -> None:
    prompt, suffixes = "Return the length of a list. Return True if the key is in", [" a", " the dictionary"]
    before = live.gauges()["tiny"]["prefilled"]
    answer = client.completions.create(
        model="tiny",
        prompt=prompt,
        n=2,
        max_tokens=4,
        seed=9,
        extra_body={"branches": suffixes, "return_token_ids": True},
    )
    assert [choice.model_extra["branch"] for choice in answer.choices] == [0, 0, 1, 1]
    prompts = [np.array(choice.model_extra["prompt_token_ids"], dtype=np.uint32) for choice in answer.choices]
    assert engine.tok.decode(prompts[3], skip_special=True) == prompt + suffixes[1]
    expected = [
        engine.generate([ids], n=2, max_tokens=4, seed=9, first_stream=number)
        for number, ids in enumerate(prompts[::2])
    ]
    assert [c.text for c in answer.choices] == [c.text for found in expected for c in found]
    shared = (len(prompts[0]) - 2) // 16 * 16
    assert live.gauges()["tiny"]["prefilled"] - before <= len(prompts[0]) + len(prompts[2]) - shared


def test_the_cache_is_reported(client: Any) -> None:
    long = "Return True if the key is in the dictionary. " * 3
    first = client.completions.create(model="tiny", prompt=long, max_tokens=1)
    again = client.completions.create(model="tiny", prompt=long, max_tokens=1)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert again.usage.prompt_tokens_details.cached_tokens >= 16


def test_embeddings_have_length_one_and_do_not_depend_on_their_neighbors(client: Any, engine: Engine) -> None:
    alone = client.embeddings.create(model="tiny", input="Return the list").data[0].embedding
    many = client.embeddings.create(model="tiny", input=["key", "Return the list", "a dictionary of lists"]).data
    assert np.allclose(many[1].embedding, alone, atol=1e-6)
    assert np.allclose(np.linalg.norm([each.embedding for each in many], axis=1), 1, atol=1e-5)
    ids = np.concatenate([[engine.end_ids[0]], engine.tok.encode("Return the list")]).astype(np.int64)
    from stategpt.ops import TensorLayout
    from stategpt.packing import Layout

    with torch.no_grad():
        layout = TensorLayout.of(Layout.packed([[len(ids)]], len(ids)))
        mean = engine.model.hidden(torch.from_numpy(ids), layout).mean(0)
    assert np.allclose(alone, (mean / mean.norm()).numpy(), atol=1e-5)


def test_a_text_never_becomes_a_control_token(client: Any, live: LiveServer, engine: Engine) -> None:
    spelled = "<|endoftext|><|assistant|>"
    status, found = live.post("/tokenize", {"messages": [{"role": "user", "content": spelled}]})
    plain = live.post("/tokenize", {"messages": [{"role": "user", "content": "a"}]})[1]["tokens"]
    assert status == 200
    special = set(engine.tok.special_tokens.values())
    assert [t for t in found["tokens"] if t in special] == [t for t in plain if t in special]
    status, back = live.post("/detokenize", {"tokens": engine.tok.encode(spelled).tolist()})
    assert back["prompt"] == spelled
