"""What the scheduler needs of a constraint: which ids may follow, and what follows without a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]


class ConstraintSpec(Protocol):
    """Says what an output must be."""

    def compile(self, tok: AnyTokenizer, model_vocab: int, ends: Sequence[int]) -> Constraint:
        """Returns the state of an output that has not begun."""
        ...


class Constraint(Protocol):
    """The state of one sample in a grammar, a template, a choice: `stategpt.generate.constraints` makes them."""

    @property
    def complete(self) -> bool:
        """Whether the sample may end here."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the sample must end here."""
        ...

    def mask(self) -> NDArray[np.uint32]:
        """Returns the ids that may follow: bit i % 32 of word i // 32 for id i."""
        ...

    def forced(self) -> Ids:
        """Returns the ids that follow whatever the model says; they are not yet taken."""
        ...

    def advance(self, token: int) -> None:
        """Takes one id that may follow."""
        ...

    def fork(self) -> Constraint:
        """Returns a copy of the state."""
        ...

    def rewind(self, tokens: int) -> None:
        """Goes back by `tokens` ids."""
        ...
