"""Tables of launches: which entries a search adds, and the file, an entry a line."""

from __future__ import annotations

import json
from pathlib import Path

from stategpt.kernels._shared.configs import MOST_ENTRIES, Key, Launch, Table, read_table

Launches = dict[str, Launch]


def text_of(table: Table) -> str:
    """The JSON of a table; for a table that was read, its file byte for byte."""
    entries = ",\n".join(
        f"    {json.dumps('/'.join(key))}: {json.dumps({name: launch.numbers() for name, launch in launches.items()})}"
        for key, launches in table.entries.items()
    )
    return f'{{\n  "fields": {json.dumps(list(table.fields))},\n  "entries": {{\n{entries}\n  }}\n}}\n'


def with_entries(table: Table, changed: dict[Key, Launches]) -> Table:
    """The table with these entries: in place, or behind those of the same type and width.

    One that a changed entry covers in all fields goes: it would win over what was just decided.
    """
    entries = {key: launches for key, launches in table.entries.items() if not _covered(key, changed)} | changed
    order = list(table.entries)

    def place(key: Key) -> tuple[int, bool, Key]:
        if key in order:
            return order.index(key), False, ()
        return max((i for i, other in enumerate(order) if other[:3] == key[:3]), default=len(order)), True, key

    return Table(table.fields, {key: entries[key] for key in sorted(entries, key=place)})


def _covered(key: Key, changed: dict[Key, Launches]) -> bool:
    """Is there another, wider key among the changed that differs in stars alone?"""
    return any(key != wide and all(w in ("*", k) for w, k in zip(wide, key, strict=True)) for wide in changed)


def collapsed(table: Table, best: dict[Key, Launches]) -> dict[Key, Launches]:
    """Entries to write: only what differs from what the table finds, with one key where short and long agree."""
    changed = {}
    for key, launches in best.items():
        length = table.fields.index("length")
        other = (*key[:length], "short" if key[length] == "long" else "long", *key[length + 1 :])
        both = (*key[:length], "*", *key[length + 1 :])
        if best.get(other) == launches:
            key = both
        found = table.find(**dict(zip(table.fields, key, strict=True)))
        if found != launches and key not in changed:
            changed[key] = launches
    return changed


def affordable(table: Table, changed: dict[Key, Launches], gains: dict[Key, float]) -> dict[Key, Launches]:
    """As many as the tables of all operations have room for, the largest gains first."""
    length = table.fields.index("length")

    def gain(key: Key) -> float:
        return max(gains.get((*key[:length], part, *key[length + 1 :]), 1.0) for part in ("short", "long"))

    room = MOST_ENTRIES - entries_of_all(table)
    kept: dict[Key, Launches] = {}
    for key in sorted(changed, key=gain, reverse=True):
        if key in table.entries or room > 0:
            kept[key] = changed[key]
            room -= key not in table.entries
    return kept


def entries_of_all(table: Table) -> int:
    """Entries of this table and of the other operations' tables."""
    from stategpt import kernels as package  # the folder of all operations

    folder = Path(next(iter(package.__path__))).resolve()
    others = [path for path in folder.glob("*/configs.json") if path.parent.name != "attention"]
    return len(table.entries) + sum(len(read_table(path).entries) for path in others)
