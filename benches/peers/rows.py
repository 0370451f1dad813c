"""From measurements to rows: for every input what each library reached, who is exact, and how we stand to the best.

A library whose ids or merges differ from those of the format's owner keeps its figure but is nobody's best peer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from jobs import KINDS, OURS, OWNER

Entry = dict[str, Any]


@dataclass
class Row:
    """One input.

    Attributes:
        axis: what is measured.
        input: on what.
        unit: of the values.
        more_is_better: or less.
        values: median per library; CPU time where it is a time.
        wall: the same by the wall clock.
        rounds: all values per library.
        how: the call that reached the value, where there are several.
        differ: libraries whose ids or merges are not the owner's, and how.
        failed: libraries that gave no figure, and why.
        reach: what the project asked of itself for this row: a ratio to the best peer, or a value.
    """

    axis: str
    input: str
    unit: str
    more_is_better: bool
    values: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    differ: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    reach: str = ""

    def add(self, library: str, parts: list[list[float]], how: str = "") -> None:
        """Adds a library's rounds, each [CPU, wall]; of two ways to call it the better one stays."""
        value = median(part[0] for part in parts)
        held = self.values.get(library)
        if held is None or (value > held) == self.more_is_better:
            self.values[library], self.wall[library] = value, median(part[1] for part in parts)
            self.rounds[library] = [part[0] for part in parts]
            if how:
                self.how[library] = how

    def best_peer(self) -> str | None:
        """The exact peer with the best value."""
        peers = [name for name in self.values if name != OURS and name not in self.differ]
        choose = max if self.more_is_better else min
        return choose(peers, key=self.values.__getitem__) if peers else None

    def ratio(self) -> float | None:
        """How many times better than the best peer we are."""
        best = self.best_peer()
        if best is None or OURS not in self.values:
            return None
        ours, theirs = self.values[OURS], self.values[best]
        better, worse = (ours, theirs) if self.more_is_better else (theirs, ours)
        return better / worse if worse else None

    def as_json(self) -> Entry:
        """For the record."""
        ratio = self.ratio()
        rounded = {name: {key: _short(value) for key, value in getattr(self, name).items()} for name in _TABLES}
        fields = {name: value for name, value in asdict(self).items() if value not in ({}, "")}
        held = {name: value for name, value in rounded.items() if value}
        return fields | held | {"best_peer": self.best_peer(), "ratio": _short(ratio) if ratio else None}


_TABLES = ("values", "wall", "rounds")


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(part) for part in value]
    return float(f"{value:.4g}")


def rows(entries: list[Entry], quick: bool) -> list[Row]:
    """All rows that the measurements give, in the order of the axes."""
    held = _Measured(entries)
    made = [*_encode(held), *_threads(held), *_floods(held), *_short_strings(held), *_decode(held)]
    made += [*_memory(held), *_load(held), *_train(held, quick), *_train_large(held)]
    return [row for row in made if row.values or row.failed]


class _Measured:
    """Results and failures of jobs, found by the fields of the job."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.vocabularies = list(
            dict.fromkeys(e["job"]["vocabulary"] for e in self.of("encode") if "vocabulary" in e["job"])
        )

    def of(self, axis: str, **fields: Any) -> list[Entry]:
        """Entries of an axis whose jobs have these fields."""
        wanted = {"axis": axis, **fields}
        return [e for e in self._entries if all(e["job"].get(name) == value for name, value in wanted.items())]

    def fill(self, row: Row, entries: list[Entry], value: Callable[[Entry], list[float] | None], how: str = "") -> None:
        """Adds every library's rounds to a row."""
        found: defaultdict[str, list[list[float]]] = defaultdict(list)
        for entry in entries:
            library = entry["job"]["library"].removesuffix(" files")
            if "error" in entry:
                row.failed[library] = entry["error"]
            elif parts := value(entry["result"]):
                found[library].append(parts)
        for library, parts_of in found.items():
            row.add(library, parts_of, how)

    def ids_differ(self, kind: str, vocabulary: str) -> dict[str, str]:
        """Libraries whose ids are not the owner's on the checked documents."""
        checked = {e["job"]["library"]: e for e in self.of("check", kind=kind, vocabulary=vocabulary)}
        owner = checked.get(OWNER[vocabulary], {}).get("result")
        if owner is None:
            return {}
        found = {}
        for library, entry in checked.items():
            if "error" in entry:
                found[library] = f"check failed: {entry['error']}"
                continue
            theirs = entry["result"]["documents"]
            wrong = sum(a != b for a, b in zip(owner["documents"], theirs, strict=True))
            if wrong or not entry["result"]["batch_same"]:
                found[library] = f"{wrong} of {len(theirs)} documents" if wrong else "batch is not its documents"
        return found


