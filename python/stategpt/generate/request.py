"""What the scheduler takes and what it answers: requests, limits, events and counters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, whole
from stategpt.errors import InvalidArgument, StategptError
from stategpt.model.kept_sets import KeptSet
from stategpt.shown_fields import documented, short_repr

from .constraint import ThoughtsUsed
from .log_prob_rows import TopLogProbs
from .sampling import Sampling

if TYPE_CHECKING:
    from .constraint import Constraint
    from .handle import Handle

Top: TypeAlias = TopLogProbs

Reason = Literal["end", "stop", "length", "constraint"]

NO_IDS: Ids = np.empty(0, dtype=np.uint32)
NO_LOG_PROBS: NDArray[np.float32] = np.empty(0, dtype=np.float32)
NO_TOP = TopLogProbs(NO_IDS, NO_LOG_PROBS)


@documented
@dataclass(frozen=True)
class Request:
    """Samples of one prompt. `Engine.request` makes one of checked arguments and the model's own ids."""

    ids: Ids
    """The prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    """How tokens are drawn."""
    max_tokens: int = 256
    """Most tokens of a sample; the context may be full before."""
    stops: tuple[str, ...] = ()
    """Strings that end a sample; its text leaves them out."""
    stop_ids: tuple[int, ...] = ()
    """Ids that end a sample, beside those of the model; its text leaves them out."""
    constraint: Constraint | None = None
    """What a sample must be; each sample has a copy of it."""
    n: int = 1
    """Number of samples. The prompt is computed once for all of them."""
    stream: int = 0
    """Number of the prompt's random stream."""
    first_sample: int = 0
    """Number of the first sample: seed, stream, sample and position decide a draw."""
    first_position: int = 0
    """Position of a sample's first token, as the draws count them."""
    scope: str = ""
    """Prefixes are shared within a scope only: no request can find, or time, the prompts of another scope."""
    prompt_log_probs: bool = False
    """Whether the log-probability of each token of the prompt is computed; known prefixes are then not used."""
    raw_log_probs: bool = False
    """Whether the log-probability of each token under the model's own distribution is computed: a second softmax."""
    kept_sets: bool = False
    """Whether the ids are stored that each token was drawn among (`Completion.kept`)."""
    incremental: bool = True
    """An event for each token, with its text; False: one for each sample, when it is finished."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class Limits:
    """What a scheduler takes at a time.

    Raises:
        InvalidArgument: a limit that is no whole number above 0.
    """

    rows: int = 256
    """Samples that run at a time."""
    step_tokens: int = 2048
    """Tokens of a step: one for each running sample, the rest for prompts, which are computed in parts. Fewer make the
    steps short, more make long prompts cheap. At least a page of prompts is computed in each step."""
    waiting: int = 4096
    """Requests that wait; one more raises `QueueFull`."""
    speculate: int = 0
    """Most ids that a step proposes for each sample: those that followed its newest ids before (`ngram_draft`). They
    are accepted where they are drawn, so samples stay the same; text that repeats itself takes fewer steps. Samples
    with a constraint have none."""
    mask_threads: int | None = None
    """Threads that compute masks of constrained samples while the model computes; 0 computes them after it. None: 2,
    but 0 where the model is on a CPU, whose cores it uses itself (docs/decisions/0050)."""

    def __post_init__(self) -> None:
        for name in ("rows", "step_tokens", "waiting"):
            whole(name, getattr(self, name), 1)
        whole("speculate", self.speculate)
        if self.mask_threads is not None:
            whole("mask_threads", self.mask_threads)


@documented
@dataclass(frozen=True)
class Event:
    """What a step added to one sample of a request."""

    handle: Handle
    """The request's."""
    sample: int
    """Which sample, from 0; -1 where a request failed before it had any."""
    ids: Ids = field(default_factory=lambda: NO_IDS)
    """Tokens that were added, sampled or forced by a constraint."""
    text: str = ""
    """Text that is now certain: whole characters, nothing that may become part of a stop string."""
    log_probs: NDArray[np.float32] = field(default_factory=lambda: NO_LOG_PROBS)
    """Of each token under the distribution it was drawn from; 0 for a forced one."""
    raw_log_probs: NDArray[np.float32] = field(default_factory=lambda: NO_LOG_PROBS)
    """With `raw_log_probs`: of each token at temperature 1 with nothing removed; nan for a forced one."""
    top: tuple[Top, ...] = ()
    """The most likely tokens at each position, where the sampling says how many."""
    kept: tuple[KeptSet, ...] = ()
    """With `kept_sets`: the ids that each token was drawn among."""
    finished: Reason | None = None
    """Why the sample ended, in its last event."""
    error: StategptError | None = None
    """Why the request failed: its last event."""
    complete: bool | None = None
    """In the last event of a sample with a constraint: whether the text is a whole output."""
    thoughts: ThoughtsUsed | None = None
    """In the last event, with thoughts before the output: their tokens, and what ended them."""

    __repr__ = short_repr


@documented
@dataclass
class Counters:
    """What a scheduler did since it was made. `copy` and subtraction measure a part of it."""

    steps: int = 0
    """Calls of `step` that did something."""
    prefilled: int = 0
    """Tokens of prompts and appended texts that the model computed for the first time."""
    reused: int = 0
    """Tokens of prompts whose keys and values were known."""
    decoded: int = 0
    """Tokens that were drawn."""
    proposed: int = 0
    """Tokens that were computed before they were drawn, and not counted elsewhere."""
    accepted: int = 0
    """Those of them that were drawn."""
    forced: int = 0
    """Tokens that a constraint added without a draw."""
    recomputed: int = 0
    """Tokens that were computed again: pages had run out, or a session went back."""
    preempted: int = 0
    """Samples that gave their pages to older ones."""
    finished: int = 0
    """Samples that ended."""
    cancelled: int = 0
    """Requests that were cancelled."""
    failed: int = 0
    """Requests that ended with an error."""

    def copy(self) -> Counters:
        """Returns the present numbers."""
        return replace(self)

    def __sub__(self, earlier: Counters) -> Counters:
        names = self.__dataclass_fields__
        return Counters(**{name: getattr(self, name) - getattr(earlier, name) for name in names})


def limits_of(batch_rows: int | None, limits: Limits | None) -> Limits:
    """The limits that an engine's arguments say.

    Raises:
        InvalidArgument: both are given and differ, or something else than limits.
    """
    if limits is None:
        return Limits() if batch_rows is None else Limits(rows=whole("batch_rows", batch_rows, 1))
    if not isinstance(limits, Limits):
        raise InvalidArgument(f"limits is of type {type(limits).__name__}; give stategpt.generate.Limits(...)")
    if batch_rows is not None and batch_rows != limits.rows:
        raise InvalidArgument(f"batch_rows is {batch_rows} and limits.rows {limits.rows}; give one of them")
    return limits
