"""The ids that begin a document, end a completion and are never drawn: of the chat template, tokenizer and model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stategpt.data import ChatTemplate
from stategpt.data.control_ids import ModelIds, has_own_block, known_end_of_text
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
        if chat is not None:
            ends = tuple(dict.fromkeys((*chat.control.ends, *model.special_ids.eos)))
            return cls(chat.control.begin, ends, undrawn_ids(model, tok, chat))
        end_of_text = known_end_of_text(tok)
        stated = () if end_of_text is None else (tok.special_tokens[end_of_text],)
        ends = tuple(dict.fromkeys((*stated, *model.special_ids.eos)))
        if not ends:
            raise InvalidArgument(
                f"nothing says what ends a text: the model's folder has no eos_token_id, and none of the tokenizer's "
                f"{len(tok.special_tokens)} special tokens is a usual end of text. Give a chat template: "
                "Engine(model, tok, chat)."
            )
        return cls(model.special_ids.bos, ends, tuple(padding_ids(model, tok)))


def own_chat(tok: AnyTokenizer) -> ChatTemplate | None:
    """The chat format of this package, for a tokenizer with all of its control tokens."""
    return ChatTemplate.own(tok) if has_own_block(tok) else None


def for_model(chat: ChatTemplate, model: GPT) -> ChatTemplate:
    """The chat format with the control ids that the model's folder states, unless it has some already."""
    stated = model.special_ids
    return chat.for_model(ModelIds(stated.bos, stated.eos, stated.pad))