def _encode(held: _Measured) -> Iterator[Row]:
    for vocabulary in held.vocabularies:
        for state, reach in (("warm", "1.1x"), ("cold", "1.2x")):
            for kind in KINDS:
                row = Row(f"encode {state}, 1 thread", f"{kind}, {vocabulary}", "MB/s", True, reach=reach)
                for mode in ("one", "batch"):
                    of_mode = held.of("encode", kind=kind, vocabulary=vocabulary, mode=mode)
                    held.fill(row, of_mode, lambda result, state=state: result[state], mode)
                row.differ = held.ids_differ(kind, vocabulary)
                yield row


def _threads(held: _Measured) -> Iterator[Row]:
    for kind in KINDS:
        vocabulary = next((e["job"]["vocabulary"] for e in held.of("threads", kind=kind)), "")
        differ = held.ids_differ(kind, vocabulary) if vocabulary else {}
        for state in ("cold", "warm"):
            row = Row("2 threads over 1, batch", f"{kind}, {state}", "x (wall)", True, differ=differ, reach=">= 1.8")
            one, two = (_walls(held.of("threads", kind=kind, job="encode", threads=n), state) for n in (1, 2))
            for library in one.keys() & two.keys():
                row.add(library, [[b / a, b / a] for a, b in zip(one[library], two[library], strict=False)])
            yield row
        row = Row("2 Python threads, one object", f"{kind}, warm", "x (wall)", True, differ=differ, reach=">= 1.8")
        shared = held.of("threads", kind=kind, job="shared")
        held.fill(row, shared, lambda result: [result["scaling"]] * 2)
        yield row


