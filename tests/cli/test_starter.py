"""Sizes of a first run follow from what the files hold."""

from __future__ import annotations

import json
from pathlib import Path

from stategpt.cli.found import look_into
from stategpt.cli.starter import sizes_of


def dialogue(turns: int, characters: int) -> str:
    """An HH dialogue of `turns` questions and answers of so many characters each."""
    return "".join(f"\n\nHuman: {'q' * characters}\n\nAssistant: {'a' * characters}" for _ in range(turns))


def test_all_turns_of_a_ranked_dialogue_count_for_the_context(tmp_path: Path) -> None:
    contexts = []
    for turns in (1, 4):
        folder = tmp_path / str(turns)
        folder.mkdir()
        record = {"chosen": dialogue(turns, 350) + "!", "rejected": dialogue(turns, 350)}
        (folder / "hh.jsonl").write_text(f"{json.dumps(record)}\n" * 3)
        contexts.append(sizes_of(look_into(folder)).context_tokens)
    assert contexts == [256, 1024]  # 2 and 8 messages of 100 tokens at 3.5 bytes a token
