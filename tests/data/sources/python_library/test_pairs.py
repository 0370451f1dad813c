"""First sentences, the filters on them, and the two kinds of pair made from each."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.sources.python_library.pairs import Summary, first_sentence, make_pair, summaries, training_pair
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


def test_the_two_kinds_of_a_pair() -> None:
    summary = Summary(entry("", "str.upper"), "Return a copy of the string converted to uppercase.")
    what = make_pair(summary, "what", 0)
    assert what.prompt == "What does `str.upper` do?"
    assert (what.prefix, what.response) == ("", summary.sentence)
    complete = make_pair(summary, "complete", 0)
    assert complete.prompt == f"Complete the docstring of `str.upper`: {complete.prefix}"
    assert complete.response.startswith(" ")
    assert (complete.name, complete.module, complete.summary) == ("str.upper", "m", summary.sentence)


@given(st.lists(st.text("abcxyz.", min_size=1, max_size=8), min_size=3, max_size=20), st.integers(0, 50))
def test_prefix_and_response_make_the_sentence(words: list[str], number: int) -> None:
    sentence = " ".join(words)
    pair = make_pair(Summary(entry("", f"m.f{number}"), sentence), "complete", 0)
    assert pair.prefix + pair.response == sentence
    assert 2 <= len(pair.prefix.split()) <= min(4, len(words) - 1)


def test_kinds_and_prefix_lengths_are_drawn_evenly_and_do_not_change() -> None:
    made = [Summary(entry("", f"m.f{i}"), "Return one two three four five.") for i in range(1200)]
    pairs = [training_pair(summary, 0) for summary in made]
    assert pairs == [training_pair(summary, 0) for summary in made]
    assert 540 < sum(pair.kind == "what" for pair in pairs) < 660
    lengths = Counter(len(make_pair(summary, "complete", 0).prefix.split()) for summary in made)
    assert set(lengths) == {2, 3, 4}
    assert min(lengths.values()) > 340
