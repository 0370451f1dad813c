"""The scorer that gives 1 to a completion that is JSON and fits a JSON Schema, else 0.

The schema is the prompt's `meta["schema"]` (an object, or its text), or without one the option `schema` (text). The
draft is what `$schema` names, by default 2020-12. The whole completion must be one JSON value; NaN, Infinity, a key
twice and nesting that Python cannot read are not JSON. Regular expressions in a schema are searched in linear time, as
the scorer `regex` does; a schema with `patternProperties` is refused, and references out of the schema are not fetched.

Needs the package jsonschema, of the extra `scorers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stategpt import _native
from stategpt.data.records import Prompt
from stategpt.errors import ConfigError, InvalidArgument, ScorerError
from stategpt.evaluate.prompt_fields import place_of
from stategpt.evaluate.scorers import ScorerContext, Scores
from stategpt.extras import require

if TYPE_CHECKING:
    from stategpt.generate import Completion

OPTIONS = ("schema",)


class FitsSchema:
    """1 for JSON that fits, else 0."""

    def __init__(self, schema: str | None = None) -> None:
        self.schema = schema
        self._validators: dict[str, Any] = {}

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """1 or 0. Raises ScorerError: a prompt has no schema, or one that is none."""
        pairs = zip(prompts, completions, strict=True)
        return Scores(np.array([self._fits(prompt, each.text) for prompt, each in pairs], dtype=np.float32))

    def _fits(self, prompt: Prompt, text: str) -> bool:
        given = prompt.meta.get("schema", self.schema)
        if given is None:
            raise ScorerError(f'json_schema: {place_of(prompt)} has no meta["schema"]; give it, or the option schema')
        try:
            validator = self.validator(given if isinstance(given, str) else json.dumps(given))
        except (InvalidArgument, TypeError) as error:
            raise ScorerError(f"json_schema: the schema of {place_of(prompt)}: {error}") from error
        try:
            value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        except (ValueError, RecursionError):
            return False
        try:
            return bool(validator.is_valid(value))
        except RecursionError:
            return False
        except Exception as error:  # a reference that leads nowhere shows only when it is followed
            raise ScorerError(
                f"json_schema: the schema of {place_of(prompt)}: {type(error).__name__}: {error!s:.200}"
            ) from error

    def validator(self, schema: str) -> Any:
        """The schema, checked and compiled once. Raises InvalidArgument: it is no schema."""
        if schema not in self._validators:
            self._validators[schema] = _compiled(schema)
        return self._validators[schema]


def _compiled(text: str) -> Any:
    from jsonschema import Draft202012Validator, SchemaError, validators
    from referencing import Registry

    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"it is not JSON: {error}") from error
    if not isinstance(schema, Mapping | bool):
        raise InvalidArgument("it is neither an object nor true or false")
    draft = validators.validator_for(schema, default=Draft202012Validator)
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise InvalidArgument(f"it is no JSON Schema: {error.message:.200}") from error
    compiled = {pattern: _native.LinearPattern(pattern) for pattern in _patterns(schema)}
    linear = validators.extend(draft, {"pattern": _keyword(compiled)})
    return linear(schema, registry=Registry())


def _patterns(schema: Any) -> Iterator[str]:
    """The regular expressions of a schema. Raises InvalidArgument: it has patternProperties."""
    if isinstance(schema, Mapping):
        if "patternProperties" in schema:
            raise InvalidArgument("patternProperties is not supported; name the properties")
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
    for inner in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _patterns(inner)


def _keyword(compiled: dict[str, _native.LinearPattern]) -> Callable[[Any, str, Any, Any], Iterator[Any]]:
    """The keyword `pattern`, in linear time; `compiled` has the patterns of the schema."""
    from jsonschema import ValidationError

    def check(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
        """What is wrong with `instance`, if anything."""
        if pattern not in compiled:  # of a schema that this one refers to, such as a draft's own
            compiled[pattern] = _native.LinearPattern(pattern)
        if validator.is_type(instance, "string") and not compiled[pattern].is_found(instance):
            yield ValidationError(f"{instance!r:.60} does not match {pattern!r:.60}")

    return check


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def build(context: ScorerContext) -> FitsSchema:
    """With the options of the run. Raises ConfigError: `schema` is none; MissingExtra: jsonschema is not installed."""
    require("jsonschema", "the scorer json_schema", "scorers")
    scorer = FitsSchema(context.options.get("schema"))
    if scorer.schema is not None:
        try:
            scorer.validator(scorer.schema)
        except InvalidArgument as error:
            raise ConfigError(f"json_schema: the option schema: {error}") from error
    return scorer
