"""JSON schemas, checked before they are compiled: a keyword that would not be enforced is an error with its place.

llguidance ignores what it does not know, and some of what it does: misspelled keywords, `prefixItems` in a schema of an
earlier draft, characters that its quoting cannot write, digits of integers beyond 2^53. So a schema is copied keyword
by keyword; the copy holds what is enforced, in the words of draft 2020-12, and its references point into one table.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stategpt.arguments import nearest_hint
from stategpt.errors import ConstraintError, ConstraintLimit, UnsupportedSchema

from .complement import Complements
from .finite import has_finite_value
from .limits import Limits
from .references import References, escaped
from .rewriting import REWRITTEN, Rewriting

FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
"""Formats of strings that are enforced."""
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
ANNOTATIONS = frozenset(
    [
        "$anchor",
        "$comment",
        "$defs",
        "$dynamicAnchor",
        "$recursiveAnchor",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "example",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    ]
)
"""Keywords that say nothing about a value; they are left out, as is every key that begins with `x-`."""
SUPPORTED = (
    *("type", "const", "enum", "$ref", "allOf", "anyOf", "oneOf"),
    *("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
    *("items", "prefixItems", "additionalItems", "minItems", "maxItems"),
    *("minLength", "maxLength", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("$dynamicRef", "$recursiveRef"),
    *REWRITTEN,
)
"""Keywords that are enforced."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_OLD = re.compile(r"https?://json-schema\.org/draft-0[4-7]/schema#?")
_DRAFTS = re.compile(r"https?://json-schema\.org/(draft-0[4-7]|draft/20(19-09|20-12))/schema#?")
_EXACT, _LARGEST = 2**53, 10**200
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f]")
Json = Any


def checked_schema(schema: Json, limits: Limits) -> dict[str, Json]:
    """Returns the schema as it is enforced.

    Raises:
        UnsupportedSchema: a keyword, or a value of one, that is not enforced.
        ConstraintError: it is no schema, or no finite JSON satisfies it.
        ConstraintLimit: it is too large or nested too deep.
    """
    try:
        made = _Copy(schema, limits).whole()
        has_value = has_finite_value(made)
    except RecursionError:
        raise ConstraintLimit("the schema is nested deeper than can be followed once it is rewritten") from None
    if not has_value:
        raise ConstraintError("no finite JSON satisfies this schema: each value would have to hold another")
    return made


def grammar_schema(checked: Mapping[str, Json], item: str = ",", key: str = ":") -> str:
    """Returns a checked schema with how it is to be written: the separators, and no other white space."""
    options = {
        "whitespace_flexible": False,
        "item_separator": item,
        "key_separator": key,
        # One spelling of each string: with \uXXXX a key that is listed could be written a second way.
        "json_allowed_escapes": 'nrbtf\\"',
    }
    return json.dumps({"x-guidance": options, **checked}, ensure_ascii=True)


