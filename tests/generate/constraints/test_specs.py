"""Specs: what each allows, where it ends, and that text never becomes a control token."""

from __future__ import annotations

import json
import re

import pytest

from constrained import PADDING, SPECIAL, accepts, plain_tokenizer, random_output, start, token_ids
from stategpt.errors import ConstraintError, InvalidArgument
from stategpt.generate.constraints import (
    MatchedConstraint,
    Spec,
    choice,
    grammar,
    json_schema,
    regex,
    substring,
    template,
    think_then,
    tool_calls,
)

pytest.importorskip("llguidance", reason="constraints need the extra of that name")

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def outputs(spec: Spec, count: int = 12, most: int = 300) -> list[MatchedConstraint]:
    made = [start(spec) for _ in range(count)]
    assert all(random_output(constraint, seed, most) for seed, constraint in enumerate(made))
    return made


def test_json_has_the_keys_of_the_schema_in_order_and_no_spaces() -> None:
    for made in outputs(json_schema(PERSON)):
        value = json.loads(made.text)
        assert list(value) == ["name", "age"]
        assert 0 <= value["age"] <= 150
        assert made.text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_json_with_spaces_is_what_json_dumps_writes() -> None:
    for made in outputs(json_schema(PERSON, spaces=True)):
        assert made.text == json.dumps(json.loads(made.text), ensure_ascii=False)


def test_a_pattern_is_matched_as_a_whole() -> None:
    for made in outputs(regex(r"[a-c]{2,4}-\d{1,3}")):
        assert re.fullmatch(r"[a-c]{2,4}-\d{1,3}", made.text), made.text
    assert not accepts(regex("ab"), "abc")
    assert not accepts(regex("ab"), "a")


def test_a_choice_is_one_of_its_texts_and_may_end_where_another_begins() -> None:
    spec = choice(["no", "no way", "yes"])
    assert {made.text for made in outputs(spec, 30)} == {"no", "no way", "yes"}
    constraint = start(spec)
    for token in constraint.vocabulary.encode("no"):
        constraint.advance(token)
    assert constraint.complete
    assert not constraint.finished


def test_a_quote_is_in_its_text() -> None:
    text = "The cat sat on the mat; the dog did not."
    found = {made.text for made in outputs(substring(text), 30)}
    assert all(quote in text and quote.strip() for quote in found)
    assert len(found) > 5
    assert accepts(substring(text), "sat on the mat")
    assert not accepts(substring(text), "sat on a mat")
    assert not accepts(substring(text), "at on")  # not whole words
    assert accepts(substring(text, "character"), "at on")


def test_lark_and_gbnf_derive_the_same_texts() -> None:
    lark = grammar('start: "(" start ")" | /[xy]/')
    gbnf = grammar('root ::= "(" root ")" | [xy]  # nested')
    for spec in (lark, gbnf):
        assert accepts(spec, "((x))")
        assert accepts(spec, "y")
        assert not accepts(spec, "((x)")
        assert not accepts(spec, "z")


GBNF = r"""
# arithmetic, with most of the syntax
root   ::= (expr "=" ws term "\n")+
expr   ::= term ([-+*/] term)*
term   ::= ident | num | "(" ws expr ")" ws
ident  ::= [a-z] [a-z0-9_]* ws
num    ::= [0-9]{1,3} ("." [0-9]+)? ws
ws     ::= [ \t\n]*
"""


def test_gbnf_of_llama_cpp_is_read() -> None:
    spec = grammar(GBNF)
    assert accepts(spec, "a +12.5*( b_1 -3) = 7\n")
    assert not accepts(spec, "a +1234 = 7\n")
    assert not accepts(spec, "a + = 7\n")
    odd = grammar('root ::= "\\x41\\u00e9\\U0001F600\\"\\\\" [^a-z\\]\\-]{2} .')
    assert accepts(odd, 'Aé😀"\\AB\n')
    assert not accepts(odd, 'Aé😀"\\a]x')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("root ::= expr", "refers to expr"),
        ("start ::= [a-z]", "no rule root"),
        ('root ::= "abc', "line 1 .* not closed"),
        ("root ::= <think>", "never becomes a control token"),
        ("root ::= (\n[a]", "line 2 .* not closed"),
        ('root ::= "\\q"', r"\\q is no escape"),
    ],
)
def test_bad_gbnf_names_its_line(text: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=f"(?s){message}"):
        start(grammar(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: <|user|>", "line 1 .*never becomes a control token"),
        ('start: "a"\n  | <[1]>', "line 2 .*never becomes a control token"),
        ("start: @other", "refers to another grammar"),
        ("start[max_tokens=3]: /a*/", "max_tokens"),
        ('start[stop="b"]: /a*/', "stop"),
        ('%llguidance {"allow_invalid_utf8": true}\nstart: "a"', "allow_invalid_utf8"),
        ('start: %json {"type": "array", "uniqueItems": true}', "uniqueItems"),
        ("start: %json {", "has no JSON"),
        ("start: missing", "missing"),
        ("start: /(/", "invalid regex|unclosed|parse"),
    ],
)
def test_a_bad_grammar_is_an_error_that_says_what(text: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=f"(?s){message}"):
        start(grammar(text))


def test_what_looks_like_a_token_in_a_string_of_a_grammar_is_text() -> None:
    spec = grammar('start: "<|user|>" /[<@]/ // <|user|>\n')
    assert accepts(spec, "<|user|>@")


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", "(?<!a)b", r"\1", "[z-a]", "a{5,2}"])
def test_a_bad_pattern_is_an_error(pattern: str) -> None:
    with pytest.raises(ConstraintError, match="cannot be compiled"):
        start(regex(pattern))


