"""Formats durations and sizes, so that plan, log, summary and report agree."""

from __future__ import annotations

_BYTE_UNITS = ("B", "KB", "MB", "GB", "TB")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """Formats seconds in two suitable units, rounded to the nearest second, minute or hour.

    >>> duration(17.2), duration(184.2), duration(4200), duration(1e6)
    ('17 s', '3 min 04 s', '1 h 10 min', '12 days')
    """
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    minutes = round(seconds / _MINUTE_S)
    if seconds < 2 * _DAY_S:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{seconds / _DAY_S:,.0f} days"


def size(count: float) -> str:
    """Formats bytes in decimal units with three digits.

    >>> size(368_386_560)
    '368 MB'
    """
    for unit in _BYTE_UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} {_BYTE_UNITS[-1]}"
