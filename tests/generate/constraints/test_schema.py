"""JSON schemas: what is not enforced is refused with its place, limits hold, and random outputs are valid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from constrained import accepts, plain_tokenizer, random_output, start
from schema_runs import HOW, is_canonical, random_schema, strict, suite, suite_path, validator
from stategpt.errors import ConstraintError, ConstraintLimit, InvalidArgument, UnsupportedSchema
from stategpt.generate.constraints import Limits, choice, grammar, json_schema, regex, substring, template
from stategpt.generate.constraints.schema import ANNOTATIONS, FORMATS, SUPPORTED, checked_schema

pytest.importorskip("llguidance", reason="constraints need the extra of that name")

UNSUPPORTED = [
    "$vocabulary",
    "nullable",
    "discriminator",
    "x-guidance",
    "minimun",
    "format_minimum",
]


@pytest.mark.parametrize("keyword", UNSUPPORTED)
def test_a_keyword_that_is_not_enforced_is_an_error_with_its_place(keyword: str) -> None:
    schema = {"type": "object", "properties": {"a/b": {"anyOf": [{"type": "array", "items": {keyword: {}}}]}}}
    with pytest.raises(UnsupportedSchema) as caught:
        start(json_schema(schema))
    assert repr(keyword) in str(caught.value)
    assert "#/properties/a~1b/anyOf/0/items" in str(caught.value)


def test_a_misspelled_keyword_names_the_nearest() -> None:
    with pytest.raises(UnsupportedSchema, match="did you mean 'minimum'"):
        start(json_schema({"minimun": 3}))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "format": "phone"}, "format .*phone.* at #/format"),
        ({"type": "integer", "format": "int32"}, "int32"),
        ({"$ref": "other.json#/a"}, "inside the schema only"),
        ({"$schema": "http://example.com/mine"}, "known are drafts"),
        ({"items": {"$id": "http://x/y", "$ref": "z"}}, "declare the draft"),
        ({"const": 9007199254740993}, "no float64"),
        ({"enum": [1, {"a": [10**300]}]}, "no float64"),
        ({"maximum": 2**60 + 1}, "no float64"),
        ({"const": "a\x01b"}, r"U\+0001"),
        ({"properties": {"a\x00": True}}, r"U\+0000"),
        ({"const": "\ud800"}, "lone surrogate"),
        ({"patternProperties": {"^a": True}, "minProperties": 2}, "minProperties at #"),
        ({"oneOf": [{"type": "string"}, {"type": "string", "pattern": "a"}]}, "oneOf"),
        ({"type": "string", "pattern": "a(?=b)"}, "cannot be compiled"),
        ({"type": "string", "pattern": "("}, "cannot be compiled"),
    ],
)
def test_a_value_that_is_not_enforced_is_an_error(schema: Any, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        start(json_schema(json.dumps(schema)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"type": []},
        {"enum": []},
        {"enum": "a"},
        {"required": "a"},
        {"properties": []},
        {"anyOf": []},
        {"items": 3},
        {"minItems": -1},
        {"maxLength": 1.5},
        {"maxLength": True},
        {"minimum": "3"},
        {"multipleOf": 0},
        {"pattern": 3},
        {"$ref": "#/$defs/missing"},
        {"minimum": 3, "maximum": 2, "type": "integer"},
        {"type": "string", "minLength": 3, "maxLength": 2},
        [],
        "text",
        None,
    ],
)
def test_what_is_no_schema_or_has_no_value_is_an_error(schema: Any) -> None:
    with pytest.raises(ConstraintError):
        start(json_schema(json.dumps(schema)))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "object", "required": ["x"], "additionalProperties": {"$ref": "#"}},
        {"anyOf": [{"$ref": "#"}, {"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1}]},
    ],
)
def test_a_schema_without_a_finite_value_is_refused(schema: Any) -> None:
    with pytest.raises(ConstraintError, match="no finite JSON"):
        start(json_schema(schema))


def test_recursion_that_can_end_does() -> None:
    tree = {
        "type": "object",
        "properties": {
            "v": {"type": "integer"},
            "left": {"$ref": "#"},
            "right": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["v"],
        "additionalProperties": False,
    }
    assert accepts(json_schema(tree), '{"v":1,"left":{"v":2,"right":null},"right":{"v":3}}')
    assert not accepts(json_schema(tree), '{"v":1,"left":{"right":null}}')


def test_annotations_are_taken_and_change_nothing() -> None:
    bare = {"type": "integer", "minimum": 3}
    full = {
        **bare,
        **dict.fromkeys(ANNOTATIONS - {"$defs", "definitions"}, "told"),
        "x-order": 1,
        "$defs": {"a": {"not": {}}},
    }
    assert checked_schema(full, Limits()) == bare


def test_words_of_earlier_drafts_become_those_of_2020() -> None:
    old = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "items": [{"minimum": 1, "exclusiveMinimum": True}],
        "additionalItems": False,
        "definitions": {"x": {}},
    }
    assert checked_schema(old, Limits()) == {"prefixItems": [{"exclusiveMinimum": 1}], "items": False}
    assert checked_schema({"items": {}, "additionalItems": False}, Limits()) == {"items": {}}


def test_the_spelling_of_a_key_cannot_be_changed_by_escapes() -> None:
    """A parser reads \\u0061 as a: the value of a listed key would escape its schema."""
    spec = json_schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert accepts(spec, '{"a":1}')
    assert accepts(spec, '{"b":"x"}')
    assert not accepts(spec, '{"\\u0061":"x"}')


NESTED: Any = {}
for _ in range(3000):
    NESTED = {"items": NESTED}


def test_hostile_specs_are_refused_at_once() -> None:
    """Each is an error of its own call; the compiler works on afterwards."""
    deep = "(" * 60_000 + "a" + ")" * 60_000
    hostile = (
        lambda: json_schema(NESTED),
        lambda: json_schema('{"items":' * 200_000 + "{}" + "}" * 200_000),
        lambda: json_schema({"const": _nested_list(500)}),
        lambda: json_schema({"type": "string", "maxLength": 10**9}),
        lambda: json_schema({"type": "array", "minItems": 10**7}),
        lambda: json_schema({"type": "string", "pattern": deep}),
        lambda: json_schema({"enum": list(range(20_000))}),
        lambda: json_schema({"description": "x" * 300_000, "type": "string"}),
        lambda: json_schema({"allOf": [{"anyOf": [{"pattern": f"a.*{i}{j}b"} for i in range(12)]} for j in range(12)]}),
        lambda: regex(deep),
        lambda: regex("(a{1000}){1000}"),
        lambda: regex("(x+x+)+" * 50_000),
        lambda: grammar(f"start: {deep}"),
        lambda: grammar("root ::= " + "(" * 5000 + '"a"' + ")" * 5000),
        lambda: grammar(
            "start: "
            + " | ".join(f"r{i}" for i in range(9000))
            + "\n"
            + "\n".join(f"r{i}: r{i + 1} r{i + 1}" for i in range(9000))
        ),
        lambda: json_schema(
            {"$defs": {f"r{i}": {"items": {"$ref": f"#/$defs/r{i + 1}"}} for i in range(3000)}, "$ref": "#/$defs/r0"}
        ),
        lambda: grammar(
            "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1} | [a]" for i in range(3000)) + "\nr3000 ::= root"
        ),
        lambda: choice([f"word {i}" for i in range(20_000)]),
        lambda: substring("word " * 100_000),
        lambda: template("{a:/" + deep + "/}"),
    )
    for number, spec in enumerate(hostile):
        with pytest.raises(InvalidArgument):
            start(spec())
        assert number >= 0
    assert accepts(choice(["still works"]), "still works")


def _nested_list(depth: int) -> Any:
    made: Any = "x"
    for _ in range(depth):
        made = [made]
    return made


def test_limits_are_settings() -> None:
    tok = plain_tokenizer()
    ends = [tok.special_tokens["<|endoftext|>"]]
    for spec, limits in (
        (json_schema({"type": "string", "maxLength": 50}), Limits(items=49)),
        (json_schema({"items": {"items": {}}}), Limits(depth=1)),
        (choice(["abcdef"]), Limits(spec_bytes=5)),
        (regex("((a))"), Limits(depth=1)),
    ):
        assert spec.compile(tok, tok.vocab_size, ends) is not None
        with pytest.raises(ConstraintLimit):
            spec.compile(tok, tok.vocab_size, ends, limits)
    with pytest.raises(InvalidArgument):
        Limits(depth=0)


def test_work_of_a_mask_beyond_the_limit_is_an_error_and_not_an_end() -> None:
    """llguidance answers such a state by the end id alone, which would cut the output in silence."""
    tok = plain_tokenizer()
    ends = [tok.special_tokens["<|endoftext|>"]]
    spec = grammar('start: (a b)*\na: "x"? | "x" "x"? | a "y"\nb: a | a a | b b | "z"')
    with pytest.raises(ConstraintLimit):
        _follow(spec.compile(tok, tok.vocab_size, ends, Limits(step_items=40)), "xxyxxyxxyzzxxyzzyyxx")


def _follow(constraint: Any, text: str) -> None:
    for token in constraint.vocabulary.encode(text):
        constraint.advance(token)
        constraint.mask()


def test_random_schemas_give_valid_json_only() -> None:
    pytest.importorskip("jsonschema")
    complete = 0
    for seed in range(60):
        schema = random_schema(seed)
        check = validator(schema)
        for draw in range(2):
            made = start(json_schema(schema))
            if random_output(made, 10 * seed + draw, 160, hurry=50):
                complete += 1
                value = strict(made.text)
                assert [error.message for error in check.iter_errors(value)] == [], (schema, made.text)
    assert complete > 100


def test_the_schemas_of_the_suite_allow_what_is_valid_and_nothing_else() -> None:
    """A part of the suite; benches/constraints/validity.py runs all of it."""
    pytest.importorskip("jsonschema")
    path = suite_path()
    if path is None:
        pytest.skip(HOW)
    held = 0
    for case in suite(path, ("draft2020-12",)):
        spec = json_schema(case.schema)
        try:
            start(spec)
        except ConstraintError:
            continue
        held += 1
        for instance in case.invalid:
            text = json.dumps(instance, separators=(",", ":"), ensure_ascii=False)
            assert not is_canonical(instance) or not accepts(spec, text), (case.name, text)
        made = start(spec)
        if random_output(made, held, 80, hurry=30):
            assert not [*validator(case.schema, case.draft).iter_errors(strict(made.text))], (case.name, made.text)
    assert held > 150


def test_the_guide_lists_the_keywords() -> None:
    from pathlib import Path

    guide = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "constraints.md").read_text(encoding="utf-8")
    missing = [name for name in (*SUPPORTED, *FORMATS, *ANNOTATIONS) if f"`{name}`" not in guide]
    assert missing == []
