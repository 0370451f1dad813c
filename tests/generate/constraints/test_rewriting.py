"""Keywords that are said by others: the schema that is enforced accepts what the given one does, and nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from constrained import accepts, random_output, start
from schema_runs import strict, validator
from stategpt.errors import ConstraintError, ConstraintLimit, UnsupportedSchema
from stategpt.generate.constraints import Limits, json_schema
from stategpt.generate.constraints.complement import Complements
from stategpt.generate.constraints.rewriting import REWRITTEN
from stategpt.generate.constraints.schema import checked_schema

pytest.importorskip("jsonschema")

Json = Any
SCALARS: list[Json] = [None, True, False, 0, 1, 2, -3, 1.5, "", "a", "b", "ab", "ba"]
ARRAYS: list[Json] = [
    [], [0], [1], ["a"], [None], [0, 1], [1, 0], [1, 1], ["a", "a"], [True, 1], [2, "a"], [0, 1, 2], [1, 1, 1],
    [[], {}],
]  # fmt: skip
OBJECTS: list[Json] = [
    {}, {"a": 1}, {"a": "a"}, {"b": 1}, {"b": "b"}, {"ab": None}, {"a": 1, "b": 1}, {"a": "a", "b": 2},
    {"a": 1, "c": 1}, {"b": [], "c": 0}, {"a": 2, "b": "b", "c": "a"}, {"a": {"a": 1}}, {"a": 1, "ab": [0]},
]  # fmt: skip
INSTANCES = [*SCALARS, *ARRAYS, *OBJECTS]


def python_patterns(schema: Json) -> Json:
    """A copy with characters of patterns as Python's `re` writes them."""
    if isinstance(schema, dict):
        return {
            key: re.sub(r"\\x\{(\w+)\}", lambda found: f"\\u{int(found[1], 16):04x}", value)
            if key == "pattern"
            else python_patterns(value)
            for key, value in schema.items()
        }
    return [python_patterns(part) for part in schema] if isinstance(schema, list) else schema


def enforced(schema: Json) -> Any:
    """A validator of what is enforced."""
    return validator(python_patterns(checked_schema(schema, Limits())))


def same(schema: Json, draft: str = "draft2020-12") -> None:
    """What is enforced accepts the same instances."""
    found, wanted = enforced(schema), validator(schema, draft)
    for instance in INSTANCES:
        assert found.is_valid(instance) == wanted.is_valid(instance), (schema, instance)


VALUES = st.sampled_from([None, True, False, 0, 1, 2, "a", "ab", "", [], {}])
NAMES = st.sampled_from(["a", "b", "c", "ab"])
LEAVES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "number", "integer", "null", "object", "array", "boolean"])}
    ),
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"minimum": st.integers(-1, 2)}),
    st.fixed_dictionaries({"exclusiveMaximum": st.integers(-1, 2)}),
    st.fixed_dictionaries({"minLength": st.integers(0, 2)}),
    st.fixed_dictionaries({"maxItems": st.integers(0, 3)}),
    st.fixed_dictionaries({"minProperties": st.integers(0, 2)}),
    st.fixed_dictionaries({"required": st.lists(NAMES, max_size=2, unique=True)}),
)


def _deeper(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    table = st.dictionaries(NAMES, inner, min_size=1, max_size=2)
    several = st.lists(inner, min_size=1, max_size=3)
    names = st.one_of(
        st.booleans(),
        st.fixed_dictionaries({"enum": st.lists(NAMES, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"maxLength": st.integers(0, 2)}),
        st.fixed_dictionaries({"pattern": st.sampled_from(["^a", "b$"])}),
    )
    keywords: dict[str, st.SearchStrategy[Json]] = {
        "not": inner, "if": inner, "then": inner, "else": inner, "properties": table, "dependentSchemas": table,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), min_size=1, max_size=2),
        "allOf": several, "anyOf": several, "oneOf": several, "contains": inner, "minContains": st.integers(0, 2),
        "maxContains": st.integers(0, 2), "maxItems": st.integers(0, 3), "prefixItems": several, "items": inner,
        "unevaluatedProperties": inner, "unevaluatedItems": inner, "propertyNames": names,
        "additionalProperties": inner, "uniqueItems": st.booleans(),
        "required": st.lists(NAMES, max_size=2, unique=True),
    }  # fmt: skip
    return st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: keywords[name] for name in chosen})
    )


