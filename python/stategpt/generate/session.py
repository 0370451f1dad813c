"""Sessions: a text that grows, forks and goes back, and keeps what is computed of it.

Draws. The random numbers of a draw are decided by (seed, stream, path, position). `position` is the token's place in
the text; the path names the session and the call: it is another one for each fork and each call of `sample`, so neither
a branch nor a second sample, after going back say, meets numbers again that were used. The same operations with the
same seeds give the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, whole
from stategpt.errors import ContextOverflow, InvalidArgument
from stategpt.randomness import bits

from .branch import Branch
from .completion import Completion, Piece
from .request import Event, Request
from .runs import Run, completion_of, joined_events, piece_of
from .sampling import Sampling

if TYPE_CHECKING:
    from .engine import Engine
    from .task import Deliver, Task


_clock = count(1)


class Session:
    """A text of `engine`; `Engine.session` opens one. Close it, or use it in a `with` block, to free its memory.

    with engine.session("Return the") as session:
        for branch, completion in zip(branches := session.fork(4), engine.sample(branches, temperature=0.8)): ...
    """

    def __init__(self, engine: Engine, ids: Ids, stream: int, scope: str, path: int = 0) -> None:
        self.engine, self.stream, self.scope = engine, stream, scope
        memory = engine.memory
        self.branch = Branch.of_known(ids, memory.pool, [], 0)
        self.last_used = next(_clock)
        self._path, self._forks, self._draws = path, 0, 0
        self._closed = False
        memory.sessions.add(self)

    @property
    def ids(self) -> Ids:
        """The tokens of the text, sampled ones with their end id."""
        return self.branch.ids()

    @property
    def text(self) -> str:
        """The tokens as text."""
        return self.engine.tok.decode(self.ids)

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.branch)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def append(self, continuation: str | Ids) -> Session:
        """Adds text, encoded by itself, or ids; they are computed when something is drawn from them. -> self.

        Raises:
            ContextOverflow: the context is shorter; nothing was added.
            InvalidArgument, UnknownToken: neither text nor ids of the vocabulary.
        """
        self._must_be_open()
        ids = self.engine.continuation_ids(continuation)
        context = self.engine.model.config.context_tokens
        if self.length + len(ids) > context:
            raise ContextOverflow(
                f"{self.length} tokens and {len(ids)} more exceed the context of {context}; go back, or append fewer"
            )
        self.branch.append(ids)
        return self

    def fork(self, n: int = 1) -> list[Session]:
        """Returns `n` sessions with this text; it is computed once for all of them, and the session stays as it is."""
        self._must_be_open()
        wanted = whole("n", n, 1)
        if self.length:
            self._compute()
        self._forks += 1
        return [self._copy(number) for number in range(wanted)]

    def rewind(self, tokens: int) -> Session:
        """Takes the last tokens back. -> self.

        Raises:
            InvalidArgument: there are fewer.
        """
        self._must_be_open()
        back = whole("tokens", tokens)
        if back > self.length:
            raise InvalidArgument(f"tokens is {back}, and the session has {self.length}; go back by at most those")
        self.branch.truncate(self.length - back)
        return self

    def sample(self, max_tokens: int = 256, **settings: Any) -> Completion:
        """Samples a continuation, which the text then ends with; arguments as in `Engine.sample`.

        With a stop string the text ends with the token that completed it; the completion's own text is cut before.
        """
        return self.engine.sample([self], max_tokens, **settings)[0]

    def score(self, continuation: str | Ids) -> NDArray[np.float32]:
        """Log-probability of each token of a continuation, which is not added: temperature 1, nothing removed.

        Raises:
            ContextOverflow, InvalidArgument, UnknownToken: as `append`; also an empty continuation or text.
        """
        self._must_be_open()
        behind = self.engine.continuation_ids(continuation)
        self._compute()
        first, request = self.length, Request(np.concatenate([self.ids, behind]), scope=self.scope)
        scheduler = self.engine.scheduler

        def enter(deliver: Deliver) -> Task:
            """Enters the whole text."""
            return scheduler.enter(request, deliver, source=self.branch, scored_from=first, samples=False)

        (task,) = Run(scheduler, self.engine.memory).tasks([enter])
        return task.scores[first:]

    def close(self) -> None:
        """Frees its memory; a second time it does nothing."""
        if not self._closed:
            self._closed = True
            self.branch.close()
            self.engine.memory.sessions.discard(self)

    def key(self) -> int:
        """Number of the next call's random numbers: decided by the path of forks and calls that led here."""
        return int(bits(self._path, "session sample", self._draws) >> np.uint64(2))

    def took(self, branch: Branch) -> None:
        """Continues with `branch`, a sampled continuation of it."""
        self.branch.close()
        self.engine.memory.finished.discard(branch)
        branch.prompt, branch.generated = branch.ids(), []
        self.branch = branch
        self._draws += 1

    def used(self) -> None:
        """Notes the time: memory is taken from those first that were not used for long."""
        self.last_used = next(_clock)

    def _compute(self) -> None:
        """Computes what is pending, so that copies share it."""
        self.used()
        if self.branch.hidden_W is not None and not self.branch.pending:
            return
        request, scheduler = Request(self.ids, scope=self.scope), self.engine.scheduler

        def enter(deliver: Deliver) -> Task:
            """Enters the text."""
            return scheduler.enter(request, deliver, source=self.branch, samples=False, keep=True)

        (task,) = Run(scheduler, self.engine.memory).tasks([enter])
        assert task.kept is not None  # it was asked to keep it
        self.branch.close()
        self.branch = task.kept

    def _copy(self, number: int) -> Session:
        path = int(bits(self._path, "session fork", self._forks, number) >> np.uint64(2))
        copy = Session(self.engine, self.branch.prompt[:0], self.stream, self.scope, path)
        copy.branch.close()
        copy.branch = self.branch.fork()
        return copy

    def must_be_of(self, engine: Engine) -> None:
        """Refuses a session that is closed or of another engine."""
        self._must_be_open()
        if self.engine is not engine:
            raise InvalidArgument("a session is of another engine; sample it with its own")

    def _must_be_open(self) -> None:
        if self._closed:
            raise InvalidArgument("the session was closed; open another one, or fork before closing")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return "Session(closed)" if self._closed else f"Session({self.length} tokens)"


