"""What a request asks of a model, after its fields were read: the form between HTTP and the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any, Protocol

from stategpt.arguments import Ids
from stategpt.shown_fields import documented, short_repr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stategpt.data import ChatTemplate
    from stategpt.tokenizer import AnyTokenizer


@documented
@dataclass(frozen=True)
class Ask:
    """`n` completions of one prompt."""

    ids: Ids
    """The prompt."""
    n: int = 1
    """Completions of it."""
    max_tokens: int = 16
    """Tokens of each, at most."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `stategpt.generate.Sampling`, those that were given."""
    stops: tuple[str, ...] = ()
    """Strings that end a completion."""
    stop_ids: tuple[int, ...] = ()
    """Ids that end a completion, beside the model's own."""
    constraint: Any = None
    """What the text must be (`stategpt.generate.constraints`), compiled."""
    stream: int = 0
    """Number of the prompt's random stream."""
    scope: str = ""
    """Requests of one scope share the cache of prefixes."""
    prompt_log_probs: bool = False
    """Whether the log-probability of each token of the prompt is wanted."""
    raw_log_probs: bool = False
    """Whether the log-probability of each sampled token is wanted."""
    incremental: bool = False
    """Whether events are wanted for each token, or one for each completion."""

    __repr__ = short_repr


class Schedules(Protocol):
    """What the worker needs of a scheduler; `stategpt.generate.scheduler.Scheduler` is one."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        ...

    def submit(self, request: Any) -> Any:
        """Takes a request; returns its handle."""
        ...

    def step(self) -> Sequence[Any]:
        """Computes one step of all that runs; returns its events."""
        ...

    def cancel(self, handle: Any) -> None:
        """Ends a request and frees its pages."""
        ...


@documented
@dataclass(frozen=True)
class Served:
    """A model that is served under a name."""

    name: str
    """What requests call it."""
    tok: AnyTokenizer
    """Its tokenizer."""
    chat: ChatTemplate | None
    """Its chat format; None for a model that only continues documents."""
    context_tokens: int
    """Tokens that it reads, prompt and completion together."""
    begin: int | None
    """Id put before a document."""
    new_scheduler: Callable[[], Schedules]
    """Makes its scheduler; called again if one failed."""
    new_request: Callable[[Ask], Any]
    """Makes the scheduler's request."""
    compile: Callable[[str, Any], Any]
    """Compiles a constraint: its kind (json_schema, regex, grammar, choice, tool_calls) and its content."""
    embed: Callable[[Sequence[Ids]], NDArray[np.float32]]
    """Embeddings of texts, one row each, of length 1."""
    gauges: Callable[[Schedules], Mapping[str, float]]
    """Numbers of its scheduler for /metrics: pages, tokens."""
    root: str = ""
    """Name of the model whose weights an adapter changes; empty for a model itself."""
    created: int = 0
    """Time of its files, in seconds since 1970."""

    __repr__ = short_repr

    def text_ids(self, text: str) -> Ids:
        """The ids of the beginning of a document; what spells a control token stays text."""
        import numpy as np

        start = np.array([] if self.begin is None else [self.begin], dtype=np.uint32)
        return np.concatenate([start, self.tok.encode(text)])


@documented
@dataclass(slots=True)
class Choice:
    """One completion as far as it has come."""

    stop_ids: tuple[int, ...] = ()
    """Ids that end it and are no part of its text, beside the model's own."""
    ids: list[int] = field(default_factory=list)
    """Its tokens."""
    text: str = ""
    """Its text."""
    log_probs: list[float] = field(default_factory=list)
    """Log-probability of each token, as the model gives it; 0 where the constraint left one token."""
    top: list[tuple[Sequence[int], Sequence[float]]] = field(default_factory=list)
    """The most likely ids at each token with their log-probabilities, where they were wanted."""
    finished: str | None = None
    """Why it ended: "end", "stop", "constraint" or "length"."""
    prompt_log_probs: Sequence[float] = ()
    """Of each token of the prompt, where they were wanted; of the first it means nothing."""

    def add(self, event: Any) -> None:
        """Appends what an event of the scheduler brings."""
        self.ids += event.ids.tolist()
        self.text += event.text
        self.log_probs += [0.0 if isnan(value) else value for value in event.raw_log_probs.tolist()]
        self.top += event.top
        if event.finished is not None:
            self.finished = event.finished
            self.prompt_log_probs = () if event.handle.prompt_log_probs is None else event.handle.prompt_log_probs

    @property
    def shown(self) -> int:
        """Tokens that are part of the answer: all but an end id."""
        ends = self.finished == "end" or (self.finished == "stop" and self.ids[-1:] and self.ids[-1] in self.stop_ids)
        return len(self.ids) - bool(ends)


def total(values: Iterable[int]) -> int:
    """The sum, as an int."""
    return sum(int(value) for value in values)