SCHEMAS = st.recursive(LEAVES, _deeper, max_leaves=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(schema=SCHEMAS)
@example(schema={"unevaluatedProperties": False, "anyOf": [{"properties": {"a": {"const": 1}}}, {"required": ["b"]}]})
@example(
    schema={"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}, "unevaluatedProperties": False}
)
@example(schema={"uniqueItems": True, "items": {"enum": [0, 1, "a"]}})
@example(schema={"uniqueItems": True, "prefixItems": [{"type": "boolean"}, {"const": 1}], "items": False})
def test_what_is_enforced_is_what_is_said(schema: Json) -> None:
    try:
        found = enforced(schema)
    except (UnsupportedSchema, ConstraintLimit):
        assume(False)
        return
    except ConstraintError as error:
        assert "no finite JSON" in str(error)  # noqa: PT017 - other errors would be of schemas that are none
        return
    wanted = validator(schema)
    for instance in INSTANCES:
        assert found.is_valid(instance) == wanted.is_valid(instance), instance


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(schema=st.recursive(LEAVES, _deeper, max_leaves=5))
def test_a_complement_is_all_that_does_not_satisfy(schema: Json) -> None:
    def find(reference: str) -> Json:
        raise AssertionError(reference)

    try:
        checked = checked_schema(schema, Limits())
        other = Complements(find, 10_000).of(checked, "#")
    except ConstraintError:
        assume(False)
        return
    found, wanted = validator(python_patterns(other)), validator(python_patterns(checked))
    for instance in INSTANCES:
        assert found.is_valid(instance) != wanted.is_valid(instance), instance


CASES: list[Json] = [
    {"not": {"type": ["object", "array"]}},
    {"type": "string", "not": {"enum": ["a", "ab", ""]}},
    {"type": "number", "not": {"const": 1}},
    {"not": {"minLength": 2}},
    {"not": {"required": ["a"]}, "type": "object"},
    {"type": "object", "not": {"properties": {"a": {"const": 1}}}},
    {"not": {"prefixItems": [{"const": 0}]}, "type": "array"},
    {"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]},
     "else": {"maxProperties": 1}},
    {"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": True}, "additionalProperties": False,
     "if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}},
    {"dependentRequired": {"a": ["b"]}},
    {"type": "object", "properties": {"a": True, "b": True, "c": True}, "dependentRequired": {"a": ["b"], "b": ["c"]}},
    {"dependentSchemas": {"a": {"properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "integer"}}}},
    {"dependencies": {"a": ["b"], "b": {"properties": {"c": False}}}},
    {"type": "object", "propertyNames": {"maxLength": 1}},
    {"type": "object", "propertyNames": {"pattern": "^a"}, "additionalProperties": {"type": "integer"}},
    {"type": "object", "propertyNames": {"enum": ["a", "c"]}},
    {"propertyNames": False},
    {"type": "array", "uniqueItems": True, "items": {"enum": [0, 1, 2, "a"]}},
    {"type": "array", "uniqueItems": True, "items": {"enum": [1, True]}},
    {"type": "array", "contains": {"const": 1}, "maxItems": 3},
    {"type": "array", "contains": {"const": 1}, "maxItems": 3, "minContains": 2},
    {"type": "array", "contains": {"const": 1}, "maxItems": 3, "maxContains": 1},
    {"type": "array", "contains": {"type": "string"}, "minContains": 0, "maxContains": 0},
    {"oneOf": [{"minimum": 1}, {"enum": [1, "a"]}]},
    {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"},
    {"allOf": [{"properties": {"a": True}}], "properties": {"b": True}, "unevaluatedProperties": False},
    {"anyOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": True}, "required": ["b"]}],
     "unevaluatedProperties": {"type": "null"}, "type": "object"},
    {"prefixItems": [True], "allOf": [{"prefixItems": [True, {"type": "integer"}]}], "unevaluatedItems": False},
    {"$defs": {"x": {"$anchor": "here", "enum": [1, "a"]}}, "not": {"$ref": "#here"}},
]  # fmt: skip


@pytest.mark.parametrize("schema", CASES, ids=[json.dumps(case)[:60] for case in CASES])
def test_outputs_are_the_valid_instances(schema: Json) -> None:
    """By llguidance: an instance is an output, in some order of its keys, exactly where jsonschema accepts it."""
    pytest.importorskip("llguidance", reason="constraints need the extra of that name")
    draft = "draft7" if "dependencies" in schema else "draft2020-12"
    same(schema, draft)
    spec, wanted = json_schema(schema), validator(schema, draft)
    for instance in INSTANCES:
        texts = [json.dumps(order, separators=(",", ":")) for order in orders(instance)]
        assert any(accepts(spec, text) for text in texts) == wanted.is_valid(instance), instance
    for seed in range(5):
        made = start(spec)
        if random_output(made, seed, 120, hurry=30):
            assert wanted.is_valid(strict(made.text)), made.text


def orders(instance: Json) -> Iterator[Json]:
    """An instance with its keys in every order."""
    if isinstance(instance, dict):
        for names in permutations(instance):
            yield {name: instance[name] for name in names}
    else:
        yield instance


REFERENCES: list[tuple[str, Json]] = [
    ("draft2020-12", {"$defs": {"x": {"$anchor": "n", "type": "null"}}, "items": {"$ref": "#n"}, "type": "array"}),
    ("draft2020-12", {"$id": "http://h/root.json", "$ref": "other.json#n", "$defs": {
        "o": {"$id": "other.json", "$defs": {"p": {"$anchor": "n", "type": "string"}}}}}),
    ("draft2020-12", {"$id": "http://h/a/", "properties": {"a": {"$ref": "b/#/$defs/n"}}, "$defs": {
        "b": {"$id": "b/", "$defs": {"n": {"$ref": "#/$defs/m"}, "m": {"type": "integer"}}}}}),
    ("draft2020-12", {"$id": "urn:uuid:1", "$ref": "urn:uuid:2", "$defs": {"x": {"$id": "urn:uuid:2", "maximum": 1}}}),
    ("draft2020-12", {"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"enum": [1, "ab"]}}}),
    ("draft2020-12", {"enum": [{"$id": "x", "a": 1}, 1], "not": {"const": 1}}),
    ("draft2020-12", {"$dynamicRef": "#n", "$defs": {"x": {"$dynamicAnchor": "n", "type": "string"}}}),
    ("draft2019-09", {
        "$recursiveAnchor": True, "properties": {"a": {"$recursiveRef": "#"}}, "type": ["object", "integer"]}),
    ("draft7", {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "http://h/x", "$ref": "#n", "maximum": 0,
                "definitions": {"n": {"$id": "#n", "type": "integer"}}}),
    ("draft7", {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"n": {"minimum": 1}},
                "not": {"$ref": "#/definitions/n", "type": "string"}}),
    ("draft4", {"$schema": "http://json-schema.org/draft-04/schema#", "id": "http://h/x", "$ref": "y#/definitions/n",
                "definitions": {"y": {"id": "y", "definitions": {"n": {"type": "object"}}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("draft", "schema"), REFERENCES)
def test_references_are_followed_by_identifiers_and_anchors(draft: str, schema: Json) -> None:
    same(schema, draft)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"not": {"type": "integer"}}, "'integer' is negated at #/not"),
        ({"not": {"pattern": "a"}}, "'pattern' is negated at #/not"),
        ({"if": {"multipleOf": 2}, "then": False}, "'multipleOf' is negated at #/if"),
        ({"not": {"const": [1]}}, "not empty is negated"),
        ({"not": {"items": {"type": "string"}}}, "'items' is negated"),
        ({"contains": {"const": 1}}, "contains at #/contains is enforced where maxItems"),
        ({"contains": {"const": 1}, "maxItems": 65}, "at most 64 items"),
        ({"contains": {"const": 1}, "maxItems": 12, "minContains": 3, "maxContains": 4}, "more than 64 ways"),
        ({"uniqueItems": True}, "uniqueItems at #/uniqueItems is enforced where"),
        ({"uniqueItems": True, "items": {"enum": list(range(9))}}, "at most 256 arrays"),
        ({"propertyNames": {"format": "email"}}, "not with 'format'"),
        ({"propertyNames": {"pattern": "a", "maxLength": 3}}, "not with more than one"),
        ({"propertyNames": {"pattern": "a"}, "minProperties": 2}, "not with minProperties"),
        ({"allOf": [{"patternProperties": {"^a": True}}, {"minProperties": 2}]}, "minProperties at # beside"),
        ({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "refers to itself"),
        ({"unevaluatedItems": False, "contains": {"const": 1}, "maxItems": 2}, "unevaluatedItems with contains"),
        ({"unevaluatedProperties": False, "allOf": [{"$ref": "#"}]}, "refers to itself"),
        ({"$defs": {"x": {"$id": "x"}}, "$dynamicRef": "#"}, "depends on the schemas that lead to it"),
        ({"$id": "a", "allOf": [{"$id": "x", "$ref": "#"}]}, "declare the draft"),
        ({"$ref": "#name"}, r"has the \$anchor 'name'"),
        ({"allOf": [{"$id": "x"}, {"$id": "x"}]}, "both called 'x'"),
        ({"items": {"$id": "x#y"}}, "has a fragment"),
        ({"$ref": "#/default", "default": {"$id": "x", "type": "null"}}, "where no schema is expected"),
        ({"dependentRequired": {"a": "b"}}, "must be a list of names"),
        ({"dependentRequired": ["a"]}, "must be an object"),
        ({"uniqueItems": 1}, "must be true or false"),
        ({"contains": True, "minContains": -1}, "must be a whole number"),
        ({"not": 3}, "a schema is an object, true or false"),
        ({"not": {"minimun": 3}}, "'minimun' at #/not"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_exactly_is_an_error(schema: Json, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        checked_schema(schema, Limits())


def _chain(length: int, last: Json, keywords: Json) -> Json:
    """Schemas that refer to each other; the first ones are read first, so none is nested deep."""
    table = {"r0": last, **{f"r{place}": {"$ref": f"#/$defs/r{place - 1}"} for place in range(1, length)}}
    return {"$defs": table, "allOf": [*({"$ref": f"#/$defs/{name}"} for name in table), keywords]}


@pytest.mark.parametrize(
    "keywords",
    [
        {"not": {"$ref": "#/$defs/r2999"}},
        {"unevaluatedProperties": False, "allOf": [{"$ref": "#/$defs/r2999"}]},
        {"minProperties": 2, "patternProperties": {"a": True}, "$ref": "#/$defs/r2999"},
        {"oneOf": [{"$ref": "#/$defs/r2999"}, {"type": "null"}], "propertyNames": {"$ref": "#/$defs/r2999"}},
    ],
)
@pytest.mark.parametrize("last", [{"type": "object"}, {"$ref": "#/$defs/r2999"}])
def test_long_and_circular_references_are_an_error_or_taken_but_never_overflow(last: Json, keywords: Json) -> None:
    began = time.process_time()
    with contextlib.suppress(ConstraintError):
        checked_schema(_chain(3000, last, keywords), Limits())
    assert time.process_time() - began < 20


def test_every_rewritten_keyword_is_tried() -> None:
    tried = json.dumps(CASES) + json.dumps([schema for _, schema in REFERENCES])
    assert [key for key in REWRITTEN if f'"{key}"' not in tried] == []


def _nested(depth: int, make: Any) -> Json:
    made: Json = {"const": 1}
    for _ in range(depth):
        made = make(made)
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda inner: {"if": inner, "then": {"minimum": 2}, "else": {"maximum": 5}},
        lambda inner: {"oneOf": [inner, {"required": ["a"]}, {"minLength": 1}]},
        lambda inner: {"not": {"if": inner, "then": {"minLength": 1}}},
        lambda inner: {"anyOf": [{"properties": {"a": True}}, inner], "unevaluatedProperties": {"minimum": 1}},
        lambda inner: {"contains": inner, "maxItems": 40},
        lambda inner: {"anyOf": [*({"properties": {f"p{i}": True}} for i in range(9)), inner],
                       "unevaluatedProperties": False},
    ],
)  # fmt: skip
def test_what_grows_by_being_rewritten_is_bounded(make: Any) -> None:
    began = time.process_time()
    with pytest.raises(ConstraintError):
        checked_schema(_nested(60, make), Limits())
    assert time.process_time() - began < 20
