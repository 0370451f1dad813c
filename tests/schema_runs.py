"""Schemas to try constraints with: those of the JSON-Schema-Test-Suite, and random ones; strict parsing; validation."""

from __future__ import annotations

import json
import math
import os
import random
import re
import tarfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

SUITE = "STATEGPT_SCHEMA_SUITE"
"""Environment variable with the source package of `jsonschema`, which holds the suite."""
HOW = (
    "the JSON-Schema-Test-Suite is in the source package of jsonschema: `pip download --no-deps --no-binary :all: "
    f"jsonschema`, then set {SUITE} to the file"
)
DRAFTS = ("draft2020-12", "draft2019-09", "draft7", "draft6", "draft4")
Json = Any


class Case(NamedTuple):
    """A schema of the suite with its instances."""

    name: str
    draft: str
    schema: Json
    valid: list[Json]
    invalid: list[Json]


def suite_path() -> Path | None:
    """The source package, if there is one."""
    named = os.environ.get(SUITE)
    return Path(named) if named and Path(named).is_file() else None


def suite(path: Path, drafts: tuple[str, ...] = DRAFTS) -> Iterator[Case]:
    """Every schema of the suite's required tests."""
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            found = re.search(r"json/tests/([^/]+)/([^/]+)\.json$", member.name)
            if found is None or found[1] not in drafts:
                continue
            file = archive.extractfile(member)
            assert file is not None
            for group in json.load(file):
                tests = group["tests"]
                yield Case(
                    f"{found[1]}/{found[2]}: {group['description']}",
                    found[1],
                    group["schema"],
                    [test["data"] for test in tests if test["valid"]],
                    [test["data"] for test in tests if not test["valid"]],
                )


def strict(text: str) -> Json:
    """Parses JSON as a strict parser does: no key twice, no NaN, no number beyond a double."""

    def pairs(found: list[tuple[str, Json]]) -> dict[str, Json]:
        made = dict(found)
        if len(made) != len(found):
            raise ValueError(f"a key is twice in {[key for key, _ in found]}")
        return made

    def constant(name: str) -> Json:
        raise ValueError(f"{name} is no JSON")

    def real(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise ValueError(f"{digits} is beyond a double")
        return value

    return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_float=real)


def is_canonical(value: Json) -> bool:
    """Whether JSON writes it in one way only: no number that is written with an exponent or as 1.0."""
    if isinstance(value, dict):
        return all(map(is_canonical, value.values()))
    if isinstance(value, list):
        return all(map(is_canonical, value))
    return not isinstance(value, float) or ("e" not in repr(value) and value % 1 != 0)


def validator(schema: Json, draft: str = "draft2020-12") -> Any:
    """jsonschema's validator of a draft; `\\d` and `\\w` of patterns are ASCII, as ECMA-262 has them."""
    import jsonschema
    from jsonschema import validators

    kinds = {
        "draft2020-12": jsonschema.Draft202012Validator,
        "draft2019-09": jsonschema.Draft201909Validator,
        "draft7": jsonschema.Draft7Validator,
        "draft6": jsonschema.Draft6Validator,
        "draft4": jsonschema.Draft4Validator,
    }

    def multiple(_: Any, wanted: Json, instance: Json, __: Any) -> Iterator[Any]:
        """By digits, as JSON writes numbers: in floats 2.4 is no multiple of 0.0001."""
        is_number = isinstance(instance, int | float) and not isinstance(instance, bool)
        if is_number and Fraction(str(instance)) % Fraction(str(wanted)):
            yield jsonschema.ValidationError(f"{instance!r} is no multiple of {wanted!r}")

    def pattern(_: Any, wanted: str, instance: Json, __: Any) -> Iterator[Any]:
        if isinstance(instance, str) and re.search(wanted, instance, re.ASCII) is None:
            yield jsonschema.ValidationError(f"{instance!r} does not match {wanted!r}")

    return validators.extend(kinds[draft], {"pattern": pattern, "multipleOf": multiple})(schema)


def random_schema(seed: int) -> Json:
    """A schema of supported keywords that some JSON satisfies."""
    return _Maker(random.Random(seed)).schema(0)


