"""A conversation with a model: one session that each question is appended to.

A turn computes its question only; what came before is in the session's keys and values. Whatever fails or is
interrupted leaves the conversation as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from stategpt.errors import ContextOverflow

if TYPE_CHECKING:
    from stategpt.arguments import Ids
    from stategpt.generate import Completion, Engine, Piece, Sampling, Session
    from stategpt.generate.constraints import Spec

Show = Callable[["Piece"], None]
"""Gets an answer as it is sampled."""


class Form(Protocol):
    """What a typed text becomes."""

    stops: Sequence[str]
    """Texts that end an answer."""
    one_turn: str
    """Why each text begins a new conversation; empty where conversations grow."""

    def first(self, text: str) -> str | Ids:
        """The prompt of a conversation that begins with a text; a string is the beginning of a document."""
        ...

    def following(self, turns: Sequence[Turn], text: str) -> str | Ids:
        """What is appended behind the last answer, whose end id is not in the session, for the next one."""
        ...

    def is_over(self, turn: Turn) -> bool:
        """Whether nothing can follow this turn."""
        ...


@dataclass(frozen=True)
class Turn:
    """A text, and what the model made of it."""

    text: str
    """As it was typed."""
    first_token: int
    """Tokens of the session before it."""
    answer_token: int
    """Tokens of the session before the answer."""
    completion: Completion


@dataclass(frozen=True)
class Answering:
    """How answers are sampled."""

    sampling: Sampling
    max_tokens: int
    constraint: Spec | None = None


@dataclass
class Conversation:
    """Turns with a model, and the session that holds their tokens.

    `streams` numbers the random streams of the sessions that are opened, so that no two draw the same numbers.
    """

    engine: Engine
    form: Form
    answering: Answering
    streams: Iterator[int]
    turns: list[Turn] = field(default_factory=list)
    session: Session | None = None

    def ask(self, text: str, show: Show) -> Completion:
        """Answers a text; raises as `Engine.sample`, and `ContextOverflow` where the conversation has no room left."""
        if self.session is None or self.form.one_turn or self.form.is_over(self.turns[-1]):
            return self._begin(text, show)
        session, first = self.session, self.session.length
        behind = self.form.following(self.turns, text)
        try:
            answer_token = session.append(behind).length
            completion = self._answer(session, show)
        except ContextOverflow:
            session.rewind(session.length - first)
            raise self._full(first) from None
        except BaseException:
            session.rewind(session.length - first)
            raise
        self.turns.append(Turn(text, first, answer_token, completion))
        return completion

    def retry(self, show: Show) -> Completion:
        """Gives another answer to the last text: the session goes back to it, and draws by new random numbers."""
        assert self.session is not None  # there is a turn
        session, turn = self.session, self.turns[-1]
        answer = session.ids[turn.answer_token :]
        session.rewind(len(answer))
        try:
            completion = self._answer(session, show)
        except BaseException:
            session.append(answer)
            raise
        self.turns[-1] = Turn(turn.text, turn.first_token, turn.answer_token, completion)
        return completion

    def back(self) -> Turn:
        """Takes the last turn back."""
        assert self.session is not None  # there is a turn
        turn = self.turns.pop()
        if self.turns:
            self.session.rewind(self.session.length - turn.first_token)
        else:
            self.close()
        return turn

    def fork(self) -> Conversation:
        """Returns a copy, which shares what is computed and draws other random numbers."""
        session = None if self.session is None else self.session.fork()[0]
        return Conversation(self.engine, self.form, self.answering, self.streams, list(self.turns), session)

    def close(self) -> None:
        """Forgets everything."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self.turns.clear()

    def fills_context(self, completion: Completion) -> bool:
        """Whether an answer ended since the context was full."""
        return completion.reason == "length" and len(completion.ids) < self.answering.max_tokens

    def _begin(self, text: str, show: Show) -> Completion:
        session = self.engine.session(self.form.first(text), stream=next(self.streams))
        answer_token = session.length
        try:
            completion = self._answer(session, show)
        except BaseException:
            session.close()
            raise
        self.close()
        self.session = session
        self.turns.append(Turn(text, 0, answer_token, completion))
        return completion

    def _answer(self, session: Session, show: Show) -> Completion:
        answering = self.answering
        completion = session.sample(
            answering.max_tokens,
            stop=self.form.stops,
            constraint=answering.constraint,
            sampling=answering.sampling,
            on_piece=show,
        )
        if completion.reason == "end":  # the form puts its own end; this one was not computed yet
            session.rewind(1)
        return completion

    def _full(self, used: int) -> ContextOverflow:
        context = self.engine.model.config.context_tokens
        return ContextOverflow(
            f"the conversation has {used} tokens and there is no room for this text and an answer in the context of "
            f"{context}. /new begins another conversation, /back takes the last question back"
        )
