"""Every record of docs/guides/formats.md is recognized as what its section says and read without a rejection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from stategpt.data.formats import FORMATS, read_conversations, read_labeled, read_prompts, read_ranked

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "formats.md"
BLOCKS = re.findall(r"^```json format=(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
READERS: dict[str, Any] = {
    "conversation": read_conversations,
    "prompt": read_prompts,
    "ranking": read_ranked,
    "label": read_labeled,
}


def test_the_page_shows_every_format() -> None:
    assert sorted(name for name, _ in BLOCKS) == sorted(FORMATS)


@pytest.mark.parametrize(("name", "records"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_the_records_of_a_section_are_read(name: str, records: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.jsonl"
    path.write_text(records, encoding="utf-8")
    found, tally = READERS[FORMATS[name].kind](path)
    assert (tally.formats, tally.first) == ({str(path): name}, ())
    assert tally.kept == len(records.splitlines())
    assert found
    for record in records.splitlines():
        one = tmp_path / "one.jsonl"
        one.write_text(record + "\n", encoding="utf-8")
        if name != "helpsteer":
            assert READERS[FORMATS[name].kind](one)[1].formats == {str(one): name}
