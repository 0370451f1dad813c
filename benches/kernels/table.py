"""Writes tables of launches as they are checked in: an entry a line."""

from __future__ import annotations

import json

from stategpt.kernels._shared.configs import Key, Launch, Table

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
