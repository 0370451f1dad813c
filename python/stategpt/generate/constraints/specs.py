"""What an output must be, as frozen values: a schema, a pattern, a grammar, a choice, a quote, thoughts and then one.

A spec is made without a tokenizer; `compile` makes a `Constraint` for one.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stategpt.arguments import Ids, one_of, several, unicode_text, whole
from stategpt.errors import ConstraintError, ConstraintLimit, IncompleteOutput, InvalidArgument
from stategpt.tokenizer.tokenizer import AnyTokenizer

from .gbnf import is_gbnf, lark_of_gbnf
from .lark import Builder, alternatives, as_pattern, check_pattern, check_size, checked_lark, escaped
from .limits import Limits
from .matched import Constraint
from .schema import checked_schema, grammar_schema
from .thoughts import ThoughtsFormat

Json = Any


@dataclass(frozen=True)
class Spec(ABC):
    """What an output must be."""

    def compile(
        self, tok: AnyTokenizer, model_vocab: int, ends: Sequence[int] | Ids, limits: Limits | None = None
    ) -> Constraint:
        """Makes a constraint in its first state; compiled grammars are kept, so the same spec is fast afterwards.

        Args:
            tok: the model's tokenizer.
            model_vocab: number of ids that the model gives logits for.
            ends: ids that end a completion, as `Engine.end_ids`; allowed exactly where the output is complete.
            limits: what it may cost.

        Raises:
            UnsupportedSchema: a keyword of a JSON schema is not enforced.
            ConstraintLimit: it is too large, too deep or too costly.
            ConstraintError: it is malformed, or nothing satisfies it.
            MissingExtra: llguidance is not installed.
        """
        from .compiled import compiled

        return compiled(self, tok, model_vocab, ends, limits or Limits())

    @abstractmethod
    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""

    def regular(self, builder: Builder) -> str | None:
        """Returns it as the body of a terminal; None where it is not a regular language."""
        return None

    @property
    def python_pattern(self) -> str:
        """A pattern of Python's `re` that finds it in a text that satisfies it; used to read blanks."""
        return "(?s:.+?)"

    def read(self, text: str) -> Json:
        """Returns the value of a blank filled with it."""
        return text

    def json_start(self) -> JsonStart | None:
        """Where JSON begins in the output, for the check of keys; None where it holds none."""
        return None

    def thoughts(self) -> ThoughtsFormat | None:
        """The thoughts that the output begins with; None where it has none."""
        return None


@dataclass(frozen=True)
class JsonStart:
    """Where JSON begins in an output: at its beginning, or behind each of these texts or control tokens."""

    behind: str = ""
    repeated: bool = False


@dataclass(frozen=True)
class _Regular(Spec):
    """A spec that is one terminal."""

    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""
        body = self.regular(builder)
        assert body is not None
        return builder.terminal(body)


@dataclass(frozen=True)
class JsonSchema(Spec):
    """JSON that satisfies a schema. Made by `json_schema`."""

    schema: str
    """The schema as JSON."""
    item_separator: str = ","
    key_separator: str = ":"

    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""
        check_size("the schema", self.schema, builder.limits)
        return f"%json {self.body(builder.limits)}"

    def body(self, limits: Limits) -> str:
        """Returns the checked schema, as a grammar holds it."""
        checked = checked_schema(_parsed(self.schema), limits)
        return grammar_schema(checked, re.escape(self.item_separator), re.escape(self.key_separator))

    def read(self, text: str) -> Json:
        """Parses the JSON.

        Raises:
            IncompleteOutput: the text was cut.
        """
        try:
            return json.loads(text)
        except ValueError as error:
            raise IncompleteOutput(f"the JSON {text[-60:]!r} is not complete ({error}); it may have been cut") from None

    def json_start(self) -> JsonStart | None:
        """Where JSON begins in the output."""
        return JsonStart()


