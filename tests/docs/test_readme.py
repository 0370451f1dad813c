"""What the README shows of the program is what the program prints."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from stategpt.evaluate.records import GateResult
from stategpt.report.summary import gate_lines, stage_lines

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(<!-- printed from the record.*?-->\n```\n)(.*?)(```\n<!-- printed from the record -->)", re.DOTALL
)
TOKENIZER_PAGE = ROOT / "docs" / "tokenizer.md"
PAIRED = re.compile(r"(<!-- paired[^\n]*?: STATEGPT.*?-->\n)(.*?)(<!-- paired -->)", re.DOTALL)
COLUMNS = 100
IN_README = (
    "| cl100k",
    "|---",
    "| warm, a call for each",
    "| warm, one call",
    "| cold, a call for each document: the first pass",
    "| cold, a call for each: the whole process",
)
"""Rows of the table that README shows too: both ways to call it warm, and what a new process pays."""


def printed(record: Path) -> str:
    """The end of a run as the program prints it, from the seconds, tokens and gates of a record."""
    held = json.loads(record.read_text())
    seconds = {stage["stage"]: float(stage["seconds"]) for stage in held["stages"]}
    tokens = {stage["stage"]: stage["tokens"] for stage in held["stages"]}
    gates = [
        GateResult(gate["name"], gate["label"], gate["rule"], gate["passed"], gate["value"], severity=gate["severity"])
        for gate in held["gates"]
    ]
    return "\n".join([*stage_lines(seconds, tokens), *gate_lines(gates, COLUMNS)]) + "\n"


def demo_record() -> Path:
    """The record that the README names for its sample output."""
    [record] = re.findall(r"\[record\]\((benches/records/[\w-]*tiny_cpu\.json)\)", README.read_text())
    return ROOT / str(record)


def test_the_sample_output_is_printed_from_the_record_it_names() -> None:
    text = README.read_text()
    wanted = printed(demo_record())
    if os.environ.get("STATEGPT_UPDATE_GOLDENS"):
        text = BLOCK.sub(lambda found: found[1] + wanted + found[3], text)
        README.write_text(text)
    [(_, shown, _)] = BLOCK.findall(text)
    assert shown == wanted, "run this test with STATEGPT_UPDATE_GOLDENS=1 and look at the diff"


def test_the_encoder_beside_its_peers_is_as_the_record_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benches" / "peers"))
    from paired import paired_rows, table

    [name] = re.findall(r"\[record\]\((benches/records/[\w-]*paired[\w-]*\.json)\)", README.read_text())
    held = json.loads((ROOT / name).read_text())
    wanted = table(held["paired"])
    some = "".join(line for line in wanted.splitlines(keepends=True) if line.startswith(IN_README))
    for page, shown in ((TOKENIZER_PAGE, wanted), (README, some)):
        text = page.read_text()
        if os.environ.get("STATEGPT_UPDATE_GOLDENS"):
            text = PAIRED.sub(lambda found, shown=shown: found[1] + shown + found[3], text)
            page.write_text(text)
        assert name in text, "both pages name the record"
        [(_, there, _)] = PAIRED.findall(text)
        assert there == shown, "run this test with STATEGPT_UPDATE_GOLDENS=1 and look at the diff"
    # Ratios are those of the seconds that the record holds.
    described = ("kind", "vocabulary", "turns", "library", "job")
    entries = [
        {
            "job": {key: row[key] for key in described if key in row},
            "result": {key: row[key] for key in ("megabytes", "seconds", "failed", "cpu") if key in row},
        }
        for row in held["paired"]
    ]
    assert [row["ratios"] for row in paired_rows(entries)] == [row["ratios"] for row in held["paired"]]


def test_the_record_agrees_with_itself() -> None:
    held = json.loads(demo_record().read_text())
    seconds = {stage["stage"]: stage["seconds"] for stage in held["stages"]}
    assert seconds | {"all": sum(seconds.values())} == held["seconds"]


def test_shares_named_in_the_text_are_the_records() -> None:
    held = json.loads(demo_record().read_text())
    systems = held["comparison"]["systems"]
    rlhf, sft = (f"{100 * systems[name]['unique_share']['mean']:.1f} %" for name in ("rlhf", "sft"))
    said = " ".join(README.read_text().split())
    assert f"{rlhf} of the RLHF model's answers are distinct, {sft} of the SFT model's" in said
    change = held["comparison"]["diversity_change"]["distinct_2"]
    fall, least, most = (-change[bound] for bound in ("mean", "high", "low"))
    assert f"the share of distinct bigrams falls by {fall:.2f} ({least:.2f} to {most:.2f})" in said


def test_the_install_paragraph_names_the_extras_of_pyproject() -> None:
    text = README.read_text()
    section = text[text.index("## Install") : text.index("## In your own scripts")]
    assert "pip install '.[train]'" in section
    assert "make wheel" in section
    assert "not on PyPI" in section
