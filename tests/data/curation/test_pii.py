"""Personal data by rule: what is found, what is not, and that nothing else is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.curation import find_pii, replace_pii


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("write to ada.l+x@mail.example.org.", "write to [email]."),
        ("<a@b.co>, c@d.museum", "<[email]>, [email]"),
        ("call +49 (30) 1234 5678 or +1-202-555-0143!", "call [phone] or [phone]!"),
        ("(202) 555-0143 and 202.555.0143", "[phone] and [phone]"),
        ("from 8.8.8.8:53 and 2001:4860:4860::8888", "from [ip]:53 and [ip]"),
    ],
)
def test_what_looks_like_personal_data_is_found(text: str, replaced: str) -> None:
    assert replace_pii(text, find_pii(text)) == replaced


@pytest.mark.parametrize(
    "text",
    [
        "a @ b, user@localhost, @name, @decorator.of.function, x@y.1",
        "192.168.0.1, 127.0.0.1, 10.0.0.1, 999.1.1.1, 1.2.3, 1.2.3.4.5, ::1, 12:30:45, a::b::c",
        "1234567890, 2024-11-29, 3.14159265358979, 12-34, +1, isbn 978-3-16-148410-0, 1,234,567,890",
    ],
)
def test_what_only_resembles_it_is_not(text: str) -> None:
    assert find_pii(text) == []


@given(st.text("ab1.@+-: ()\n25", max_size=40))
def test_parts_do_not_overlap_and_the_rest_stays(text: str) -> None:
    found = find_pii(text)
    ends = [0, *(each.end for each in found)]
    assert all(end <= each.start < each.end <= len(text) for end, each in zip(ends, found, strict=False))
    rest = "".join(text[end : each.start] for end, each in zip(ends, found, strict=False)) + text[ends[-1] :]
    kinds = {each.kind for each in found}
    replaced = replace_pii(text, found)
    for kind in kinds:
        replaced = replaced.replace(f"[{kind}]", "")
    assert replaced == rest


def test_a_finder_adds_parts_and_is_checked() -> None:
    found = find_pii("Ada Lovelace, a@b.co", lambda text: [(0, 12, "name")])
    assert replace_pii("Ada Lovelace, a@b.co", found) == "[name], [email]"
    for wrong in ((0, 99, "name"), (3, 3, "name"), (0, 1), (0, 1, "a b"), "abc", (False, 1, "name")):
        with pytest.raises(ValueError, match="give \\(start, end, kind\\)"):
            find_pii("Ada Lovelace", lambda _text, wrong=wrong: [wrong])


def test_a_long_text_of_signs_takes_no_longer_than_its_length() -> None:
    for text in ("a" * 200_000 + "@", "@" * 200_000, "1." * 100_000, "1-" * 100_000, ":" * 200_000, "+1 " * 60_000):
        assert find_pii(text) == []
