"""Where references of a JSON schema point to: JSON pointers, anchors, and schemas with an identifier of their own.

A schema with `$id` is a resource: references in it are relative to its URI (RFC 3986). Resources of the same document
are found by their URIs; nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urljoin

from stategpt.errors import ConstraintError, UnsupportedSchema

Json = Any

ONE = (
    *("items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
)
"""Keywords that hold a schema."""
SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
"""Keywords that hold a list of schemas."""
NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
"""Keywords that hold schemas by names."""


class References:
    """The resources and anchors of one document."""

    def __init__(self, root: Json, *, old: bool | None, depth: int) -> None:
        """`old`: the draft is before 2019-09, where `$ref` hides what is beside it; None if it is not declared.
        `depth`: deepest nesting.
        """
        self._root, self._old, self._depth = root, old, depth
        self._bases: dict[str, str] = {"#": ""}
        """URI of each resource, by the pointer to it."""
        self._places: dict[str, str] = {"": "#"}
        """Pointer of each resource and anchor, by its URI."""
        for path, node in _schemas(root, depth):
            self._enter(path, node)

    @property
    def is_one_resource(self) -> bool:
        """Whether no schema inside has a URI by an $id: then dynamic references are those of `$ref`."""
        return len(self._bases) == 1

    def is_resource(self, path: str) -> bool:
        """Whether the schema at a place has a URI by an $id that references in it are relative to."""
        return path in self._bases

    def find(self, reference: str, path: str) -> tuple[str, Json]:
        """Returns the pointer that a reference at `path` means, and what is there.

        Raises:
            UnsupportedSchema: it is in another document.
            ConstraintError: this one has no such place.
        """
        base = self._base(path)
        uri, _, fragment = (base + reference if reference.startswith("#") else urljoin(base, reference)).partition("#")
        place = self._places.get(uri)
        if place is None:
            raise UnsupportedSchema(
                f"{path} is {reference!r}; references are followed inside the schema only, as #/$defs/NAME, and "
                f"nothing in it has the $id {uri!r}"
            )
        if not fragment or fragment.startswith("/"):
            pointer = place + "".join(f"/{escaped(_key(part))}" for part in fragment.split("/")[1:])
        elif f"{uri}#{fragment}" in self._places:
            pointer = self._places[f"{uri}#{fragment}"]
        else:
            raise ConstraintError(
                f"{path} refers to {reference}, and nothing in the schema has the $anchor {fragment!r}"
            )
        return pointer, self._at(pointer, reference, path)

    def _at(self, pointer: str, reference: str, path: str) -> Json:
        """What a JSON pointer (RFC 6901) points to."""
        node = self._root
        for part in pointer.split("/")[1:]:
            key = _unescaped(part)
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise ConstraintError(f"{path} refers to {reference}, which is not in the schema")
        return node

    def _base(self, path: str) -> str:
        """The URI that references at a place are relative to: that of the innermost resource around it."""
        while path not in self._bases:
            path = path.rpartition("/")[0]
        return self._bases[path]

    def _enter(self, path: str, node: dict[str, Json]) -> None:
        identity = node.get("$id", node.get("id"))
        if self._old is None and isinstance(identity, str) and "$ref" in node and path != "#":
            raise UnsupportedSchema(
                f"{path} has an $id beside $ref, which drafts before 2019-09 ignore: declare the draft by $schema"
            )
        if isinstance(identity, str) and not (self._old and "$ref" in node):
            if identity.startswith("#") and len(identity) > 1:  # an anchor of drafts 6 and 7
                self._name(f"{self._base(path)}{identity}", path)
            else:
                uri, _, fragment = urljoin(self._base(path), identity).partition("#")
                if fragment:
                    raise UnsupportedSchema(f"$id at {path} is {identity!r}, which has a fragment; write an $anchor")
                self._bases[path] = uri
                if path == "#":
                    self._places.pop("", None)
                self._name(uri, path)
        for key in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(key), str):
                self._name(f"{self._base(path)}#{node[key]}", path)

    def _name(self, uri: str, path: str) -> None:
        if self._places.setdefault(uri, path) != path:
            raise ConstraintError(f"{self._places[uri]} and {path} are both called {uri!r}; each has another name")


def _schemas(root: Json, depth: int) -> Iterator[tuple[str, dict[str, Json]]]:
    """Every schema of a document with its pointer, outer ones first; none that is nested deeper than allowed."""
    waiting: list[tuple[str, Json, int]] = [("#", root, 0)]
    for path, node, level in waiting:
        if not isinstance(node, dict) or level > depth:
            continue
        yield path, node
        for key in (*ONE, *NAMED, *SEVERAL):
            value, place = node.get(key), f"{path}/{escaped(key)}"
            if key in NAMED and isinstance(value, dict):
                waiting += [(f"{place}/{escaped(name)}", item, level + 1) for name, item in value.items()]
            elif key in SEVERAL and isinstance(value, list):
                waiting += [(f"{place}/{number}", item, level + 1) for number, item in enumerate(value)]
            elif key in ONE and isinstance(value, dict):
                waiting.append((place, value, level + 1))


def _key(part: str) -> str:
    """A part of a JSON pointer in the fragment of a URI."""
    return _unescaped(unquote(part))


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def escaped(name: str) -> str:
    """Returns a name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
