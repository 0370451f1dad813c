"""Chosen and rejected dialogues become groups of two; what cannot be used is named by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from stategpt.data.formats.chosen_rejected import read_chosen_rejected
from stategpt.errors import RankingError, StorageError

# Real votes and dialogues, beside some checkouts: not part of the project.
PREFERENCES = Path(__file__).resolve().parents[4] / "shared" / "data" / "preferences"
needs_preferences = pytest.mark.skipif(not PREFERENCES.is_dir(), reason="no ../shared/data/preferences here")


def dialogue(chosen: str, rejected: str, before: str = "\n\nHuman: Why?\n\nAssistant:") -> str:
    return json.dumps({"chosen": before + chosen, "rejected": before + rejected})


def test_a_dialogue_is_a_prompt_with_the_chosen_answer_first(tmp_path: Path) -> None:
    path = tmp_path / "hh.jsonl.gz"
    long = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
    path.write_bytes(gzip.compress(f"{dialogue(' Good', ' Bad')}\n{dialogue('A', 'B', long)}\n".encode()))
    single, longer = read_chosen_rejected(path).groups
    assert (single.prompt, single.completions, single.pairs.tolist()) == ("Why?", ("Good", "Bad"), [[0, 1]])
    assert not isinstance(longer.prompt, str)
    assert [(message.role, message.content) for message in longer.prompt] == [
        ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"),
    ]  # fmt: skip
    assert (longer.question, longer.id) == ("Why?", "2")


def test_unusable_dialogues_are_rejected_by_line_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "hh.jsonl"
    apart = json.dumps({"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: y"})
    lines = [dialogue("a", "b"), "{", "", dialogue("a", "a"), apart, '{"chosen": "x", "rejected": "y"}', "[]", "{}"]
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    rankings = read_chosen_rejected(path)
    assert [(r.line, r.code) for r in rankings.rejected] == [
        (2, "invalid_json"), (4, "equal_completions_ranked_apart"), (5, "different_prompts"), (6, "no_assistant_turn"),
        (7, "wrong_type"), (8, "missing_field"), (9, "not_utf8"),
    ]  # fmt: skip
    assert rankings.rejected[1].byte_offset == len("\n".join(lines[:3])) + 1
    assert len(rankings) + len(rankings.rejected) + rankings.blank_lines == 9


def test_byte_order_marks_and_half_characters_cost_no_more_than_their_line(tmp_path: Path) -> None:
    path = tmp_path / "hh.jsonl"
    half = dialogue(" good \\ud83d", " bad").replace("\\\\", "\\")
    again = dialogue("c", "d").replace('"chosen"', '"chosen": "x", "chosen"')
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join([dialogue(" a", " b"), half, again]).encode() + b"\n")
    rankings = read_chosen_rejected(path)
    assert [g.line for g in rankings.groups] == [1]
    assert [(r.line, r.code) for r in rankings.rejected] == [(2, "invalid_json"), (3, "duplicate_key")]


def test_files_that_cannot_be_read_are_errors_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent\.jsonl"):
        read_chosen_rejected(tmp_path / "absent.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    with pytest.raises(RankingError, match="gzip"):
        read_chosen_rejected(tmp_path / "cut.jsonl.gz")


@needs_preferences
def test_every_published_dialogue_is_kept_or_rejected_with_a_reason() -> None:
    rankings = read_chosen_rejected(PREFERENCES / "hh-harmless-base-test.jsonl.gz")
    assert len(rankings) + len(rankings.rejected) == 2312
    assert len(rankings) > 2200
    assert all(g.pairs.tolist() == [[0, 1]] for g in rankings.groups)
