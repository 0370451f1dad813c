"""MT-Bench: the first turn is asked, later ones are counted, kept in meta, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stategpt.cli import main
from stategpt.data.formats import read_prompts

RECORDS = [
    {"question_id": n, "category": "math", "turns": [f"What is {n} + 1?", "Why?", "Sure?"][: 1 + n % 3]}
    for n in range(30)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "question.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path


def test_later_turns_are_counted_and_kept_in_meta(file: Path) -> None:
    prompts, tally = read_prompts(file)
    assert [prompt.text for prompt in prompts] == [record["turns"][0] for record in RECORDS]  # type: ignore[index]
    assert tally.later_turns == tally.to_json()["later_turns"] == 10 * (1 + 2)
    assert prompts[2].meta == {"question_id": 2, "category": "math", "later_turns": ["Why?", "Sure?"]}
    assert prompts[0].meta == {"question_id": 0, "category": "math"}


def test_they_are_shown(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.toml").write_text(
        f'[sources.n]\npaths = ["notes.jsonl"]\nshare = 1.0\n[rl]\nprompts = ["{file.name}"]\nscorer = "length"\n'
    )
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps({"text": f"Note {n}."}) + "\n" for n in range(40)))
    command = ["data", "build", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert "30 later turns not asked" in capsys.readouterr().out


def test_the_published_questions_are_read() -> None:
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "instructions" / "mt-bench-question.jsonl"
    if not path.exists():
        pytest.skip("the file of MT-Bench questions is not beside the checkout")
    prompts, tally = read_prompts(path)
    assert (len(prompts), tally.rejected_count, tally.later_turns) == (80, 0, 80)
    assert set(tally.formats.values()) == {"mt_bench"}
