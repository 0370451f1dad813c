"""Tables of launches: which entries a search adds, and the file, an entry a line."""

from __future__ import annotations

import json
from pathlib import Path

from stategpt.kernels._shared.configs import MAX_ENTRIES, Key, Launch, Table, read_table

Launches = dict[str, Launch]
LENGTHS = ("short", "long")


def text_of(table: Table) -> str:
    """The JSON of a table; for a table that was read, its file byte for byte."""
    entries = ",\n".join(
        f"    {json.dumps('/'.join(key))}: {json.dumps({name: launch.numbers() for name, launch in launches.items()})}"
        for key, launches in table.entries.items()
    )
    return f'{{\n  "fields": {json.dumps(list(table.fields))},\n  "entries": {{\n{entries}\n  }}\n}}\n'


def with_entries(table: Table, changed: dict[Key, Launches]) -> Table:
    """The table with these entries: in place, or behind those of the same type and width.

    An entry of one length goes when one of all lengths comes: it would win over what was just decided.
    """
    gone = {_at(table, key, length=length) for key in changed for length in LENGTHS} - changed.keys()
    entries = {key: launches for key, launches in table.entries.items() if key not in gone} | changed
    order = list(table.entries)

    def place(key: Key) -> tuple[int, bool, Key]:
        if key in order:
            return order.index(key), False, ()
        return max((i for i, other in enumerate(order) if other[:3] == key[:3]), default=len(order)), True, key

    return Table(table.fields, {key: entries[key] for key in sorted(entries, key=place)})


def collapsed(table: Table, best: dict[Key, Launches]) -> dict[Key, Launches]:
    """Entries to write: only what differs from what the table finds.

    Where causal rows and windows of both lengths agree, the entry of all masks is changed in place; where a mask's two
    lengths agree, they share an entry.
    """
    changed = {}
    for key, launches in best.items():
        plain = [_at(table, key, mask=mask, length=length) for mask in ("causal", "window") for length in LENGTHS]
        general = _at(table, key, mask="*", length="*")
        if general in table.entries and all(best.get(of) == launches for of in plain):
            changed[general] = launches
    after = with_entries(table, changed)
    for key, launches in best.items():
        lengths = [_at(table, key, length=length) for length in LENGTHS]
        alike = all(best.get(of) == launches for of in lengths)
        if any(_found(after, of) != launches for of in (lengths if alike else [key])):
            changed[_at(table, key, length="*") if alike else key] = launches
    return {key: launches for key, launches in changed.items() if table.entries.get(key) != launches}


def _at(table: Table, key: Key, **values: str) -> Key:
    """The key with these fields replaced."""
    return tuple(values.get(field, part) for field, part in zip(table.fields, key, strict=True))


def _found(table: Table, key: Key) -> Launches:
    return table.find(**dict(zip(table.fields, key, strict=True)))


def affordable(table: Table, changed: dict[Key, Launches], gains: dict[Key, float]) -> dict[Key, Launches]:
    """As many as the tables of all operations have room for, the largest gains first."""

    def gain(key: Key) -> float:
        return max(gains.get(_at(table, key, length=length), 1.0) for length in LENGTHS)

    room = MAX_ENTRIES - entries_of_all(table)
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
