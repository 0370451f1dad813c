"""Preferences that people have published, as rankings: chosen/rejected dialogues and pairwise votes.

Both give groups of two. Votes are not merged into one order per prompt: a majority may prefer a to b, b to c and c to
a, and an order would hide it.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from stategpt.errors import RankingError, StorageError

from .rankings import Rankings, Rejected

StrPath = str | os.PathLike[str]

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


class _Place(NamedTuple):
    """Where a record stands in its source."""

    line: int
    byte_offset: int


class _RecordError(ValueError):
    """Why one record was not taken: (code, message)."""


def read_chosen_rejected(path: StrPath) -> Rankings:
    """Dialogues {"chosen", "rejected"}, JSONL or JSONL.gz, as in Anthropic's hh-rlhf (https://arxiv.org/abs/2204.05862).

    Each holds turns headed `Human:` and `Assistant:`; both must agree up to the last answer, which is the completion.
    The prompt of a single question is the question, of a longer dialogue the dialogue. Records that differ earlier, or
    are malformed, are rejected by line and code (`different_prompts`, `no_assistant_turn`, and those of `Rankings`).

    Raises StorageError when the file cannot be read, RankingError when it is not the gzip it claims to be.
    """
    records, places, rejected = [], [], []
    blank = 0
    for place, line in _lines(Path(path)):
        if not line.strip():
            blank += 1
            continue
        try:
            records.append(_dialogue_record(line, place))
            places.append(place)
        except _RecordError as refused:
            rejected.append(Rejected(*place, *refused.args))
    return _with_places(Rankings.read(records), places, rejected, blank)


def read_votes(votes: StrPath, answers: StrPath, prompts: StrPath) -> Rankings:
    """Pairwise votes of many people, as in the LLMFAO set: one group for each prompt and pair of answers voted on.

    votes: CSV with columns prompt, model_x, model_y, winner (left = model_x, right = model_y, tie).
    answers: JSONL {"model", "prompt", "result"}; prompts: JSONL {"id", "text"}.
    The side with more votes wins, equal numbers are a tie; the counts are not kept. Unusable votes are rejected by the
    line of the CSV (`unknown_winner`, `unknown_prompt`, `unknown_answer`); votes = those of groups + rejected.

    Raises StorageError when a file cannot be read and RankingError when answers or prompts are malformed.
    """
    prompt_text = {str(row["id"]): str(row["text"]) for row in _table(Path(prompts), ("id", "text"))}
    answer_rows = _table(Path(answers), ("model", "prompt", "result"))
    answer_text = {(str(row["prompt"]), str(row["model"])): str(row["result"]) for row in answer_rows}
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    first_place: dict[tuple[str, str, str], _Place] = {}
    rejected = []
    for place, row in _votes(Path(votes)):
        try:
            key = _vote_key(row, prompt_text, answer_text)
        except _RecordError as refused:
            rejected.append(Rejected(*place, *refused.args))
            continue
        counts.setdefault(key, Counter())[row["winner"]] += 1
        first_place.setdefault(key, place)
    records = [_vote_record(key, count, prompt_text, answer_text) for key, count in counts.items()]
    return _with_places(Rankings.read(records), list(first_place.values()), rejected, 0)


def _dialogue_record(line: bytes, place: _Place) -> dict[str, object]:
    row = _json_object(line)
    prompts, texts = [], []
    for key in ("chosen", "rejected"):
        prompt, turn, answer = _string(row, key).rpartition(_ASSISTANT)
        if not turn:
            raise _RecordError("no_assistant_turn", f"{key} has no turn headed {_ASSISTANT.strip()!r}")
        prompts.append(prompt)
        texts.append(answer.strip())
    if prompts[0] != prompts[1]:
        raise _RecordError("different_prompts", "chosen and rejected differ before their last answer")
    completions = [{"text": text, "rank": rank} for rank, text in enumerate(texts, 1)]
    return {"id": str(place.line), "prompt": _question(prompts[0]), "completions": completions}


def _question(dialogue: str) -> str:
    """A dialogue of one question without its heading; a longer one as it is."""
    _, heading, question = dialogue.rpartition(_HUMAN)
    single = heading and dialogue.count(_HUMAN) == 1 and _ASSISTANT not in dialogue
    return (question if single else dialogue).strip()


def _vote_key(
    row: Mapping[str, str | None], prompt_text: Mapping[str, str], answer_text: Mapping[tuple[str, str], str]
) -> tuple[str, str, str]:
    prompt, left, right, winner = (str(row.get(name)) for name in ("prompt", "model_x", "model_y", "winner"))
    if winner not in ("left", "right", "tie"):
        raise _RecordError("unknown_winner", f"winner is {winner!r}; it is left, right or tie")
    if prompt not in prompt_text:
        raise _RecordError("unknown_prompt", f"prompt {prompt} is not in the prompts")
    for model in (left, right):
        if (prompt, model) not in answer_text:
            raise _RecordError("unknown_answer", f"model {model} has no answer to prompt {prompt}")
    return prompt, left, right


def _vote_record(
    key: tuple[str, str, str],
    count: Counter[str],
    prompt_text: Mapping[str, str],
    answer_text: Mapping[tuple[str, str], str],
) -> dict[str, object]:
    prompt, left, right = key
    margin = count["left"] - count["right"]
    ranks = (1 + (margin < 0), 1 + (margin > 0))
    completions = [
        {"text": answer_text[prompt, model], "rank": rank}
        for model, rank in zip((left, right), ranks, strict=True)
    ]  # fmt: skip
    return {"id": "-".join(key), "prompt": prompt_text[prompt], "completions": completions}


def _with_places(rankings: Rankings, places: list[_Place], rejected: list[Rejected], blank: int) -> Rankings:
    """`rankings`, read from converted records, with the places of the source put back."""
    groups = [replace(g, **places[g.line - 1]._asdict()) for g in rankings.groups]
    late = [replace(r, **places[r.line - 1]._asdict()) for r in rankings.rejected]
    return Rankings(groups, sorted([*rejected, *late], key=lambda r: r.line), blank)


def _lines(path: Path) -> Iterator[tuple[_Place, bytes]]:
    opened = gzip.open if path.suffix == ".gz" else open
    byte_offset = 0
    try:
        with opened(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                yield _Place(number, byte_offset), line
                byte_offset += len(line)
    except (gzip.BadGzipFile, EOFError) as error:
        raise RankingError(f"{path} is not a whole gzip file: {error}. Fetch it again.") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def _votes(path: Path) -> Iterator[tuple[_Place, dict[str, str]]]:
    """Rows of a CSV with a header; a row's place is its line, bytes are not counted (cells may hold newlines)."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            for row in reader:
                yield _Place(reader.line_num, 0), row
    except UnicodeDecodeError as error:
        raise RankingError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, object]]:
    for place, line in _lines(path):
        try:
            row = _json_object(line)
        except _RecordError as refused:
            raise RankingError(f"{path}:{place.line}: {refused.args[1]}") from refused
        missing = [column for column in columns if column not in row]
        if missing:
            raise RankingError(f"{path}:{place.line}: {', '.join(missing)} is missing; each line has {columns}")
        yield row


def _json_object(line: bytes) -> dict[str, object]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise _RecordError("not_utf8", f"not UTF-8 from byte {error.start} of the line on") from error
    except (ValueError, RecursionError) as error:
        raise _RecordError("invalid_json", f"not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise _RecordError("wrong_type", f"the record is {type(row).__name__}, expected an object")
    return row


def _string(row: Mapping[str, object], key: str) -> str:
    if key not in row:
        raise _RecordError("missing_field", f"{key} is missing")
    value = row[key]
    if not isinstance(value, str):
        raise _RecordError("wrong_type", f"{key} is {type(value).__name__}, expected a string")
    return value
