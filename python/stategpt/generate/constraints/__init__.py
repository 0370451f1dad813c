"""Constraints: outputs that satisfy a schema, a pattern, a grammar or a template, by masks over the next token.

    spec = constraints.json_schema({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    constraint = spec.compile(engine.tok, engine.model.config.vocab_size, engine.end_ids)

A spec says what an output must be, a `Constraint` is the state of one output. Grammars are followed by llguidance
(extra `constraints`), over tokens that this package spells: text in a schema never becomes a control token.
"""

from __future__ import annotations

from .compiled import forget_compiled as forget_compiled
from .constraint import Constraint as Constraint
from .fill import Drafted as Drafted
from .fill import draft_then_constrain as draft_then_constrain
from .fill import fill as fill
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
from .template import Template as Template
from .template import template as template
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
