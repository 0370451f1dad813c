"""What techniques, the command line and the server need of a model: ours, or one behind an endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids
from stategpt.data import ChatTemplate

from .completion import Completion


class LanguageModel(Protocol):
    """A model that continues prompts and scores continuations; `Engine` is one."""

    @property
    def chat(self) -> ChatTemplate | None:
        """How messages become prompts; None where the backend renders them, or the model has no format."""
        ...

    def generate(
        self,
        prompts: Sequence[str | Ids],
        n: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 48,
    ) -> list[Completion]:
        """Samples `n` completions of each prompt; those of one prompt are next to each other."""
        ...

    def stream(
        self,
        prompt: str | Ids,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 256,
    ) -> Iterator[str]:
        """Yields one completion's text in pieces, as it is sampled."""
        ...

    def score(self, prompts: Sequence[str | Ids], continuations: Sequence[str | Ids]) -> list[NDArray[np.float32]]:
        """Log-probability of each token of each continuation behind its prompt."""
        ...
