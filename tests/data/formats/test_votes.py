"""Votes become groups of two; what cannot be used is named by its line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from stategpt.data.formats.votes import read_votes
from stategpt.errors import RankingError

# Real votes and dialogues, beside some checkouts: not part of the project.
PREFERENCES = Path(__file__).resolve().parents[4] / "shared" / "data" / "preferences"
needs_preferences = pytest.mark.skipif(not PREFERENCES.is_dir(), reason="no ../shared/data/preferences here")


def write_votes(folder: Path, votes: str) -> tuple[Path, Path, Path]:
    paths = folder / "votes.csv", folder / "answers.jsonl", folder / "prompts.jsonl"
    paths[0].write_text("prompt,model_x,model_y,winner\n" + votes)
    answers = [{"model": m, "prompt": 8, "result": f"answer of {m}"} for m in (1, 2, 3)]
    paths[1].write_text("".join(json.dumps(a) + "\n" for a in answers))
    paths[2].write_text('{"id": 8, "text": "Argue."}\n')
    return paths


def test_the_majority_of_votes_wins_and_equal_numbers_tie(tmp_path: Path) -> None:
    rankings = read_votes(*write_votes(tmp_path, "8,1,2,left\n8,1,2,tie\n8,1,3,right\n8,2,3,left\n8,2,3,right\n"))
    assert {g.id: g.pairs.tolist() for g in rankings.groups} == {
        '["8","1","2"]': [[0, 1]],
        '["8","1","3"]': [[1, 0]],
        '["8","2","3"]': [],
    }
    assert rankings.groups[0].completions == ("answer of 1", "answer of 2")


def test_votes_on_unknown_things_are_rejected_by_line(tmp_path: Path) -> None:
    rankings = read_votes(*write_votes(tmp_path, "8,1,2,left\n8,1,2,both\n9,1,2,left\n8,1,7,left\n"))
    assert [(r.line, r.code) for r in rankings.rejected] == [
        (3, "unknown_winner"), (4, "unknown_prompt"), (5, "unknown_answer"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("votes", "pairs"),
    [
        ("8,1,2,left\n8,2,1,left\n", []),
        ("8,1,2,left\n8,2,1,right\n", [[0, 1]]),
        ("8,2,1,left\n8,2,1,left\n8,1,2,left\n", [[1, 0]]),
        ("8,2,1,tie\n8,1,2,tie\n", []),
    ],
)
def test_votes_in_both_orders_are_of_one_pair(tmp_path: Path, votes: str, pairs: list[list[int]]) -> None:
    (group,) = read_votes(*write_votes(tmp_path, votes)).groups
    assert group.completions == ("answer of 1", "answer of 2")
    assert group.pairs.tolist() == pairs


def test_ids_of_groups_do_not_collide(tmp_path: Path) -> None:
    votes, answers, prompts = write_votes(tmp_path, "8,a-b,c,left\n8,a,b-c,left\n")
    rows = [{"model": m, "prompt": 8, "result": f"answer of {m}"} for m in ("a", "a-b", "b-c", "c")]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rankings = read_votes(votes, answers, prompts)
    assert [group.id for group in rankings.groups] == ['["8","a-b","c"]', '["8","a","b-c"]']
    assert not rankings.rejected


@pytest.mark.parametrize("result", [None, 7, True, ["x"], {"text": "x"}])
def test_an_answer_that_is_no_string_is_no_text(tmp_path: Path, result: object) -> None:
    votes, answers, prompts = write_votes(tmp_path, "8,1,2,left\n8,2,3,left\n")
    with answers.open("a") as file:
        file.write("\n" + json.dumps({"model": "4", "prompt": "8", "result": result}) + "\n")
    votes.write_text(votes.read_text() + "8,1,4,left\n")
    rankings = read_votes(votes, answers, prompts)
    assert len(rankings) == 2
    assert [(r.line, r.code) for r in rankings.rejected] == [(4, "wrong_type")]
    assert "answers.jsonl:5: result is" in rankings.rejected[0].message
    prompts.write_text(json.dumps({"id": 8, "text": result}) + "\n")
    assert [r.code for r in read_votes(votes, answers, prompts).rejected] == ["wrong_type"] * 3


def test_rows_of_votes_that_are_not_whole_are_rejected(tmp_path: Path) -> None:
    rankings = read_votes(*write_votes(tmp_path, "8,1,2\n8,1,2,left,more\n\n8,1,1,left\n8,1,2,left\n"))
    assert [(r.line, r.code) for r in rankings.rejected] == [
        (2, "missing_field"), (3, "too_many_fields"), (5, "same_model"),
    ]  # fmt: skip
    assert len(rankings) == 1


def test_a_csv_without_its_columns_or_with_an_open_quote_is_one_error(tmp_path: Path) -> None:
    votes, answers, prompts = write_votes(tmp_path, "")
    for content, message in [
        ("prompt,model_a,model_y,winner\n8,1,2,left\n", "and not model_x once"),
        ("", "and not prompt, model_x"),
        ('prompt,model_x,model_y,winner\n8,1,2,"left\n8,1,2,left\n', "correct the CSV's quotes"),
        ('prompt,model_x,model_y,winner\n8,1,2,left\n8,1,2,"left\n\n', "votes.csv:4: unexpected end of data"),
    ]:
        votes.write_text(content)
        with pytest.raises(RankingError, match=message):
            read_votes(votes, answers, prompts)
    votes.write_bytes(b"prompt,model_x,model_y,winner\n8,1,2,left\n8,caf\xe9,2,left\n")
    with pytest.raises(RankingError, match=r"votes\.csv:3 \(byte 41\): not UTF-8 from byte 5"):
        read_votes(votes, answers, prompts)


def test_a_long_cell_is_read_whatever_was_read_before(tmp_path: Path) -> None:
    long = "8" * 200_000  # more than Python's csv takes at first; the limit is one of the process
    votes, answers, prompts = write_votes(tmp_path, f'8,1,2,left\n"{long}",1,2,left\n')
    before = csv.field_size_limit(131_072)
    try:
        rankings = read_votes(votes, answers, prompts)
    finally:
        csv.field_size_limit(before)
    assert (len(rankings), [(r.line, r.code) for r in rankings.rejected]) == (1, [(3, "unknown_prompt")])


def test_a_key_with_two_texts_or_of_another_type_is_an_error(tmp_path: Path) -> None:
    votes, answers, prompts = write_votes(tmp_path, "8,1,2,left\n")
    prompts.write_text('{"id": 8, "text": "Argue."}\n\n{"id": "8", "text": "Argue."}\n')
    assert len(read_votes(votes, answers, prompts)) == 1
    prompts.write_text('{"id": 8, "text": "Argue."}\n{"id": "8", "text": "Do not."}\n')
    with pytest.raises(RankingError, match=r"prompts\.jsonl:2: '8' is on line 1 with another text"):
        read_votes(votes, answers, prompts)
    for name in (None, True, 1.5):
        prompts.write_text(json.dumps({"id": name, "text": "Argue."}) + "\n")
        with pytest.raises(RankingError, match=r"prompts\.jsonl:1: id is .*, expected a string or a whole number"):
            read_votes(votes, answers, prompts)


def test_byte_order_marks_are_skipped(tmp_path: Path) -> None:
    files = write_votes(tmp_path, "8,1,2,left\n")
    for file in files:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read_votes(*files)) == 1


def test_a_table_without_its_text_is_an_error_with_its_place(tmp_path: Path) -> None:
    votes, answers, prompts = write_votes(tmp_path, "")
    prompts.write_text('{"id": 8}\n')
    with pytest.raises(RankingError, match=r"prompts\.jsonl:1: text is missing"):
        read_votes(votes, answers, prompts)


@needs_preferences
def test_published_votes_become_one_group_per_pair_of_answers() -> None:
    rankings = read_votes(
        PREFERENCES / "llmfao-crowd-comparisons.csv",
        PREFERENCES / "llmfao-results.jsonl",
        PREFERENCES / "llmfao-prompts.jsonl",
    )
    assert not [r for r in rankings.rejected if r.code.startswith("unknown")]
    assert len({g.prompt for g in rankings.groups}) == 13
    summary = rankings.summary()
    assert summary["groups"] + summary["rejected"] == 2139
    assert 0 < summary["groups_without_pairs"] < summary["groups"] // 2
