"""Thoughts before an output: their budget, what is reported of them, and outputs that are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("llguidance", reason="constraints need the extra of that name")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from constrained import plain_tokenizer, random_output, start, token_ids
from stategpt.errors import ConstraintError, IncompleteOutput, InvalidArgument
from stategpt.generate import Completion, Engine
from stategpt.generate.constraints import choice, fill, json_schema, regex, template, think_then
from stategpt.generate.constraints.thoughts import missing_bytes

OBJECT = json_schema({"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"],
                      "additionalProperties": False})  # fmt: skip


MARKERS = ("</think>", "[done]", "§ fertig §")
"""A control token of the tokenizer, and two texts that it spells by several tokens."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    end=st.sampled_from(MARKERS),
    begin=st.sampled_from(["", "<think>", "<|user|>"]),
    budget=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_thoughts_never_exceed_their_budget_and_the_output_follows(
    end: str, begin: str, budget: int, seed: int
) -> None:
    made = start(think_then(OBJECT, begin=begin, end=end, max_tokens=budget))
    assert random_output(made, seed, 200)
    used, reserved = made.thoughts, made.reserved_tokens
    assert used is not None
    assert used.tokens <= budget + 3
    assert used.ended_by in ("model", "budget")
    tok = plain_tokenizer()
    raw, ids = made.vocabulary.bytes_of(made.ids[:-1].tolist()), made.ids.tolist()
    thoughts, marker, rest = raw.rpartition(b'{"a":')
    before = len(thoughts)
    written = [len(made.vocabulary.bytes_of(ids[:place])) for place in range(len(ids))]
    assert sum(1 for place in written if place < before) <= reserved + 2  # the gap may take two
    assert json.loads((marker + rest).decode()) in ({"a": 1}, {"a": 2})
    if end in tok.special_tokens:
        assert ids.count(tok.special_tokens[end]) == 1
    else:
        assert thoughts.rstrip(b"\n").endswith(end.encode())


def test_a_spent_budget_forces_the_marker_and_nothing_else_is_allowed() -> None:
    made = start(think_then(OBJECT, end="[done]", max_tokens=3))
    vocabulary = made.vocabulary
    for token in vocabulary.encode("x")[:1] * 3:
        assert len(made.forced()) == 0
        made.advance(token)
    assert made.thoughts == (3, None)
    forced = made.forced().tolist()
    assert vocabulary.bytes_of(forced) == b"[done]"
    other = next(token for token in range(vocabulary.model_vocab) if vocabulary.tokens[token] == b"x")
    with pytest.raises(ConstraintError):
        made.advance(other)
    for place, token in enumerate(forced):
        assert token_ids(made.mask()) == [token]
        assert made.forced().tolist() == forced[place:]
        made.advance(token)
    assert made.thoughts == (3, "budget")
    assert made.fork().thoughts == (3, "budget")
    made.rewind(len(forced) + 1)
    assert made.thoughts == (2, None)
    assert len(token_ids(made.mask())) > 100


def test_a_marker_that_was_begun_is_finished_rather_than_written_twice() -> None:
    made = start(think_then(OBJECT, end="[done]", max_tokens=3))
    letters = {vocab: made.vocabulary.encode(vocab) for vocab in ("x", "[", "d")}
    for letter in ("x", "[", "d"):
        (token,) = letters[letter]
        made.advance(token)
    assert made.vocabulary.bytes_of(made.forced().tolist()) == b"one]"
    for token in made.forced().tolist():
        made.advance(token)
    assert made.text == "x[done]"
    assert made.thoughts == (3, "budget")


def test_an_open_character_is_finished_before_the_marker() -> None:
    made = start(think_then(OBJECT, max_tokens=1))
    by_bytes = {spelled: token for token, spelled in enumerate(made.vocabulary.tokens)}
    made.advance(by_bytes[b"\xf0"])
    for left in (3, 2, 1):
        assert len(made.forced()) == 0
        allowed = [made.vocabulary.tokens[token] for token in token_ids(made.mask())]
        assert allowed
        assert all(len(raw) <= left and all(0x80 <= byte < 0xC0 for byte in raw) for raw in allowed)
        with pytest.raises(ConstraintError):
            made.advance(by_bytes[b"x"])
        made.advance(by_bytes[{3: b"\x9f", 2: b"\x99", 1: b"\x82"}[left]])
    assert made.forced().tolist() == [plain_tokenizer().special_tokens["</think>"]]
    assert made.text == "🙂"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [(b"", 0), (b"a", 0), (b"\xc3", 1), (b"a\xe4\xb8", 1), (b"\xe4", 2), (b"\xf0\x9f", 2), (b"\xf0", 3),
     ("é".encode(), 0), ("🙂".encode(), 0), (b"\x80\x80\x80", 0)],
)  # fmt: skip
def test_bytes_that_a_character_lacks(raw: bytes, wanted: int) -> None:
    assert missing_bytes(raw) == wanted


