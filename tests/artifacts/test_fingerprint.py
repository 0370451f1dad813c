"""A fingerprint tells different values apart and equal ones together."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.artifacts import fingerprint, publish_folder
from stategpt.errors import InvalidArgument

# json.dumps cannot bring back lone surrogates, and integers beyond 64 bits are refused.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


def test_known_values_never_change() -> None:
    # These stand in manifests on users' disks; a change needs a new schema version.
    assert fingerprint({}) == "b3:6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c279"
    value = {"b": [1, 2.5, 1e-7, None], "a": {"é": True}}
    assert fingerprint(value) == "b3:ef983ed38bfd60e1d3e326745c0515e3faf808e4e4b67478cc12731db369b070"


def test_it_is_the_hash_of_sorted_json_without_spaces(tmp_path: Path) -> None:
    canonical = '{"a":{"é":true},"b":[1,2.5,1e-7,null]}'
    made = publish_folder(tmp_path / "x", lambda folder: (folder / "f").write_text(canonical) and None, kind="k")
    assert fingerprint(json.loads(canonical)) == "b3:" + made.files["f"].blake3


@given(VALUES)
def test_key_order_and_a_trip_through_json_change_nothing(value: Any) -> None:
    def reversed_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_keys(item) for key, item in reversed(value.items())}
        return tuple(map(reversed_keys, value)) if isinstance(value, list) else value

    assert fingerprint(reversed_keys(value)) == fingerprint(value)
    assert fingerprint(json.loads(json.dumps(value))) == fingerprint(value)


@given(VALUES, VALUES)
def test_values_with_different_canonical_json_differ(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(one) == fingerprint(other)) == same


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, {1: 2}]}, r"at \$\.a\[1\]: the key 1 is not a string"),
        ({"a": float("inf")}, r"at \$\.a: inf is not a JSON number"),
        ([2**64], r"at \$\[0\]: 18446744073709551616 does not fit 64 bits"),
        ({"a": {1, 2}}, r"at \$\.a: a set is not JSON"),
        ({"a": np.float64(1.0)}, r"at \$\.a: a float64 is not JSON"),
        ({"a": enum.StrEnum("Kind", ["X"]).X}, r"at \$\.a: a Kind is not JSON"),  # type: ignore[attr-defined]
        ("\ud800", r"at \$: .* holds a lone surrogate"),
        ({"\ud800": 1}, r"holds a lone surrogate"),
    ],
)
def test_what_json_cannot_keep_apart_is_refused_with_its_place(value: Any, where: str) -> None:
    with pytest.raises(InvalidArgument, match=where):
        fingerprint(value)
