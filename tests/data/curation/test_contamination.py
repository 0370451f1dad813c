"""Decontamination: planted leaks are found with their spans, innocent documents are kept."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.curation.contamination import Decontamination, decontaminate
from stategpt.data.records import Document, Place, Prompt
from stategpt.errors import DataError, InvalidArgument

COMMON = (
    *("the", "of", "and", "a", "to", "in", "is", "was", "he", "for", "it", "with", "as", "his", "on", "be", "at", "by"),
    *("had", "not", "are", "but", "from", "have"),
)
HEIDELBERG = "Which river flows through the old town of Heidelberg?"
QUESTION = Prompt.of(HEIDELBERG, "the Neckar", where=Place("test.jsonl", 7))


def text(seed: str, words: int) -> list[str]:
    """Words with the frequencies of a language: half of them are common ones."""
    of = random.Random(seed)
    return [of.choice(COMMON) if of.random() < 0.45 else f"w{of.randrange(3000)}" for _ in range(words)]


def document(seed: str, *parts: Sequence[str]) -> Document:
    words = [*text(f"{seed} before", 150), *(word for part in parts for word in part), *text(f"{seed} after", 150)]
    return Document(" ".join(words))


def edited(words: Sequence[str], seed: str) -> list[str]:
    """About every tenth word is replaced, left out or followed by another one."""
    of = random.Random(seed)
    found: list[str] = []
    for word in words:
        kind = of.randrange(30)
        found.extend({0: ["replaced"], 1: [], 2: [word, "added"]}.get(kind, [word]))
    return found


def planted(count: int) -> tuple[list[Prompt], list[Document], list[Document]]:
    """Prompts, documents that leak them (verbatim, edited, with words between), and innocent ones."""
    template = text("template", 6)
    prompts, leaks, innocent = [], [], []
    for number in range(count):
        question = template + text(f"question {number}", 8 + number % 30)
        answer = text(f"answer {number}", (1, 2, 3, 12, 40)[number % 5])
        prompts.append(Prompt.of(" ".join(question), " ".join(answer)))
        seed = f"document {number}"
        leaks += [
            document(seed, question, answer),
            document(seed, edited(question, seed), answer),
            document(seed, question, text(f"between {number}", 3), answer),
        ]
        innocent += [
            document(seed, question),
            document(seed, answer),
            document(seed, template, answer),
            document(seed, question[: len(question) // 2], answer),
        ]
    return prompts, leaks, innocent


def test_precision_and_recall_on_planted_leaks() -> None:
    prompts, leaks, innocent = planted(200)
    finder = Decontamination(prompts)
    assert finder.unsearchable == []
    flagged = [removed is not None for _, removed in finder.filter([*leaks, *innocent])]
    met, wrong = sum(flagged[: len(leaks)]), sum(flagged[len(leaks) :])
    assert met / len(leaks) >= 0.9
    assert met / (met + wrong) >= 0.95
    # Each leak is that of the planted prompt.
    for number, found in enumerate(finder.leaks(leaks)):
        assert all(leak.prompt is prompts[number // 3] for leak in found)


def test_evidence_names_the_prompt_and_shows_both_spans() -> None:
    told = "Él preguntó: «which RIVER flows through the old town of Heidelberg»? It is the Neckar."
    leak = Decontamination([QUESTION]).leaks([Document(told)])[0][0]
    assert leak.prompt is QUESTION
    assert told[leak.start : leak.end] == leak.text == "which RIVER flows through the old town of Heidelberg"
    assert leak.answer is not None
    assert told[slice(*leak.answer)] == "the Neckar"
    assert (leak.rule, leak.matched_words, leak.coverage) == ("prompt_and_answer", 9, 1.0)
    (_, removed), (_, kept) = decontaminate([Document(told), Document("The Neckar is a river.")], [QUESTION])
    assert kept is None
    assert removed is not None
    assert removed.rule == "contaminated"
    assert removed.evidence == (
        "100% of prompt test.jsonl:7 (byte 0) at characters 14-66: "
        "'which RIVER flows through the old town of Heidelberg', answer at characters 75-85: 'the Neckar'"
    )


def test_a_long_span_is_evidence_without_an_answer() -> None:
    words = text("story", 70)
    finder = Decontamination([Prompt.of(" ".join(words))])
    ((_, found),) = finder.filter([document("a", words[5:55])])
    assert found is not None
    assert found.evidence.startswith("50 words of prompt ")
    assert not finder.leaks([document("a", words[5:54])])[0]
    assert Decontamination([Prompt.of(" ".join(words))], verbatim_words=20).leaks([document("a", words[5:54])])[0]


def test_several_prompts_in_one_document_are_counted() -> None:
    other = Prompt.of("Who wrote the famous book about the girl Momo?", "Michael Ende")
    told = f"{QUESTION.text} the Neckar. {other.text} Michael Ende."
    ((_, removed),) = decontaminate([Document(told)], [QUESTION, other])
    assert removed is not None
    assert removed.evidence.endswith("; 1 more prompts")


def test_settings_are_used_and_checked() -> None:
    far = Document(f"{QUESTION.text} {'and so on ' * 20} the Neckar")
    assert not Decontamination([QUESTION]).leaks([far])[0]
    assert Decontamination([QUESTION], answer_distance=70).leaks([far])[0]
    half = Document("Which river flows through the new hills? the Neckar")
    assert not Decontamination([QUESTION]).leaks([half])[0]
    assert Decontamination([QUESTION], min_coverage=0.5).leaks([half])[0]
    for wrong in ({"min_coverage": 0.0}, {"min_coverage": 1.1}, {"verbatim_words": 3}, {"answer_distance": -1}):
        with pytest.raises(InvalidArgument):
            Decontamination([QUESTION], **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="Prompt"):
        Decontamination(["text"])  # type: ignore[list-item]


def test_prompts_that_cannot_be_found_are_listed() -> None:
    short = Prompt.of("Why so?", "Because.")
    same = [Prompt.of("Describe the picture below in words.", str(number)) for number in range(17)]
    assert Decontamination([short, QUESTION, *same]).unsearchable == [short, *same]


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(DataError, match="lone surrogate"):
        list(decontaminate([Document("a \udcff")], [QUESTION]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ab é", max_size=40), max_size=8), st.integers(1, 4))
def test_threads_do_not_matter_and_spans_are_of_the_text(texts: list[str], threads: int) -> None:
    prompts = [
        Prompt.of("a b a b a b a b", "b b"),
        Prompt.of("a a a a", "é"),
        *(Prompt.of(each, "a") for each in texts),
    ]
    documents = [Document(each) for each in texts]
    found = Decontamination(prompts, verbatim_words=6, threads=threads).leaks(documents)
    assert found == Decontamination(prompts, verbatim_words=6, threads=1).leaks(documents)
    for each, leaks in zip(texts, found, strict=True):
        assert all(each[leak.start : leak.end] == leak.text for leak in leaks)