class _Copy:
    """Copies one schema."""

    def __init__(self, root: Json, limits: Limits) -> None:
        self._limits, self._root = limits, root
        kind = root.get("$schema") if isinstance(root, dict) else None
        self._old = _OLD.fullmatch(kind) is not None if isinstance(kind, str) else None
        """Whether `$ref` hides the keywords beside it, as before draft 2019-09; None where no draft is declared."""
        self._references = References(root, old=self._old, depth=limits.depth)
        self._targets: dict[str, str] = {}
        """Names of what references point to, by their pointers."""
        self._definitions: dict[str, Json] = {}
        self._places: dict[str, str] = {}
        """The pointers by those names."""
        self._complements = Complements(self._target, limits.items)
        self._copied: dict[str, Json] = {}
        self._sizes: dict[int, tuple[Json, int]] = {}
        """Of what was made, by identity; it is kept, so identities stay."""

    def whole(self) -> dict[str, Json]:
        """Copies all of it, with the table of what references point to."""
        made = self._schema(self._root, "#", 0)
        if isinstance(made, bool):
            made = {} if made else {"enum": []}
        return {**made, **({"$defs": self._definitions} if self._definitions else {})}

    def _schema(self, node: Json, path: str, depth: int) -> Json:
        if depth > self._limits.depth:
            raise ConstraintLimit(f"the schema is nested deeper than the limit depth, {self._limits.depth}, at {path}")
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise ConstraintError(f"{path} is {_short(node)}; a schema is an object, true or false")
        if self._old and "$ref" in node:
            node = {"$ref": node["$ref"]}
        made: dict[str, Json] = {}
        for key, value in node.items():
            if key in REWRITTEN or key in ANNOTATIONS or (key.startswith("x-") and key != "x-guidance"):
                continue
            if key in ("$schema", "$id", "id"):
                self._identity(key, value, path)
            elif key in SUPPORTED:
                made[key] = self._keyword(key, value, f"{path}/{escaped(key)}", depth)
            else:
                hint = nearest_hint(key, SUPPORTED, "The guide on constraints lists the keywords that are.")
                raise UnsupportedSchema(
                    f"the keyword {key!r} at {path} is not enforced, and would be ignored: take it out, or check the "
                    f"answer for it afterwards. {hint}"
                )
        return self._with_conditions(node, _modern(made), path, depth)

    def _with_conditions(self, node: dict[str, Json], made: dict[str, Json], path: str, depth: int) -> dict[str, Json]:
        """Adds what other keywords are rewritten to."""

        def copied(part: Json, place: str) -> Json:
            """Copies a schema once, however often it is needed."""
            if place not in self._copied:
                self._copied[place] = self._schema(part, place, depth + 1)
            return self._copied[place]

        rewriting = Rewriting(copied, self._complements, self._target, self._references.find)
        dynamic = [{"$ref": made.pop(key)} for key in _REFERENCES[1:] if key in made]
        if added := [*dynamic, *rewriting.conditions(node, made, path)]:
            made = {**made, "allOf": [*made.get("allOf", ()), *added]}
            self._check_count(f"what {path} is rewritten to", self._size(made))
        if self._least_properties(made) > 1 and self._has_patterns(made):
            raise UnsupportedSchema(
                f"minProperties at {path} beside patternProperties is not enforced: keys could repeat; list properties"
            )
        return made

    def _size(self, value: Json) -> int:
        """Number of schemas and values in a copy, of which parts may be in several places."""
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in self._sizes:
            parts = value.values() if isinstance(value, dict) else value
            self._sizes[id(value)] = (value, 1 + sum(map(self._size, parts)))
        return self._sizes[id(value)][1]

    def _target(self, reference: str) -> Json:
        """What a reference of the copy means, for what is said about it elsewhere."""
        name = reference.rpartition("/")[2]
        if name not in self._definitions:
            raise UnsupportedSchema(
                f"{self._places[name]} refers to itself through a keyword that negates it or depends on it, which is "
                "not enforced"
            )
        return self._definitions[name]

    def _identity(self, key: str, value: Json, path: str) -> None:
        if key == "$schema" and not (isinstance(value, str) and _DRAFTS.fullmatch(value)):
            raise UnsupportedSchema(
                f"$schema at {path} is {_short(value)}; known are drafts 4, 6, 7, 2019-09 and 2020-12"
            )
        if key != "$schema" and not isinstance(value, str):
            raise ConstraintError(f"{key!r} at {path} is {_short(value)}; it is a URI")
        if key != "$schema" and not value.startswith("#") and not self._references.is_resource(path):
            raise UnsupportedSchema(f"{key!r} at {path} is where no schema is expected; put it into $defs")

    def _keyword(self, key: str, value: Json, path: str, depth: int) -> Json:
        match key:
            case "allOf" | "anyOf" | "oneOf" | "prefixItems":
                return self._list(value, path, depth)
            case "items" if isinstance(value, list):
                return self._list(value, path, depth)
            case "items" | "additionalItems" | "additionalProperties":
                return self._schema(value, path, depth + 1)
            case "properties" | "patternProperties":
                return self._table(value, path, depth, patterns=key == "patternProperties")
            case "$ref" | "$dynamicRef" | "$recursiveRef":
                if key != "$ref" and not self._references.is_one_resource:
                    raise UnsupportedSchema(
                        f"{path} depends on the schemas that lead to it; it is followed where none inside has an $id"
                    )
                return self._reference(value, path, depth)
            case "const":
                return self._value(value, path, 0)
            case "enum":
                if not isinstance(value, list) or not value:
                    raise ConstraintError(f"{path} is {_short(value)}; enum is a list of at least one value")
                self._check_count(path, len(value))
                return [self._value(item, f"{path}/{place}", 0) for place, item in enumerate(value)]
            case _:
                return self._simple(key, value, path)

    def _simple(self, key: str, value: Json, path: str) -> Json:
        match key:
            case "type":
                names = value if isinstance(value, list) else [value]
                if not names or any(not isinstance(name, str) or name not in TYPES for name in names):
                    raise ConstraintError(f"{path} is {_short(value)}; types are {', '.join(TYPES)}")
            case "required":
                if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
                    raise ConstraintError(f"{path} is {_short(value)}; required is a list of names")
                return [self._value(name, path, 0) for name in dict.fromkeys(value)]
            case "format":
                if value not in FORMATS:
                    raise UnsupportedSchema(
                        f"the format {_short(value)} at {path} is not enforced; known are {', '.join(FORMATS)}"
                    )
            case "pattern":
                self._check_pattern(value, path)
            case "exclusiveMinimum" | "exclusiveMaximum" if isinstance(value, bool):
                pass  # draft 4
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
                self._check_number(value, path)
                if key == "multipleOf" and not value > 0:
                    raise ConstraintError(f"{path} is {_short(value)}; multipleOf is above 0")
            case _:  # minItems and all other counts
                if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < 0:
                    raise ConstraintError(f"{path} is {_short(value)}; it must be a whole number of at least 0")
                self._check_count(path, int(value))
                return int(value)
        return value

    def _list(self, value: Json, path: str, depth: int) -> list[Json]:
        if not isinstance(value, list) or not value:
            raise ConstraintError(f"{path} is {_short(value)}; it must be a list of at least one schema")
        self._check_count(path, len(value))
        return [self._schema(item, f"{path}/{place}", depth + 1) for place, item in enumerate(value)]

    def _table(self, value: Json, path: str, depth: int, *, patterns: bool) -> dict[str, Json]:
        if not isinstance(value, dict):
            raise ConstraintError(f"{path} is {_short(value)}; it must be an object of schemas")
        for name in value:
            if patterns:
                self._check_pattern(name, f"{path}/{escaped(name)}")
            else:
                self._value(name, f"{path}/{escaped(name)}", 0)
        return {name: self._schema(item, f"{path}/{escaped(name)}", depth + 1) for name, item in value.items()}

    def _reference(self, value: Json, path: str, depth: int) -> str:
        if not isinstance(value, str):
            raise ConstraintError(f"{path} is {_short(value)}; a reference is a URI, as #/$defs/NAME")
        place, node = self._references.find(value, path)
        if place not in self._targets:
            self._targets[place] = name = f"r{len(self._targets)}"
            self._places[name] = place
            self._check_count(path, len(self._targets))
            self._definitions[name] = self._schema(node, place, depth + 1)
        return f"#/$defs/{self._targets[place]}"

    def _least_properties(self, schema: Json) -> int:
        """The largest minProperties of a schema and of those in it that are about the same value."""
        return max((part.get("minProperties", 0) for part in self._same_value(schema)), default=0)

    def _has_patterns(self, schema: Json) -> bool:
        return any("patternProperties" in part for part in self._same_value(schema))

    def _same_value(self, schema: Json) -> Iterator[dict[str, Json]]:
        """The schema and those in it that are about the same value, each once."""
        waiting, seen = [schema], set[int]()
        for part in waiting:
            if isinstance(part, bool) or id(part) in seen:
                continue
            seen.add(id(part))
            yield part
            waiting += [*part.get("allOf", ()), *part.get("anyOf", ()), *part.get("oneOf", ())]
            waiting.append(self._definitions.get(part.get("$ref", "").rpartition("/")[2], True))

    def _value(self, value: Json, path: str, depth: int) -> Json:
        """A value of const or enum, or a name of a property, as it is."""
        if depth > self._limits.depth:
            raise ConstraintLimit(f"{path} is nested deeper than the limit depth, {self._limits.depth}")
        if isinstance(value, str):
            _check_text(value, path)
        elif isinstance(value, dict):
            for name, item in value.items():
                _check_text(name, path)
                self._value(item, path, depth + 1)
        elif isinstance(value, list):
            for item in value:
                self._value(item, path, depth + 1)
        elif value is not None and not isinstance(value, bool):
            self._check_number(value, path)
        return value

    def _check_pattern(self, value: Json, path: str) -> None:
        from .lark import check_pattern

        if not isinstance(value, str):
            raise ConstraintError(f"{path} is {_short(value)}; a pattern is a string")
        check_pattern(f"the pattern at {path}", value, self._limits)

    def _check_number(self, value: Json, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConstraintError(f"{path} is {_short(value)}; it must be a number")
        if not math.isfinite(value) or (abs(value) > _EXACT and (abs(value) >= _LARGEST or float(value) != value)):
            raise UnsupportedSchema(
                f"the number {_short(value)} at {path} is no float64, so its last digits are not enforced; beyond 2^53 "
                "few whole numbers are"
            )

    def _check_count(self, path: str, count: int) -> None:
        if count > self._limits.items:
            raise ConstraintLimit(f"{path} is or holds {count:,}; the limit items is {self._limits.items:,}")


def _modern(made: dict[str, Json]) -> dict[str, Json]:
    """A copy in the words of draft 2020-12: tuples of earlier drafts, exclusive bounds of draft 4."""
    if isinstance(made.get("items"), list):
        made = {("prefixItems" if key == "items" else key): value for key, value in made.items()}
        made = {("items" if key == "additionalItems" else key): value for key, value in made.items()}
    made.pop("additionalItems", None)  # without a tuple it means nothing, in every draft
    for bound in ("Minimum", "Maximum"):
        if isinstance(made.get(f"exclusive{bound}"), bool):
            exclusive = made.pop(f"exclusive{bound}")
            if exclusive and bound.lower() in made:
                made[f"exclusive{bound}"] = made.pop(bound.lower())
    return made


def _check_text(text: str, path: str) -> None:
    found = _CONTROL.search(text)
    if found is not None:
        raise UnsupportedSchema(f"the text at {path} holds the control character U+{ord(found[0]):04X}; take it out")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UnsupportedSchema(f"the text at {path} holds a lone surrogate, which is no Unicode text; take it out")


def _short(value: Json) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:80]}..."
