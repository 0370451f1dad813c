"""Records of every format, written by hand, with what they must be read as and which of them are rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stategpt.data.formats import FORMATS, read_conversations, read_labeled, read_prompts, read_ranked
from stategpt.data.records import Message
from stategpt.data.rejections import Tally

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "formats"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))


def rows(messages: tuple[Message, ...] | str) -> list[list[Any]]:
    if isinstance(messages, str):
        return [["user", messages, False]]
    return [[message.role, message.text, message.trained] for message in messages]


def found_in(name: str, path: Path) -> tuple[list[Any], Tally]:
    kind = FORMATS[name].kind
    if kind == "conversation":
        conversations, tally = read_conversations(path)
        return [rows(each.messages) for each in conversations], tally
    if kind == "prompt":
        prompts, tally = read_prompts(path)
        return [[rows(each.messages), each.reference] for each in prompts], tally
    if kind == "label":
        labeled, tally = read_labeled(path)
        return [[each.text, each.label] for each in labeled], tally
    groups, tally = read_ranked(path)
    assert len({group.id for group in groups}) == len(groups)
    return [[rows(each.prompt), list(each.completions), each.pairs.tolist()] for each in groups], tally


def test_every_format_has_a_golden_file() -> None:
    assert sorted(FORMATS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_records_are_read_as_written_by_hand(name: str, tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    lines, array = tmp_path / "records.jsonl", tmp_path / "records.json"
    lines.write_text("".join(json.dumps(record) + "\n" for record in golden["records"]), encoding="utf-8")
    array.write_text(json.dumps(golden["records"], indent=1), encoding="utf-8")
    found, tally = found_in(name, lines)
    assert tally.formats == {str(lines): golden["format"]}
    assert found == golden["expected"]
    assert sorted([rejection.where.line, rejection.code] for rejection in tally.first) == golden["rejected"]
    assert tally.total == len(golden["records"])
    found, again = found_in(name, array)
    assert (found, again.rejected, again.kept) == (golden["expected"], tally.rejected, tally.kept)
