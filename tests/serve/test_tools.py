"""Tools: what a request may say, how calls are found in text, and what the official client makes of both."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("openai", reason="the official client is in the dev extra")
pytest.importorskip("jsonschema", reason="arguments are checked by another implementation")

import jsonschema
import openai

from live_server import CONFIG, LiveServer, live_server
from scripted_scheduler import Script, scripted
from stategpt.serve.errors import ApiError
from stategpt.serve.host import Host
from stategpt.serve.tools import CallReader, Tool, read_tools
from tiny_models import tiny_model, tiny_tokenizer

ASKED: list[Any] = [{"role": "user", "content": "Return the length"}]
KEY = {"type": "object", "properties": {"key": {"enum": ["a", "b"]}, "deep": {"type": "boolean"}},
       "required": ["key"], "additionalProperties": False}  # fmt: skip
SIZE = {"type": "object", "properties": {"size": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["size"], "additionalProperties": False}  # fmt: skip


def tool(name: str, parameters: Any = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, **({} if parameters is None else {"parameters": parameters}), **more}
    return {"type": "function", "function": function}


TOOLS = [tool("look_up", KEY, description="Looks a key up."), tool("resize", SIZE)]
SCHEMAS = {"look_up": KEY, "resize": SIZE}
AGAIN = {str(int(tiny_tokenizer().encode("\n")[0])): 30.0}
"""Behind a call the next one begins, where that is allowed."""
CALL = '{"name": "look_up", "arguments": {"key": "a"}}'


def parts(text: str, *, piece: int | None = None) -> list[tuple[str, str, str]]:
    """What a reader makes of a text that arrives in pieces of some size; neighboring texts joined."""
    reader = CallReader([Tool(name, "", schema) for name, schema in SCHEMAS.items()])
    size = piece or max(1, len(text))
    found = [part for at in range(0, len(text), size) for part in reader.push(text[at : at + size])]
    joined: list[tuple[str, str, str]] = []
    for part in [*found, *reader.finish()]:
        if part.kind == "text" and joined and joined[-1][0] == "text":
            joined[-1] = ("text", joined[-1][1] + part.text, "")
        else:
            joined.append((part.kind, part.text, part.name))
    return joined


TEXT_CALL = ("call", '{"key":"a"}', "look_up")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Why not?", [("text", "Why not?", "")]),
        (CALL, [TEXT_CALL]),
        (f"\n {CALL} \n\n", [TEXT_CALL]),
        (f"<tool_call>\n{CALL}\n</tool_call>", [TEXT_CALL]),
        (f"<tool_call>{CALL}</tool_call>\n<tool_call>\n{CALL}\n</tool_call>\n", [TEXT_CALL, TEXT_CALL]),
        (f"{CALL}\n{CALL}", [TEXT_CALL, TEXT_CALL]),
        (f"I look.\n{CALL}\nDone", [("text", "I look.\n", ""), TEXT_CALL, ("text", "\nDone", "")]),
        (f"See {CALL}", [("text", f"See {CALL}", "")]),
        (CALL.replace("look_up", "erase"), [("text", CALL.replace("look_up", "erase"), "")]),
        (CALL.replace("}}", ', "more": 1}}'), [("call", '{"key":"a","more":1}', "look_up")]),
        (CALL[:-1] + ', "id": 1}', [("text", CALL[:-1] + ', "id": 1}', "")]),
        ('{"name": "look_up", "arguments": "a"}', [("text", '{"name": "look_up", "arguments": "a"}', "")]),
        ('{"name": ["look_up"], "arguments": {}}', [("text", '{"name": ["look_up"], "arguments": {}}', "")]),
        (CALL[:-4], [("text", CALL[:-4], "")]),
        (f"<tool_call>{CALL}", [TEXT_CALL]),
        ("<tool_call>nothing</tool_call>", [("text", "<tool_call>nothing</tool_call>", "")]),
        ("<tool> a", [("text", "<tool> a", "")]),
        ("{\n}\nx", [("text", "{\n}\nx", "")]),
        ("[" * 9 + "\n{" + "[" * 5000, [("text", "[" * 9 + "\n{" + "[" * 5000, "")]),
        ('{"name": "look_up", "arguments": {"key": "ä\\u00e4"}}', [("call", '{"key":"ää"}', "look_up")]),
    ],
)
def test_text_and_calls_are_the_same_in_whatever_pieces_they_come(text: str, expected: Any) -> None:
    for piece in (None, 1, 2, 3, 7):
        assert parts(text, piece=piece) == expected, f"in pieces of {piece}"


def test_text_that_is_no_call_is_not_held_back() -> None:
    reader = CallReader([Tool("look_up", "", KEY)])
    assert "".join(part.text for part in reader.push("Why not? It")) == "Why not? It"
    assert "".join(part.text for part in reader.push('\n{"na')) == "\n", "the line may become a call"
    assert "".join(part.text for part in reader.push("ture\n and")) == '{"nature\n and'


def test_without_tools_everything_is_text() -> None:
    reader = CallReader([])
    assert [(part.kind, part.text) for part in reader.push(CALL)] == [("text", CALL)]
    assert reader.finish() == []


def test_which_tools_a_request_has() -> None:
    def names(**fields: Any) -> tuple[list[str], list[str], bool]:
        found = read_tools({"tools": TOOLS, **fields})
        return [each.name for each in found.tools], [each.name for each in found.callable], found.required

    both = ["look_up", "resize"]
    one: Any = {"type": "function", "function": {"name": "resize"}}
    assert names() == names(tool_choice="auto") == (both, both, False)
    assert names(tool_choice="required") == (both, both, True)
    assert names(tool_choice="none") == (both, [], False)
    assert names(tool_choice=one) == (both, ["resize"], True)
    assert read_tools({}).tools == read_tools({"tools": []}).callable == ()
    assert read_tools({"tools": [tool("ping")]}).tools[0].parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "code"}]}, "tools[0].type"),
        ({"tools": [tool("a"), tool("a")]}, "tools[1].function.name"),
        ({"tools": [tool("")]}, "tools[0].function.name"),
        ({"tools": [tool("a", [])]}, "tools[0].function.parameters"),
        ({"tools": [tool("a", color="red")]}, "tools[0].function"),
        ({"tools": [tool("a")], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}}, "tool_choice"),
        ({"tools": [tool("a")], "tool_choice": 5}, "tool_choice"),
        ({"tool_choice": "auto"}, "tool_choice"),
    ],
)
def test_wrong_tools_are_refused_by_their_field(fields: Any, param: str) -> None:
    with pytest.raises(ApiError) as error:
        read_tools(fields)
    assert (error.value.status, error.value.param) == (400, param)


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    host = Host(tiny_model(context_tokens=1024), tiny_tokenizer(), None, CONFIG)
    with live_server({"tiny": host.served("tiny")}) as running:
        yield running


@pytest.fixture(scope="module")
def client(live: LiveServer) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def ask(client: Any, **settings: Any) -> Any:
    return client.chat.completions.create(**{"model": "tiny", "messages": ASKED, "max_tokens": 300, **settings})


def checked(calls: Any) -> list[str]:
    """Names of calls whose arguments satisfy their schemas."""
    for call in calls:
        jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])
        assert call.type == "function"
    assert len({call.id for call in calls}) == len(calls)
    return [call.function.name for call in calls]


def test_required_calls_are_valid_and_there_may_be_several(client: Any) -> None:
    answers = ask(client, tools=TOOLS, tool_choice="required", n=4, seed=1, max_tokens=600, logit_bias=AGAIN).choices
    assert [len(checked(choice.message.tool_calls)) for choice in answers] == [8] * 4
    assert all(choice.message.content is None for choice in answers)
    assert {choice.finish_reason for choice in answers} == {"tool_calls"}
    assert len({choice.message.tool_calls[0].function.name for choice in answers}) > 1


def test_without_parallel_calls_there_is_one(client: Any) -> None:
    for seed in range(3):
        answers = ask(
            client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, n=3, seed=seed, logit_bias=AGAIN
        ).choices
        assert [len(checked(choice.message.tool_calls)) for choice in answers] == [1, 1, 1]


def test_a_forced_tool_is_the_one_that_is_called(client: Any) -> None:
    for name in SCHEMAS:
        forced: Any = {"type": "function", "function": {"name": name}}
        answers = ask(client, tools=TOOLS, tool_choice=forced, n=4, seed=2, parallel_tool_calls=False).choices
        assert {called for choice in answers for called in checked(choice.message.tool_calls)} == {name}


def test_none_tells_the_model_of_tools_and_takes_no_call(live: LiveServer, client: Any) -> None:
    told = live.post("/tokenize", {"messages": ASKED, "tools": TOOLS})[1]["count"]
    answer = ask(client, tools=TOOLS, tool_choice="none", max_tokens=5, seed=1)
    assert answer.usage.prompt_tokens == told > live.post("/tokenize", {"messages": ASKED})[1]["count"]
    assert answer.choices[0].message.tool_calls is None
    # A text that looks like a call stays text where no tool may be called.
    text = ask(client, max_tokens=60, seed=1, tools=TOOLS, tool_choice="none", extra_body={"choice": [CALL]})
    assert (text.choices[0].message.content, text.choices[0].message.tool_calls) == (CALL, None)


def test_with_auto_a_call_of_the_models_own_is_found() -> None:
    assert spoken(f"{CALL}\n") == (None, ["look_up"], "tool_calls")
    assert spoken("No call.") == ("No call.", [], "stop")
    assert spoken(f"First:\n{CALL}") == ("First:\n", ["look_up"], "tool_calls")


def test_an_answer_that_is_cut_off_behind_a_call_says_so() -> None:
    cut = CALL[:20]
    assert spoken(f"{CALL}\n{cut}", finished="length") == (f"\n{cut}", ["look_up"], "length")


def spoken(text: str, finished: str = "end") -> tuple[str | None, list[str], str]:
    """Content, calls and reason of an answer, whole and streamed alike, for a model that says `text`."""
    script = Script()
    script.texts, script.reason = [text[at : at + 3] for at in range(0, len(text), 3)], finished
    with (
        live_server({"tiny": scripted(script)}) as live,
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="-") as client,
    ):
        (choice,) = ask(client, tools=TOOLS).choices
        calls = [call.function.name for call in choice.message.tool_calls or ()]
        streamed = accumulated(ask(client, tools=TOOLS, stream=True))
    assert streamed == (choice.message.content or "", calls, choice.finish_reason)
    return choice.message.content, calls, choice.finish_reason


def accumulated(stream: Any) -> tuple[str, list[str], str]:
    """What a client has at the end of a stream that adds deltas to each other as OpenAI's guide does."""
    text, calls, reason = "", {}, ""
    for chunk in stream:
        (choice,) = chunk.choices
        text += choice.delta.content or ""
        for call in choice.delta.tool_calls or ():
            held = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
            held["id"] += call.id or ""
            held["name"] += call.function.name or ""
            held["arguments"] += call.function.arguments or ""
        assert not reason, "nothing comes behind the reason"
        reason = choice.finish_reason or ""
    assert list(calls) == list(range(len(calls)))
    for held in calls.values():
        jsonschema.validate(json.loads(held["arguments"]), SCHEMAS[held["name"]])
    return text, [held["name"] for held in calls.values()], reason


