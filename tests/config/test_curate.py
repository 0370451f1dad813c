"""Settings of the curation."""

from __future__ import annotations

from typing import Any

import pytest

from stategpt.config.curate import PUBLISHED, CurateConfig
from stategpt.errors import ConfigError


def test_nothing_is_asked_by_default_and_thresholds_alone_ask_for_nothing() -> None:
    assert not CurateConfig().is_active
    assert not CurateConfig(min_language_confidence=0.9, near_duplicate_threshold=0.5).is_active
    asked: list[dict[str, Any]] = [
        {"clean": True}, {"rules": ("c4",)}, {"languages": ("en",)}, {"pii": "remove"}, {"exact_duplicates": True},
        {"min_characters": 1}, {"licenses": ("MIT",)}, {"filters": ("a:b",)}, {"near_duplicates": True},
        {"decontaminate": True}, {"boilerplate_share": 0.1}, {"repair_mojibake": True}, {"max_characters": 1},
        {"duplicate_paragraphs": True},
    ]  # fmt: skip
    assert all(CurateConfig(**each).is_active for each in asked)


def test_a_group_stands_for_its_rules_and_a_minus_leaves_one_out() -> None:
    config = CurateConfig(
        rules=("fineweb", "gopher_quality_words_min", "-fineweb_short_lines"),
        thresholds={"gopher_quality_words_min": 20},
    )
    assert config.asked_rules() == {
        "fineweb_punctuated_lines": 0.12,
        "fineweb_duplicate_line_characters": 0.1,
        "gopher_quality_words_min": 20,
    }
    every = CurateConfig(rules=("c4", "gopher_quality", "gopher_repetition", "fineweb"))
    assert every.asked_rules() == dict(PUBLISHED)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": ("gopher",)}, "curate.rules = 'gopher': is no rule"),
        ({"rules": ("c4_sentence_min",)}, "did you mean 'c4_sentences_min'"),
        ({"rules": ("--c4",)}, "is no rule"),
        ({"thresholds": {"c4_sentences_min": 3.0}}, "has no effect: add the rule to curate.rules"),
        ({"rules": ("c4",), "thresholds": {"c4": 3.0}}, "curate.thresholds = 'c4': is no rule"),
        ({"rules": ("c4",), "thresholds": {"c4_sentences_min": -1.0}}, "must be 0 or more"),
        ({"boilerplate_share": 1.5}, "curate.boilerplate_share = 1.5: must lie between 0 and 1"),
        ({"min_characters": 9, "max_characters": 8}, "must be 0 or at least min_characters = 9"),
        ({"pii": "hide"}, "must be one of keep, replace, remove"),
        ({"filters": ("my rules:keep",)}, "curate.filters = 'my rules:keep': must be module:function"),
        ({"filters": ("keep",)}, "must be module:function"),
        ({"pii_finder": "a:b"}, "has no effect with curate.pii = 'keep'"),
        ({"near_duplicate_threshold": 0.0}, "must be above 0"),
    ],
)
def test_a_wrong_setting_is_named_with_its_rule(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        CurateConfig(**settings)
    assert message in str(raised.value)


def test_dotted_modules_are_names_of_functions() -> None:
    assert CurateConfig(filters=("package.rules:keep",)).filters == ("package.rules:keep",)
