"""What a `tokenizer.json` puts before a text: SentencePiece's kinds write a space there, and not in its middle.

    Prepend, Metaspace "always"   before each text between added tokens
    Metaspace "first"             before a text that nothing precedes

So a part of a larger text is encoded by the same file without that step. Byte-level files with `add_prefix_space` are
not among these: they get their space before each part, as with the native engine.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Before: TypeAlias = Literal["nothing", "token", "text"]
"""What precedes a text in a larger one: nothing, an added token, or text."""
_STEPS = ("normalizer", "pre_tokenizer")
_LISTS = ("normalizers", "pretokenizers")


def has_prefix(fields: dict[str, Any], before: Before) -> bool:
    """Whether the library puts something before a text that `before` precedes."""
    schemes = {scheme for step in _STEPS for scheme in _schemes(fields.get(step))}
    return bool(schemes & {"nothing": {"first", "always"}, "token": {"always"}, "text": set[str]()}[before])


def without_prefix(fields: dict[str, Any]) -> dict[str, Any]:
    """The same file, which puts nothing before a text."""
    return {**fields, **{step: _changed(fields.get(step)) for step in _STEPS}}


def _parts(step: Any) -> list[Any]:
    """The members of a sequence; a single step as a list."""
    if not isinstance(step, dict):
        return []
    return next((step[name] for name in _LISTS if isinstance(step.get(name), list)), [step])


def _schemes(step: Any) -> set[str]:
    return {_scheme(part) for part in _parts(step)}


def _scheme(part: dict[str, Any]) -> str:
    """When a step puts something before a text: never, first, always."""
    match part.get("type"):
        case "Prepend":
            return "always"
        case "Metaspace":
            legacy = "always" if part.get("add_prefix_space", True) else "never"
            return str(part.get("prepend_scheme") or legacy)
        case _:
            return "never"


def _changed(step: Any) -> Any:
    """A step, or a sequence of some, without what puts something before a text."""
    if not isinstance(step, dict):
        return step
    for name in _LISTS:
        if isinstance(step.get(name), list):
            left = [part for part in map(_changed, step[name]) if part is not None]
            return {**step, name: left}
    match step.get("type"):
        case "Prepend":
            return None
        case "Metaspace":
            return {**step, "prepend_scheme": "never", "add_prefix_space": False}
        case _:
            return step
