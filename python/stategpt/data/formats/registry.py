"""The formats of records: every module of this folder that has `KIND` and `read`, by its name.

A format is one module; no list names it:

    KIND    "conversation", "ranking", "prompt" or "label"
    KEYS    alternatives of keys that its records have, e.g. (("instruction", "output"), ("instruction", "response"))
    read(record, where) -> Conversation | RankedGroup | Prompt | LabeledText    raises BadLine(code, message)
    matches(record) -> bool     optional: whether values have the right shape where keys do not tell formats apart
    read_part(record, where) -> ScoredAnswer    optional, for rankings: a record is one scored completion of a prompt
    COUNTS_VOTES                optional, for rankings: equal records are votes of several people, not copies
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal, cast, get_args

from stategpt.arguments import nearest_hint
from stategpt.data.formats.judgments import ScoredAnswer
from stategpt.data.lines import BadLine
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Conversation, LabeledText, Place, Prompt
from stategpt.errors import CorpusError, InvalidArgument
from stategpt.shown_fields import documented
from stategpt.visible_text import visible_line

Kind = Literal["conversation", "ranking", "prompt", "label"]
KINDS: tuple[Kind, ...] = get_args(Kind)
READER_OF: Mapping[Kind, str] = {
    "conversation": "read_conversations",
    "ranking": "read_ranked",
    "prompt": "read_prompts",
    "label": "read_labeled",
}
"""Name of the function that reads formats of a kind."""
Found = Conversation | RankedGroup | Prompt | LabeledText
_MAX_KEYS_SHOWN = 12


@documented
@dataclass(frozen=True)
class Format:
    """A format of records."""

    name: str
    """Its name: that of its module, as `format = "..."` takes it."""
    kind: Kind
    """What a record is: a conversation, a ranking, a prompt or a labeled text."""
    keys: tuple[tuple[str, ...], ...]
    """Alternatives of keys that a record has."""
    parse: Callable[[dict[str, Any], Place], Found]
    """Reads a record; raises BadLine."""
    matches: Callable[[dict[str, Any]], bool]
    """Whether the values of a record with the keys have the shape of this format."""
    parse_part: Callable[[dict[str, Any], Place], ScoredAnswer] | None = None
    """Reads a record that is one scored completion of a prompt; those of one prompt are ranked together."""
    counts_votes: bool = False
    """Whether equal rankings without an annotator are votes of several people, not copies."""

    def __repr__(self) -> str:
        """Format(name, kind)."""
        return f"Format({self.name!r}, {self.kind!r})"

    def require_keys(self, record: Mapping[str, Any]) -> None:
        """Checks that a record has one alternative of the keys.

        Raises:
            BadLine: `missing_field`, with what the nearest alternative misses.
        """
        missing = [sorted(set(keys) - record.keys()) for keys in self.keys]
        fewest = min(missing, key=len)
        if fewest:
            raise BadLine("missing_field", f"{', '.join(fewest)} is missing; {self.name} needs it")

    def read(self, record: Mapping[str, Any], where: Place) -> Found:
        """One record as what it is.

        Raises:
            CorpusError: it is malformed; the message has its place and the code.
        """
        try:
            self.require_keys(record)
            return self.parse(dict(record), where)
        except BadLine as bad:
            raise CorpusError(f"{where}: {bad.code}: {bad.message}") from None

    def score(self, record: Mapping[str, Any]) -> int:
        """Keys of the largest alternative that the record has; 0 where it has none, or its values have other shapes."""
        most = max((len(keys) for keys in self.keys if record.keys() >= set(keys)), default=0)
        return most if most and self.matches(dict(record)) else 0


class _Formats(Mapping[str, Format]):
    """The formats by name, found when they are first used."""

    def __getitem__(self, name: str) -> Format:
        return _found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_found())

    def __len__(self) -> int:
        return len(_found())

    def __repr__(self) -> str:
        """The names by kind."""
        return "; ".join(f"{kind}: {', '.join(names_of(kind))}" for kind in KINDS)


FORMATS: Mapping[str, Format] = _Formats()
"""Every format by name."""


def names_of(kind: Kind) -> list[str]:
    """Names of the formats of a kind, sorted."""
    return [name for name, form in _found().items() if form.kind == kind]


def format_named(name: str, kind: Kind, setting: str = "format") -> Format:
    """The format of a name.

    Raises:
        InvalidArgument: there is none, or it is of another kind.
    """
    form = FORMATS.get(name)
    names = names_of(kind)
    if form is None:
        hint = nearest_hint(name, FORMATS)
        listed = f"{kind} formats: {', '.join(names)}"
        raise InvalidArgument(f"{setting} = {name!r:.60} is no format; {' '.join(filter(None, [hint, listed]))}")
    if form.kind != kind:
        raise InvalidArgument(
            f"{setting} = {name!r} is a format of {form.kind}s, which {READER_OF[form.kind]} reads; "
            f"{kind} formats: {', '.join(names)}"
        )
    return form


def recognize(record: Mapping[str, Any], kind: Kind | None = None, *, what: str = "the record") -> Format:
    """The format of a record, by its keys: that of which it has most.

    Args:
        record: the first record of a file.
        kind: only formats of this kind; any by default.
        what: name of the record in the error.

    Raises:
        CorpusError: no format has its keys; the message names them, the nearest format and what it misses, and the
            reader of a format of another kind that has them.
    """
    known = [form for form in FORMATS.values() if kind in (None, form.kind)]
    scored = [(form.score(record), -KINDS.index(form.kind), form.name) for form in known]
    best = max(scored, default=(0, 0, ""))
    if best[0]:
        return FORMATS[best[2]]
    raise _unknown(record, kind, known, what)


def _unknown(record: Mapping[str, Any], kind: Kind | None, known: list[Format], what: str) -> CorpusError:
    names = [visible_line(str(key), 40) for key in record]
    shown = ", ".join(names[:_MAX_KEYS_SHOWN]) + (", ..." if len(names) > _MAX_KEYS_SHOWN else "")
    message = f"{what} has the keys {shown or '(none)'}, which no format{f' of {kind}s' if kind else ''} has"
    others = [form for form in FORMATS.values() if form not in known and form.score(record) > 1]
    if others:
        other = others[0]
        return CorpusError(
            f"{message}. They are those of the format {other.name!r} of {other.kind}s; "
            f"stategpt.data.formats.{READER_OF[other.kind]} reads it."
        )
    alternatives = [(set(keys) - record.keys(), form, keys) for form in known for keys in form.keys]
    missing, near, keys = min(alternatives, key=lambda each: (len(each[0]) / len(each[2]), len(each[0]), each[1].name))
    if not missing:
        reason = f"has the keys {', '.join(keys)}, with values of other types"
    else:
        reason = f"misses {', '.join(sorted(missing))}"
    return CorpusError(
        f"{message}. The nearest is {near.name!r} ({', '.join(keys)}): the record {reason}. Name its fields with "
        f'columns, e.g. columns = {{ {keys[0]} = "{names[0] if names else "name"}" }}, or give format = "...": '
        f"{', '.join(form.name for form in known)}."
    )


@cache
def _found() -> dict[str, Format]:
    package = importlib.import_module(__package__)
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        module = importlib.import_module(f"{__package__}.{name}")
        if hasattr(module, "KIND") and hasattr(module, "read"):
            found[name] = _format(name, module)
    return found


def _format(name: str, module: ModuleType) -> Format:
    if module.KIND not in KINDS:
        raise InvalidArgument(f"{module.__name__}: KIND is {module.KIND!r}; it is one of {', '.join(KINDS)}")
    keys = tuple(tuple(each) for each in module.KEYS)
    matches, part = getattr(module, "matches", lambda record: True), getattr(module, "read_part", None)
    return Format(
        name, cast(Kind, module.KIND), keys, module.read, matches, part, getattr(module, "COUNTS_VOTES", False)
    )
