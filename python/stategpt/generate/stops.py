"""Stop strings in streamed text: holds back text that may be the beginning of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.errors import InvalidArgument


class StopFilter:
    """Passes streamed text on, up to and without the first stop string.

    Text is held back only while its end could still become a stop string, so pieces join to the same text however it
    was cut. Raises `InvalidArgument` for an empty stop string.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if not all(stops):
            raise InvalidArgument(f"stop strings are {list(stops)!r}; an empty one would stop at once, leave it out")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        """A stop string has been seen; nothing more is passed."""

    def push(self, piece: str) -> str:
        """Takes the next piece of text; returns what is safe to show."""
        if self.stopped:
            return ""
        self._held += piece
        # The stop string that is complete first, as if the text had come letter by letter.
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        waiting = self._waiting_characters()
        shown, self._held = self._held[: len(self._held) - waiting], self._held[len(self._held) - waiting :]
        return shown

    def finish(self) -> str:
        """Ends the text; returns what was held back."""
        shown, self._held = self._held, ""
        return shown

    def _waiting_characters(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
