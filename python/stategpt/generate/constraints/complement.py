"""The complement of a JSON schema: what satisfies it is all that does not satisfy the schema, and nothing else.

Each keyword speaks about values of one type, so a value breaks a schema where it is of that type and breaks one of
them. Where no schema says exactly that (a string that a pattern does not match, a number that is not whole), the
complement is refused: an approximation would be wrong once it is negated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stategpt.errors import ConstraintLimit, UnsupportedSchema

Json = Any
Find = Callable[[str], Json]
TYPES = ("array", "boolean", "null", "number", "object", "string")
"""Types of which every value has exactly one; whole numbers are numbers."""
DEEPEST = 100
"""Most schemas around one that is taken apart, references counted: Python's stack is limited."""
_MOST_CHARACTERS = 20_000
_COUNTS = {
    "minLength": ("string", "maxLength"),
    "minItems": ("array", "maxItems"),
    "minProperties": ("object", "maxProperties"),
}
_OPPOSITE_COUNTS = {other: (kind, least) for least, (kind, other) in _COUNTS.items()}
_OPPOSITE_BOUNDS = {
    "minimum": "exclusiveMaximum",
    "exclusiveMinimum": "maximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMaximum": "minimum",
}


def all_of(parts: Sequence[Json]) -> Json:
    """Returns the schema of what satisfies each of some schemas."""
    held = [part for part in parts if part is not True and part != {}]
    if any(part is False for part in held):
        return False
    return True if not held else held[0] if len(held) == 1 else {"allOf": held}


def any_of(options: Sequence[Json]) -> Json:
    """Returns the schema of what satisfies one of some schemas."""
    if any(option is True or option == {} for option in options):
        return True
    held = [option for option in options if option is not False]
    return False if not held else held[0] if len(held) == 1 else {"anyOf": held}


class Complements:
    """Makes complements of the schemas of one document, up to a number of schemas that they take apart."""

    def __init__(self, find: Find, most: int) -> None:
        """`find` gives what a reference of an enforced schema means; it raises where that is not known yet."""
        self._find, self._most, self._left, self._around = find, most, most, 0

    def of(self, schema: Json, path: str) -> Json:
        """Returns the complement of a schema of enforced keywords; `path` is where it is, for errors.

        Raises:
            UnsupportedSchema: no schema says exactly what it does not.
            ConstraintLimit: it takes too many schemas apart.
        """
        self._left -= 1
        if self._left < 0:
            raise ConstraintLimit(f"what is negated, as at {path}, has more parts than the limit items, {self._most:,}")
        if isinstance(schema, bool):
            return not schema
        if self._around == DEEPEST:
            raise ConstraintLimit(f"what is negated at {path} is {DEEPEST} schemas deep, or refers to itself")
        self._around += 1
        try:
            return any_of([self._broken(key, schema, path) for key in schema])
        finally:
            self._around -= 1

    def _broken(self, key: str, schema: Mapping[str, Json], path: str) -> Json:
        """What breaks one keyword of a schema."""
        value = schema[key]
        match key:
            case "type":
                return _other_types([value] if isinstance(value, str) else value, path)
            case "const":
                return _other_values([value], path)
            case "enum":
                return _other_values(value, path)
            case "$ref":
                return self.of(self._find(value), path)
            case "allOf":
                return any_of([self.of(part, path) for part in value])
            case "anyOf":
                return all_of([self.of(part, path) for part in value])
            case "minLength" | "minItems" | "minProperties":
                kind, other = _COUNTS[key]
                return {"type": kind, other: value - 1} if value else False
            case "maxLength" | "maxItems" | "maxProperties":
                kind, other = _OPPOSITE_COUNTS[key]
                return {"type": kind, other: value + 1}
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
                return {"type": "number", _OPPOSITE_BOUNDS[key]: value}
            case "required":
                return any_of([{"type": "object", "properties": {name: False}} for name in value])
            case "properties":
                return any_of([_with_property(name, self.of(part, path)) for name, part in value.items()])
            case "prefixItems":
                return any_of([_with_item(place, self.of(part, path)) for place, part in enumerate(value)])
            case _:
                return _open(key, schema, path)


