"""Keywords of JSON schemas that no grammar follows, said by those that one does: exactly, or not at all.

`if` becomes a choice between what satisfies it and `then`, and its complement and `else`; `dependentRequired` a choice
between no such key and more keys; `uniqueItems` a list of all arrays, where there are few; and so on. What cannot be
said exactly is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from stategpt.errors import ConstraintError, UnsupportedSchema

from .complement import TYPES, Complements, all_of, any_of, type_of
from .evaluated import Evaluated
from .references import escaped

Json = Any
Copy = Callable[[Json, str], Json]
REWRITTEN = (
    *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "propertyNames"),
    *("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"),
)
"""Keywords that are enforced by others."""
MOST_ARRAYS, MOST_WAYS, MOST_OPTIONS = 256, 64, 12
_NO_ARRAY = {"type": [name for name in TYPES if name != "array"]}


@dataclass(frozen=True)
class Rewriting:
    """Rewrites keywords of one schema of a document."""

    copy: Copy
    """A schema at a place as it is enforced."""
    complements: Complements
    target: Callable[[str], Json]
    """What a reference of an enforced schema means."""
    find: Callable[[str, str], tuple[str, Json]]
    """The pointer that a reference of the document means, and what is there."""

    def conditions(self, node: dict[str, Json], made: dict[str, Json], path: str) -> list[Json]:
        """Returns schemas of which all must be satisfied, too.

        Args:
            node: the schema as it came.
            made: its other keywords as they are enforced; a `oneOf` that is rewritten is taken out.
            path: its place.

        Raises:
            UnsupportedSchema: a keyword cannot be said exactly.
            ConstraintError: a value that its keyword cannot have.
        """
        found = [*self._negation(node, path), *self._conditional(node, path), *self._dependencies(node, path)]
        if "propertyNames" in node:
            found.append(self._names(node["propertyNames"], made, f"{path}/propertyNames"))
        if _flag(node, "uniqueItems", path):
            found.append(self._unique(made, f"{path}/uniqueItems"))
        if "contains" in node:
            found.append(self._contains(node, made, f"{path}/contains"))
        evaluated = Evaluated(self.copy, self._negated, self.find)
        for key in ("unevaluatedProperties", "unevaluatedItems"):
            if key in node:
                value = self.copy(node[key], f"{path}/{key}")
                found.append(evaluated.left_out(key, node, path, value))
        if "oneOf" in made:
            found.append(self._one_of(made, f"{path}/oneOf"))
        return [part for part in found if part is not True]

    def _negated(self, part: Json, path: str) -> Json:
        return self.complements.of(self.copy(part, path), path)

    def _negation(self, node: dict[str, Json], path: str) -> Iterator[Json]:
        if "not" in node:
            yield self._negated(node["not"], f"{path}/not")

    def _conditional(self, node: dict[str, Json], path: str) -> Iterator[Json]:
        if "if" not in node or not ("then" in node or "else" in node):
            return
        place = f"{path}/if"
        then, otherwise = (self.copy(node[key], f"{path}/{key}") if key in node else True for key in ("then", "else"))
        if then is True:  # nothing is negated
            yield any_of([self.copy(node["if"], place), otherwise])
            return
        with_it, without = self.copy(node["if"], place), self._negated(node["if"], place)
        yield any_of([all_of([with_it, then]), all_of([without, otherwise])])

    def _dependencies(self, node: dict[str, Json], path: str) -> Iterator[Json]:
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            table, place = node.get(keyword, {}), f"{path}/{keyword}"
            if not isinstance(table, dict):
                raise ConstraintError(f"{place} is {json.dumps(table):.80}; it must be an object")
            for name, value in table.items():
                yield any_of([{"properties": {name: False}}, self._dependent(keyword, name, value, place)])

    def _dependent(self, keyword: str, name: str, value: Json, place: str) -> Json:
        """What holds where a key is there."""
        if keyword == "dependentSchemas" or (keyword == "dependencies" and not isinstance(value, list)):
            return self.copy(value, f"{place}/{escaped(name)}")
        if not isinstance(value, list) or any(not isinstance(other, str) for other in value):
            raise ConstraintError(f"{place}/{escaped(name)} is {json.dumps(value):.80}; it must be a list of names")
        # The names are listed in this order too, so that the key may come before those that it needs.
        return self.copy(
            {"properties": dict.fromkeys([name, *value], True), "required": value}, f"{place}/{escaped(name)}"
        )

    def _names(self, part: Json, made: dict[str, Json], path: str) -> Json:
        """`propertyNames`: some names, or one pattern."""
        names = self._resolved(self.copy(part, path))
        if names is True:
            return True
        if names is False or "string" not in _types(names):
            return {"maxProperties": 0}
        unknown = sorted(names.keys() - {"type", "const", "enum", "pattern", "minLength", "maxLength"})
        values = names.get("enum", [names["const"]] if "const" in names else None)
        low, high = names.get("minLength", 0), names.get("maxLength")
        if not unknown and values is not None and "pattern" not in names:
            fitting = [name for name in values if isinstance(name, str) and low <= len(name) <= (high or len(name))]
            return {"properties": dict.fromkeys(fitting, True), "additionalProperties": False}
        patterns = [names["pattern"]] if "pattern" in names else []
        if low or high is not None:
            patterns.append(f"^(?s:.{{{low},{'' if high is None else high}}})$")
        if unknown or values is not None or len(patterns) > 1 or made.get("minProperties", 0) > 1:
            what = repr(unknown[0]) if unknown else "minProperties" if len(patterns) == 1 else "more than one of them"
            raise UnsupportedSchema(
                f"propertyNames at {path} is enforced with const, enum, pattern or lengths alone, not with {what}"
            )
        return {"patternProperties": {patterns[0]: True}, "additionalProperties": False} if patterns else True

    def _resolved(self, schema: Json) -> Json:
        seen: set[str] = set()
        while isinstance(schema, dict) and [*schema] == ["$ref"] and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            schema = self.target(schema["$ref"])
        return schema

    def _unique(self, made: dict[str, Json], path: str) -> Json:
        """`uniqueItems`: all arrays without equal items, where there are few."""
        if made.get("maxItems", 2) <= 1:
            return True
        first = [self._values(part) for part in made.get("prefixItems", ())]
        rest = self._values(made.get("items", True))
        arrays: list[list[Json]] = [[]]
        for array in arrays:
            allowed = first[len(array)] if len(array) < len(first) else rest
            if allowed is None or len(arrays) > MOST_ARRAYS:
                raise UnsupportedSchema(
                    f"uniqueItems at {path} is enforced where the items have few values, as of an enum, and "
                    f"at most {MOST_ARRAYS} arrays are possible; take it out, or check the answer for it afterwards"
                )
            if len(array) < made.get("maxItems", len(array) + 1):
                seen = {_identity(item) for item in array}
                arrays += [[*array, value] for value in allowed if _identity(value) not in seen]
        return any_of([_NO_ARRAY, {"enum": arrays}])

    def _values(self, schema: Json) -> list[Json] | None:
        """All values that may satisfy a schema, if they are listed."""
        schema = self._resolved(schema)
        if isinstance(schema, bool):
            return None if schema else []
        if "enum" in schema or "const" in schema:
            listed = schema.get("enum", [schema.get("const")])
            return list({_identity(value): value for value in listed}.values())
        names = _types(schema)
        if not names <= {"boolean", "null"}:
            return None
        return [*([True, False] if "boolean" in names else []), *([None] if "null" in names else [])]

    def _contains(self, node: dict[str, Json], made: dict[str, Json], path: str) -> Json:
        """`contains` with its counts: by the places of the items that match, where the array's length is bounded."""
        least, most = (_count(node, key, path) for key in ("minContains", "maxContains"))
        low = 1 if least is None else least
        if low == 0 and most is None:
            return True
        part = self.copy(node["contains"], path)
        if isinstance(part, bool):
            high = {} if most is None else {"maxItems": most}
            return {"minItems": low, **high} if part else True if low == 0 else _NO_ARRAY
        if most is not None and most < low:
            return _NO_ARRAY
        other = self.complements.of(part, path)
        if most == 0:
            return {"items": other}
        length = made.get("maxItems", len(made.get("prefixItems", ())) if made.get("items") is False else None)
        if length is None:
            raise UnsupportedSchema(
                f"contains at {path} is enforced where maxItems bounds the array, or nothing may match; give maxItems"
            )
        if length > MOST_WAYS:
            raise UnsupportedSchema(
                f"contains at {path} is enforced in arrays of at most {MOST_WAYS} items, not {length}"
            )
        ways: list[Json] = []
        for array in _ways(length, low, most):
            first = [part if matches else other for matches in array]
            closed = {} if most is None else {"items": False}
            ways.append({"type": "array", "prefixItems": first, "minItems": len(first), **closed})
            if len(ways) > MOST_WAYS:
                raise UnsupportedSchema(
                    f"contains at {path} can be satisfied in more than {MOST_WAYS} ways; give a smaller maxItems"
                )
        return any_of([_NO_ARRAY, *ways])

    def _one_of(self, made: dict[str, Json], path: str) -> Json:
        """`oneOf`: each option without the others. It stays as it is where it is clear that no two can match, or where
        a complement cannot be said: llguidance then decides whether it can tell them apart.
        """
        options = made["oneOf"]
        pairs = combinations(map(self._resolved, options), 2)
        if len(options) > MOST_OPTIONS or all(_are_disjoint(one, other) for one, other in pairs):
            return True
        try:
            others = [self.complements.of(option, path) for option in options]
        except UnsupportedSchema:
            return True
        del made["oneOf"]
        return any_of(
            [
                all_of([option, *(other for place, other in enumerate(others) if place != number)])
                for number, option in enumerate(options)
            ]
        )


