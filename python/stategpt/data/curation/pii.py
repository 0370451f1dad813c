"""Personal data in texts, by rule: e-mail addresses, phone numbers, public IP addresses.

Rules find what looks like one; they know no names and no addresses, and a version number of four parts looks like an IP
address. Addresses of private networks stay, as in FineWeb.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stategpt.shown_fields import documented

Finder = Callable[[str], Iterable[tuple[int, int, str]]]
"""Finds parts of a text: start and end in characters, and the kind."""
EMAIL, PHONE, IP = "email", "phone", "ip"

_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}\Z")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")
_LONGEST_LOCAL = 64
_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"\+[1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\))?(?:[ .-]?\d{2,4}){2,5}"  # international
    r"|(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}"  # North American
    r")(?![\w-]|\.\d)"
)
_PHONE_DIGITS = range(8, 16)
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{3,39}(?![\w:])")


@documented
@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A part of a text."""

    start: int
    """First character."""
    end: int
    """Character after the last."""
    kind: str
    """`email`, `phone`, `ip`, or what a finder says."""


def find_pii(text: str, finder: Finder | None = None) -> list[Found]:
    """Personal data in `text`, in order and without overlap; of two that overlap the one that starts first is given.

    Raises:
        ValueError: `finder` gave something else than spans of the text.
    """
    found = [*_emails(text), *_phones(text), *_addresses(text)]
    if finder is not None:
        found += [_checked(span, len(text)) for span in finder(text)]
    kept: list[Found] = []
    for each in sorted(found, key=lambda each: (each.start, -each.end, each.kind)):
        if not kept or each.start >= kept[-1].end:
            kept.append(each)
    return kept


def replace_pii(text: str, found: Iterable[Found]) -> str:
    """The text with each part replaced by its kind in brackets, as in `[email]`."""
    parts, end = [], 0
    for each in found:
        parts += [text[end : each.start], f"[{each.kind}]"]
        end = each.end
    return "".join([*parts, text[end:]])


def _emails(text: str) -> Iterator[Found]:
    """Looks around every `@`: that is many times faster than one expression over the whole text."""
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(0, at - _LONGEST_LOCAL), at)
        domain = _DOMAIN.match(text, at + 1)
        if local and domain:
            yield Found(local.start(), domain.end(), EMAIL)
        at = text.find("@", at + 1)


def _phones(text: str) -> Iterator[Found]:
    for match in _PHONE.finditer(text):
        if sum(map(str.isdigit, match.group())) in _PHONE_DIGITS:
            yield Found(match.start(), match.end(), PHONE)


def _addresses(text: str) -> Iterator[Found]:
    expressions = [_IP4] if "." in text else []
    expressions += [_IP6] if ":" in text else []
    for expression in expressions:
        for match in expression.finditer(text):
            if _is_public(match.group()):
                yield Found(match.start(), match.end(), IP)


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _checked(span: Any, length: int) -> Found:
    if isinstance(span, tuple | list) and len(span) == 3:
        start, end, kind = span
        whole = type(start) is int and type(end) is int and isinstance(kind, str)
        if whole and 0 <= start < end <= length and kind.isidentifier():
            return Found(start, end, kind)
    raise ValueError(f"gave {span!r:.100} for a text of {length:,} characters; give (start, end, kind)")
