"""The ids that begin a document, end a completion and are never drawn: of the chat template, tokenizer and model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stategpt.config.control import CONTROL_TOKENS
from stategpt.data import ChatTemplate
from stategpt.data.chats.template import OURS, known_end_of_text
from stategpt.errors import InvalidArgument
from stategpt.model import GPT, padding_ids, undrawn_ids

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer


@dataclass(frozen=True)
class SamplingIds:
    """Control ids of sampling."""

    begin: int | None
    """Put before a document; None where the model's family has none."""
    ends: tuple[int, ...]
    """Each ends a completion."""
    undrawn: tuple[int, ...]
    """Never drawn, unless the caller says what is."""

    @classmethod
    def of(cls, model: GPT, tok: AnyTokenizer, chat: ChatTemplate | None) -> SamplingIds:
        """The ids for a model; without a chat template, those of a model that continues documents.

        Raises:
            InvalidArgument: nothing says what ends a text.
        """
        known = tok.special_tokens
        end_of_text = known_end_of_text(tok)
        ends = chat.end_ids if chat is not None else () if end_of_text is None else (known[end_of_text],)
        ends = tuple(dict.fromkeys((*ends, *model.special_ids.eos)))
        if not ends:
            raise InvalidArgument(
                f"nothing says what ends a text: the model's folder has no eos_token_id, and none of the tokenizer's "
                f"{len(known)} special tokens is a usual end of text. Give a chat template: Engine(model, tok, chat)."
            )
        undrawn = (*(chat.context_ids if chat is not None else ()), *padding_ids(model, tok))
        begin = model.special_ids.bos if chat is None else chat.begin_id(model.special_ids.bos)
        if all(name in known for name in CONTROL_TOKENS):
            undrawn = (*undrawn_ids(model, tok), *undrawn)
            begin = known[CONTROL_TOKENS[0]]
        return cls(begin, ends, tuple(dict.fromkeys(token for token in undrawn if token not in ends)))


def own_chat(tok: AnyTokenizer) -> ChatTemplate | None:
    """The chat format of this package, for a tokenizer with all of its control tokens."""
    return ChatTemplate.named(OURS, tok) if all(name in tok.special_tokens for name in CONTROL_TOKENS) else None
