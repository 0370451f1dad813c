"""Values from TOML and from the command line."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.config.values import check_value, describe, parse_value
from stategpt.errors import ConfigError

Choice = Literal["rloo", "reward_weighted"]
Steps = tuple[int | Literal["end"], ...]


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("1e6", int, 1_000_000),
        ("1_000", int, 1000),
        ("-2", int, -2),
        (".04", float, 0.04),
        ("2e-3", float, 0.002),
        ("4", float, 4.0),
        ("true", bool, True),
        ("3", str, "3"),
        ("rloo", Choice, "rloo"),
        ("2,4,8", tuple[int, ...], (2, 4, 8)),
        ("[2, 4]", tuple[int, ...], (2, 4)),
        ("4", tuple[int, ...], (4,)),
        ("", tuple[int, ...], ()),
        ("a.txt,b c.txt", tuple[str, ...], ("a.txt", "b c.txt")),
        (".9,.95", tuple[float, float], (0.9, 0.95)),
        ("0, 50,end", Steps, (0, 50, "end")),
        ("code=.5,docstrings=0.5", Mapping[str, float], {"code": 0.5, "docstrings": 0.5}),
        ("{code = 1.0}", Mapping[str, float], {"code": 1.0}),
    ],
)
def test_text_becomes_what_the_setting_stores(text: str, hint: Any, value: object) -> None:
    parsed = parse_value("key", text, hint)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("1.5", int, "a whole number"),
        ("inf", int, "a whole number"),
        ("abc", float, "a number"),
        ("nan", float, "a number"),
        ("inf", float, "a number"),
        ("yes", bool, "true or false"),
        ("1", bool, "true or false"),
        ("ppo", Choice, "'rloo' or 'reward_weighted'"),
        ("2,x", tuple[int, ...], "a list"),
        (".9", tuple[float, float], "2 values"),
        ("0,start", Steps, "'end'"),
        ("code", Mapping[str, float], "a table"),
    ],
)
def test_text_that_means_no_such_value_is_refused(text: str, hint: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"^some\.key = ") as caught:
        parse_value("some.key", text, hint)
    assert expected in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [(True, int), (True, float), (1, bool), (1.0, int), (1, str), ("1", int), ([1], tuple[str, ...]), ({}, int)],
)
def test_toml_values_of_another_type_are_refused(value: object, hint: Any) -> None:
    with pytest.raises(ConfigError, match="must be"):
        check_value("key", value, hint)


def test_whole_numbers_pass_as_numbers() -> None:
    assert check_value("key", 1, float) == 1.0
    assert type(check_value("key", 1, float)) is float


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_survives_its_text(number: float) -> None:
    assert parse_value("key", repr(number), float) == number


def test_types_are_described_in_words() -> None:
    assert describe(tuple[float, float]) == "a list (2 values, each a number)"
    assert describe(Steps) == "a list (each a whole number or 'end')"
    assert describe(Mapping[str, float]) == "a table (each value a number)"
