"""A request while the scheduler works on it: its prompt, computed once, and its samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stategpt.arguments import Ids

from .branch import Branch
from .detokenized_stream import DetokenizedStream
from .handle import Handle
from .pages import PAGE_TOKENS
from .request import Event
from .row import Row

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

Deliver = Callable[[Event], None]


class Task:
    """States: waiting (no stem), prefilling (its stem has pending ids), ready (samples start from the stem's hidden
    state), running (all have started). Preempted samples wait in the scheduler.
    """

    def __init__(
        self,
        handle: Handle,
        tok: AnyTokenizer,
        ends: frozenset[int],
        context_tokens: int,
        generation: int,
        deliver: Deliver | None,
    ) -> None:
        request = handle.request
        self.handle, self.request, self.tok, self.generation, self.deliver = handle, request, tok, generation, deliver
        self.order = handle.number
        self.ends, self.stop_ids = ends, frozenset(request.stop_ids)
        self.all_ends = tuple(sorted(ends | self.stop_ids))
        self.most = min(request.max_tokens, context_tokens - len(request.ids))
        self.samples = request.n
        self.started = 0
        """Samples that have begun."""
        self.running = 0
        """Samples that have begun and not finished, preempted ones too."""
        self.claim = 0
        """Slots that are kept for its samples while its prompt is computed."""
        self.source: Branch | None = None
        """What the stem is a copy of: the session's branch."""
        self.first_hidden_W: Tensor | None = None
        """Hidden state of the session's last token, where the prompt continues it."""
        self.stem: Branch | None = None
        """The prompt's branch, until the last sample takes it over."""
        self.prefix: Ids = request.ids
        """What the stem computes."""
        self.scored_from: int | None = 1 if request.prompt_log_probs else None
        """First position whose log-probability is wanted."""
        self.keep = False
        """Whether the finished sample's branch stays open, for a session."""
        self.kept: Branch | None = None
        """That branch."""
        self.saw_prompt = False
        """Whether its known prefix was counted: once, also if it was preempted."""
        self.kept_counts = (0, 0)
        """`accounted` and `computed` of a stem that was given up."""

    @cached_property
    def first_page(self) -> bytes:
        """Ids of the first page: two prompts that begin alike have the same."""
        return self.prefix[:PAGE_TOKENS].tobytes()

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Log-probability of each token of the prompt given those before it; nan where it is not known."""
        return np.full(len(self.request.ids), np.nan, dtype=np.float32)

    @property
    def scope(self) -> str:
        """Of the request."""
        return self.request.scope

    @property
    def left(self) -> int:
        """Samples that have not begun."""
        return self.samples - self.started

    def start(self) -> Row:
        """Begins the next sample."""
        assert self.stem is not None
        last = self.left == 1
        branch = self.stem if last else self.stem.fork()
        if last:
            self.stem = None
        request = self.request
        follows = request.incremental or request.stops
        text = DetokenizedStream(self.tok, request.stops) if follows else None
        constraint = None if request.constraint is None else request.constraint.fork()
        row = Row(self, self.started, branch, text, constraint)
        self.started += 1
        self.running += 1
        return row

    def close_stem(self) -> None:
        """Gives up the prompt's pages."""
        if self.stem is not None:
            self.stem.close()
            self.stem = None
