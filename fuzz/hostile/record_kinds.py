"""Files of chats, prompts and preferences in every format, and votes as CSV."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from changes import ODD_VALUES, dumped, flipped, json_bombs, retyped
from document_kinds import json_lines
from harness import Case, Kind

from stategpt.data.formats import FORMATS, read_conversations, read_prompts, read_ranked, read_votes
from stategpt.data.lines import json_type

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "formats"
READERS: dict[str, Callable[..., Any]] = {
    "conversation": read_conversations,
    "prompt": read_prompts,
    "ranking": read_ranked,
}


def _golden(name: str) -> list[Any]:
    records: list[Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))["records"]
    return records


def _read(path: Path, kind: str, **settings: Any) -> object:
    records, tally = READERS[kind](path, **settings)
    return (
        [repr(record).replace(str(path.parent), "") for record in records],
        tally.rejected,
        tally.kept,
        tally.duplicate,
    )


def _names(kind: str) -> list[str]:
    return [name for name, form in FORMATS.items() if form.kind == kind]


def _changed(case: Case, kind: str, change: Callable[[list[Any]], bytes]) -> object:
    """Files of all formats of a kind, one of them changed."""
    names = _names(kind)
    which = None if case.is_good else names[case.number % len(names)]
    found = []
    for name in names:
        path = case.folder / f"{name}.jsonl"
        path.write_bytes(change(_golden(name)) if name == which else json_lines(_golden(name)))
        found.append(_read(path, kind))
    return found


def _flips(kind: str) -> Callable[[Case], object]:
    def attempt(case: Case) -> object:
        """Bytes of a file of one format changed."""
        return _changed(case, kind, lambda records: flipped(json_lines(records), case.draw))

    return attempt


def _types(kind: str) -> Callable[[Case], object]:
    def change(case: Case, records: list[Any]) -> bytes:
        """Some records with values of other types, and a bomb."""
        for _ in range(case.draw.choice((1, 3, 9))):
            place = case.draw.randrange(len(records))
            records[place] = retyped(records[place], case.draw)
        bomb = case.draw.choice(json_bombs()).replace(b"\n", b" ") if case.number % 4 == 0 else b""
        return json_lines(records) + bomb + b"\n"

    return lambda case: _changed(case, kind, lambda records: change(case, records))


def columns(case: Case) -> object:
    """Formats and columns that are others than the file's."""
    kind = case.draw.choice(list(READERS))
    path = case.folder / case.draw.choice(("a.jsonl", "a.json"))
    records = _golden(case.draw.choice(list(FORMATS)))
    path.write_bytes(dumped(records) if path.suffix == ".json" else json_lines(records))
    keys = [key for record in records if json_type(record) == "an object" for key in record]
    texts = [value for value in ODD_VALUES if isinstance(value, str)]
    mapping = {
        case.draw.choice([*keys, *texts]): case.draw.choice([*keys, *texts]) for _ in range(case.draw.randrange(4))
    }
    return _read(path, kind, format=case.draw.choice(["", *FORMATS, *texts]), columns=mapping)


VOTES = "prompt,model_x,model_y,winner,worker\n" + "".join(
    f"{prompt},m{number % 3},m{(number + 1) % 3},{winner},w{number}\n"
    for number, (prompt, winner) in enumerate([("p1", "left"), ("p2", "right"), ("p1", "tie")] * 4)
)
ODD_CELLS = ("", '"', '""', '"a\nb"', "\0", "\u2028", "x" * 300_000, "1e999", "-1", "=1+1", "\ud7ff", ",", "\r")


def votes(case: Case) -> object:
    """The CSV or a side file changed: bytes, cells, types."""
    answers = [
        {"model": f"m{number}", "prompt": prompt, "result": f"{number} {prompt}"}
        for prompt in ("p1", "p2")
        for number in range(3)
    ]
    prompts = [{"id": "p1", "text": "One?"}, {"id": "p2", "text": "Two?"}]
    files = {"votes.csv": VOTES.encode(), "answers.jsonl": json_lines(answers), "prompts.jsonl": json_lines(prompts)}
    if not case.is_good:
        name = case.draw.choice(("votes.csv", "votes.csv", "answers.jsonl", "prompts.jsonl"))
        if name == "votes.csv" and case.number % 2:
            rows = [row.split(",") for row in VOTES.splitlines()]
            row = case.draw.choice(rows)
            row[case.draw.randrange(len(row))] = case.draw.choice(ODD_CELLS)
            files[name] = "\n".join(",".join(row) for row in rows).encode()
        elif case.number % 4 == 0 and name != "votes.csv":
            records = answers if name == "answers.jsonl" else prompts
            files[name] = json_lines([retyped(record, case.draw) for record in records])
        else:
            files[name] = flipped(files[name], case.draw)
    for name, content in files.items():
        (case.folder / name).write_bytes(content)
    found = read_votes(case.folder / "votes.csv", case.folder / "answers.jsonl", case.folder / "prompts.jsonl")
    return [repr(group) for group in found.groups], [(each.line, each.code) for each in found.rejected]


KINDS = [
    Kind("chats of every format: flips, havoc", _flips("conversation")),
    Kind("chats of every format: types, bombs", _types("conversation")),
    Kind("prompts: flips, havoc", _flips("prompt")),
    Kind("prompts: types, bombs", _types("prompt")),
    Kind("preferences of every format: flips, havoc", _flips("ranking")),
    Kind("preferences of every format: types, bombs", _types("ranking")),
    Kind("formats and columns of other files", columns, has_good=False),
    Kind("votes as CSV, answers, prompts", votes),
]
