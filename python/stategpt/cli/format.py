"""Formats tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Formats rows of cells as aligned columns: the first left-aligned, the rest right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def listing(entries: Sequence[tuple[str, str]], indent: str = "  ") -> str:
    """Formats (name, value) entries in two columns."""
    width = max(len(name) for name, _ in entries)
    return "\n".join(f"{indent}{name.ljust(width)}  {value}".rstrip() for name, value in entries)
