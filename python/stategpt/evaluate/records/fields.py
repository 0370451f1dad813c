"""Types of the fields of measurement records: what values a file may hold."""

from __future__ import annotations

import math
from typing import Annotated, Any

from stategpt.evaluate.statistics import Interval
from stategpt.json_reader import Integer, Optional, Real, Record, Text

_NUMBER = Real(-1e39, 1e39)  # the range of float32, in which models and losses are computed
Number = Annotated[float, _NUMBER]
Share = Annotated[float, Real(0, 1)]
Count = Annotated[int, Integer(0, 10**15)]
Label = Annotated[str, Text(max_chars=200)]


_BOUND = Optional(_NUMBER)
_INTERVAL = Optional(Record({"mean": _BOUND, "low": _BOUND, "high": _BOUND, "level": Optional(Real(0, 1), 0.95)}))


class _IntervalKind:
    """Reads an interval; one without a mean was not measured, a bound that is null is infinite."""

    def check(self, value: Any, where: str) -> Any:
        """See `stategpt.json_reader.Kind`."""
        return _INTERVAL.check(value, where)

    def build(self, value: Any) -> Interval | None:
        """The interval of checked JSON."""
        if value is None or value["mean"] is None:
            return None
        low, high = value["low"], value["high"]
        return Interval(
            value["mean"], -math.inf if low is None else low, math.inf if high is None else high, value["level"]
        )


Measured = Annotated[Interval | None, _IntervalKind()]
