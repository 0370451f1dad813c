"""Constrained outputs of an engine: values of a template's blanks, and a draft first where a constraint is costly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stategpt.arguments import Ids, instance, real, unicode_text, whole
from stategpt.errors import IncompleteOutput
from stategpt.shown_fields import documented, short_repr

from .blanks import Template, template
from .specs import Spec
from .tax import Tax, measure_tax

if TYPE_CHECKING:
    from stategpt.generate.completion import Completion
    from stategpt.generate.engine import Engine
    from stategpt.generate.session import Session

THRESHOLD = 0.5
"""Nats a token above which a draft is written first: what is allowed had six parts in ten of the probability."""
BRIDGE = "\n\n"
"""Text between a draft and the constrained output."""


@documented
@dataclass(frozen=True)
class Drafted:
    """A constrained completion, and the draft before it if there was one."""

    completion: Completion
    """The constrained completion."""
    tax: Tax
    """What the constraint removed from it."""
    draft: Completion | None
    """What the model wrote first without the constraint; None where the tax was low."""
    first_tax: Tax
    """What the constraint removed without a draft."""

    __repr__ = short_repr


def fill(
    engine: Engine,
    text: str | Template,
    *,
    prompt: str | Ids = "",
    specs: dict[str, Spec] | None = None,
    max_tokens: int = 256,
    **settings: Any,
) -> dict[str, Any]:
    """Fills the blanks of a template behind a prompt: texts are written as they are, blanks are sampled.

    Args:
        engine: what samples.
        text: "The answer is {number:int}."; see `constraints.template`.
        prompt: what comes before, as in `Engine.generate`.
        specs: what fills blanks without a kind, by their names.
        max_tokens: most tokens of the filled template.
        settings: of sampling, such as temperature=0 or seed=1.

    Returns:
        What each blank was filled with: numbers as int or float, JSON as its value, all else as text.

    Raises:
        ConstraintError: a malformed template.
        IncompleteOutput: the text is cut, as at `max_tokens`.
        ContextOverflow, InvalidArgument, UnknownToken: as `Engine.generate`.
    """
    made = text if isinstance(text, Template) else template(text, **(specs or {}))
    completion = engine.generate([prompt], max_tokens=max_tokens, constraint=made, **settings)[0]
    return made.read(_complete(completion, max_tokens).text)


def draft_then_constrain(
    engine: Engine,
    prompt: str | Ids,
    spec: Spec,
    *,
    threshold: float = THRESHOLD,
    bridge: str = BRIDGE,
    draft_tokens: int = 256,
    max_tokens: int = 256,
    **settings: Any,
) -> Drafted:
    """Samples a constrained completion; where the constraint costs much, again behind a draft without it.

    All of it is one session: the prompt is computed once.

    Args:
        engine: what samples.
        prompt: as in `Engine.generate`.
        spec: what the completion must be.
        threshold: nats a token above which a draft is written; 0 always drafts.
        bridge: what is put between the draft and the completion.
        draft_tokens: most tokens of the draft.
        max_tokens: most tokens of a constrained completion.
        settings: of sampling.

    Raises:
        ConstraintError: the constraint is malformed.
        IncompleteOutput: a constrained completion is cut, as at `max_tokens`.
        ContextOverflow, InvalidArgument, UnknownToken: as `Engine.generate`.
    """
    instance("spec", spec, Spec, "Make one with stategpt.constraints.json_schema or another of its functions.")
    least = real("threshold", threshold)
    unicode_text("bridge", bridge)
    first_state = spec.compile(engine.tok, engine.model.config.vocab_size, engine.end_ids)
    with engine.session(prompt) as session:
        asked = session.ids
        direct, drafting = session.fork(2)
        with direct, drafting:
            first = _complete(direct.sample(max_tokens, constraint=first_state.fork(), **settings), max_tokens)
            first_tax = measure_tax(engine, asked, first.ids, first_state)
            if first_tax.per_token <= least and least > 0:
                return Drafted(first, first_tax, None, first_tax)
            draft = drafting.sample(whole("draft_tokens", draft_tokens, 1), **settings)
            _continue(drafting, draft, bridge)
            asked = drafting.ids
            second = _complete(drafting.sample(max_tokens, constraint=first_state.fork(), **settings), max_tokens)
            return Drafted(second, measure_tax(engine, asked, second.ids, first_state), draft, first_tax)


def _continue(session: Session, draft: Completion, bridge: str) -> None:
    """Takes the end of a draft back, and writes what comes after it."""
    if draft.ended:
        session.rewind(1)
    if bridge:
        session.append(bridge)


def _complete(completion: Completion, max_tokens: int) -> Completion:
    if completion.reason not in ("end", "constraint"):
        raise IncompleteOutput(
            f"the output was cut after {len(completion.ids)} tokens ({completion.reason}) and is not complete: "
            f"{completion.text[-60:]!r}. Raise max_tokens ({max_tokens}), or bound what the constraint leaves open."
        )
    return completion
