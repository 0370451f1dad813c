"""Which properties and items a schema evaluates: what `unevaluatedProperties` and `unevaluatedItems` leave out.

Which they are depends on the branches that a value satisfies, so there are several cases. A case names some of those
branches and what they evaluate together. Naming fewer branches than are satisfied only makes fewer exceptions, so the
cases of all sets of branches together say exactly what the keyword says, and no branch of `anyOf` is negated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from stategpt.errors import ConstraintLimit, UnsupportedSchema

from .complement import DEEPEST, all_of, any_of
from .references import escaped

Json = Any
MOST_CASES = 64


@dataclass(frozen=True)
class Case:
    """Some branches, and what they evaluate with the schema around them."""

    branches: tuple[Json, ...] = ()
    """Schemas of the branches, as they are enforced."""
    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    first_items: int = 0
    all_properties: bool = False
    all_items: bool = False

    def joined(self, other: Case) -> Case:
        """Returns both together."""
        return Case(
            self.branches + other.branches,
            self.names | other.names,
            self.patterns | other.patterns,
            max(self.first_items, other.first_items),
            self.all_properties or other.all_properties,
            self.all_items or other.all_items,
        )

    @property
    def evaluates(self) -> bool:
        """Whether it evaluates anything."""
        return replace(self, branches=()) != Case()

    def closed(self, key: str, value: Json) -> Json:
        """Returns the schema of `value` for all that is not evaluated."""
        if key == "unevaluatedItems":
            return True if self.all_items else {"prefixItems": [True] * self.first_items, "items": value}
        if self.all_properties:
            return True
        made = {"properties": dict.fromkeys(sorted(self.names), True), "additionalProperties": value}
        return {**made, "patternProperties": dict.fromkeys(sorted(self.patterns), True)} if self.patterns else made


@dataclass(frozen=True)
class Evaluated:
    """Finds the cases of schemas of one document."""

    copy: Callable[[Json, str], Json]
    """A schema at a place as it is enforced."""
    negated: Callable[[Json, str], Json]
    """Its complement."""
    find: Callable[[str, str], tuple[str, Json]]
    """The pointer that a reference at a place means, and what is there."""

    def left_out(self, key: str, node: dict[str, Json], path: str, value: Json) -> Json:
        """Returns the schema that says what `key` of a schema says: `value` is what it has, as it is enforced.

        Raises:
            UnsupportedSchema: a branch refers to itself, or `contains` decides which items are evaluated.
            ConstraintLimit: there are too many cases.
        """
        found = self._cases({name: held for name, held in node.items() if name != key}, path, key, ())
        return any_of([all_of([*case.branches, case.closed(key, value)]) for case in found])

    def _cases(self, node: Json, path: str, key: str, around: tuple[str, ...]) -> list[Case]:
        if not isinstance(node, dict):
            return [Case()]
        if key == "unevaluatedItems" and "contains" in node:
            raise UnsupportedSchema(f"unevaluatedItems with contains at {path} is not enforced; use items, prefixItems")
        found = [_own(node)]
        for name in ("$ref", "$dynamicRef", "$recursiveRef"):
            if name in node:
                place, target = self.find(node[name], f"{path}/{name}")
                if place in around:
                    raise UnsupportedSchema(f"{key} across {path}, which refers to itself, is not enforced")
                if len(around) == DEEPEST:
                    raise ConstraintLimit(f"{key} goes through more than {DEEPEST} references at {path}")
                found = _crossed(found, self._cases(target, place, key, (*around, place)), path)
        for number, part in enumerate(node.get("allOf", ())):
            found = _crossed(found, self._cases(part, f"{path}/allOf/{number}", key, around), path)
        for several in ("anyOf", "oneOf"):
            branches = [
                self._branch(part, f"{path}/{several}/{number}", key, around)
                for number, part in enumerate(node.get(several, ()))
            ]
            if several == "anyOf":
                for branch in branches:
                    found = _crossed(found, [Case(), *branch], path)
            else:
                found = _crossed(found, [Case(), *(case for branch in branches for case in branch)], path)
        for branch in (*self._conditional(node, path, key, around), *self._dependent(node, path, key, around)):
            found = _crossed(found, [Case(), *branch], path)
        return found

    def _branch(self, part: Json, path: str, key: str, around: tuple[str, ...]) -> list[Case]:
        """The cases in which a branch is satisfied, if it evaluates anything."""
        cases = [case for case in self._cases(part, path, key, around) if case.evaluates]
        if not cases:
            return []
        enforced = self.copy(part, path)
        return [replace(case, branches=(enforced, *case.branches)) for case in cases]

    def _conditional(self, node: dict[str, Json], path: str, key: str, around: tuple[str, ...]) -> list[list[Case]]:
        """One set of cases: `if` with `then`, or `else` without `if`."""
        if "if" not in node:
            return []
        condition, place = node["if"], f"{path}/if"
        then = self._cases(node.get("then", True), f"{path}/then", key, around)
        cases = [
            replace(case, branches=(self.copy(condition, place), *case.branches))
            for case in _crossed(self._cases(condition, place, key, around), then, path)
            if case.evaluates
        ]
        cases += [
            replace(case, branches=(self.negated(condition, place), *case.branches))
            for case in self._cases(node.get("else", True), f"{path}/else", key, around)
            if case.evaluates
        ]
        return [cases]

    def _dependent(self, node: dict[str, Json], path: str, key: str, around: tuple[str, ...]) -> Iterable[list[Case]]:
        for keyword in ("dependentSchemas", "dependencies"):
            for name, part in node.get(keyword, {}).items():
                has_it = {"type": "object", "required": [name]}
                cases = self._cases(part, f"{path}/{keyword}/{escaped(name)}", key, around)
                yield [replace(case, branches=(has_it, *case.branches)) for case in cases if case.evaluates]


def _own(node: dict[str, Json]) -> Case:
    """What the keywords of one schema evaluate, without those that hold others for the same value."""
    items = node.get("items")
    first = len(items) if isinstance(items, list) else len(node.get("prefixItems", ()))
    rest = "additionalItems" in node if isinstance(items, list) else items is not None
    return Case(
        (),
        frozenset(node.get("properties", ())),
        frozenset(node.get("patternProperties", ())),
        first,
        "additionalProperties" in node or "unevaluatedProperties" in node,
        rest or "unevaluatedItems" in node,
    )


def _crossed(some: list[Case], others: list[Case], path: str) -> list[Case]:
    """Each of some cases with each of others."""
    if len(some) * len(others) > MOST_CASES:
        raise ConstraintLimit(f"the branches at {path} evaluate in more than {MOST_CASES} ways; list the properties")
    return [one.joined(other) for one, other in product(some, others)]
