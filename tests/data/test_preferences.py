"""Published preferences become groups of two, and what cannot be used is named by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from stategpt.data.preferences import read_chosen_rejected, read_votes
from stategpt.errors import RankingError, StorageError

# Real votes and dialogues, beside some checkouts: not part of the project.
PREFERENCES = Path(__file__).resolve().parents[3] / "shared" / "data" / "preferences"
needs_preferences = pytest.mark.skipif(not PREFERENCES.is_dir(), reason="no ../shared/data/preferences here")


def dialogue(chosen: str, rejected: str, before: str = "\n\nHuman: Why?\n\nAssistant:") -> str:
    return json.dumps({"chosen": before + chosen, "rejected": before + rejected})


def test_a_dialogue_is_a_prompt_with_the_chosen_answer_first(tmp_path: Path) -> None:
    path = tmp_path / "hh.jsonl.gz"
    long = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
    path.write_bytes(gzip.compress(f"{dialogue(' Good', ' Bad')}\n{dialogue('A', 'B', long)}\n".encode()))
    single, longer = read_chosen_rejected(path).groups
    assert (single.prompt, single.completions, single.pairs.tolist()) == ("Why?", ("Good", "Bad"), [[0, 1]])
    assert longer.prompt == "Human: Hi\n\nAssistant: Hello\n\nHuman: Why?"


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
        ("prompt,model_x,model_y,winner\n" + "8" * 200_000 + ",1,2,left\n", "votes.csv:2: field larger"),
    ]:
        votes.write_text(content)
        with pytest.raises(RankingError, match=message):
            read_votes(votes, answers, prompts)
    votes.write_bytes(b"prompt,model_x,model_y,winner\n8,1,2,left\n8,caf\xe9,2,left\n")
    with pytest.raises(RankingError, match=r"votes\.csv:3 \(byte 41\): not UTF-8 from byte 5"):
        read_votes(votes, answers, prompts)


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


def test_byte_order_marks_and_half_characters_cost_no_more_than_their_line(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    path = tmp_path / "hh.jsonl"
    half = dialogue(" good \\ud83d", " bad").replace("\\\\", "\\")
    again = dialogue("c", "d").replace('"chosen"', '"chosen": "x", "chosen"')
    path.write_bytes(mark + "\n".join([dialogue(" a", " b"), half, again]).encode() + b"\n")
    rankings = read_chosen_rejected(path)
    assert [g.line for g in rankings.groups] == [1]
    assert [(r.line, r.code) for r in rankings.rejected] == [(2, "invalid_json"), (3, "duplicate_key")]
    files = write_votes(tmp_path, "8,1,2,left\n")
    for file in files:
        file.write_bytes(mark + file.read_bytes())
    assert len(read_votes(*files)) == 1


def test_files_that_cannot_be_read_are_errors_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent\.jsonl"):
        read_chosen_rejected(tmp_path / "absent.jsonl")
    votes, answers, prompts = write_votes(tmp_path, "")
    prompts.write_text('{"id": 8}\n')
    with pytest.raises(RankingError, match=r"prompts\.jsonl:1: text is missing"):
        read_votes(votes, answers, prompts)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    with pytest.raises(RankingError, match="gzip"):
        read_chosen_rejected(tmp_path / "cut.jsonl.gz")


@needs_preferences
def test_every_published_dialogue_is_kept_or_rejected_with_a_reason() -> None:
    rankings = read_chosen_rejected(PREFERENCES / "hh-harmless-base-test.jsonl.gz")
    assert len(rankings) + len(rankings.rejected) == 2312
    assert len(rankings) > 2200
    assert all(g.pairs.tolist() == [[0, 1]] for g in rankings.groups)


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