def _walls(entries: list[Entry], state: str) -> dict[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if "result" in entry:
            found[entry["job"]["library"]].append(entry["result"][state][1])
    return found


def _floods(held: _Measured) -> Iterator[Row]:
    entries = held.of("floods")
    floods: dict[str, list[Entry]] = {}
    for entry in entries:
        for name, flood in entry.get("result", {}).get("floods", {}).items():
            outcome = {"error": flood["error"]} if "error" in flood else {"result": flood}
            floods.setdefault(name, []).append({"job": entry["job"], **outcome})
    every = []
    for name, outcomes in floods.items():
        row = Row("flood of 1 MB", name, "s", False)
        held.fill(row, outcomes, lambda result: result["seconds"])
        owner = next((e["result"]["ids"] for e in outcomes if _is_owner(e) and "result" in e), None)
        wrong = (e["job"]["library"] for e in outcomes if owner and e.get("result", {}).get("ids", owner) != owner)
        row.differ = dict.fromkeys(wrong, "ids")
        every.append(row)
    yield from (_worst(every), *every)


def _worst(every: list[Row]) -> Row:
    worst = Row("worst of the floods", f"of {len(every)}", "s", False, reach="<= 0.1 s")
    for library in dict.fromkeys(name for row in every for name in row.values):
        if failed := [row.failed[library] for row in every if library in row.failed]:
            worst.failed[library] = failed[0]
            continue
        slowest = max((row for row in every if library in row.values), key=lambda row: row.values[library])
        worst.values[library], worst.wall[library] = slowest.values[library], slowest.wall[library]
        worst.how[library] = slowest.input
        if wrong := [row.input for row in every if library in row.differ]:
            worst.differ[library] = f"ids of {', '.join(wrong)}"
    return worst


def _is_owner(entry: Entry) -> bool:
    return bool(entry["job"]["library"] == OWNER[entry["job"]["vocabulary"]])


def _short_strings(held: _Measured) -> Iterator[Row]:
    for size in ("5 B", "60 B", "1000 B"):
        row = Row("short strings, per call", size, "us", False, reach="0.67x")
        held.fill(row, held.of("short"), lambda result, size=size: result["short"][size])
        yield row


def _decode(held: _Measured) -> Iterator[Row]:
    for kind in KINDS:
        for form, reach in (("list", 300), ("array", 500)):
            row = Row(f"decode from {form}", kind, "MB/s", True, reach=f">= {reach}")
            entries = held.of("decode", kind=kind)
            held.fill(row, entries, lambda result, form=form: result[form]["rate"] if form in result else None)
            for entry in entries:
                if not entry.get("result", {}).get(form, {}).get("exact", True):
                    row.differ[entry["job"]["library"]] = "text"
            yield row


def _memory(held: _Measured) -> Iterator[Row]:
    for vocabulary in dict.fromkeys(e["job"]["vocabulary"] for e in held.of("memory")):
        entries = held.of("memory", vocabulary=vocabulary, mode="one")
        row = Row("memory of the tokenizer", vocabulary, "MB", False)
        held.fill(row, entries, lambda result: [result["tokenizer"]] * 2)
        yield row
        for mode, threads, reach in (("one", 1, 48), ("batch", 1, 48), ("batch", 2, 56)):
            how = f"{vocabulary}, {'document by document' if mode == 'one' else 'batch'}, {threads} thread"
            row = Row("memory while encoding, beyond input and output", how, "MB", False, reach=f"<= {reach} MB")
            entries = held.of("memory", vocabulary=vocabulary, mode=mode, threads=threads)
            held.fill(row, entries, lambda result: [result["peak"]] * 2)
            yield row


def _load(held: _Measured) -> Iterator[Row]:
    row = Row("load tokenizer.json", "llama3, 128,256 tokens", "s", False, reach="<= 0.2 s")
    held.fill(row, held.of("load"), lambda result: result["seconds"])
    yield row


def _train(held: _Measured, quick: bool) -> Iterator[Row]:
    reach = {"prose": "<= 1.0 s", "code": "<= 1.0 s", "multi": "<= 3.5 s"}
    for kind in KINDS:
        entries = held.of("train", kind=kind)
        for pattern, documents in dict.fromkeys((e["job"]["pattern"], e["job"]["documents"]) for e in entries):
            of_row = held.of("train", kind=kind, pattern=pattern, documents=documents)
            size = f"{of_row[0]['job']['megabytes']:g} MB of {kind}"
            row = Row("train 32k", f"{size}, {pattern}, {documents}", "s", False, reach="" if quick else reach[kind])
            held.fill(row, of_row, lambda result: result["seconds"])
            row.differ = _merges_differ(of_row, "tokenizers")
            yield row


def _train_large(held: _Measured) -> Iterator[Row]:
    entries = held.of("train_large")
    names = "1 GB, gpt2, lines, 2 threads"
    time = Row("train 32k", names, "s", False)
    held.fill(time, entries, lambda result: result["seconds"])
    memory = Row("train 32k, peak memory", names, "MB", False, reach="<= 0.7x: 1.43x")
    held.fill(memory, entries, lambda result: [result["peak"]] * 2)
    time.differ = memory.differ = _merges_differ(entries, OURS)
    yield from (time, memory)


def _merges_differ(entries: list[Entry], owner: str) -> dict[str, str]:
    tokens = {
        e["job"]["library"].removesuffix(" files"): json.loads(Path(e["result"]["tokens"]).read_text())
        for e in entries
        if "result" in e
    }
    reference = tokens.get(owner)
    if reference is None:
        return {}
    found = {}
    for library, learned in tokens.items():
        # A base of only the bytes that occur leaves room for more merges: compared as far as both go.
        same = sum(1 for _ in _while_equal(reference, learned))
        if same < min(len(reference), len(learned)):
            found[library] = f"merges from {same} of {len(reference)} on"
    return found


def _while_equal(left: list[str], right: list[str]) -> Iterator[str]:
    for a, b in zip(left, right, strict=False):
        if a != b:
            return
        yield a
