"""Strings that know where their characters come from: equal to `str`, and each character from where it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.chats.tracked import MAX_CHARS, TEMPLATE, UNKNOWN, Tracked, joined
from stategpt.errors import ChatTemplateError

LETTERS = st.text(alphabet="ab \n\tß", max_size=12)
SHORT = st.text(alphabet="ab \n", min_size=1, max_size=2)
METHODS: dict[str, Callable[[str, str, int], Any]] = {
    "strip": lambda text, part, n: text.strip(),
    "strip of": lambda text, part, n: text.strip(part),
    "lstrip": lambda text, part, n: text.lstrip(),
    "rstrip": lambda text, part, n: text.rstrip(part),
    "split": lambda text, part, n: text.split(),
    "split at": lambda text, part, n: text.split(part, n),
    "split few": lambda text, part, n: text.split(None, n),
    "rsplit": lambda text, part, n: text.rsplit(),
    "rsplit at": lambda text, part, n: text.rsplit(part, n),
    "rsplit few": lambda text, part, n: text.rsplit(None, n),
    "splitlines": lambda text, part, n: text.splitlines(),
    "splitlines kept": lambda text, part, n: text.splitlines(True),
    "partition": lambda text, part, n: text.partition(part),
    "rpartition": lambda text, part, n: text.rpartition(part),
    "removeprefix": lambda text, part, n: text.removeprefix(part),
    "removesuffix": lambda text, part, n: text.removesuffix(part),
    "item": lambda text, part, n: text[n] if n < len(text) else "",
    "slice": lambda text, part, n: text[n:],
    "backwards": lambda text, part, n: text[::-1],
    "letters": lambda text, part, n: list(text),
    "add": lambda text, part, n: text + text[:n],
    "times": lambda text, part, n: text * n,
    "replace": lambda text, part, n: text.replace(part, text[:n]),
    "replace few": lambda text, part, n: text.replace(part, text[:1], n),
    "join": lambda text, part, n: text.join([text[:n], text[n:]]),
}


@pytest.mark.parametrize("name", METHODS)
@given(text=LETTERS, part=SHORT, number=st.integers(0, 4))
def test_a_method_gives_what_that_of_str_gives_with_each_character_from_its_place(
    name: str, text: str, part: str, number: int
) -> None:
    expected = METHODS[name](text, part, number)
    found = METHODS[name](Tracked(text, tuple(range(len(text)))), part, number)
    parts = [found] if isinstance(found, str) else found
    assert [str(one) for one in parts] == ([expected] if isinstance(expected, str) else list(expected))
    for one in parts:
        if one:
            assert isinstance(one, Tracked)
            assert len(one.origins) == len(one)
            assert all(text[origin] == letter for origin, letter in zip(one.origins, one.plain, strict=True))
            if name.startswith(("s", "r", "p", "l")) and not name.startswith("replace"):
                assert one.origins == tuple(range(one.origins[0], one.origins[0] + len(one)))


@given(text=LETTERS, part=SHORT, number=st.integers(-1, 4), where=st.sampled_from(["split", "rsplit"]))
def test_parts_stand_one_behind_the_other(text: str, part: str, number: int, where: str) -> None:
    """A part that is found elsewhere would be of the wrong message."""
    tracked = Tracked(text, tuple(range(len(text))))
    found = getattr(tracked, where)(part, number)
    places = [place for one in found for place in one.origins]
    gaps = len(text) - len(places)
    assert places == sorted(set(places))
    assert gaps == len(part) * (len(found) - 1)


@given(LETTERS)
def test_case_keeps_the_origin_where_lengths_allow(text: str) -> None:
    for method in ("upper", "lower", "capitalize", "title"):
        one = getattr(Tracked(text, 3), method)()
        assert (one.plain, set(one.origins) <= {3}) == (getattr(text, method)(), True)
        mixed = getattr(Tracked(text, tuple(range(len(text)))), method)()
        assert len(mixed.origins) == len(mixed)
        assert len(mixed) == len(text) or set(mixed.origins) <= {UNKNOWN, 0}


def test_plain_strings_are_of_unknown_origin() -> None:
    both = "a" + Tracked("b", TEMPLATE) + "c"
    assert isinstance(both, Tracked)
    assert both.origins == (UNKNOWN, TEMPLATE, UNKNOWN)
    assert joined(["a", Tracked("b", 2), 3]).origins == (UNKNOWN, 2, UNKNOWN)
    assert not isinstance(Tracked("a", 1).center(9), Tracked)
    assert type(Tracked("a", 1).plain) is str


def test_a_text_without_end_is_refused() -> None:
    many = Tracked("x" * (1 << 12), 0)
    with pytest.raises(ChatTemplateError, match=f"more than {MAX_CHARS:,} characters"):
        joined([many] * 1025)
