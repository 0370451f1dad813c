"""Numbers as people read them, and tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

_BYTE_UNITS = ("B", "KB", "MB", "GB", "TB")


def size(count: float) -> str:
    """Bytes in decimal units, three digits.

    >>> size(368_386_560)
    '368 MB'
    """
    for unit in _BYTE_UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} {_BYTE_UNITS[-1]}"


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Rows of cells as aligned columns: the first to the left, the rest to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def listing(entries: Sequence[tuple[str, str]], indent: str = "  ") -> str:
    """Names and what belongs to them, in two columns."""
    width = max(len(name) for name, _ in entries)
    return "\n".join(f"{indent}{name.ljust(width)}  {value}".rstrip() for name, value in entries)
