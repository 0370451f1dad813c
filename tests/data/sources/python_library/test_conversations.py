"""First sentences, the filters on them, and the two kinds of conversation made from each."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.sources.python_library.conversations import (
    Summary,
    first_sentence,
    make_conversation,
    summaries,
    training_conversation,
)
from stategpt.data.sources.python_library.records import Entry


def entry(text: str, name: str = "m.f", kind: str = "function", local: bool = False) -> Entry:
    return Entry(name, "()", text, "m", kind, local)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Return x. Then more.", "Return x."),
        ("Return x\nover two\n  lines.\n\nMore.", "Return x over two lines."),
        ("Return e.g. the first. More.", "Return e.g. the first."),
        ("Use file.txt or x.y as input. More.", "Use file.txt or x.y as input."),
        ("Is it there?  Yes.", "Is it there?"),
        ('Return "a". More.', 'Return "a".'),
        ("Return (one.) More.", "Return (one.)"),
        ("Wait... then go on. More.", "Wait... then go on."),
        ("f(x) -> y\nm.f(x, z) -> y\n\nReturn y. More.", "Return y."),
        ("No stop\n\nMore.", "No stop"),
        ("", ""),
    ],
)
def test_first_sentences(text: str, sentence: str) -> None:
    assert first_sentence(text, "m.f") == sentence


@pytest.mark.parametrize(
    ("given_entry", "reason"),
    [
        (entry("Return the value.", kind="module"), "module"),
        (entry("Return the value.", local=True), "local"),
        (entry("Return the value.", name="m.A.__init__"), "dunder_name"),
        (entry("Return the value"), "no_final_stop"),
        (entry("return the value."), "no_capital"),
        (entry("Do it so."), "too_short"),
        (entry("Undocumented feature."), "too_short"),
        (entry("Return " + "very " * 40 + "much."), "too_long"),
        (entry("D.get(k) -> value of the key."), "signature_or_example"),
    ],
)
def test_every_filter_counts_its_reason(given_entry: Entry, reason: str) -> None:
    dropped: Counter[str] = Counter()
    assert summaries([given_entry], 12, 140, dropped) == []
    assert dropped == {reason: 1}


def test_without_a_limit_no_sentence_is_too_long() -> None:
    assert len(summaries([entry("Return " + "very " * 40 + "much.")], 1, 0, Counter())) == 1


def test_shared_sentences_and_names_are_used_once() -> None:
    dropped: Counter[str] = Counter()
    kept = summaries(
        [
            entry("Return the value.", "a.f"),
            entry("Return the value. And more.", "b.f"),
            entry("RETURN the value.", "c.f"),
            entry("Return another value.", "a.f"),
        ],
        12,
        140,
        dropped,
    )
    assert [summary.entry.name for summary in kept] == ["a.f"]
    assert dropped == {"duplicate_sentence": 2, "duplicate_name": 1}


def test_the_two_kinds_of_conversation() -> None:
    summary = Summary(entry("", "str.upper"), "Return a copy of the string converted to uppercase.")
    what = make_conversation(summary, "what", 0).prompt()
    assert what.text == "What does `str.upper` do?"
    assert (what.opening, what.reference) == ("", summary.sentence)
    complete = make_conversation(summary, "complete", 0).prompt()
    assert complete.text == f"Complete the docstring of `str.upper`: {complete.opening}"
    assert (complete.reference or "").startswith(" ")
    for prompt, kind in ((what, "what"), (complete, "complete")):
        assert (prompt.subject, prompt.group) == ("str.upper", "m")
        assert {name: prompt.meta[name] for name in ("kind", "summary", "signature")} == {
            "kind": kind, "summary": summary.sentence, "signature": "()",
        }  # fmt: skip


@given(st.lists(st.text("abcxyz.", min_size=1, max_size=8), min_size=3, max_size=20), st.integers(0, 50))
def test_prefix_and_response_make_the_sentence(words: list[str], number: int) -> None:
    sentence = " ".join(words)
    pair = make_conversation(Summary(entry("", f"m.f{number}"), sentence), "complete", 0).prompt()
    assert pair.opening + (pair.reference or "") == sentence
    assert 2 <= len(pair.opening.split()) <= min(4, len(words) - 1)


def test_kinds_and_prefix_lengths_are_drawn_evenly_and_do_not_change() -> None:
    made = [Summary(entry("", f"m.f{i}"), "Return one two three four five.") for i in range(1200)]
    pairs = [training_conversation(summary, 0) for summary in made]
    assert pairs == [training_conversation(summary, 0) for summary in made]
    assert 540 < sum(pair.meta["kind"] == "what" for pair in pairs) < 660
    lengths = Counter(len(make_conversation(summary, "complete", 0).prompt().opening.split()) for summary in made)
    assert set(lengths) == {2, 3, 4}
    assert min(lengths.values()) > 340
