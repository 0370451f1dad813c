"""Constraints: outputs that satisfy a schema, a pattern, a grammar or a template, by masks over the next token.

    spec = constraints.json_schema({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    constraint = spec.compile(engine.tok, engine.model.config.vocab_size, engine.end_ids)

A spec says what an output must be, a `Constraint` is the state of one output. Grammars are followed by llguidance
(extra `constraints`), over tokens that this package spells: text in a schema never becomes a control token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from stategpt.generate.constraint import Constraint as Constraint

    from .blanks import Template as Template
    from .blanks import template as template
    from .compiled import forget_compiled as forget_compiled
    from .filling import Drafted as Drafted
    from .filling import draft_then_constrain as draft_then_constrain
    from .filling import fill as fill
    from .limits import Limits as Limits
    from .matched import MatchedConstraint as MatchedConstraint
    from .specs import Spec as Spec
    from .specs import choice as choice
    from .specs import grammar as grammar
    from .specs import json_schema as json_schema
    from .specs import regex as regex
    from .specs import substring as substring
    from .specs import think_then as think_then
    from .tax import Tax as Tax
    from .tax import measure_tax as measure_tax
    from .tools import ToolCalls as ToolCalls
    from .tools import tool_calls as tool_calls

__all__ = [
    "Constraint",
    "Drafted",
    "Limits",
    "MatchedConstraint",
    "Spec",
    "Tax",
    "Template",
    "ToolCalls",
    "choice",
    "draft_then_constrain",
    "fill",
    "forget_compiled",
    "grammar",
    "json_schema",
    "measure_tax",
    "regex",
    "substring",
    "template",
    "think_then",
    "tool_calls",
]
# Imported at first use: making and compiling specs loads no torch.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "blanks": ("Template", "template"),
        "compiled": ("forget_compiled",),
        "filling": ("Drafted", "draft_then_constrain", "fill"),
        "limits": ("Limits",),
        "matched": ("Constraint", "MatchedConstraint"),
        "specs": ("Spec", "choice", "grammar", "json_schema", "regex", "substring", "think_then"),
        "tax": ("Tax", "measure_tax"),
        "tools": ("ToolCalls", "tool_calls"),
    },
)
