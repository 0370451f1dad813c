"""A chat template with its tokenizer: conversations to ids and loss mask, messages to the ids of a prompt."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from stategpt.arguments import Ids
from stategpt.config.control import END_OF_TEXT
from stategpt.data.control_ids import ControlIds, ControlTokens, ModelIds, control_ids, known_end_of_text
from stategpt.data.message_records import shown_roles
from stategpt.data.records import Conversation, Message, Prompt
from stategpt.errors import ChatTemplateError, ContextOverflow, InvalidArgument, StategptError
from stategpt.hub import TOKENIZER_FILES, local_path
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer.control import Control
from stategpt.tokenizer.tokenizer import Tokenizer

from .folder import read_folder
from .imported import ImportedFormat
from .jinja_text import jinja_of, unscored_jinja
from .pieces import BORDER, ChatTokenizer, Mask, Piece, encode_pieces, joined, split_at_special
from .recognition import recognized
from .typed import END_OF_TEXT_MARK, CallText, TypedFormat, format_names, named_format, read_format

OURS = "stategpt"
"""Name of this package's own format."""
_PROBE = (Message("user", "a"), Message("assistant", "b"))


class Renderer(Protocol):
    """What makes pieces of messages: a typed format, or an imported Jinja template."""

    @property
    def name(self) -> str:
        """Name of the format, or the file of the template."""
        ...

    def pieces(self, messages: Sequence[Message], *, prompt: bool) -> list[Piece]:
        """The pieces of messages; with `prompt` up to where the assistant's next answer begins."""
        ...


@documented
@dataclass(frozen=True)
class EncodedChat:
    """A conversation as the model reads it: two vectors of one length n."""

    ids: Ids
    """Its tokens: uint32[n]."""
    loss_mask: Mask
    """Which of them training predicts: bool[n]. What trained messages hold, and the token that ends an answer."""

    __repr__ = short_repr


