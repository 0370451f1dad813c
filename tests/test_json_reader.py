"""JSON of any content: the value, or the caller's error with the place; nothing else comes out."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import CorruptArtifact, DataError
from stategpt.json_reader import (
    Anything,
    Flag,
    Integer,
    Items,
    MapOf,
    OneOf,
    Optional,
    Real,
    Record,
    Text,
    Tuple,
    check_value,
    parse_json,
    read_record,
)

SHAPE = Record(
    {
        "step": Integer(0, 10),
        "rate": Real(0.0, 1.0),
        "name": Text(choices=("a", "b")),
        "on": Flag(),
        "sizes": Items(Integer(1), max_items=3),
        "by_name": MapOf(Real()),
        "note": Optional(Text(), default="none"),
        "id": OneOf((Integer(), Text(max_chars=4))),
    }
)
GOOD = {"step": 3, "rate": 1, "name": "a", "on": True, "sizes": [1], "by_name": {"x": 2.5}, "id": "abcd"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5_000, "not valid JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' appears twice"),
        (b"NaN", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"\xef\xbb\xbf{}", "byte-order mark"),
        (b"\xff", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_is_not_one_json_value_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_json(content, where="x.json")


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_value_or_the_callers_error(content: bytes) -> None:
    try:
        value = parse_json(content, where="x.json", error=CorruptArtifact)
    except CorruptArtifact:
        return
    assert value == json.loads(content)


@given(json_values | st.fixed_dictionaries({name: json_values | st.just(GOOD[name]) for name in GOOD}))
def test_any_value_is_of_the_shape_or_refused_with_its_place(value: object) -> None:
    try:
        found = check_value(value, SHAPE, where="x.json")
    except DataError:
        return
    assert 0 <= found["step"] <= 10
    assert 0.0 <= found["rate"] <= 1.0
    assert found["name"] in "ab"
    assert isinstance(found["on"], bool)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step": True}, r"\$\.step is True; expected a whole number"),
        ({"step": 11}, r"\$\.step is 11; expected 0 to 10"),
        ({"step": 10**5000}, r"\$\.step is a whole number of \d+ bits"),
        ({"rate": float("nan")}, r"\$\.rate is nan; expected a finite number"),
        ({"rate": 10**400}, r"\$\.rate is a whole number of \d+ bits; expected a number that fits"),
        ({"name": "c"}, r"\$\.name is 'c'; expected one of a, b"),
        ({"sizes": [1, 0]}, r"\$\.sizes\[1\] is 0; expected 1 to"),
        ({"sizes": [1] * 4}, r"\$\.sizes has 4 items; expected 0 to 3"),
        ({"by_name": {"\x1b": "x"}}, r"\$\.by_name\.'\\x1b' is 'x'; expected a number"),
        ({"id": "abcde"}, r"\$\.id .*whole number; or .*at most 4"),
    ],
)
def test_the_message_has_place_value_and_expectation(changed: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_value(GOOD | changed, SHAPE, where="x.json")


def test_a_good_value_comes_back_with_its_defaults() -> None:
    assert check_value(GOOD | {"more": 1}, SHAPE, where="x") == GOOD | {"more": 1, "note": "none"}
    with pytest.raises(DataError, match=r"lacks the field step"):
        check_value({}, SHAPE, where="x")
    with pytest.raises(DataError, match=r"unknown field 'b'"):
        check_value({"a": 1, "b": 2}, Record({"a": Anything()}, closed=True), where="x")


def test_a_file_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD))
    assert read_record(path, SHAPE)["step"] == 3
    with pytest.raises(CorruptArtifact, match=r"x\.json: \$ lacks the field seed"):
        read_record(path, Record({"seed": Integer()}), error=CorruptArtifact)


def test_a_tuple_has_its_kinds_in_their_order() -> None:
    kind = Tuple((Text(), Integer(0)))
    assert check_value(["a", 1], kind, where="f") == ["a", 1]
    for wrong in (["a"], ["a", 1, 2], [1, "a"], {"a": 1}, None):
        with pytest.raises(DataError):
            check_value(wrong, kind, where="f")


def test_the_fields_of_a_table_are_counted_and_their_names_measured() -> None:
    kind = MapOf(Integer(), max_items=2, max_key_chars=3)
    assert check_value({"abc": 1, "b": 2}, kind, where="f") == {"abc": 1, "b": 2}
    with pytest.raises(DataError, match="has 3 fields; expected at most 2"):
        check_value({"a": 1, "b": 2, "c": 3}, kind, where="f")
    with pytest.raises(DataError, match="has the field 'abcd'; expected at most 3 characters"):
        check_value({"abcd": 1}, kind, where="f")
