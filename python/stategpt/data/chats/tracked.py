"""Strings that know where each of their characters comes from, through what a chat template does with them.

An origin is `TEMPLATE` (written in the template, or the name of a role or special token), the number of a message, or
`UNKNOWN`. Methods without an entry here give a plain `str`, whose characters are of unknown origin: never more than a
text. So a method that was forgotten loses a mask, which is noticed, and gives no text the rights of the template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

from stategpt.errors import ChatTemplateError

TEMPLATE, UNKNOWN = -1, -2
MAX_CHARS = 1 << 22
"""Longest text that a template may make."""
MAX_PARTS = 1 << 17
"""Most parts that a template may cut a text into."""


class Tracked(str):
    """A `str` with the origin of each character."""

    origins: tuple[int, ...]
    __slots__ = ("origins",)

    def __new__(cls, text: str = "", origins: int | tuple[int, ...] = UNKNOWN) -> Tracked:
        """`text` of one origin, or with one for each character."""
        made = super().__new__(cls, text)
        made.origins = (origins,) * len(made) if isinstance(origins, int) else origins
        return made

    @property
    def plain(self) -> str:
        """The text alone."""
        return "".join([self])

    def __str__(self) -> str:
        """Itself: jinja2 calls `str` on everything that it writes."""
        return self

    def __add__(self, other: str) -> Tracked:
        """Concatenation."""
        return joined([self, other]) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> Tracked:
        """Concatenation with a plain string before it."""
        return joined([other, self]) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Tracked:
        """Repetition."""
        return joined([self] * int(times))

    __rmul__ = __mul__

    def __getitem__(self, place: SupportsIndex | slice) -> Tracked:
        """A character or a slice."""
        at = self.origins[place]
        return Tracked(str.__getitem__(self, place), at)

    def __iter__(self) -> Iterator[str]:
        """The characters."""
        return (self[number] for number in range(len(self)))

    def strip(self, chars: str | None = None, /) -> Tracked:
        """As of `str`."""
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None, /) -> Tracked:
        """As of `str`."""
        return self[len(self) - len(str.lstrip(self, chars)) :]

    def rstrip(self, chars: str | None = None, /) -> Tracked:
        """As of `str`."""
        return self[: len(str.rstrip(self, chars))]

    def removeprefix(self, prefix: str, /) -> Tracked:
        """As of `str`."""
        return self[len(prefix) :] if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> Tracked:
        """As of `str`."""
        return self[: len(self) - len(suffix)] if suffix and self.endswith(suffix) else self

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As of `str`."""
        return self._found(str.split(self, sep, maxsplit), len(sep or ""))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As of `str`."""
        return self._found(str.rsplit(self, sep, maxsplit), len(sep or ""))

    def splitlines(self, keepends: bool = False) -> list[str]:
        """As of `str`."""
        whole = self._found(str.splitlines(self, True), 0)
        return whole if keepends else [line[: len(str.splitlines(line)[0])] for line in whole]

    def partition(self, sep: str, /) -> tuple[Tracked, Tracked, Tracked]:
        """As of `str`."""
        at = self.find(sep)
        return (self, self[:0], self[:0]) if at < 0 else (self[:at], self[at : at + len(sep)], self[at + len(sep) :])

    def rpartition(self, sep: str, /) -> tuple[Tracked, Tracked, Tracked]:
        """As of `str`."""
        at = self.rfind(sep)
        return (self[:0], self[:0], self) if at < 0 else (self[:at], self[at : at + len(sep)], self[at + len(sep) :])

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> Tracked:
        """As of `str`; what is put in keeps its own origin."""
        if not old:
            return Tracked(_bounded(str.replace(self, old, new, count)), UNKNOWN)
        parts: list[str] = []
        for part in self.split(old, count):
            parts += [new, part] if parts else [part]
        return joined(parts)

    def join(self, parts: Iterable[str], /) -> Tracked:
        """As of `str`."""
        held: list[str] = []
        for part in parts:
            held += [self, part] if held else [part]
        return joined(held)

    def upper(self) -> Tracked:
        """As of `str`."""
        return self._cased(str.upper(self))

    def lower(self) -> Tracked:
        """As of `str`."""
        return self._cased(str.lower(self))

    def capitalize(self) -> Tracked:
        """As of `str`."""
        return self._cased(str.capitalize(self))

    def title(self) -> Tracked:
        """As of `str`."""
        return self._cased(str.title(self))

    def _cased(self, text: str) -> Tracked:
        same = len(text) == len(self) or len(set(self.origins)) == 1
        return Tracked(text, self.origins if len(text) == len(self) else self.origins[0] if same else UNKNOWN)

    def _found(self, parts: list[str], separator_chars: int) -> list[str]:
        """Consecutive parts of this string, with a separator of that length or with white space between them."""
        if len(parts) > MAX_PARTS:
            raise ChatTemplateError(f"the template cuts a text into more than {MAX_PARTS:,} parts")
        found, start = list[str](), 0
        for part in parts:
            if not separator_chars:
                start = str.index(self, part, start)
            found.append(self[start : start + len(part)])
            start += len(part) + separator_chars
        return found


def joined(parts: Iterable[Any]) -> Tracked:
    """The parts one after the other; plain strings are of unknown origin.

    Raises:
        ChatTemplateError: they are longer than `MAX_CHARS`.
    """
    texts: list[str] = []
    origins: list[int] = []
    for part in parts:
        text = part if isinstance(part, str) else str(part)
        texts.append(text)
        if len(origins) + len(text) > MAX_CHARS:
            raise _too_long()
        origins += text.origins if isinstance(text, Tracked) else (UNKNOWN,) * len(text)
    return Tracked("".join(texts), tuple(origins))


def _bounded(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise _too_long()
    return text


def _too_long() -> ChatTemplateError:
    return ChatTemplateError(f"the template makes more than {MAX_CHARS:,} characters of the conversation")
