"""Records of dataclasses: what is written is what is read, and anything else is a typed error with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import DataError, ForeignArtifact
from stategpt.json_reader import Integer
from stategpt.json_records import Limit, from_json, kind_of, read_versioned, to_json, versioned


@dataclass(frozen=True)
class Inner:
    name: str
    pair: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Outer:
    step: Annotated[int, Integer(0, 9)]
    kind: Literal["a", "b"] = "a"
    value: float | None = None
    flag: bool = True
    inner: Inner | None = None
    many: Annotated[tuple[Inner, ...], Limit(2)] = ()
    by_name: Annotated[Mapping[str, tuple[float, ...]], Limit(2, max_key_chars=5)] = field(default_factory=dict)


INNER = st.builds(Inner, st.text(max_size=5), st.tuples(st.integers(-5, 5), st.integers(-5, 5)))
FINITE = st.floats(-1e9, 1e9)


@given(
    st.builds(
        Outer,
        st.integers(0, 9),
        st.sampled_from(["a", "b"]),
        st.none() | FINITE,
        st.booleans(),
        st.none() | INNER,
        st.lists(INNER, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=5), st.lists(FINITE, max_size=3).map(tuple), max_size=2),
    )
)
def test_what_is_written_is_read_back_equal(record: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(record))), where="x") == record


def test_absent_and_null_fields_have_their_defaults_and_unknown_ones_are_ignored() -> None:
    assert from_json(Outer, {"step": 1, "by_name": None, "flag": None, "later": [1]}, where="x") == Outer(1)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "lacks the field step"),
        ({"step": None}, r"\$\.step is None"),
        ({"step": 10}, r"\$\.step is 10; expected 0 to 9"),
        ({"step": 1, "kind": "c"}, r"\$\.kind is 'c'; expected one of a, b"),
        ({"step": 1, "value": "x"}, r"\$\.value is 'x'; expected a number"),
        ({"step": 1, "inner": {"name": "n", "pair": [1]}}, r"\$\.inner\.pair .*array of 2 items"),
        ({"step": 1, "many": [{"name": "n"}] * 3}, "has 3 items; expected 0 to 2"),
        ({"step": 1, "many": [{"name": "n"}, {"name": 1}]}, r"\$\.many\[1\]\.name is 1"),
        ({"step": 1, "by_name": {"a": [], "b": [], "c": []}}, "has 3 fields"),
        ({"step": 1, "by_name": {"longer": []}}, "at most 5 characters"),
        ([], "expected an object"),
    ],
)
def test_anything_else_is_an_error_with_its_place(value: Any, says: str) -> None:
    with pytest.raises(DataError, match=rf"^file: .*{says}"):
        from_json(Outer, value, where="file")


def test_numbers_that_are_not_finite_become_null() -> None:
    written = to_json(Outer(1, value=math.nan, by_name={"a": (math.inf, 1.0)}))
    assert (written["value"], written["by_name"]) == (None, {"a": [None, 1.0]})


def test_the_kind_of_a_record_returns_plain_json() -> None:
    assert kind_of(Inner).check({"name": "n"}, "$") == {"name": "n", "pair": [0, 0]}


def test_a_file_is_read_in_its_own_version_only(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(versioned(Inner("n"), 3)))
    assert read_versioned(path, Inner, 3) == Inner("n")
    with pytest.raises(ForeignArtifact, match=r"x\.json has format version 3; .* reads version 4"):
        read_versioned(path, Inner, 4)
    path.write_text(json.dumps({"name": "n"}))
    with pytest.raises(ForeignArtifact, match=r"has no format version.*delete the folder"):
        read_versioned(path, Inner, 3)
    path.write_text("[]")
    with pytest.raises(DataError, match="expected an object"):
        read_versioned(path, Inner, 3)


def test_a_type_that_json_cannot_hold_is_refused_when_the_record_is_first_used() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: set[int]

    with pytest.raises((TypeError, NameError)):
        kind_of(Odd)
