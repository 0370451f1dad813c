"""Ids that a model has beyond its tokenizer's: rows of a rounded-up vocabulary, which are never drawn."""

from __future__ import annotations

from dataclasses import replace

from .request import Request
from .sampling import Sampling


class Padding:
    """Adds the padding ids to what a request forbids."""

    def __init__(self, ids: range) -> None:
        self._ids = ids
        self._last: tuple[Sampling, Sampling] | None = None

    def removed_from(self, request: Request) -> Request:
        """Returns a request that draws no padding; requests with the same settings keep sharing them."""
        given = request.sampling
        if not self._ids:
            return request
        if self._last is None or self._last[0] is not given:
            forbids = set(given.forbidden)
            missing = [token for token in self._ids if token not in forbids]
            self._last = given, replace(given, forbidden=(*given.forbidden, *missing)) if missing else given
        return request if self._last[1] is given else replace(request, sampling=self._last[1])
