"""Scorers by name and by function: unknown names name the nearest, and a failure is never a score of 0."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stategpt.data.corpus import Corpus
from stategpt.data.records import Prompt
from stategpt.errors import ConfigError, ScorerError
from stategpt.evaluate.scorers import Checked, ScorerContext, Scores, build_scorer, require_scorer, scorer_names

TOK: Any = None
CONTEXT = ScorerContext(Corpus({}, {"train": [], "validation": [], "test": []}, {}), TOK)
PROMPTS = [Prompt.of(text) for text in ("first question", "second", "third")]
COMPLETIONS: Any = [SimpleNamespace(text=text, reason="end", ids=[1]) for text in ("a", "bb", "ccc")]
RULES = """
import numpy as np
from stategpt.evaluate.scorers import Scores

def length(prompts, completions):
    return [len(completion.text) for completion in completions]

def with_parts(prompts, completions):
    lengths = np.array([len(completion.text) for completion in completions])
    return Scores(lengths * 2.0, {"length": lengths, "again": lengths})

def fails(prompts, completions):
    raise ZeroDivisionError("oh")

def short(prompts, completions):
    return [1.0]

def text(prompts, completions):
    return ["good"] * len(prompts)

def nan(prompts, completions):
    return [1.0, float("nan"), float("inf")]

def nan_part(prompts, completions):
    return Scores(np.ones(3), {"p": np.array([1.0, 2.0, np.nan])})

value = 3
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules_of_this_test.py").write_text(RULES)
    (tmp_path / "broken_rules_of_this_test.py").write_text("raise RuntimeError('on import')")
    monkeypatch.chdir(tmp_path)


def score(function: str) -> Scores:
    return build_scorer(f"rules_of_this_test:{function}", CONTEXT, "rl.scorer").scores(PROMPTS, COMPLETIONS)


def test_a_function_of_the_current_folder_scores() -> None:
    found = score("length")
    assert (found.values.tolist(), found.values.dtype, found.parts) == ([1, 2, 3], np.float32, {})
    found = score("with_parts")
    assert found.values.tolist() == [2, 4, 6]
    assert {name: part.tolist() for name, part in found.parts.items()} == {"length": [1, 2, 3], "again": [1, 2, 3]}


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fails", "raised ZeroDivisionError: oh: 3 of 3 completions have no score.* prompt 'first question'"),
        ("short", r"a score of shape \[1\].*3 of 3 completions"),
        ("text", "raised ValueError.*3 of 3 completions"),
        ("nan", "gave nan as a score: 2 of 3 completions have no score; the first is of the prompt 'second'"),
        ("nan_part", "gave nan as the part 'p': 1 of 3 completions have no score; .* prompt 'third'"),
    ],
)
def test_a_failure_is_an_error_with_its_count_and_the_first_prompt(function: str, says: str) -> None:
    with pytest.raises(ScorerError, match=rf"scorer rules_of_this_test:{function} .*{says}.*Nothing is counted as 0"):
        score(function)


def test_other_than_scores_is_an_error() -> None:
    scorer: Any = SimpleNamespace(scores=lambda prompts, completions: [1.0] * 3)
    with pytest.raises(ScorerError, match="returned a list, not Scores"):
        Checked("odd", scorer).scores(PROMPTS, COMPLETIONS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", r"rl\.scorer is not set; set it to one of docstring_style, .*, reward_model, or to module:function"),
        ("docstring_stile", "is not a scorer; did you mean 'docstring_style'"),
        ("zzz", "it is one of docstring_style, .*, reward_model, or module:function"),
        ("no_such_module_here:f", "importing 'no_such_module_here' raised ModuleNotFoundError"),
        ("broken_rules_of_this_test:f", "raised RuntimeError: on import"),
        ("rules_of_this_test:lenght", "has no function 'lenght'; did you mean 'length'"),
        ("rules_of_this_test:value", "has no function 'value'"),
        (":f", "importing"),
    ],
)
def test_a_name_that_is_no_scorer_says_what_to_set(name: str, says: str) -> None:
    for refuse in (lambda: require_scorer(name, "rl.scorer"), lambda: build_scorer(name, CONTEXT, "rl.scorer")):
        with pytest.raises(ConfigError, match=says):
            refuse()


def test_built_in_scorers_are_found_by_their_files() -> None:
    rules = ["exact_match", "json_schema", "length", "number_match", "regex"]
    assert scorer_names() == ["docstring_style", *rules, "reward_model"]


def test_the_reward_model_cannot_score_before_it_is_trained() -> None:
    pytest.importorskip("torch", reason="the [train] extra is not installed")
    with pytest.raises(ConfigError, match="needs a trained reward model"):
        build_scorer("reward_model", CONTEXT, "rankings.scorer")
