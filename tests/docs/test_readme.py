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
PAIRED = re.compile(r"(<!-- paired:.*?-->\n)(.*?)(<!-- paired -->)", re.DOTALL)
COLUMNS = 100


def printed(record: Path) -> str:
    """The end of a run as the program prints it, from the seconds, tokens and gates of a record."""
    held = json.loads(record.read_text())
    seconds = {stage["stage"]: float(stage["seconds"]) for stage in held["stages"]}
    tokens = {stage["stage"]: stage["tokens"] for stage in held["stages"]}
    gates = [
        GateResult(gate["gate"], gate["gate"], gate["rule"], gate["passed"], gate["value"], severity=gate["severity"])
        for gate in held["gates"]
    ]
    return "\n".join([*stage_lines(seconds, tokens), *gate_lines(gates, COLUMNS)]) + "\n"


def demo_record() -> Path:
    """The record that the README names for its sample output."""
    [record] = re.findall(r"\[record\]\((benches/records/[\w-]*tiny_cpu\.json)\)\) it ended", README.read_text())
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

    text = README.read_text()
    [name] = re.findall(r"\[record\]\((benches/records/[\w-]*paired[\w-]*\.json)\)", text)
    held = json.loads((ROOT / name).read_text())
    wanted = table(held["paired"])
    if os.environ.get("STATEGPT_UPDATE_GOLDENS"):
        text = PAIRED.sub(lambda found: found[1] + wanted + found[3], text)
        README.write_text(text)
    [(_, shown, _)] = PAIRED.findall(text)
    assert shown == wanted, "run this test with STATEGPT_UPDATE_GOLDENS=1 and look at the diff"
    # Ratios are those of the seconds that stand beside them.
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
    rlhf, sft = (f"{100 * systems[name]['unique_share']['mean']:.0f} %" for name in ("rlhf", "sft"))
    said = " ".join(README.read_text().split())
    assert f"{rlhf} of its answers are different ones, of the SFT model's {sft}" in said


def test_the_install_paragraph_names_the_extras_of_pyproject() -> None:
    text = README.read_text()
    section = text[text.index("## Install") : text.index("## How fast the tokenizer is")]
    assert "pip install '.[train]'" in section
    assert "make wheel" in section
    assert "not on PyPI" in section
