"""The steps of `curate` that compare documents: duplicates and contamination, by the caller's numbers."""

from __future__ import annotations

from pathlib import Path

from stategpt.config.curate import CurateConfig
from stategpt.data.curation.corpus_steps import corpus_steps
from stategpt.data.curation.summary import Comparison
from stategpt.data.records import Document, Place, Prompt

LONG = " ".join(f"word{number}" for number in range(60))
QUESTION = Prompt.of("Which river flows through the old town of Heidelberg?", "the Neckar")
TEXTS = {3: LONG, 7: f"{LONG} end", 8: f"{QUESTION.text} It is the Neckar.", 9: "alone", 12: LONG}


def test_all_steps_name_documents_by_the_numbers_given(tmp_path: Path) -> None:
    config = CurateConfig(exact_duplicates=True, near_duplicates=True, decontaminate=True)
    steps = corpus_steps(config, (QUESTION,), tmp_path)
    assert [step.name for step in steps] == ["exact duplicates", "near-duplicates", "contamination"]
    documents = {number: Document(text, "s", where=Place("f", number)) for number, text in TEXTS.items()}
    found = [step.find(iter(documents.items())).removed for step in steps]
    assert [sorted(removed) for removed in found] == [[12], [7, 12], [8]]
    assert found[0][12].evidence == "equal to f:3 (byte 0) of source s"
    assert list(tmp_path.iterdir()) == []


def test_documents_without_a_place_are_named_by_the_numbers_given(tmp_path: Path) -> None:
    (step,) = corpus_steps(CurateConfig(exact_duplicates=True), (), tmp_path)
    found = step.find(iter([(4, Document("a")), (6, Document("b")), (9, Document("a"))])).removed
    assert {number: removed.evidence for number, removed in found.items()} == {9: "equal to document 4"}


def test_the_threshold_of_the_configuration_is_used(tmp_path: Path) -> None:
    documents = [(0, Document(LONG)), (1, Document(" ".join(LONG.split()[:45])))]  # 41 of 56 shingles: 0.73
    removed = []
    for threshold in (0.8, 0.5):
        config = CurateConfig(near_duplicates=True, near_duplicate_threshold=threshold)
        (step,) = corpus_steps(config, (), tmp_path)
        removed.append(len(step.find(iter(documents)).removed))
    assert removed == [0, 1]


def test_pairs_that_were_not_compared_are_counted(tmp_path: Path) -> None:
    pages = [(number, Document(f"{LONG} page{number} of the site")) for number in range(2800)]
    (step,) = corpus_steps(CurateConfig(near_duplicates=True), (), tmp_path)
    assert step.find(iter(pages[:900])).compared == Comparison(skipped_pairs=0)
    found = step.find(iter(pages))
    assert found.compared.skipped_pairs > 0
    assert len(found.removed) == 2799


def test_prompts_that_cannot_be_found_are_named(tmp_path: Path) -> None:
    short = [Prompt.of(f"Why {number}?", "so", where=Place("asked.jsonl", number)) for number in range(1, 13)]
    (step,) = corpus_steps(CurateConfig(decontaminate=True), (QUESTION, *short), tmp_path)
    compared = step.find(iter(())).compared
    assert (compared.prompts, compared.unsearchable) == (13, 12)
    assert compared.unsearchable_first[0] == "asked.jsonl:1 (byte 0): Why 1?"
    assert len(compared.unsearchable_first) == 10


def test_nothing_runs_that_is_not_wanted(tmp_path: Path) -> None:
    assert corpus_steps(CurateConfig(), (QUESTION,), tmp_path) == []
