"""Compiles specs, and keeps the last ones: a server sees the same schema in most requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stategpt.arguments import Ids
from stategpt.errors import ConstraintError, ConstraintLimit
from stategpt.extras import require
from stategpt.tokenizer.tokenizer import AnyTokenizer

from .json_text import JsonGuard
from .lark import Builder
from .limits import Limits
from .matched import Compiled, Constraint
from .thoughts import ThoughtsGuard
from .vocabulary import Vocabulary, vocabulary

if TYPE_CHECKING:
    from .specs import Spec

KEPT = 128
"""Compiled grammars that are kept, least recently used first out."""
_LIMIT_WORDS = ("too large", "too big", "too complex", "limit", "fuel", "exceed", "too many", "stack level")

_lock = threading.Lock()
_made: OrderedDict[tuple[Spec, str, Limits], Compiled] = OrderedDict()


def compiled(spec: Spec, tok: AnyTokenizer, model_vocab: int, ends: Sequence[int] | Ids, limits: Limits) -> Constraint:
    """Returns a constraint in its first state; `Spec.compile`."""
    require("llguidance", "A constraint", "constraints")
    known = vocabulary(tok, model_vocab, tuple(map(int, ends)))
    key = (spec, known.fingerprint, limits)
    with _lock:
        if key in _made:
            _made.move_to_end(key)
            return _made[key].start()
    made = _compile(spec, known, limits)
    with _lock:
        _made[key] = made
        while len(_made) > KEPT:
            _made.popitem(last=False)
    return made.start()


def forget_compiled() -> None:
    """Empties what is kept."""
    with _lock:
        _made.clear()


def _compile(spec: Spec, known: Vocabulary, limits: Limits) -> Compiled:
    builder = Builder(known, limits)
    expression = spec.expression(builder)
    matcher = _matcher(known, builder.grammar(expression), limits)
    allowed = known.plain | known.mask_of(builder.controls)
    allowed.flags.writeable = False
    start, thoughts = spec.json_start(), spec.thoughts()
    budgets = 0 if thoughts is None or thoughts.budget_tokens is None else 1
    if builder.budgets != budgets:
        raise ConstraintError(
            "a budget of thoughts is kept where the output begins with them, not inside a template or other thoughts; "
            "give think_then(...) itself as the constraint, or leave max_tokens out"
        )
    return Compiled(
        known,
        limits,
        matcher,
        allowed,
        None if start is None else JsonGuard(known, start),
        None if thoughts is None else ThoughtsGuard(known, thoughts),
    )


def _matcher(known: Vocabulary, grammar: str, limits: Limits) -> Any:
    import llguidance

    made = llguidance.LLMatcher(
        known.library,
        grammar,
        log_level=0,
        limits=llguidance.LLParserLimits(
            initial_lexer_fuel=limits.lexer_fuel,
            step_lexer_fuel=limits.step_fuel,
            step_max_items=limits.step_items,
            max_lexer_states=limits.lexer_states,
            max_grammar_size=limits.grammar_symbols,
            verbose_errors=False,
        ),
    )
    if made.is_error():
        _refuse(str(made.get_error()))
    # The first mask finds an empty language; the automata that it builds are in every copy.
    made.compute_bitmask()
    if made.is_error() or (made.is_stopped() and not made.is_accepting()):
        told = "".join(str(made.get_error()).splitlines()[:1])
        if any(word in told.lower() for word in _LIMIT_WORDS):
            raise ConstraintLimit(
                f"the first token takes more work than the limits allow: {told}. Simplify the constraint."
            )
        raise ConstraintError("nothing satisfies this constraint, or nothing that the vocabulary can spell")
    return made


def _refuse(error: str) -> None:
    lines = [line for line in error.split("<backtrace>")[0].splitlines() if line and not line.startswith("<")]
    whole = " ".join(line.strip() for line in lines).partition("failed to compile JSON schema: ")
    told = (whole[2] or whole[0])[:400]
    if any(word in told.lower() for word in _LIMIT_WORDS):
        raise ConstraintLimit(f"the constraint is too costly to compile: {told}. Simplify it, or raise the limit.")
    if "oneOf" in told:
        told += ". oneOf is enforced where at most one option can match: give them a property with different consts"
    raise ConstraintError(f"the constraint cannot be compiled: {told}")