def sample_together(
    engine: Engine,
    sessions: Sequence[Session],
    sampling: Sampling,
    more: dict[str, Any],
    on_piece: Callable[[Piece], None] | None = None,
) -> list[Completion]:
    """Samples a continuation of each session in one batch. Raises as `Engine.sample`."""
    if len({id(session) for session in sessions}) != len(sessions):
        raise InvalidArgument("a session comes twice; fork it, to sample two continuations")
    for session in sessions:
        session.must_be_of(engine)

    def entry(session: Session) -> Callable[[Deliver], Task]:
        """Enters one session's text."""
        request = Request(
            session.ids,
            sampling,
            stream=session.stream,
            first_sample=session.key(),
            first_position=session.length,
            scope=session.scope,
            incremental=on_piece is not None,
            **more,
        )
        session.used()
        return lambda deliver: engine.scheduler.enter(request, deliver, source=session.branch, keep=True)

    events: list[list[Event]] = [[] for _ in sessions]

    def tell(number: int, event: Event) -> None:
        """Keeps what a session's sample got, and hands it on."""
        events[number].append(event)
        if on_piece is not None:
            on_piece(piece_of(number, event))

    tasks = Run(engine.scheduler, engine.memory).tasks(map(entry, sessions), tell)
    completions = []
    for number, (session, task) in enumerate(zip(sessions, tasks, strict=True)):
        assert task.kept is not None  # it finished
        session.took(task.kept)
        completions.append(completion_of(number, joined_events(events[number]), task.handle))
    return completions
