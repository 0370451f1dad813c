"""Tokenizer and chat format of a run, and the files of a start model's tokenizer that it keeps. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config.start import StartConfig
from stategpt.data import ChatTemplate
from stategpt.data.control_ids import has_own_block, read_control_ids, read_engine
from stategpt.errors import ChatTemplateError, TokenizerUnsupported
from stategpt.files import read_bytes
from stategpt.gguf_file import is_gguf
from stategpt.tokenizer import AnyTokenizer, Tokenizer

TOKENIZER_FILE, CONFIG_FILE, TEMPLATE_FILE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
FORMAT_FILE, GENERATION_FILE = "chat_format.toml", "generation_config.json"
_LIMIT_BYTES = 4 << 20
KEPT = (
    TOKENIZER_FILE,
    CONFIG_FILE,
    TEMPLATE_FILE,
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    GENERATION_FILE,
)
"""Files of a start model that go into the run's tokenizer folder and out with every model."""


def run_tokenizer(folder: RunFolder) -> AnyTokenizer:
    """The tokenizer of a run, by the engine that the run recorded when it was published.

    Raises:
        CorruptArtifact: the file or the record are not what was published.
        MissingExtra: the engine is the tokenizers library, and it is not installed.
        StorageError: a file cannot be read.
    """
    return Tokenizer.load(folder.tokenizer_json, read_engine(folder.tokenizer))


def start_tokenizer(start: StartConfig, place: Path) -> AnyTokenizer:
    """The tokenizer of the start model at `place`, a folder or a .gguf file, by the engine that `start.engine` names.

    Raises:
        TokenizerUnsupported: the native engine does not cover it.
        TokenizerFormatError, MissingExtra, StorageError: as `Tokenizer.load`.
    """
    file = place if is_gguf(place) else place / TOKENIZER_FILE
    if start.engine == "tokenizers":
        return Tokenizer.load(file, "tokenizers")
    try:
        return Tokenizer.load(file)
    except TokenizerUnsupported as error:
        raise TokenizerUnsupported(
            f'start.model: {error}; a run does so with start.engine = "tokenizers" (--set start.engine=tokenizers)'
        ) from None


def run_chat(folder: RunFolder, tok: AnyTokenizer) -> ChatTemplate:
    """The chat format of a run whose tokenizer is published, with the control ids that it recorded.

    Raises:
        ChatTemplateError, CorruptArtifact: template or record are malformed.
    """
    recorded = read_control_ids(folder.tokenizer)
    if recorded is None:
        return ChatTemplate.own(tok)
    named, control = recorded
    return read_chat(folder.tokenizer, named, tok).with_control(control)


def read_chat(folder: Path, named: str, tok: AnyTokenizer) -> ChatTemplate:
    """The chat format in a tokenizer's folder; `named` is `start.chat`, whose file the folder holds.

    Raises:
        ChatTemplateError: there is none, or it is malformed.
        InvalidArgument: no format has that name.
    """
    if named.endswith(".toml"):
        return ChatTemplate.read(folder / FORMAT_FILE, tok)
    if named and not named.endswith(".jinja"):
        return ChatTemplate.named(named, tok)
    return ChatTemplate.load(folder, tok)


def start_chat(named: str, folder: Path, tok: AnyTokenizer) -> ChatTemplate:
    """The chat format that a run from the model at `folder`, or in that .gguf file, will have; `named` is `start.chat`.

    Raises:
        ChatTemplateError: the model has none, or it is malformed.
        InvalidArgument: no format has that name.
        StorageError: a file cannot be read.
    """
    if has_own_block(tok) and not named:
        return ChatTemplate.own(tok)
    if named.endswith(".toml"):
        return ChatTemplate.read(named, tok)
    if named.endswith(".jinja"):
        return ChatTemplate.imported(read_bytes(named, _LIMIT_BYTES, ChatTemplateError).decode(), tok, name=named)
    return read_chat(folder, named, tok)
