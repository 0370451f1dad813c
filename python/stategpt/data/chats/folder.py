"""The chat template of a model folder: `chat_template.jinja`, else of `tokenizer_config.json`; that of a GGUF file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stategpt.errors import ChatTemplateError, NoChatTemplate
from stategpt.files import read_bytes
from stategpt.gguf_file import is_gguf, read_metadata
from stategpt.json_reader import Items, Optional, Record, Text, check_value, read_json
from stategpt.json_reader import OneOf as Either

TEMPLATE_FILE, CONFIG_FILE = "chat_template.jinja", "tokenizer_config.json"
_GGUF_TEMPLATE = "tokenizer.chat_template"
_GGUF_IDS = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
_LIMIT_BYTES = 4 << 20
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_TOKEN = Optional(Either((Text(max_chars=1024), Record({"content": Text(max_chars=1024)}))))
_NAMED = Record({"name": Text(max_chars=1024), "template": Text()})
_CONFIG = Record(
    {**dict.fromkeys(_TOKENS, _TOKEN), "chat_template": Optional(Either((Text(), Items(_NAMED, max_items=64))))}
)


@dataclass(frozen=True)
class FolderTemplate:
    """A template as its folder has it."""

    file: str
    """Where it was found, for errors."""
    source: str
    variables: dict[str, str]
    """Names of special tokens that templates use: bos_token, eos_token, ..."""


def read_folder(folder: str | os.PathLike[str]) -> FolderTemplate:
    """Reads the template of a folder or a GGUF file, and the names of special tokens.

    Raises:
        NoChatTemplate: there is none.
        ChatTemplateError: a file is malformed. The message has the file.
        StorageError: a file cannot be read.
        CorruptArtifact, ForeignArtifact: no GGUF file that is read; the message has the file and the key.
    """
    if is_gguf(folder):
        return _of_gguf(Path(folder))
    config_file, template_file = Path(folder) / CONFIG_FILE, Path(folder) / TEMPLATE_FILE
    config: dict[str, Any] = {}
    if config_file.exists():
        found = read_json(config_file, error=ChatTemplateError)
        config = check_value(found, _CONFIG, where=str(config_file), error=ChatTemplateError)
    tokens = {name: config.get(name) for name in _TOKENS}
    variables = {name: token if isinstance(token, str) else token["content"] for name, token in tokens.items() if token}
    if template_file.exists():
        content = read_bytes(template_file, _LIMIT_BYTES, ChatTemplateError)
        try:
            return FolderTemplate(str(template_file), content.decode(), variables)
        except UnicodeDecodeError as error:
            raise ChatTemplateError(f"{template_file} is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    return FolderTemplate(str(config_file), _of_config(config.get("chat_template"), folder, config_file), variables)


def _of_gguf(file: Path) -> FolderTemplate:
    metadata = read_metadata(file)
    source = metadata.get(_GGUF_TEMPLATE)
    if type(source) is not str:
        raise NoChatTemplate(
            f"{file} has no chat template: no text in its metadata {_GGUF_TEMPLATE}. A base model has none; choose "
            'one: ChatTemplate.named("plain", tok), or another of ChatTemplate.names().'
        )
    tokens = metadata.get("tokenizer.ggml.tokens")
    variables = {}
    for name, key in _GGUF_IDS.items():
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(tokens, list) and type(number) is int and number < len(tokens):
            variables[name] = str(tokens[number])
    return FolderTemplate(str(file), source, variables)


def _of_config(template: Any, folder: str | os.PathLike[str], file: Path) -> str:
    if isinstance(template, str):
        return template
    if template is None:
        raise NoChatTemplate(
            f"{folder} has no chat template: no {TEMPLATE_FILE}, and no chat_template in {CONFIG_FILE}. A base model "
            'has none; choose one: ChatTemplate.named("plain", tok), or another of ChatTemplate.names().'
        )
    named = {entry["name"]: entry["template"] for entry in template}
    if "default" not in named:
        raise ChatTemplateError(
            f"{file}: $.chat_template has {', '.join(named) or 'no template'} and no 'default'. Write the one that you "
            f"mean to {TEMPLATE_FILE}."
        )
    default: str = named["default"]
    return default
