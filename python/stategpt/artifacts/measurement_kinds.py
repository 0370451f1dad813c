"""Checks of the files that grow while a stage works, metrics.jsonl and timing.json, and of counted statistics.

What a stage measured on its result has the checks of its record in `stategpt.evaluate.records`.
"""

from __future__ import annotations

from typing import Any

from stategpt.json_reader import Integer, MapOf, OneOf, Optional, Real, Record

NUMBER = Real(-1e39, 1e39)
"""The range of float32, in which models and losses are computed."""
COUNT = Integer(0, 10**15)
_WHOLE = Integer(-(10**15), 10**15)
_MOST_NAMES, _LONGEST_NAME = 64, 200


def _named(kind: Any) -> Optional:
    """A table of names that become labels; {} where there is none."""
    return Optional(MapOf(kind, max_items=_MOST_NAMES, max_key_chars=_LONGEST_NAME), {})


TIMING = Record({"seconds": Real(0, 1e10)})
STATISTICS = Record(
    {"vocab_size": Optional(COUNT), "vocab_size_asked": Optional(COUNT), "bytes_per_token": _named(_named(NUMBER))}
)
CORPUS_STATISTICS = Record({"conversations": Optional(Record({"train": Optional(COUNT)}))})


class MetricsLine:
    """One line of metrics.jsonl: a step, and numbers or null by name."""

    _values = MapOf(Optional(OneOf((_WHOLE, NUMBER))), max_items=_MOST_NAMES, max_key_chars=_LONGEST_NAME)
    _counts = Record({"step": COUNT, "tokens": Optional(COUNT)})

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """See `stategpt.json_reader.Kind`."""
        line: dict[str, Any] = self._values.check(value, where)
        self._counts.check(line, where)
        return line


METRICS_LINE = MetricsLine()