def test_a_completion_says_how_its_thoughts_ended(engine: Engine) -> None:
    spec = think_then(OBJECT, max_tokens=8)
    found = engine.generate(["x", "y"], n=6, constraint=spec, max_tokens=60)
    marker = engine.tok.special_tokens["</think>"]
    for one in found:
        assert one.complete
        assert one.thoughts is not None
        place = one.ids.tolist().index(marker)
        assert place == one.thoughts.tokens <= 8 + 3
        assert one.thoughts.ended_by == ("model" if place < 8 else "budget")
        assert one.log_probs[place] == 0 or one.thoughts.ended_by == "model"
    assert {one.thoughts.ended_by for one in found if one.thoughts} >= {"budget"}
    plain = engine.generate(["x"], max_tokens=4)[0]
    assert (plain.complete, plain.thoughts) == (None, None)
    pieces = list(engine.stream_samples(["x"], constraint=spec, max_tokens=60))
    assert [piece.complete for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].complete
    assert pieces[-1].thoughts is not None
    assert all(piece.thoughts is None for piece in pieces[:-1])


def test_thoughts_without_a_budget_may_use_up_all_tokens_and_say_so(engine: Engine) -> None:
    cut = engine.generate(["x"], constraint=think_then(OBJECT), max_tokens=5, seed=2)[0]
    assert (cut.reason, cut.complete) == ("length", False)
    assert cut.thoughts == (5, None)
    with pytest.raises(IncompleteOutput):
        think_then(OBJECT).read(cut.text)


@pytest.mark.parametrize("through", ["generate", "session"])
def test_a_budget_that_leaves_no_room_is_an_error(engine: Engine, through: str) -> None:
    spec = think_then(OBJECT, max_tokens=20)

    def asked(**more: Any) -> Completion:
        if through == "generate":
            return engine.generate(["x"], constraint=spec, **more)[0]
        with engine.session("x") as session:
            return session.sample(constraint=spec, **more)

    assert asked(max_tokens=60).complete
    for most in (20, 24):  # 20, an open character, and the marker
        with pytest.raises(InvalidArgument, match="thoughts and their end may take 24 tokens"):
            asked(max_tokens=most)
    assert asked(max_tokens=25).reason in ("length", "end", "constraint")
    long = engine.tok.encode("a b c d " * 100)[:240]
    with pytest.raises(InvalidArgument, match="context of 256"):
        engine.generate([long], constraint=spec, max_tokens=100)


def test_whether_an_output_is_complete_is_told_at_every_end(engine: Engine) -> None:
    cut = engine.generate(["x"], constraint=json_schema({"const": "a long text that does not fit"}), max_tokens=3)[0]
    assert (cut.reason, cut.complete) == ("length", False)
    may_end = engine.generate(["x"], constraint=regex("[a-z ]*"), max_tokens=3, seed=1)[0]
    assert may_end.complete
    stopped = engine.generate(["x"], constraint=choice(["one two three"]), stop=["two"], max_tokens=30)[0]
    assert (stopped.reason, stopped.complete) == ("stop", False)
    with pytest.raises(IncompleteOutput):
        json_schema(True).read(cut.text)
    with pytest.raises(IncompleteOutput, match=r"max_tokens \(3\)"):
        fill(engine, "The answer is {number:int}, surely.", prompt="x", max_tokens=3)


def test_a_budget_that_nobody_would_keep_is_refused() -> None:
    thinking = think_then(OBJECT, max_tokens=4)
    for spec in (template("So: {a}", a=thinking), think_then(thinking), think_then(thinking, max_tokens=3)):
        with pytest.raises(ConstraintError, match="a budget of thoughts"):
            start(spec)
    assert start(think_then(think_then(OBJECT), max_tokens=3)) is not None
    with pytest.raises(InvalidArgument):
        think_then(OBJECT, max_tokens=-1)