def _open(key: str, schema: Mapping[str, Json], path: str) -> Json:
    """What breaks a keyword about all other items or properties: said only where it allows all of them, or none."""
    value = schema[key]
    if value is True or value == {}:
        return False
    if key == "items" and value is False:
        return {"type": "array", "minItems": len(schema.get("prefixItems", ())) + 1}
    is_listed = schema.get("properties") or schema.get("patternProperties")
    if key == "additionalProperties" and value is False and not is_listed:
        return {"type": "object", "minProperties": 1}
    raise UnsupportedSchema(
        f"{key!r} is negated at {path}, and no schema says exactly what does not satisfy it: say what the value may be"
    )


def _with_property(name: str, value: Json) -> Json:
    return False if value is False else {"type": "object", "properties": {name: value}, "required": [name]}


def _with_item(place: int, value: Json) -> Json:
    first = [True] * place
    return False if value is False else {"type": "array", "prefixItems": [*first, value], "minItems": place + 1}


def _other_types(names: Sequence[str], path: str) -> Json:
    if "integer" in names and "number" not in names:
        raise UnsupportedSchema(
            f"the type 'integer' is negated at {path}, and no schema says what is a number but not whole: say what the "
            "value may be"
        )
    left = [name for name in TYPES if name not in names]
    return {"type": left} if left else False


def _other_values(values: Sequence[Json], path: str) -> Json:
    """All but some values."""
    by_type: dict[str, list[Json]] = {}
    for value in values:
        by_type.setdefault(type_of(value), []).append(value)
    untouched = [name for name in TYPES if name not in by_type]
    options: list[Json] = [{"type": untouched}] if untouched else []
    for kind, held in by_type.items():
        match kind:
            case "boolean":
                options += [{"const": value} for value in (True, False) if value not in held]
            case "number":
                options += _other_numbers(sorted(set(held)))
            case "string":
                options.append({"type": "string", "pattern": f"^(?:{_other_texts(sorted(set(held)), path)})$"})
            case "array" | "object":
                if any(held):
                    raise UnsupportedSchema(
                        f"a const or enum with an {kind} that is not empty is negated at {path}, and no schema says "
                        "exactly what differs from it: say what the value may be"
                    )
                options.append({"type": kind, "minItems" if kind == "array" else "minProperties": 1})
    return any_of(options)


def type_of(value: Json) -> str:
    """Returns the type of a value, one of `TYPES`."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "number"


def _other_numbers(values: Sequence[float]) -> list[Json]:
    """The intervals between some numbers, and beyond them."""
    made: list[Json] = []
    for low, high in zip([None, *values], [*values, None], strict=True):
        interval: dict[str, Json] = {"type": "number"}
        if low is not None:
            interval["exclusiveMinimum"] = low
        if high is not None:
            interval["exclusiveMaximum"] = high
        made.append(interval)
    return made


def _other_texts(texts: Sequence[str], path: str) -> str:
    """A pattern for all texts but some: after each beginning of one comes a character that none of them has there, or,
    where none of them ends, nothing."""
    following: dict[str, list[str]] = {text: [] for text in texts}
    for text in texts:
        for place, character in enumerate(text):
            following.setdefault(text[:place], []).append(character)
    if sum(map(len, following)) > _MOST_CHARACTERS:
        raise ConstraintLimit(f"the texts that are negated at {path} are too long for a pattern of all others")
    ends = {*texts}
    options = []
    for begun, heads in following.items():
        other = f"[^{_spelled(dict.fromkeys(heads))}](?s:.*)" if heads else "(?s:.+)"
        options.append(_spelled(begun) + (other if begun in ends else f"(?:{other})?"))
    return "|".join(options)


def _spelled(characters: Iterable[str]) -> str:
    return "".join(f"\\x{{{ord(character):x}}}" for character in characters)
