"""Logs: one line a record, and a torn last line harms nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from stategpt.artifacts import append_line, read_lines
from stategpt.errors import DataError, InvalidArgument, StorageError


def test_records_come_back_in_order(tmp_path: Path) -> None:
    records = [{"step": step, "loss_nats_per_token": 1 / (step + 1), "text": "a\nb\u2028é"} for step in range(20)]
    for record in records:
        append_line(tmp_path / "m.jsonl", record, durable=record["step"] == 19)
    assert read_lines(tmp_path / "m.jsonl") == records


def test_no_file_is_an_empty_log(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []


def test_every_torn_tail_is_left_out_and_removed_by_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append_line(path, {"step": 1})
    append_line(path, {"step": 2})
    whole = path.read_bytes()
    first = len(b'{"step": 1}\n')
    for kept in range(first, len(whole)):
        path.write_bytes(whole[:kept])
        assert read_lines(path) == [{"step": 1}]
        append_line(path, {"step": 3})
        assert read_lines(path) == [{"step": 1}, {"step": 3}]


@pytest.mark.parametrize("line", ["not json", "[1]", ""])
def test_a_damaged_line_is_named_by_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"m\.jsonl:2[: ].*Remove or repair that line"):
        read_lines(path)


def test_a_record_that_is_not_json_is_refused_and_the_log_kept(tmp_path: Path) -> None:
    append_line(tmp_path / "m.jsonl", {"step": 1})
    with pytest.raises(InvalidArgument, match=r"\$\.loss: nan"):
        append_line(tmp_path / "m.jsonl", {"loss": float("nan")})
    assert read_lines(tmp_path / "m.jsonl") == [{"step": 1}]


def test_a_folder_in_the_place_of_a_log_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not open"):
        append_line(tmp_path, {"step": 1})


def test_a_link_is_not_followed_and_its_target_keeps_its_last_line(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("one\nno newline here")
    (tmp_path / "log.jsonl").symlink_to(victim)
    with pytest.raises(StorageError, match="a log is an ordinary file"):
        append_line(tmp_path / "log.jsonl", {"step": 1})
    assert victim.read_text() == "one\nno newline here"