class _Maker:
    """Draws schemas."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def schema(self, depth: int) -> Json:
        leaves = ("string", "integer", "number", "boolean", "null", "enum", "const", "pattern", "format")
        kinds = leaves if depth > 2 else (*leaves, "object", "object", "array", "anyOf", "allOf", "map", "tuple", "ref")
        return getattr(self, f"_{self._chance.choice(kinds)}")(depth + 1)

    def _string(self, depth: int) -> Json:
        least = self._chance.randrange(4)
        return {"type": "string", "minLength": least, "maxLength": least + self._chance.randrange(1, 9)}

    def _integer(self, depth: int) -> Json:
        least = self._chance.randrange(-1000, 1000)
        made: Json = {"type": "integer", "minimum": least, "maximum": least + self._chance.randrange(1, 5000)}
        if self._chance.random() < 0.3:
            made["multipleOf"] = self._chance.choice([1, 2, 5])
            made["maximum"] += 10
        return self._chance.choice([{"type": "integer"}, made, {"type": "integer", "exclusiveMinimum": least}])

    def _number(self, depth: int) -> Json:
        least = self._chance.uniform(-10, 10)
        bounded = {"type": "number", "minimum": round(least, 2), "exclusiveMaximum": round(least + 7.5, 1)}
        return self._chance.choice([{"type": "number"}, bounded, {"type": ["number", "null"]}])

    def _boolean(self, depth: int) -> Json:
        return {"type": "boolean"}

    def _null(self, depth: int) -> Json:
        return {"type": "null", "description": "nothing"}

    def _enum(self, depth: int) -> Json:
        values = ["a", 'say "hi"\\', "<|im_end|>", 1, -2.5, None, True, [1, "x"], {"k": [None]}, "é\n😀"]
        return {"enum": self._chance.sample(values, self._chance.randrange(1, 5))}

    def _const(self, depth: int) -> Json:
        return {"const": self._chance.choice(["</think>", 7, {"a": {"b": []}}, [], 0.125, "tab\t"])}

    def _pattern(self, depth: int) -> Json:
        patterns = ["^[a-z]{2,5}$", "^\\d{3}-\\d{4}$", "^(red|green)$", '^[^"\\\\]{1,3}$', "^\\w+@x\\.y$", "^.?b$"]
        return {"type": "string", "pattern": self._chance.choice(patterns)}

    def _format(self, depth: int) -> Json:
        return {"type": "string", "format": self._chance.choice(["date", "time", "uuid", "ipv4", "date-time"])}

    def _object(self, depth: int) -> Json:
        names = self._chance.sample(["a", "b b", 'c"c', "日本", "e", "<|user|>"], self._chance.randrange(1, 5))
        made: Json = {"type": "object", "properties": {name: self.schema(depth) for name in names}}
        made["required"] = [name for name in names if self._chance.random() < 0.6]
        if self._chance.random() < 0.7:
            made["additionalProperties"] = self._chance.choice([False, {"type": "boolean"}])
        return made

    def _map(self, depth: int) -> Json:
        made: Json = {"type": "object", "additionalProperties": self.schema(depth)}
        if self._chance.random() < 0.5:
            made["minProperties"] = self._chance.randrange(1, 4)
            made["maxProperties"] = made["minProperties"] + self._chance.randrange(3)
        else:
            made = {"type": "object", "patternProperties": {"^x": self.schema(depth)}, "additionalProperties": False}
        return made

    def _array(self, depth: int) -> Json:
        least = self._chance.randrange(3)
        return {"type": "array", "items": self.schema(depth), "minItems": least, "maxItems": least + 2}

    def _tuple(self, depth: int) -> Json:
        first = [self.schema(depth) for _ in range(self._chance.randrange(1, 4))]
        return {"type": "array", "prefixItems": first, "items": False, "minItems": self._chance.randrange(2)}

    def _anyOf(self, depth: int) -> Json:  # noqa: N802 - the keyword's name
        return {"anyOf": [self.schema(depth) for _ in range(self._chance.randrange(1, 4))]}

    def _allOf(self, depth: int) -> Json:  # noqa: N802
        return {
            "allOf": [
                {"type": "object", "properties": {"p": self.schema(depth)}, "required": ["p"]},
                {"type": "object"},
            ]
        }

    def _ref(self, depth: int) -> Json:
        node = {
            "type": "object",
            "properties": {"value": {"type": "integer", "minimum": 0, "maximum": 9}, "next": {"$ref": "#/$defs/node"}},
            "required": ["value"],
            "additionalProperties": False,
        }
        if depth > 1:  # references start at the whole schema
            return {"type": "integer", "minimum": 0}
        return {"$defs": {"node": node}, "$ref": "#/$defs/node"}
