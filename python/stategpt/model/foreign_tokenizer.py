"""The tokenizer files of a model folder for tokenizers of others: tokenizer.json as read, and what it does not say.

    tokenizer.json         the same tokenizer, its post-processor included; the native engine spells it its own way
    tokenizer_config.json  a class of `transformers` that reads tokenizer.json as it is; names of bos, eos, pad, unk
    chat_template.jinja    the format's Jinja; a reward model's ends in the reward token, where there is one

The class is `PreTrainedTokenizerFast` for every family: the families' own classes build normalizer, pre-tokenizer and
post-processor themselves around the vocabulary. Qwen2 alone gets its own whatever is written (`model.biased_llama`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stategpt.artifacts import Json, publish_file
from stategpt.data.chats import ChatTemplate
from stategpt.data.chats.jinja_text import scored_jinja
from stategpt.data.control_ids import UNKNOWN_NAMES, known_end_of_text, padding_names
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.files import read_bytes
from stategpt.json_reader import Flag, Integer, Optional, Record, Text, check_value, read_json
from stategpt.tokenizer import AnyTokenizer, Tokenizer
from stategpt.tokenizer.hf_file import unknown_token
from stategpt.tokenizer.tokenizer_file import FILE_LIMIT_BYTES

from .special_ids import SpecialIds

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"

_SIDE = Optional(Text(("left", "right")))
_KEPT = Record(
    {
        "add_bos_token": Optional(Flag()),
        "add_eos_token": Optional(Flag()),
        "padding_side": _SIDE,
        "truncation_side": _SIDE,
        "model_max_length": Optional(Integer(1, 10**40)),
    }
)
"""Settings of tokenizer_config.json that nothing else says; transformers writes 10**30 for "no limit"."""


def file_text(tok: AnyTokenizer) -> str:
    """Returns the text of the tokenizer.json of `tok`."""
    return tok._to_json() if isinstance(tok, Tokenizer) else tok._json


def foreign_ids(tok: AnyTokenizer, known: SpecialIds, chat: ChatTemplate | None) -> SpecialIds:
    """Returns the ids that begin, end and pad a text: those of the model's folder, then what ends an answer of `chat`.

    A model that was made here and has no ids from a folder gets those of the tokenizer and the template.

    Raises:
        InvalidArgument: nothing says what ends a text.
    """
    if known.stated:
        more = () if chat is None else chat.end_ids
        return SpecialIds(known.bos, tuple(dict.fromkeys((*known.eos, *more))), known.pad)
    special = tok.special_tokens
    end = known_end_of_text(tok) if chat is None else None
    ends = (special[end],) if end is not None else () if chat is None else chat.end_ids
    if not ends:
        raise InvalidArgument(
            "nothing says what ends a text of this tokenizer: it has none of the usual names and no chat template was "
            "given. Pass one: model.save_pretrained(folder, tok, chat), or give GPT its special_ids."
        )
    named = (special[name] for name in (*padding_names(tok), *UNKNOWN_NAMES) if name in special)
    pad = next((number for number in named if number not in ends), None)
    return SpecialIds(None if chat is None else chat.begin_id(None), ends, pad)


def write_foreign_tokenizer(
    folder: Path,
    tok: AnyTokenizer,
    ids: SpecialIds,
    chat: ChatTemplate | None,
    context_tokens: int,
    *,
    scores: bool,
    reward_id: int | None = None,
    text: str = "",
) -> None:
    """Writes the three files next to a model's weights; without `chat` no template.

    `scores` is true for a reward model. Its template ends in the token `reward_id`; without one it is the plain
    format, whose last token is scored. `text` is that of tokenizer.json where it is not the tokenizer's own.

    Raises:
        ForeignArtifact: `reward_id` has no name in the tokenizer, so no template can write it.
    """
    text = text or file_text(tok)
    publish_file(folder / TOKENIZER_FILE, text.encode())
    config = _tokenizer_config(json.loads(text), tok, ids, chat, context_tokens)
    publish_file(folder / TOKENIZER_CONFIG_FILE, _json_bytes(config))
    if chat is None:
        (folder / TEMPLATE_FILE).unlink(missing_ok=True)  # of an earlier model in this folder
        return
    publish_file(folder / TEMPLATE_FILE, template_text(tok, chat, reward_id if scores else None).encode())


def template_text(tok: AnyTokenizer, chat: ChatTemplate, reward_id: int | None) -> str:
    """Returns the Jinja of `chat`; with `reward_id` its last token is that one, after a finished answer."""
    template = chat.jinja()
    if reward_id is None:
        return template
    return scored_jinja(template, _name(tok, chat.end_ids[0]), _name(tok, reward_id))


def keep_files(folder: Path, source: Path) -> None:
    """Copies to `folder` what the tokenizer files of `source`, from which its model came, alone say.

    That is tokenizer.json as it is spelled, and of tokenizer_config.json sides, limits and what is added to a text.

    Raises:
        ForeignArtifact: a setting of another type.
    """
    if (source / TOKENIZER_FILE).is_file() and (folder / TOKENIZER_FILE).is_file():
        publish_file(folder / TOKENIZER_FILE, read_bytes(source / TOKENIZER_FILE, FILE_LIMIT_BYTES, ForeignArtifact))
    stated, target = source / TOKENIZER_CONFIG_FILE, folder / TOKENIZER_CONFIG_FILE
    if stated.is_file() and target.is_file():
        found = check_value(read_json(stated, error=ForeignArtifact), _KEPT, where=str(stated), error=ForeignArtifact)
        kept = {name: found[name] for name in _KEPT.fields if found[name] is not None}
        publish_file(target, _json_bytes({**json.loads(target.read_bytes()), **kept}))


def _tokenizer_config(
    file: Mapping[str, Any], tok: AnyTokenizer, ids: SpecialIds, chat: ChatTemplate | None, context_tokens: int
) -> dict[str, Json]:
    names = _names(file, tok, ids, chat)
    added = file.get("added_tokens") or []
    taken = set(names.values())
    more = [token["content"] for token in added if token["special"] and token["content"] not in taken]
    decoder = {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added}
    adds = _adds(file.get("post_processor"), names.get("bos_token"), names.get("eos_token"))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **names,
        **adds,
        "additional_special_tokens": more,
        "added_tokens_decoder": decoder,
        "model_max_length": context_tokens,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _names(file: Mapping[str, Any], tok: AnyTokenizer, ids: SpecialIds, chat: ChatTemplate | None) -> dict[str, str]:
    """bos_token, eos_token, pad_token and unk_token: as the template's folder names them, else by the model's ids."""
    by_id = {number: name for name, number in tok.special_tokens.items()}
    found = {
        "bos_token": by_id.get(-1 if ids.bos is None else ids.bos),
        "eos_token": next((by_id[number] for number in ids.eos if number in by_id), None),
        "pad_token": by_id.get(-1 if ids.pad is None else ids.pad),
        "unk_token": unknown_token(file["model"]),
    }
    stated = {} if chat is None else chat.token_names
    for name in found:
        # The padding is the model's where it has one: a reward model's must not be what ends a text.
        keeps = name == "pad_token" and found[name] is not None
        if not keeps and stated.get(name) in tok.special_tokens:
            found[name] = stated[name]
    return {name: value for name, value in found.items() if value is not None}


def _adds(post_processor: Any, bos: str | None, eos: str | None) -> dict[str, Json]:
    """`add_bos_token` and `add_eos_token`, where they say the same as the post-processor of tokenizer.json.

    Where they are written, `transformers` replaces the post-processor by one made of them; where they cannot say it
    they are left out, and the post-processor is used.
    """
    if post_processor is None:
        return {"add_bos_token": False, "add_eos_token": False}
    if post_processor.get("type") != "TemplateProcessing":
        return {}
    single, pair = (
        [next(iter(part.values()))["id"] for part in post_processor.get(key, ())] for key in ("single", "pair")
    )
    begins, ends = bool(single) and single[0] == bos, len(single) > 1 and single[-1] == eos
    before, after = [bos] if begins else [], [eos] if ends else []
    one = [*before, "A", *after]
    if single != one or pair != [*one, *before, "B", *after]:
        return {}
    return {"add_bos_token": begins, "add_eos_token": ends}


def _name(tok: AnyTokenizer, number: int) -> str:
    name = next((name for name, known in tok.special_tokens.items() if known == number), None)
    if name is None:
        raise ForeignArtifact(
            f"the tokenizer has no name for id {number}, at which the reward model is read: no chat template can write "
            "it. Take one of its special tokens as the reward token, or add one to tokenizer.json."
        )
    return name


def _json_bytes(value: Mapping[str, Json]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
