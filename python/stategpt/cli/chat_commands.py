"""What is typed in a chat: texts for the model, and commands that begin with "/"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from stategpt.errors import ConfigError
from stategpt.visible_text import visible, visible_line

if TYPE_CHECKING:
    from stategpt.cli.chat_session import Conversation
    from stategpt.generate import Completion, Piece

_SHOWN_CHARS = 60


class AnswerPrinter:
    """Prints an answer as it is sampled: as text only, without white space around it.

    A model may produce anything that its training text held: escape sequences, any number of line ends.
    """

    def __init__(self) -> None:
        self.begun = False
        """Whether something was printed that no line end follows."""
        self._held = ""

    def __call__(self, piece: Piece) -> None:
        """Prints a piece, but for white space that may turn out to be at the end."""
        text = self._held + (piece.text if self.begun else piece.text.lstrip())
        shown = text.rstrip()
        self._held = text[len(shown) :]
        if shown:
            print(visible(shown), end="", flush=True)
            self.begun = True

    def finish(self, note: str) -> None:
        """Ends the line, with a note behind the answer."""
        print(note, flush=True)
        self.begun = False


class Branches:
    """The conversations of a chat; one of them is the current one."""

    def __init__(self, first: Conversation) -> None:
        self.all = [first]
        self.number = 1
        """Of the current one, from 1."""

    @property
    def current(self) -> Conversation:
        """The conversation that texts are added to."""
        return self.all[self.number - 1]

    def add(self, conversation: Conversation) -> None:
        """Continues in another conversation; the others stay."""
        self.all.append(conversation)
        self.number = len(self.all)

    def close(self) -> None:
        """Forgets all of them."""
        for conversation in self.all:
            conversation.close()


def answer(ask: Callable[[AnswerPrinter], Completion], conversation: Conversation) -> None:
    """Prints an answer as it comes; an interrupted one ends its line."""
    printer = AnswerPrinter()
    try:
        completion = ask(printer)
    except BaseException:
        if printer.begun:
            printer.finish("")
        raise
    printer.finish(" ..." if completion.reason == "length" else "")
    if conversation.fills_context(completion):
        context = conversation.engine.model.config.context_tokens
        print(f"(the context of {context} tokens is full: /new begins another conversation, /back takes a turn back)")


class _Command(Protocol):
    def __call__(self, branches: Branches, words: Sequence[str]) -> None: ...


def _retry(branches: Branches, words: Sequence[str]) -> None:
    conversation = _begun(branches)
    answer(conversation.retry, conversation)


def _back(branches: Branches, words: Sequence[str]) -> None:
    turn = _begun(branches).back()
    print(f"(took back: {visible_line(turn.text, _SHOWN_CHARS)})")


def _fork(branches: Branches, words: Sequence[str]) -> None:
    left = branches.number
    branches.add(branches.current.fork())
    print(f"(branch {branches.number}, a copy of branch {left}; /switch {left} returns to it)")


def _new(branches: Branches, words: Sequence[str]) -> None:
    if not branches.current.turns:
        raise ConfigError("this conversation has no turns yet; type a text")
    made = branches.current
    branches.add(type(made)(made.engine, made.form, made.answering, made.streams))
    print(f"(branch {branches.number}, a new conversation)")


def _branches(branches: Branches, words: Sequence[str]) -> None:
    for number, conversation in enumerate(branches.all, start=1):
        mark, turns = "*" if number == branches.number else " ", conversation.turns
        last = visible_line(turns[-1].text, _SHOWN_CHARS) if turns else ""
        print(f"{mark} {number}  {len(turns)} turn{'s' if len(turns) != 1 else ''}  {last}".rstrip())


def _switch(branches: Branches, words: Sequence[str]) -> None:
    number = int(words[0]) if len(words) == 1 and words[0].isascii() and words[0].isdigit() else 0
    if not 1 <= number <= len(branches.all):
        raise ConfigError(f"/switch needs the number of a branch, 1 .. {len(branches.all)}: /branches lists them")
    branches.number = number
    _branches(branches, ())


def _help(branches: Branches, words: Sequence[str]) -> None:
    print(HELP)


_COMMANDS: dict[str, tuple[_Command, str]] = {
    "/retry": (_retry, "another answer to the last text"),
    "/back": (_back, "takes the last text and its answer back"),
    "/fork": (_fork, "continues in a copy of the conversation, which stays as a branch"),
    "/new": (_new, "begins another conversation, as a branch"),
    "/branches": (_branches, "lists the branches; * is the current one"),
    "/switch": (_switch, "/switch N continues branch N"),
    "/help": (_help, "shows this list"),
}

HELP = "\n".join(
    [
        *(f"{name:<10} {meaning}" for name, (_, meaning) in _COMMANDS.items()),
        'A text that begins with "/" is typed with two of them. An empty line or Ctrl-D ends, Ctrl-C ends an answer.',
    ]
)
"""What `/help` prints."""


def respond(branches: Branches, line: str) -> None:
    """Answers a text, or executes a command.

    Raises:
        ConfigError: there is no such command, or it does not apply.
        StategptError: as `Conversation.ask`; the conversation is as it was.
    """
    if line.startswith("/") and not line.startswith("//"):
        name, *words = line.split()
        if name not in _COMMANDS:
            raise ConfigError(f"{visible_line(name, _SHOWN_CHARS)} is no command; /help lists them")
        _COMMANDS[name][0](branches, words)
        return
    text, conversation = line.removeprefix("/") if line.startswith("//") else line, branches.current
    answer(lambda show: conversation.ask(text, show), conversation)


def _begun(branches: Branches) -> Conversation:
    """The current conversation, which must have a turn."""
    if not branches.current.turns:
        raise ConfigError("this conversation has no turns yet; type a text")
    return branches.current