def test_an_empty_language_is_an_error_and_not_an_empty_output() -> None:
    with pytest.raises(ConstraintError):
        start(grammar('start: A\nA: "a" & "b"'))
    with pytest.raises(ConstraintError):
        start(json_schema(False))


def test_thoughts_are_free_then_comes_the_schema() -> None:
    tok = plain_tokenizer()
    spec = think_then(json_schema(PERSON), begin="<think>")
    constraint = start(spec)
    user, think = tok.special_tokens["<|user|>"], tok.special_tokens["</think>"]
    for token in constraint.vocabulary.encode("<think>"):  # the tokenizer has no such token: it is text
        constraint.advance(token)
    for token in tok.encode('maybe {"name": 3 </think> <|im_end|>').tolist():
        constraint.advance(token)
    allowed = token_ids(constraint.mask())
    assert think in allowed
    assert user not in allowed
    assert not set(constraint.vocabulary.ends) & {*allowed}
    constraint.advance(think)
    assert random_output(constraint, 1)
    assert list(json.loads(constraint.text.rpartition("<|im_end|>")[2])) == ["name", "age"]


def test_thoughts_end_at_the_first_marker_that_is_text() -> None:
    spec = think_then(json_schema(PERSON), end="[end]", gap="\n")
    made = start(spec)
    for token in made.vocabulary.encode("so [en] or [end"):
        made.advance(token)
    assert not made.complete
    made.advance(made.vocabulary.encode("]")[0])
    assert random_output(made, 3)
    thoughts, _, answer = made.text.partition("[end]")
    assert thoughts == "so [en] or "
    assert spec.read(made.text) == json.loads(answer)


def test_a_token_that_crosses_the_end_of_thoughts_is_allowed() -> None:
    """Token borders need not be those of the two parts."""
    tok = plain_tokenizer()
    spec = think_then(json_schema({"enum": [["a", "b"]]}), end="x", gap="")
    made = start(spec)
    crossing = [token for token in token_ids(made.mask()) if made.vocabulary.tokens[token].startswith(b"x[")]
    for token in crossing:
        made.fork().advance(token)
    assert accepts(spec, 'thinx["a","b"]', tok)


CONTROL_TEXTS = [*SPECIAL, "<|im_start|>", "a<|end|>b<|end|>"]


@pytest.mark.parametrize("text", CONTROL_TEXTS)
def test_text_of_a_spec_never_becomes_a_control_token(text: str) -> None:
    tok = plain_tokenizer()
    special = {*tok.special_tokens.values()}

    def look(constraint: MatchedConstraint, allowed: list[int]) -> None:
        ends = set(constraint.vocabulary.ends) if constraint.complete else set()
        assert {*allowed} & special == ends
        assert max(allowed) < tok.vocab_size
        assert not {*constraint.forced().tolist()} & special

    key = {"type": "object", "properties": {text: {"const": text}}, "required": [text], "additionalProperties": False}
    quoted = json.dumps(text)
    for spec in (
        json_schema({"const": text}),
        json_schema({"enum": [text, f"{text}!"]}),
        json_schema(key),
        json_schema({"type": "string", "pattern": f"^{re.escape(text)}$"}),
        choice([text, "other"]),
        regex(re.escape(text)),
        substring(text),
        grammar(f"start: {quoted}"),
        grammar(f"root ::= {quoted}"),
        tool_calls([{"name": text}]),
        template("say {what}", what=choice([text])),
    ):
        for seed in range(2):
            made = start(spec)
            assert random_output(made, seed, look=look), spec
            body = made.ids[:-1]
            assert not {*body.tolist()} & special
            assert made.ids[-1] in made.vocabulary.ends


def test_negations_do_not_reach_control_tokens_or_padding() -> None:
    tok = plain_tokenizer()
    made = start(grammar("start: A\nA: ~/(?s:.*)abc(?s:.*)/"))
    allowed = {*token_ids(made.mask())}
    assert allowed & {*tok.special_tokens.values()} == {*made.vocabulary.ends}
    assert not allowed & {*range(tok.vocab_size, tok.vocab_size + PADDING)}
    assert len(allowed) > 600


def test_ends_are_allowed_exactly_where_the_output_is_complete() -> None:
    def look(constraint: MatchedConstraint, allowed: list[int]) -> None:
        ends = set(constraint.vocabulary.ends)
        assert ends & {*allowed} == (ends if constraint.complete else set())
        assert constraint.finished == ({*allowed} == ends)

    for spec in (json_schema(PERSON), regex("a{1,3}"), choice(["a", "ab"]), grammar('start: ("x" start)?')):
        for seed in range(6):
            random_output(start(spec), seed, 60, look)


def test_arguments_of_specs_are_checked() -> None:
    for call in (
        lambda: choice("abc"),
        lambda: choice([]),
        lambda: choice(["a", ""]),
        lambda: substring("  "),
        lambda: substring("a", "letter"),  # type: ignore[arg-type]
        lambda: regex(3),  # type: ignore[arg-type]
        lambda: think_then("x"),  # type: ignore[arg-type]
        lambda: think_then(choice(["a"]), end=""),
        lambda: json_schema("{"),
        lambda: json_schema({"a": {1, 2}}),
        lambda: json_schema('{"const": NaN}'),
    ):
        with pytest.raises(InvalidArgument):
            call()
