"""The tokenizer files of a model folder, so that `transformers.AutoTokenizer` gives our ids.

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
from stategpt.errors import ForeignArtifact
from stategpt.tokenizer import AnyTokenizer

from .special_ids import SpecialIds

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"


def tokenizer_ids(tok: AnyTokenizer, config: GPTConfig) -> SpecialIds:
    """Returns the ids that begin, end and pad a text of `tok`, for config.json and generation_config.json.

    Raises:
        InvalidArgument: `tok` lacks the control tokens.
        ForeignArtifact: `tok` has more ids than a model of shape `config`.
    """
    control = ControlTokens.of(tok)
    if tok.vocab_size > config.vocab_size:
        raise ForeignArtifact(
            f"the tokenizer has {tok.vocab_size} ids and the model embeds {config.vocab_size}; "
            "save the model with the tokenizer that it was trained with"
        )
    return SpecialIds(bos=control.end_of_text, eos=(control.end_of_text,), pad=control.pad)


def write_tokenizer(folder: Path, tok: AnyTokenizer, context_tokens: int, *, scores: bool, ends: bool = False) -> None:
    """Writes the three files next to a model's weights; `scores` is true for a reward model, `ends` for a classifier.

    A reward model's tokenizer.json has no post-processor: what it reads is always a rendered chat, which begins with
    end of text already. A classifier's puts end of text after a text too, which is read there.
    """
    tok.save(folder / TOKENIZER_FILE)
    post_processor = None if scores else _with_end_of_text(ControlTokens.of(tok).end_of_text, ends)
    _set_post_processor(folder / TOKENIZER_FILE, post_processor)
    names = list(tok.special_tokens)
    publish_file(folder / TOKENIZER_CONFIG_FILE, _json_bytes(_tokenizer_config(names, context_tokens)))
    template = reward_template(names) if scores else chat_template(names)
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
