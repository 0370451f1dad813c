"""What a sampler needs of a constraint: which ids may follow, and what follows without a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

Mask = NDArray[np.uint32]
"""Bit i of word i // 32 is set where token i is allowed."""


ThoughtsEnd = Literal["model", "budget"]


class ThoughtsUsed(NamedTuple):
    """What free thoughts before a constrained output took."""

    tokens: int
    """Their tokens: behind what begins them, without an end marker that is a control token or was forced."""
    ended_by: ThoughtsEnd | None
    """"model": it wrote the end marker; "budget": the marker was forced, so they may stop in the middle; None: they had
    not ended when the completion did."""


class Constraint(Protocol):
    """The state of one output: what may come next, and what was written."""

    def mask(self) -> Mask:
        """Returns which tokens may come next: uint32[(V + 31) // 32]. Never empty; the caller does not change it.

        It is kept until the next token: the scheduler calls it in another thread while the model computes, never at the
        same time as another method, and then once more.
        """
        ...

    def advance(self, token: int) -> None:
        """Takes the next token.

        Raises:
            ConstraintError: it is not allowed; the state is as before.
            ConstraintLimit: following it takes more work than the limits allow.
        """
        ...

    def forced(self) -> Ids:
        """Returns the tokens that must come next, which need no model: uint32[n], often empty."""
        ...

    def fork(self) -> Constraint:
        """Returns an independent copy."""
        ...

    def rewind(self, tokens: int) -> None:
        """Takes back the last tokens.

        Raises:
            InvalidArgument: there are fewer.
        """
        ...

    @property
    def complete(self) -> bool:
        """Whether the output may end here: the end ids are in the mask exactly then."""
        ...

    @property
    def finished(self) -> bool:
        """Whether it must end here: nothing but the end ids is in the mask."""
        ...

    @property
    def thoughts(self) -> ThoughtsUsed | None:
        """What free thoughts took so far; None where the output has none."""
        ...

    @property
    def reserved_tokens(self) -> int:
        """Most tokens that come before the constrained output begins; 0 where nothing does, or nothing bounds it."""
        ...

    @property
    def text(self) -> str:
        """What was written, without control tokens and the end."""
        ...


class ConstraintSpec(Protocol):
    """Says what an output must be."""

    def compile(self, tok: AnyTokenizer, model_vocab: int, ends: Sequence[int]) -> Constraint:
        """Returns the state of an output that has not begun."""
        ...
