"""The built-in scorers of references, patterns, schemas and lengths; completions that a scorer fails on."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.data.records import Place, Prompt
from stategpt.errors import ConfigError, ScorerError
from stategpt.evaluate.scorers import Checked, FromFunction, ScorerContext, build_scorer, json_schema
from stategpt.evaluate.scorers.number_match import last_number

PLACE = Place("asked.jsonl", 7, 512)


def scored(name: str, texts: Sequence[str], prompt: Prompt, options: Mapping[str, str] | None = None) -> list[float]:
    context: Any = ScorerContext(None, None, options=options or {})  # type: ignore[arg-type]
    scorer = build_scorer(name, context, "rl.scorer")
    given: Any = [SimpleNamespace(text=text) for text in texts]
    return scorer.scores([prompt] * len(texts), given).values.tolist()


def asked(reference: str | None = None, **meta: Any) -> Prompt:
    return Prompt.of("What?", reference, where=PLACE, meta=meta)


def test_exact_match_compares_normal_forms() -> None:
    prompt = asked("Caf\u00e9  au lait.")
    assert scored("exact_match", [" Cafe\u0301 au\nlait.", "caf\u00e9 au lait"], prompt) == [1, 0]
    assert scored("exact_match", ["caf\u00e9 au lait"], prompt, {"ignore": "case, punctuation"}) == [1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("12 of 1,234.50 EUR", "1234.50"), ("\u22120.5 %", "-0.5"), ("3-4", "4"), ("x = -3.", "-3")),
        *(("$-5", "-5"), ("1,2345", "2345"), ("+7", "7"), ("no", "None"), ("9" * 500, "None")),
    ],
)
def test_the_last_number_of_a_text(text: str, number: str) -> None:
    assert str(last_number(text)) == number


def test_number_match_is_exact_or_within_the_tolerance() -> None:
    assert scored("number_match", ["so 0.50", "0.51", "none"], asked("0.5")) == [1, 0, 0]
    assert scored("number_match", ["0.504"], asked("0.5"), {"tolerance": "0.01"}) == [1]
    with pytest.raises(
        ScorerError, match=r"reference 'none' of the prompt of asked\.jsonl:7 \(byte 512\) has no number"
    ):
        scored("number_match", ["1"], asked("none"))


def test_a_pattern_comes_from_the_prompt_or_else_from_the_option_and_never_hangs() -> None:
    assert scored("regex", ["yes!", "no"], asked(pattern="^yes"), {"pattern": "no"}) == [1, 0]
    assert scored("regex", ["yes!", "no"], asked(), {"pattern": "no"}) == [0, 1]
    assert scored("regex", ["a" * 100_000 + "!"], asked(pattern="^(a+)+$")) == [0]
    with pytest.raises(ScorerError, match=r"asked\.jsonl:7"):
        scored("regex", ["x"], asked(pattern="(((a{1000}){1000}){1000})"))
    with pytest.raises(ConfigError, match="the option pattern"):
        scored("regex", ["x"], asked(), {"pattern": "("})


def test_json_must_fit_its_schema() -> None:
    pytest.importorskip("jsonschema")
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "^(b+)+$"}}}
    texts = ['{"a": "bb"}', '{"a": 1}', "{", '{"a": "b", "a": "b"}', "[" * 100_000, '{"a": "' + "b" * 50_000 + '!"}']
    assert scored("json_schema", texts, asked(schema=schema)) == [1, 0, 0, 0, 0, 0]
    for wrong in ({"type": "nothing"}, {"patternProperties": {}}, {"$ref": "http://example.org/schema"}):
        with pytest.raises(ScorerError, match=r"asked\.jsonl:7"):
            scored("json_schema", ['{"a": "b"}'], asked(schema=wrong))


def test_a_pattern_of_a_schema_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonschema")
    compiled: list[str] = []
    real = json_schema._native.LinearPattern

    def count(pattern: str) -> object:
        compiled.append(pattern)
        return real(pattern)

    monkeypatch.setattr(json_schema, "_native", SimpleNamespace(LinearPattern=count))
    schema = {"items": {"type": "string", "pattern": "^b$"}}
    assert scored("json_schema", ['["b", "b"]', '["b", "c"]', "[]"], asked(schema=schema)) == [1, 0, 1]
    assert compiled == ["^b$"]


def test_length_falls_evenly_from_its_target() -> None:
    texts = ["", "a b", " a  b c d ", "a b c d e f", "a b c d e f g h i"]
    assert scored("length", texts, asked(), {"target": "4"}) == [0, 0.5, 1, 0.5, 0]
    assert scored("length", ["abcd"], asked(), {"target": "4", "unit": "characters"}) == [1]


@pytest.mark.parametrize("name", ["exact_match", "number_match", "regex", "json_schema"])
def test_what_a_prompt_lacks_is_an_error_with_its_place_and_no_score(name: str) -> None:
    if name == "json_schema":
        pytest.importorskip("jsonschema")
    with pytest.raises(ScorerError, match=r"asked\.jsonl:7 \(byte 512\) has no"):
        scored(name, ["x"], asked())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("length", {}), ("length", {"target": "-1"}), ("length", {"target": "3", "unit": "pages"})),
        *(("exact_match", {"ignore": "words"}), ("number_match", {"tolerance": "nan"}), ("regex", {"patern": "a"})),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        scored(name, ["x"], asked("1"), options)


def _odd(prompts: Sequence[Prompt], completions: Sequence[Any]) -> list[float]:
    if any(each.text == "raise" for each in completions):
        raise ValueError("no")
    return [float("nan") if each.text == "nan" else 2.0 for each in completions]


@pytest.mark.parametrize("bad", ["raise", "nan"])
def test_failed_completions_are_counted_and_have_no_score_until_they_are_too_many(bad: str) -> None:
    checked = Checked("odd", FromFunction(_odd), 0.25)
    given: Any = [SimpleNamespace(text=text) for text in ("a", "b", "c", bad)]
    values = checked.scores([asked()] * 4, given).values
    assert np.isnan(values).tolist() == [False, False, False, True]
    assert (checked.scored, checked.failed) == (4, 1)
    with pytest.raises(ScorerError, match=r"Altogether 2 of \d, above evaluate\.max_failed_share = 0\.25"):
        checked.scores([asked()] * 2, given[2:])
    with pytest.raises(ScorerError, match=r"1 of 4|4 of 4"):
        Checked("odd", FromFunction(_odd)).scores([asked()] * 4, given)