@dataclass(frozen=True)
class Regex(_Regular):
    """Text that a regular expression matches as a whole. Made by `regex`."""

    pattern: str

    def regular(self, builder: Builder) -> str:
        """Returns it as the body of a terminal."""
        check_size("the pattern", self.pattern, builder.limits)
        check_pattern("the pattern", self.pattern, builder.limits)
        return as_pattern(self.pattern)

    @property
    def python_pattern(self) -> str:
        """A pattern of Python's `re` that finds it."""
        return f"(?:{self.pattern})"


@dataclass(frozen=True)
class Choice(_Regular):
    """One of several texts. Made by `choice`."""

    options: tuple[str, ...]

    def regular(self, builder: Builder) -> str:
        """Returns it as the body of a terminal."""
        if len(self.options) > builder.limits.items:
            raise ConstraintLimit(
                f"a choice of {len(self.options):,} texts; the limit items is {builder.limits.items:,}"
            )
        check_size("the choice", "".join(self.options), builder.limits)
        return alternatives(self.options)

    @property
    def python_pattern(self) -> str:
        """A pattern of Python's `re` that finds it."""
        return "(?:" + "|".join(re.escape(text) for text in sorted(self.options, key=len, reverse=True)) + ")"


@dataclass(frozen=True)
class Substring(_Regular):
    """A part of a text, word for word. Made by `substring`."""

    text: str
    unit: Literal["word", "character"] = "word"

    def regular(self, builder: Builder) -> str:
        """Returns it as the body of a terminal."""
        check_size("the text", self.text, builder.limits)
        parts = json.dumps({f"substring_{'words' if self.unit == 'word' else 'chars'}": self.text}, ensure_ascii=True)
        return f"(%regex {parts} & /(?s:.*)\\S(?s:.*)/)"


@dataclass(frozen=True)
class Grammar(Spec):
    """Text that a grammar derives. Made by `grammar`."""

    text: str

    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""
        check_size("the grammar", self.text, builder.limits)
        lark = lark_of_gbnf(self.text, builder.limits) if is_gbnf(self.text) else self.text
        return builder.subgrammar(checked_lark(lark, builder.limits))


@dataclass(frozen=True)
class ThinkThen(Spec):
    """Free text up to a marker, then an output. Made by `think_then`."""

    inner: Spec
    begin: str
    end: str
    gap: str
    budget_tokens: int | None = None

    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""
        builder.budgets += self.budget_tokens is not None
        parts = [builder.marker(self.begin)[0]] if self.begin else []
        marker, is_token = builder.marker(self.end)
        if is_token:
            parts += [builder.terminal("/(?s:.*)/"), marker]
        else:  # the shortest text with the marker: the first one ends the thoughts
            parts.append(builder.rule(f"/(?s:.*){escaped(self.end)}/", "[lazy]"))
        if self.gap:
            parts.append(builder.terminal(f"({' | '.join(_gaps(self.gap))})") + "?")
        return " ".join([*parts, self.inner.expression(builder)])

    def json_start(self) -> JsonStart | None:
        """Where JSON begins in the output."""
        inner = self.inner.json_start()
        return None if inner is None else JsonStart(self.end + inner.behind, inner.repeated)

    def thoughts(self) -> ThoughtsFormat:
        """What they begin and end with, and their budget."""
        return ThoughtsFormat(self.begin, self.end, self.budget_tokens)

    def read(self, text: str) -> Json:
        """Reads what comes after the thoughts."""
        return self.inner.read(text.partition(self.end)[2].lstrip(self.gap or None))


def _gaps(gap: str) -> list[str]:
    from .lark import quoted

    return [quoted(gap[:length]) for length in range(1, len(gap) + 1)]