class ChatTemplate:
    """A chat format for one tokenizer.

    Example:
        >>> chat = ChatTemplate.named("chatml", tok)  # doctest: +SKIP
        >>> chat.encode(Conversation.of("What is 1 + 1?", "2")).loss_mask  # doctest: +SKIP
    """

    def __init__(self, renderer: Renderer, tok: ChatTokenizer, end_of_text: str | None = None) -> None:
        self._renderer = renderer
        self.tok = tok
        self.end_of_text = known_end_of_text(tok) if end_of_text is None else end_of_text
        self._imported: ImportedFormat | None = None
        self._control: ControlIds | None = None

    @classmethod
    def own(cls, tok: ChatTokenizer) -> ChatTemplate:
        """This package's own format.

        Raises:
            InvalidArgument: the tokenizer lacks its control tokens.
        """
        return cls.named(OURS, tok, end_of_text=END_OF_TEXT).with_control(ControlTokens.of(tok))

    def with_control(self, control: ControlIds) -> ChatTemplate:
        """The same format with these control ids: those that a run recorded."""
        made = copy(self)
        made.__dict__.pop("control", None)
        made._control = control
        return made

    def for_model(self, model: ModelIds) -> ChatTemplate:
        """The same format with the control ids of a model; one that has some already keeps them."""
        return self if self._control is not None else self.with_control(control_ids(self, model))

    @cached_property
    def control(self) -> ControlIds:
        """What begins and ends texts, pads rows, holds the reward and is never sampled."""
        return control_ids(self, ModelIds()) if self._control is None else self._control

    @staticmethod
    def names() -> list[str]:
        """Names that `named` takes."""
        return format_names()

    @classmethod
    def named(cls, name: str, tok: ChatTokenizer, *, end_of_text: str | None = None) -> ChatTemplate:
        """The format of that name (see `names`).

        Args:
            name: "stategpt", "chatml", "llama3", ...
            tok: the tokenizer. A control token that it lacks is an error where a conversation needs it.
            end_of_text: the tokenizer's end of text; by default the first of the usual names that it has.

        Raises:
            InvalidArgument: there is no such format.
        """
        end = known_end_of_text(tok) if end_of_text is None else end_of_text
        return cls(named_format(name, END_OF_TEXT_MARK if end is None else end), tok, end)

    @classmethod
    def read(cls, path: str | os.PathLike[str], tok: ChatTokenizer, *, end_of_text: str | None = None) -> ChatTemplate:
        """The format in a TOML file of your own (docs/guides/chat-templates.md).

        Raises:
            ChatTemplateError: it is malformed; the message has the file and the field.
            StorageError: it cannot be read.
        """
        end = known_end_of_text(tok) if end_of_text is None else end_of_text
        return cls(read_format(Path(path), END_OF_TEXT_MARK if end is None else end), tok, end)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], tok: ChatTokenizer | None = None) -> ChatTemplate:
        """The chat template of a model folder.

        A template that gives the text of a typed format on every probe conversation becomes that format. Any other is
        rendered in a sandbox, and what each message became is tracked.

        Args:
            folder: with `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`; a GGUF file, whose
                metadata have it; or `org/name` on the Hugging Face Hub.
            tok: its tokenizer; by default `Tokenizer.load(folder)`.

        Raises:
            ChatTemplateError: there is no template; it is malformed or does not render. The message has the file.
            MissingExtra: jinja2 is not installed; or huggingface_hub, for a model of the Hub.
            MissingFile, HubError: a model of the Hub that is not there, or cannot be downloaded.
        """
        folder = local_path(folder, TOKENIZER_FILES)
        found = read_folder(folder)
        if tok is None:
            tok = Tokenizer.load(folder)
        # A reward model's ends in its token; what it scores is the format in it.
        return cls.imported(unscored_jinja(found.source), tok, name=found.file, variables=found.variables)

    @classmethod
    def imported(
        cls, source: str, tok: ChatTokenizer, *, name: str = "template", variables: Mapping[str, str] | None = None
    ) -> ChatTemplate:
        """A Jinja template from elsewhere; as `load`.

        Args:
            source: the template.
            tok: the tokenizer.
            name: where it is from, for errors.
            variables: what it names: `bos_token`, `eos_token` (this one is the end of text).
        """
        given = dict(variables or {})
        end = given.get("eos_token") or known_end_of_text(tok)
        template = ImportedFormat(name, source, given, tok.special_tokens)
        typed = recognized(template, END_OF_TEXT_MARK if end is None else end)
        made = cls(template if typed is None else typed, tok, end)
        made._imported = template
        made.prompt("a")
        made.encode(_PROBE)
        return made

    @property
    def is_own(self) -> bool:
        """Whether it is this package's own format."""
        return self.name == OURS

    @property
    def name(self) -> str:
        """Name of the format, or the file that the template was imported from."""
        return self._renderer.name

    def encode(
        self, conversation: Conversation | Iterable[Message], *, context_tokens: int | None = None
    ) -> EncodedChat:
        """Ids and loss mask of a conversation.

        The mask covers the text of each trained message and, of an assistant message, what it writes up to the token
        that ends it; never a header. No token spans the border of a trained text.

        Raises:
            InvalidArgument: no message is trained, a trained one is empty; a role or an order that the template does
                not have; a control token that the tokenizer lacks.
            ChatTemplateError: an imported template does not render the conversation, or hides what became of it.
            ContextOverflow: it is longer than `context_tokens`. It is not cut: an answer without its end would teach
                the model never to stop.
        """
        messages = conversation.messages if isinstance(conversation, Conversation) else tuple(conversation)
        for number, message in enumerate(messages):
            if message.trained and not message.text:
                before = f" after {messages[number - 1].content[:60]!r}" if number else ""
                raise InvalidArgument(
                    f"the trained {message.role} message{before} is empty; drop the example or give it a text"
                )
        ids, mask = encode_pieces(self.tok, self._pieces(messages, prompt=False), self.name)
        if not mask.any():
            raise InvalidArgument(
                f"none of the {len(messages)} messages is trained; give an assistant message, or trained=True"
            )
        if context_tokens is not None and ids.size - 1 > context_tokens:  # the last id is predicted, never read
            answer = int(mask.sum()) - int(mask[-1])
            raise ContextOverflow(
                f"the conversation is {ids.size - 1 - answer} + {answer} tokens (prompt and trained) and the context "
                f"{context_tokens}. Drop the example, shorten it, or raise the context."
            )
        return EncodedChat(ids, mask)

    def prompt(self, prompt: Prompt | Iterable[Message] | str, *, context_tokens: int | None = None) -> Ids:
        """Ids of messages up to where the model answers: uint32[n]. A string is one user message.

        Raises:
            InvalidArgument: the messages are not a prompt; as `encode`.
            ChatTemplateError: as `encode`.
            ContextOverflow: it leaves no room for one token of an answer in `context_tokens`.
        """
        if isinstance(prompt, str):
            prompt = Prompt.of(prompt)
        elif not isinstance(prompt, Prompt):
            prompt = Prompt(tuple(prompt))
        ids = self._prompt_ids(prompt.messages)
        if context_tokens is not None and ids.size >= context_tokens:
            raise ContextOverflow(
                f"the prompt is {ids.size} tokens and the context {context_tokens}: no room for an answer. "
                "Shorten the prompt or use a model with a longer context."
            )
        return ids

    def following(self, messages: Sequence[Message]) -> Ids:
        """Ids behind a sampled answer, up to where the next one begins: uint32[n].

        A conversation that grows is appended to: the answer keeps the ids that were sampled, where encoding its text
        might give others.

        Args:
            messages: the whole conversation. Its last assistant message is that answer, without the token that ends
                it, which is the first of the ids; then come the new messages.

        Raises:
            InvalidArgument: no new message follows an answer; as `prompt`.
            ChatTemplateError: the template does not take the messages, as one that holds a single question.
        """
        last = max((at for at, message in enumerate(messages) if message.role == "assistant"), default=-1)
        if last < 0 or last == len(messages) - 1:
            raise InvalidArgument(f"the roles are {shown_roles(messages)}; give an answer and what follows it")
        # Only this answer is trained, which says where it ends; a template may leave out one without a text.
        told = [Message(each.role, each.content, at == last, each.tool_calls) for at, each in enumerate(messages)]
        if not told[last].text.strip():
            told[last] = Message("assistant", "-")
        pieces = self._pieces(told, prompt=True)
        pieces = [piece for piece in pieces if piece.text]
        first = max((at + 1 for at, piece in enumerate(pieces) if piece.trained), default=0)
        if not first:
            raise ChatTemplateError(f"{self.name} leaves out the answer before the last question; ask one at a time.")
        while pieces[first - 1].trained and pieces[first - 1].kind == "control":
            first -= 1
        return encode_pieces(self.tok, [*pieces[first:], BORDER], self.name, "text")[0]

    @cached_property
    def takes_turns(self) -> bool:
        """Whether a conversation may have several questions; a template may hold one only."""
        try:
            self.following((*_PROBE, _PROBE[0]))
        except StategptError:
            return False
        return True

    @property
    def call_text(self) -> CallText | None:
        """What is written around the JSON of a tool's call; None where the format has no call, or is Jinja only."""
        return self._renderer.call if isinstance(self._renderer, TypedFormat) else None

    @property
    def token_names(self) -> Mapping[str, str]:
        """What an imported template calls special tokens: bos_token, eos_token, ...; empty for one of ours."""
        return {} if self._imported is None else self._imported.variables

    def jinja(self) -> str:
        """The format as a Jinja template for other programs: an imported one unchanged, else one with its text.

        A template of ours refuses a message that spells a special token, as other programs would turn it into one.
        """
        if self._imported is not None:
            return self._imported.source
        assert isinstance(self._renderer, TypedFormat)
        return jinja_of(self._renderer, self.tok.special_tokens)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end an answer: the template's, then the tokenizer's end of text."""
        known = self.tok.special_tokens
        ends = [piece.text for piece in self._probe() if piece.kind == "control" and piece.trained]
        return tuple(dict.fromkeys(known[name] for name in (*ends, self.end_of_text or "") if name in known))

    @cached_property
    def context_ids(self) -> tuple[int, ...]:
        """Control ids that the template puts around messages and an answer never holds: a sampler may rule them out."""
        known = self.tok.special_tokens
        context = [piece.text for piece in self._probe() if piece.kind == "control" and not piece.trained]
        return tuple(sorted({known[name] for name in context if name in known} - {*self.end_ids}))

    def begin_id(self, bos: int | None) -> int | None:
        """The id that the template puts before a whole chat: a beginning of text. None if it begins with a message.

        It stands once before one question, and before a dialogue once too or it is `bos`, the model's own.
        """
        turns = (*_PROBE, _PROBE[0])
        one, two = (
            [piece.text for piece in self._pieces(asked, prompt=True) if piece.text and piece.kind == "control"]
            for asked in (turns[:1], turns)
        )
        first = next((piece for piece in self._pieces(turns[:1], prompt=True) if piece.text), None)
        if first is None or first.kind != "control" or one.count(first.text) > 1:
            return None
        found = self.tok.special_tokens.get(first.text)
        return found if two.count(first.text) == 1 or found == bos else None

    def _probe(self) -> list[Piece]:
        """The pieces of small conversations, for the control tokens in them."""
        found = self._pieces(_PROBE, prompt=False)
        for role in ("system", "tool"):
            message = Message("system", "c") if role == "system" else Message("tool", "c")
            turns = (message, *_PROBE) if role == "system" else (*_PROBE, message, _PROBE[1])
            try:
                found += self._pieces(turns, prompt=False)
            except StategptError:  # the template has no such role
                continue
        return found

    def _pieces(self, messages: Sequence[Message], *, prompt: bool) -> list[Piece]:
        pieces = self._renderer.pieces(messages, prompt=prompt)
        if any(piece.kind == "literal" and piece.text for piece in pieces):
            return list(split_at_special(pieces, self.tok.special_tokens))
        return pieces

    def _prompt_ids(self, messages: Sequence[Message]) -> Ids:
        pieces = self._pieces(messages, prompt=True)
        if self.name != OURS:
            return encode_pieces(self.tok, pieces, self.name)[0]
        segments = (Control(piece.text) if piece.kind == "control" else piece.text for piece in joined(pieces))
        return self.tok.encode_segments(segments)

    def __repr__(self) -> str:
        return f"ChatTemplate({self.name!r}, end_of_text={self.end_of_text!r})"
