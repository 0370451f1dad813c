"""The page of a run has the sections of its stages and no others; inputs and curation are listed with their counts."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="the [train] extra is not installed")

from stategpt.config import RunConfig
from stategpt.report.page import render_page
from stategpt.report.run_files import RunFiles
from stategpt.report.views.inputs import inputs


@pytest.mark.parametrize(
    ("stages", "sections"),
    [
        (("prepare", "pretrain"), ["stages", "gates", "data", "pretraining", "origin", "glossary"]),
        (("prepare", "rankings", "reward"), ["stages", "gates", "data", "reward", "origin", "glossary"]),
    ],
)
def test_only_what_ran_has_a_section(tmp_path: Path, stages: tuple[str, ...], sections: list[str]) -> None:
    files = RunFiles(tmp_path)
    files.__dict__["run"] = replace(RunConfig(), stages=stages)
    html = render_page(files, [])
    assert re.findall(r'<section id="(\w+)"', html) == sections
    assert re.findall(r'<li><a href="#(\w+)"', html) == sections


def test_inputs_and_curation_add_up_and_odd_values_are_left_out(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.__dict__["corpus_counts"] = {
        "inputs": {
            "sft.data": {"kept": 7, "duplicate": 1, "rejected": {"empty_text": 2}},
            "sources.a": {"kept": 5, "duplicate": 1, "removed": {"short": 2, "pii": 1}, "rejected": {}},
            "odd": 3,
        },
        "curation": {
            "notes": {"kept": 6, "removed": {"short": 1, "twin": 3}, "paragraphs": {"count": 2, "characters": 1234}},
            "odd": {"kept": "x"},
            "plain": {"kept": 1, "removed": {}, "paragraphs": {"count": 0, "characters": 0}},
        },
        "compared": {"prompts": 12, "unsearchable": 2, "skipped_pairs": 1500, "odd": []},
    }
    found = inputs(files)
    assert [(row["name"], row["total"], row["removed"], row["rejected"]) for row in found["rows"]] == [
        ("sft.data", "10", "0", "2 empty_text"),
        ("sources.a", "9", "3", "0"),
    ]
    page = render_page(files, [])
    for sentence in (
        "Documents were searched for 12 evaluation prompts; 2 of them cannot be found",
        "1,500 pairs of documents were not compared",
    ):
        assert sentence in page
    source, plain = found["curation"]
    assert source["paragraphs"] == "2 paragraphs (1,234 characters) that another document has were cut out."
    assert plain["paragraphs"] == ""
    assert [(bar["rule"], bar["count"]) for bar in source["bars"]] == [("kept", "6"), ("twin", "3"), ("short", "1")]
