"""Shows the progress of `stategpt tokenizer train`: phase, rate, time left."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from stategpt.progress import Advance, progress

_MEGABYTE = 1_000_000


class TrainingShown:
    """Shows each phase of `Tokenizer.train(progress=...)`: counting in MB, merging in merges."""

    def __init__(self) -> None:
        self._phase = ""
        self._open = ExitStack()
        self._advance: Advance | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Shows `done` of `total` units of `phase`."""
        if phase == "merging" and not total:
            return  # the word counts are being written; the number of merges is not known yet
        scale, unit = (_MEGABYTE, "MB") if phase == "counting" else (1, "merges")
        units = -(-total // scale)
        if phase != self._phase:
            self._open.close()
            self._phase = phase
            self._advance = self._open.enter_context(progress(f"tokenizer: {phase}", units, unit))
        if self._advance is not None:
            self._advance(units if done >= total else done // scale, "")
