"""Whether some finite JSON can satisfy a schema: a schema that holds itself without end would never let a text end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def has_finite_value(schema: Mapping[str, Any]) -> bool:
    """Returns False where every value would have to hold another without end, or references only name each other.

    Keywords that contradict each other are not looked for.
    """
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    known = dict.fromkeys(definitions, False)
    changed = True
    while changed:
        changed = False
        for name, target in definitions.items():
            if not known[name] and _finite(target, known):
                known[name] = changed = True
    return _finite(schema, known)


def _finite(schema: Any, known: Mapping[str, bool]) -> bool:
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema and not known[schema["$ref"].rsplit("/", 1)[1]]:
        return False
    if not all(_finite(part, known) for part in schema.get("allOf", ())):
        return False
    for several in ("anyOf", "oneOf"):
        if several in schema and not any(_finite(part, known) for part in schema[several]):
            return False
    if "const" in schema or "enum" in schema:
        return True
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types
    if names is None:
        return True  # a number satisfies what is said about arrays and objects
    return any(
        _finite_object(schema, known) if name == "object" else _finite_array(schema, known) if name == "array" else True
        for name in names
    )


def _finite_object(schema: Mapping[str, Any], known: Mapping[str, bool]) -> bool:
    properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    patterns = schema.get("patternProperties", {})
    return all(
        _finite(properties[name], known) if name in properties else bool(patterns) or _finite(other, known)
        for name in schema.get("required", ())
    )


def _finite_array(schema: Mapping[str, Any], known: Mapping[str, bool]) -> bool:
    least, first = schema.get("minItems", 0), schema.get("prefixItems", [])
    if not all(_finite(part, known) for part in first[:least]):
        return False
    return least <= len(first) or _finite(schema.get("items", True), known)
