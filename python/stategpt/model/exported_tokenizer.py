"""The tokenizer files of a model folder, so that `transformers.AutoTokenizer` gives our ids.

Tokenizers of others have files of their own (`model.foreign_tokenizer`). For those of this package:

    tokenizer.json         the tokenizer; in a language model's folder with a post-processor that puts end of text
                           first, as `Engine` does with a string
    tokenizer_config.json  a class that reads tokenizer.json as it is; the names of end of text, padding and roles
    chat_template.jinja    the chat format; a reward model's ends in the reward token

Without tokenizer_config.json, `transformers` builds the tokenizer class of the model's family around our vocabulary,
with the pre-tokenizer of that family: other ids, in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stategpt.artifacts import Json, publish_file
from stategpt.config import GPTConfig
from stategpt.config.control import END_OF_TEXT, PAD
from stategpt.data import ControlTokens
from stategpt.data.chat_template import chat_template, reward_template
from stategpt.data.chats import ChatTemplate
from stategpt.data.chats.template import OURS
from stategpt.data.control_ids import has_own_block
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.tokenizer import AnyTokenizer

from .foreign_tokenizer import (
    TEMPLATE_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    file_text,
    foreign_ids,
    template_text,
    write_foreign_tokenizer,
)
from .special_ids import SpecialIds
from .text_ends import with_ends


def tokenizer_ids(tok: AnyTokenizer, config: GPTConfig, known: SpecialIds, chat: ChatTemplate | None) -> SpecialIds:
    """Returns the ids that begin, end and pad a text of `tok`, for config.json and generation_config.json.

    `known` are the model's own; they stay where `tok` is a tokenizer of others.

    Raises:
        InvalidArgument: nothing says what ends a text; `chat` is of another tokenizer.
        ForeignArtifact: `tok` has more ids than a model of shape `config`.
    """
    if tok.vocab_size > config.vocab_size:
        raise ForeignArtifact(
            f"the tokenizer has {tok.vocab_size} ids and the model embeds {config.vocab_size}; "
            "save the model with the tokenizer that it was trained with"
        )
    if chat is not None and dict(chat.tok.special_tokens) != dict(tok.special_tokens):
        raise InvalidArgument("chat is of another tokenizer than tok; make it with this one: ChatTemplate.load")
    if not has_own_block(tok):
        return foreign_ids(tok, known, chat)
    control = ControlTokens.of(tok)
    return SpecialIds(bos=control.end_of_text, eos=(control.end_of_text,), pad=control.pad)


def never_sampled(tok: AnyTokenizer | None) -> tuple[int, ...]:
    """Returns the control ids that a model of this package never writes; a tokenizer of others has none of them."""
    return ControlTokens.of(tok).forbidden if tok is not None and has_own_block(tok) else ()


def write_tokenizer(
    folder: Path,
    tok: AnyTokenizer,
    ids: SpecialIds,
    chat: ChatTemplate | None,
    context_tokens: int,
    *,
    scores: bool,
    ends: bool = False,
    reward_id: int | None = None,
) -> None:
    """Writes the three files next to a model's weights; `scores` is true for a reward model, `ends` for a classifier.

    A reward model's tokenizer.json has no post-processor: what it reads is always a rendered chat, which begins with
    end of text already. A classifier's puts what ends a text after it too, where it is read. `chat` decides the
    template of a tokenizer of others; a tokenizer of this package has its own.
    """
    if not has_own_block(tok):
        text = with_ends(file_text(tok), tok, ids) if ends else ""
        write_foreign_tokenizer(folder, tok, ids, chat, context_tokens, scores=scores, reward_id=reward_id, text=text)
        return
    tok.save(folder / TOKENIZER_FILE)
    post_processor = None if scores else _with_end_of_text(ControlTokens.of(tok).end_of_text, ends)
    _set_post_processor(folder / TOKENIZER_FILE, post_processor)
    names = list(tok.special_tokens)
    publish_file(folder / TOKENIZER_CONFIG_FILE, _json_bytes(_tokenizer_config(names, context_tokens)))
    template = reward_template(names) if scores else chat_template(names)
    if chat is not None and chat.name != OURS:
        reward = ControlTokens.of(tok).reward if reward_id is None else reward_id
        template = template_text(tok, chat, reward if scores else None)
    publish_file(folder / TEMPLATE_FILE, template.encode())


def _tokenizer_config(special_tokens: list[str], context_tokens: int) -> dict[str, Json]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": PAD,
        "additional_special_tokens": [name for name in special_tokens if name not in (END_OF_TEXT, PAD)],
        "model_max_length": context_tokens,
        # Decoding gives the text back as it was, and no model here takes token types.
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _with_end_of_text(end_of_text: int, ends: bool) -> dict[str, Json]:
    """The `tokenizers` library's template for `<|endoftext|> text`, and for two texts as two documents of a row; with
    `ends` also behind the last.
    """
    special: Json = {"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
    return {
        "type": "TemplateProcessing",
        "single": [special, first, *([special] if ends else [])],
        "pair": [special, first, special, second, *([special] if ends else [])],
        "special_tokens": {END_OF_TEXT: {"id": END_OF_TEXT, "ids": [end_of_text], "tokens": [END_OF_TEXT]}},
    }


def _set_post_processor(path: Path, post_processor: Mapping[str, Json] | None) -> None:
    found: dict[str, Any] = json.loads(path.read_bytes())
    if found.get("post_processor") != post_processor:
        found["post_processor"] = post_processor
        publish_file(path, json.dumps(found, indent=2, ensure_ascii=False).encode())


def _json_bytes(value: Mapping[str, Json]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