def _ways(length: int, low: int, most: int | None) -> Iterator[list[bool]]:
    """Which of the first items match: up to the last that counts, or with `most` in whole arrays."""
    for size in range(length + 1):
        places: Iterator[tuple[int, ...]]
        if most is not None:
            counts = range(low, min(most, size) + 1)
            places = (chosen for count in counts for chosen in combinations(range(size), count))
        else:  # the last of them is the one that completes the count
            places = ((*chosen, size - 1) for chosen in combinations(range(size - 1), low - 1)) if size else iter(())
        for chosen in places:
            yield [place in chosen for place in range(size)]


def _are_disjoint(one: Json, other: Json) -> bool:
    """Whether it is clear that no value satisfies both: other types, values, or values of a key that both need."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is False or other is False
    if not _types(one) & _types(other):
        return True
    needed = [name for name in one.get("required", ()) if name in other.get("required", ())]
    if _types(one) | _types(other) == {"object"}:
        pairs = [(one.get("properties", {}).get(name), other.get("properties", {}).get(name)) for name in needed]
        if any(_differ(left, right) for left, right in pairs):
            return True
    return _differ(one, other)


def _differ(one: Json, other: Json) -> bool:
    held = [
        {_identity(value) for value in part.get("enum", [part.get("const")])}
        for part in (one, other)
        if isinstance(part, dict) and ("const" in part or "enum" in part)
    ]
    return len(held) == 2 and not held[0] & held[1]


def _types(schema: dict[str, Json]) -> set[str]:
    names = schema.get("type", TYPES)
    held = {names} if isinstance(names, str) else {*names}
    return {"number" if name == "integer" else name for name in held}


def _identity(value: Json) -> str:
    """Equal for values that are equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_identity(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_identity, value)) + "]"
    return repr(float(value)) if type_of(value) == "number" else json.dumps(value)


def _flag(node: dict[str, Json], key: str, path: str) -> bool:
    if not isinstance(node.get(key, False), bool):
        raise ConstraintError(f"{path}/{key} is {json.dumps(node[key]):.80}; it must be true or false")
    return bool(node.get(key, False))


def _count(node: dict[str, Json], key: str, path: str) -> int | None:
    value = node.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value % 1 or value < 0):
        raise ConstraintError(f"{path}, {key} is {json.dumps(value):.80}; it must be a whole number of at least 0")
    return None if value is None else int(value)