def test_streamed_calls_are_those_of_the_whole_answer(client: Any) -> None:
    settings: Any = {"tools": TOOLS, "tool_choice": "required", "logit_bias": AGAIN, "max_tokens": 200}
    for seed in range(3):
        settings["seed"] = seed
        (choice,) = ask(client, **settings).choices
        found = accumulated(ask(client, stream=True, **settings))
        assert found == (
            choice.message.content or "",
            [call.function.name for call in choice.message.tool_calls or ()],
            choice.finish_reason,
        )


def test_the_clients_own_accumulation_of_a_stream(client: Any) -> None:
    with client.chat.completions.stream(
        model="tiny", messages=ASKED, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=300,
        seed=6,
    ) as stream:  # fmt: skip
        kinds = [event.type for event in stream]
        (choice,) = stream.get_final_completion().choices
    assert checked(choice.message.tool_calls)
    assert choice.finish_reason == "tool_calls"
    assert kinds.count("tool_calls.function.arguments.done") == 1


def test_a_conversation_with_calls_and_results_is_read(live: LiveServer, client: Any) -> None:
    (choice,) = ask(client, tools=TOOLS, tool_choice="required", seed=1, parallel_tool_calls=False).choices
    (call,) = choice.message.tool_calls
    followed = [
        *ASKED,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "The answer"}]},
    ]
    assert ask(client, messages=followed, tools=TOOLS, max_tokens=3).choices
    wrong = {**followed[1], "tool_calls": [{**call.model_dump(), "function": {"name": "look_up", "arguments": "[1]"}}]}
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, messages=[*ASKED, wrong, followed[2]], tools=TOOLS)
    assert error.value.param == "messages[1].tool_calls[0].function.arguments"


def test_a_schema_of_a_tool_that_cannot_be_followed_is_named(client: Any) -> None:
    for parameters in ({"type": "hiccup"}, {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}):
        with pytest.raises(openai.BadRequestError) as error:
            ask(client, tools=[tool("f", parameters)], tool_choice="required")
        assert error.value.param == "tool_choice"


def test_every_order_of_two_tools_is_told_in_their_order(live: LiveServer) -> None:
    for order in itertools.permutations(TOOLS):
        ids = live.post("/tokenize", {"messages": ASKED, "tools": list(order)})[1]["tokens"]
        text = live.post("/detokenize", {"tokens": ids})[1]["content"]
        places = [text.index(json.dumps(each["function"]["name"])) for each in order]
        assert places == sorted(places)
        assert text.index("Return the length") > max(places)
