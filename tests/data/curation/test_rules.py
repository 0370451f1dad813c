"""The quality rules: equal to their definitions on any text, with the published thresholds."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.curation import rule_reference as reference
from stategpt import _native
from stategpt.config import CurateConfig
from stategpt.config.curate import PUBLISHED, RULE_GROUPS
from stategpt.data import Document, Removed
from stategpt.data.curation import rule_values
from stategpt.data.curation.rules import TextRules

PIECES = [
    *("the", "The", "(of)", "with,", "be", "cat", "dog", "x", "#", "...", "…", "-", "• ", "1", "é", "٣", "the_", "a#b"),
    *("terms of use", "JavaScript", "lorem ipsum", "{", "[12]", "[edit]", "[", "[x]", "use Cookies", "y" * 1001),
    *(" ", " ", " ", "\n", "\n", "\n\n", "\t", "\xa0", "\u2028", "\u3000", ". ", ".\n", '!" ', "?", "。", "\r\n"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=80).map("".join)
# Python and Rust differ on what of the marks and symbols is alphabetic: no text that says something rests on them.
TEXTS |= st.text(st.characters(categories=("L", "Nd", "P", "Z", "Cc")), max_size=60)


@given(TEXTS)
@example("a a a a a a a a a a a a a a a")
@example("")
@example("\n \n")
def test_every_value_is_what_its_definition_says(text: str) -> None:
    assert rule_values(text) == reference.rule_values(text)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 300))
def test_repeated_ngrams_are_those_of_the_definition(seed: int, vocabulary: int, words: int) -> None:
    chosen = random.Random(seed)
    text = " ".join("w" * chosen.randint(1, vocabulary) for _ in range(words))
    assert rule_values(text) == reference.rule_values(text)


@given(TEXTS)
@example("One two three. Four five six. A b c. D e f. G h i.\n\n\nOne two terms of use.\nOne two three.")
@example('Sentence one. (Two.) Three!" Four? Five…\nlast line is short.')
def test_c4_is_its_definition(text: str) -> None:
    (judged,) = TextRules(CurateConfig(rules=("c4",))).apply([Document(text)])
    kept, rule, removed = reference.c4(text)
    if rule is None:
        assert isinstance(judged.outcome, Document)
        assert judged.outcome.text == kept
        assert dict(judged.lines_removed) == removed
    else:
        assert isinstance(judged.outcome, Removed)
        assert judged.outcome.rule == rule


def test_the_thresholds_are_the_published_ones() -> None:
    table_a1 = {
        "duplicate_lines": 0.30, "duplicate_paragraphs": 0.30, "duplicate_line_characters": 0.20,
        "duplicate_paragraph_characters": 0.20, "top_2_grams": 0.20, "top_3_grams": 0.18, "top_4_grams": 0.16,
        "duplicate_5_grams": 0.15, "duplicate_6_grams": 0.14, "duplicate_7_grams": 0.13, "duplicate_8_grams": 0.12,
        "duplicate_9_grams": 0.11, "duplicate_10_grams": 0.10,
    }  # fmt: skip
    quality = {
        "words_min": 50, "words_max": 100_000, "word_length_min": 3, "word_length_max": 10, "hashes": 0.1,
        "ellipses": 0.1, "bullet_lines": 0.9, "ellipsis_lines": 0.3, "alphabetic_words": 0.8, "stop_words": 2,
    }  # fmt: skip
    fineweb = {"punctuated_lines": 0.12, "duplicate_line_characters": 0.1, "short_lines": 0.67}
    for group, published in (("gopher_repetition", table_a1), ("gopher_quality", quality), ("fineweb", fineweb)):
        found = {name: PUBLISHED[name] for name in PUBLISHED if name.startswith(group)}
        assert found == {f"{group}_{name}": threshold for name, threshold in published.items()}
    assert (PUBLISHED["c4_sentences_min"], PUBLISHED["c4_line_words_min"]) == (5, 3)
    assert all(name.startswith(RULE_GROUPS) for name in PUBLISHED)


@pytest.mark.parametrize(
    ("name", "limit"), [(n, limit) for n, limit, _, _ in _native.CURATION_RULES if not n.startswith("c4")]
)
def test_a_value_at_its_threshold_is_kept_and_one_beyond_is_not(name: str, limit: str) -> None:
    text = "- The end of that... is with #1.\nThe end.\nThe end.\n\nA b c d e f g h\n\nA b c d e f g h"
    value = rule_values(text)[name]
    for threshold, stays in ((value, True), (value + 0.001, limit == "at_most"), (value - 0.001, limit == "at_least")):
        if threshold < 0:
            continue
        rules = _native.CurationRules([(name, threshold)], clean=False, languages=[], min_confidence=0.0)
        ((_, rule, found, _, _),) = rules.apply([text])
        assert rule == (None if stays else name)
        assert found == (None if stays else value)


def test_the_evidence_has_value_and_threshold() -> None:
    rules = TextRules(CurateConfig(rules=("gopher_quality",), thresholds={"gopher_quality_words_min": 7}))
    (judged,) = rules.apply([Document("six words are not quite enough")])
    assert judged.outcome == Removed("gopher_quality_words_min", "words: 6, at least 7")


@pytest.mark.parametrize(
    ("rules", "stays"),
    [(("c4_curly_brace",), False), (("c4", "-c4_curly_brace"), True), (("c4",), False), (("fineweb",), True)],
)
def test_rules_are_switched_by_name(rules: tuple[str, ...], stays: bool) -> None:
    text = "This { is a sentence of a text. " * 5
    (judged,) = TextRules(CurateConfig(rules=rules)).apply([Document(text.strip())])
    assert isinstance(judged.outcome, Document) == stays


def test_other_languages_are_removed_with_language_and_confidence() -> None:
    texts = {
        "eng": "The quick brown fox jumps over the lazy dog, and then it sleeps for the rest of the afternoon.",
        "deu": "Der schnelle braune Fuchs springt über den faulen Hund und schläft dann den ganzen Nachmittag lang.",
        "rus": "Быстрая коричневая лиса прыгает через ленивую собаку, а потом спит весь остаток дня.",
    }
    rules = TextRules(CurateConfig(languages=("en", "rus")))
    english, german, russian, none = (
        each.outcome for each in rules.apply([*map(Document, texts.values()), Document("1 2")])
    )
    assert english == Document(texts["eng"])
    assert russian == Document(texts["rus"])
    assert isinstance(german, Removed)
    assert german.rule == "language"
    assert german.evidence.startswith("language deu with confidence")
    assert isinstance(none, Removed)
    assert none.evidence.startswith("language unknown")


@pytest.mark.parametrize(
    ("english", "german", "other", "is_clear"),
    [(10, 0, 0, True), (9, 0, 0, False), (28, 0, 72, True), (28, 0, 73, False), (30, 20, 0, True), (30, 21, 0, False)],
)
def test_function_words_decide_where_number_share_and_distance_are_clear(
    english: int, german: int, other: int, is_clear: bool
) -> None:
    text = "with " * english + "nicht " * german + "zzz " * other
    rules = TextRules(CurateConfig(languages=("fr",)))
    (judged,) = rules.apply([Document(text)])
    assert isinstance(judged.outcome, Removed)
    assert judged.outcome.evidence.startswith("language eng with confidence 1.00") == is_clear


def test_the_language_of_a_long_text_is_not_that_of_its_beginning() -> None:
    english = "It was the best of times, it was the worst of times, and all of us were there. " * 60
    russian = "Быстрая коричневая лиса прыгает через ленивую собаку, а потом спит весь остаток дня. " * 400
    (judged,) = TextRules(CurateConfig(languages=("ru",))).apply([Document(english + russian)])
    assert isinstance(judged.outcome, Document)
    (judged,) = TextRules(CurateConfig(languages=("en",))).apply([Document(russian + english)])
    assert isinstance(judged.outcome, Removed)
    assert judged.outcome.evidence.startswith("language rus with confidence")


def test_documents_do_not_depend_on_each_other() -> None:
    rules = TextRules(CurateConfig(clean=True, rules=RULE_GROUPS))
    documents = [
        Document(text) for text in ("a b. " * 60, "", "the end. " * 9, "one and two have to be with that. " * 30)
    ]
    alone = [rules.apply([document])[0] for document in documents]
    assert rules.apply(documents) == alone
    assert rules.apply(documents[::-1]) == alone[::-1]
