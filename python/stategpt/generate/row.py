"""One running sample of a request: its tokens so far, and what ends it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids
from stategpt.model.kept_sets import KeptSet

from .branch import Branch
from .ngram_draft import speculated_rows
from .request import NO_IDS, NO_LOG_PROBS, NO_TOP, Event, Reason, Top
from .sampling import SampledRow
from .speculation import Guesses

if TYPE_CHECKING:
    from .constraint import Constraint
    from .detokenized_stream import DetokenizedStream
    from .task import Task


class Row:
    """A sample from its first draw to its last: `branch` holds its tokens, the lists what is known of each."""

    __slots__ = (
        "branch",
        "constraint",
        "draw",
        "guesses",
        "kept",
        "log_probs",
        "most",
        "raw_log_probs",
        "reason",
        "sample",
        "shown",
        "task",
        "text",
        "text_tokens",
        "top",
    )

    def __init__(
        self, task: Task, sample: int, branch: Branch, text: DetokenizedStream | None, constraint: Constraint | None
    ) -> None:
        request = task.request
        self.task, self.sample, self.branch, self.text, self.constraint = task, sample, branch, text, constraint
        branch.generated = []
        self.draw = SampledRow(
            request.sampling,
            stream=request.stream,
            sample=request.first_sample + sample,
            position=request.first_position,
            prompt=request.ids,
            generated=branch.generated,
            ends=task.all_ends,
        )
        self.guesses: Guesses | None = None
        self.most = task.most
        self.log_probs: list[float] = []
        self.raw_log_probs: list[float] = []
        self.top: list[Top] = []
        self.kept: list[KeptSet] = []
        self.reason: Reason | None = None
        self.shown = 0
        """Tokens that were in an event."""
        self.text_tokens = 0
        """Tokens that belong to the text: all but an end id."""

    def guess(self, most: int) -> Ids:
        """At most `most` ids that may follow, fewer than are left to be drawn; none with a constraint."""
        room = min(most, self.most - len(self.branch.generated) - 1)
        if room < 1 or self.constraint is not None:
            return NO_IDS
        if self.guesses is None:
            self.guesses = Guesses()
        return self.guesses.propose(self.branch, room)

    def draws(self, guessed: Ids) -> list[SampledRow]:
        """What the next token is drawn by, and one after each guess."""
        return speculated_rows(self.draw, guessed) if len(guessed) else [self.draw]

    def forget_guesses(self, before: int, guessed: int) -> int:
        """Removes keys of guesses that were not drawn, after a draw at length `before`. -> how many were drawn."""
        if not guessed or self.guesses is None:
            return 0
        drawn = len(self.branch) - before - 1  # the last token was drawn, not guessed
        self.branch.sequence.truncate(before + drawn)
        self.guesses.learn(guessed, drawn)
        return drawn

    def take(self, token: int, log_prob: float) -> None:
        """Adds a token that was drawn; sets `reason` if it is the last."""
        self._add(token, log_prob)
        task = self.task
        if token in task.ends:
            self.reason = "end"
            return
        if token in task.stop_ids:
            self.reason = "stop"
            return
        if self.constraint is not None:
            self.constraint.advance(token)
        self._follow(token)

    def take_forced(self) -> int:
        """Adds what the constraint says whatever the model thinks. -> how many tokens."""
        constraint, count = self.constraint, 0
        if constraint is None:
            return 0
        while self.reason is None:
            if constraint.finished:
                self.reason = "constraint"
                break
            forced = constraint.forced()
            if len(forced) == 0:
                break
            for token in forced.tolist():
                self._add(token, 0.0)
                self.raw_log_probs.append(math.nan)
                if self.task.request.sampling.top_log_probs:
                    self.top.append(NO_TOP)
                if self.task.request.kept_sets:
                    self.kept.append(KeptSet(np.array([token], dtype=np.uint32), is_removed=False))
                constraint.advance(token)
                self._follow(token)
                count += 1
                if self.reason is not None:
                    break
        return count

    def _add(self, token: int, log_prob: float) -> None:
        branch = self.branch
        branch.generated.append(token)
        branch.accounted += 1
        branch.hidden_W = None
        self.draw.position += 1
        self.log_probs.append(log_prob)

    def _follow(self, token: int) -> None:
        """Adds a token to the text; ends the sample at a stop string, a finished constraint and the limit."""
        self.text_tokens += 1
        if self.text is not None:
            self.text.push(token)
            if self.text.stopped:
                self.reason = "stop"
                return
        if self.constraint is not None and self.constraint.finished:
            self.reason = "constraint"
        elif len(self.branch.generated) >= self.most:
            self.reason = "length"

    def event(self) -> Event:
        """What came since the last event."""
        first, self.shown = self.shown, len(self.log_probs)
        text = self.text
        if self.reason is not None and text is not None:
            text.finish()
        return Event(
            self.task.handle,
            self.sample,
            np.array(self.branch.generated[first:], dtype=np.uint32),
            self._text() if text is None else text.take(),
            np.array(self.log_probs[first:], dtype=np.float32),
            self._raw(first),
            tuple(self.top[first:]),
            tuple(self.kept[first:]),
            self.reason,
            complete=self._complete(),
            thoughts=None if self.reason is None or self.constraint is None else self.constraint.thoughts,
        )

    def _complete(self) -> bool | None:
        """Whether the text is a whole output; None without a constraint, or before the end."""
        if self.reason is None or self.constraint is None:
            return None
        was_cut = self.text is not None and self.text.stopped
        return not was_cut and self.constraint.complete

    def _raw(self, first: int) -> NDArray[np.float32]:
        wanted = self.task.request.raw_log_probs
        return np.array(self.raw_log_probs[first : self.shown], dtype=np.float32) if wanted else NO_LOG_PROBS

    def _text(self) -> str:
        """Where nobody followed the text: all of it, at the end."""
        ids = np.array(self.branch.generated[: self.text_tokens], dtype=np.uint32)
        return self.task.tok.decode(ids)
