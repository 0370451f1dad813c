"""Reads pairwise votes of many people as rankings of two completions.

Votes are not merged into one order per prompt: a majority may prefer a to b, b to c and c to a, and an order would hide
it.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from stategpt.data.formats.records import RecordPlace, StrPath, shown, string_field, with_places
from stategpt.data.lines import BadLine, Source, csv_reader, json_type, read_lines, require_unicode
from stategpt.data.ranked_group import Vote
from stategpt.data.rankings import Rankings, Rejected
from stategpt.errors import RankingError

T = TypeVar("T")

_VOTE_COLUMNS = ("prompt", "model_x", "model_y", "winner")
_WORKER = "worker"
"""Optional column: who voted."""


class _Key(NamedTuple):
    """A prompt and two models that answered it, in the order of their names."""

    prompt: str
    first: str
    second: str


class _Texts(NamedTuple):
    """What the side files of the votes hold by key; a `BadLine` where a key has no usable text."""

    prompts: Mapping[tuple[str, ...], str | BadLine]
    answers: Mapping[tuple[str, ...], str | BadLine]


def read_votes(votes: StrPath, answers: StrPath, prompts: StrPath) -> Rankings:
    """Pairwise votes of many people, as in the LLMFAO set: one group for each prompt and pair of answers voted on.

    votes: CSV with columns prompt, model_x, model_y, winner (left = model_x, right = model_y, tie), and worker (who
    voted) if it is known. answers: JSONL {"model", "prompt", "result"}; prompts: JSONL {"id", "text"}. Models, prompts
    and ids are strings or whole numbers (7 and "7" are the same), results and texts are strings.

    The side with more votes wins, equal numbers are a tie; a group's `votes` has each vote. Votes on (a, b) and on
    (b, a) count together; completions are in the order of the models' names, and a group's id is the JSON list
    [prompt, model, model]. Unusable votes are rejected by the line of the CSV: `unknown_winner`, `unknown_prompt`,
    `unknown_answer`, `same_model`, `missing_field`, `too_many_fields`, and the fault of the text they need
    (`wrong_type` for an answer that is null). Votes = those of groups + rejected.

    Raises:
        StorageError: a file cannot be read, or is a folder, FIFO or device; MissingFile where one does not exist.
        RankingError: answers or prompts have no usable key, or one key with two texts; the CSV lacks a column or is
            malformed. The message names file and line.
    """
    texts = _Texts(_table(prompts, ("id",), "text"), _table(answers, ("prompt", "model"), "result"))
    counts: dict[_Key, Counter[tuple[str, str]]] = {}
    first_place: dict[_Key, RecordPlace] = {}
    rejected = []
    for place, cells in _votes(votes):
        try:
            key, winner, annotator = _vote(cells, texts)
        except BadLine as bad:
            rejected.append(Rejected(*place, bad.code, bad.message))
            continue
        counts.setdefault(key, Counter())[winner, annotator] += 1
        first_place.setdefault(key, place)
    records = [_vote_record(key, count, texts) for key, count in counts.items()]
    rankings = with_places(Rankings.read(records), list(first_place.values()), rejected, 0)
    votes_of = {_name(key): _votes_of(count) for key, count in counts.items()}
    return replace(rankings, groups=[replace(group, votes=votes_of[group.id]) for group in rankings.groups])


def _vote(cells: list[str] | BadLine, texts: _Texts) -> tuple[_Key, str, str]:
    """What was voted on, whether the "first", the "second" or none of them ("tie") won, and who voted."""
    prompt, left, right, winner, annotator = _usable(cells)
    if winner not in ("left", "right", "tie"):
        raise BadLine("unknown_winner", f"winner is {shown(winner)}; it is left, right or tie")
    if left == right:
        raise BadLine("same_model", f"model_x and model_y are both {shown(left)}; a vote compares two")
    if (prompt,) not in texts.prompts:
        raise BadLine("unknown_prompt", f"prompt {shown(prompt)} is not in the prompts")
    _usable(texts.prompts[prompt,])
    for model in (left, right):
        if (prompt, model) not in texts.answers:
            raise BadLine("unknown_answer", f"model {shown(model)} has no answer to prompt {shown(prompt)}")
        _usable(texts.answers[prompt, model])
    if left < right:
        return _Key(prompt, left, right), {"left": "first", "right": "second"}.get(winner, "tie"), annotator
    return _Key(prompt, right, left), {"left": "second", "right": "first"}.get(winner, "tie"), annotator


def _vote_record(key: _Key, count: Counter[tuple[str, str]], texts: _Texts) -> dict[str, object]:
    margin = sum(number * {"first": 1, "second": -1}.get(winner, 0) for (winner, _), number in count.items())
    ranks = (1 + (margin < 0), 1 + (margin > 0))
    completions = [
        {"text": _usable(texts.answers[key.prompt, model]), "rank": rank}
        for model, rank in zip(key[1:], ranks, strict=True)
    ]
    return {"id": _name(key), "prompt": _usable(texts.prompts[key.prompt,]), "completions": completions}


def _name(key: _Key) -> str:
    return json.dumps(key, ensure_ascii=False, separators=(",", ":"))


def _votes_of(count: Counter[tuple[str, str]]) -> tuple[Vote, ...]:
    ranks = {"first": (1, 2), "second": (2, 1), "tie": (1, 1)}
    return tuple(Vote(annotator, ranks[winner]) for winner, annotator in count.elements())


def _usable(found: T | BadLine) -> T:
    if isinstance(found, BadLine):
        raise found
    return found


def _votes(path: StrPath) -> Iterator[tuple[RecordPlace, list[str] | BadLine]]:
    """Rows of a CSV with a header: their cells in the order of `_VOTE_COLUMNS`, or what is wrong with one.

    A row's place is its last line (cells may hold line ends); bytes are not counted.
    """
    with Source(path, RankingError) as source:
        reader = csv_reader(_csv_lines(source))
        try:
            header = next(reader, [])
            missing = [name for name in _VOTE_COLUMNS if header.count(name) != 1]
            if missing:
                raise RankingError(
                    f"{source.name} has the columns {shown(', '.join(header))}, and not {', '.join(missing)} once; "
                    f"votes have {', '.join(_VOTE_COLUMNS)}"
                )
            order = [header.index(name) for name in _VOTE_COLUMNS]
            order += [header.index(_WORKER)] if header.count(_WORKER) == 1 else []
            for row in reader:
                if row:  # a blank line is none
                    yield RecordPlace(reader.line_num, 0), _cells(row, len(header), order)
        except csv.Error as error:
            raise RankingError(f"{source.name}:{reader.line_num}: {error}; correct the CSV's quotes there") from error


def _cells(row: list[str], wanted: int, order: list[int]) -> list[str] | BadLine:
    if len(row) == wanted:
        return ([row[place] for place in order] + [""])[: len(_VOTE_COLUMNS) + 1]
    code = "missing_field" if len(row) < wanted else "too_many_fields"
    return BadLine(code, f"the row has {len(row)} cells, the header {wanted}; quote cells that hold commas")


def _csv_lines(source: Source) -> Iterator[str]:
    for line in read_lines(source):
        try:
            yield line.text() + "\n"
        except BadLine as bad:
            raise RankingError(f"{source.name}:{line.number} (byte {line.byte_offset}): {bad.message}") from None


def _table(path: StrPath, keys: tuple[str, ...], column: str) -> dict[tuple[str, ...], str | BadLine]:
    """Texts of a JSONL file by their keys. A key with a text that cannot be used has its fault instead."""
    found: dict[tuple[str, ...], str | BadLine] = {}
    lines: dict[tuple[str, ...], int] = {}
    with Source(path, RankingError) as source:
        for line in read_lines(source):
            if line.is_blank:
                continue
            where = f"{source.name}:{line.number}"
            try:
                row = line.json_object()
                missing = [name for name in (*keys, column) if name not in row]
                if missing:
                    raise BadLine("missing_field", f"{', '.join(missing)} is missing; lines have {keys} and {column}")
                key = tuple(_key(row, name) for name in keys)
            except BadLine as bad:
                raise RankingError(f"{where}: {bad.message}") from None
            text = _text(row, column, where)
            if key in found and (isinstance(text, BadLine) or text != found[key]):
                raise RankingError(
                    f"{where}: {shown(', '.join(key))} is on line {lines[key]} with another {column}; keep one of them"
                )
            found[key] = text
            lines.setdefault(key, line.number)
    return found


def _key(row: Mapping[str, object], name: str) -> str:
    value = row[name]
    if isinstance(value, str):
        return require_unicode(value, name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadLine("wrong_type", f"{name} is {json_type(value)}, expected a string or a whole number")


def _text(row: Mapping[str, object], column: str, where: str) -> str | BadLine:
    try:
        return string_field(row, column)
    except BadLine as bad:
        return BadLine(bad.code, f"{where}: {bad.message}")