def json_schema(schema: Json, *, spaces: bool = False) -> JsonSchema:
    """JSON that satisfies a schema, without white space between its parts.

    Properties come in the order of the schema. Keywords that are not enforced are an error when it is compiled.

    Args:
        schema: an object, its JSON text, true, or a class with `model_json_schema()` (pydantic).
        spaces: a space behind each `,` and `:`, as `json.dumps` writes.

    Example:
        >>> json_schema({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
        JsonSchema(schema='{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}', \
item_separator=',', key_separator=':')

    Raises:
        ConstraintError: it is no JSON.
    """
    if hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    if isinstance(schema, str | bytes):
        text = schema.decode(errors="replace") if isinstance(schema, bytes) else schema
        _parsed(text)
    else:
        text = dumped(schema)
    return JsonSchema(text, *((", ", ": ") if spaces else (",", ":")))


def dumped(value: Json) -> str:
    """Returns JSON of a schema, in the order of its keys.

    Raises:
        ConstraintError: it is no JSON, or nested too deep for any limit.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConstraintError(f"the schema is no JSON: {error}") from None


def _parsed(text: str) -> Json:
    def refuse(name: str) -> Json:
        raise ValueError(f"{name} is no number of JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ConstraintError(f"the schema is no JSON: {error}") from None


def regex(pattern: str) -> Regex:
    """Text that a regular expression matches from its beginning to its end (syntax of Rust's `regex`, no lookaround).

    Raises:
        InvalidArgument: it is no text.
    """
    return Regex(unicode_text("pattern", pattern))


def grammar(text: str) -> Grammar:
    """Text that a grammar derives from `start`: Lark as llguidance reads it, or GBNF (from `root`), which has `::=`.

    Example:
        >>> grammar('start: "(" start ")" | "x"').text
        'start: "(" start ")" | "x"'
    """
    return Grammar(unicode_text("grammar", text))


def choice(options: Iterable[str]) -> Choice:
    """One of several texts.

    Raises:
        InvalidArgument: one text instead of several, an empty one, none.
    """
    several("options", options)
    held = tuple(dict.fromkeys(unicode_text("an option", option) for option in options))
    if not held or not all(held):
        raise InvalidArgument(f"options are {list(held)!r:.80}; give at least one text, none of them empty")
    return Choice(held)


def substring(text: str, unit: Literal["word", "character"] = "word") -> Substring:
    """A part of a text, word for word: a quote that cannot be made up.

    Args:
        text: what is quoted.
        unit: what a quote may begin and end with: a word, or any character.

    Raises:
        InvalidArgument: the text has no word.
    """
    one_of("unit", unit, ("word", "character"))
    if not unicode_text("text", text).strip():
        raise InvalidArgument("text is empty; give the text that is quoted from")
    return Substring(text, unit)


def think_then(
    inner: Spec, *, begin: str = "", end: str = "</think>", gap: str = "\n\n", max_tokens: int | None = None
) -> ThinkThen:
    """Free text up to `end`, then `inner`: one state machine, so the change cannot be missed.

    Args:
        inner: what comes after the thoughts.
        begin: what the output begins with, such as "<think>"; empty where the prompt ends with it.
        end: what ends the thoughts: the token of that name where the tokenizer has one, else that text.
        gap: what may stand between `end` and `inner`, or a beginning of it.
        max_tokens: budget of the thoughts: when they took that many tokens, `end` is forced, and the completion says so
            (`Completion.thoughts`). None: nothing but the model ends them, and a completion whose `max_tokens` they use
            up holds no output. With a budget, a request with too few tokens for both is an error.

    Raises:
        InvalidArgument: `inner` is no spec, `end` is empty, or a budget below 0.
    """
    if not isinstance(inner, Spec):
        raise InvalidArgument(f"inner is of type {type(inner).__name__}; give a spec, such as json_schema(...)")
    if not unicode_text("end", end):
        raise InvalidArgument("end is empty; give what ends the thoughts, such as '</think>'")
    budget = None if max_tokens is None else whole("max_tokens", max_tokens)
    return ThinkThen(inner, unicode_text("begin", begin), end, unicode_text("gap", gap), budget)
