"""The model that a run starts from instead of random weights: its shape and vocabulary, read from its folder or file.

Needs no torch, so that `stategpt plan` knows the sizes. The weights are read when the run begins (`stages.start`). What
[model] cannot say of a model (`GPTConfig.architecture`) is read again from there, or from the copy that the run folder
holds. Of a model of the Hub only settings and tokenizer are downloaded here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from stategpt.config.architecture import PLAIN, Architecture
from stategpt.config.checks import require_choice, shown_key, shown_value
from stategpt.config.hf_shape import as_saved, checked_family, read_fields, read_shape
from stategpt.config.model import NO_SETTING, GPTConfig
from stategpt.errors import (
    ConfigError,
    CorruptArtifact,
    ForeignArtifact,
    HubError,
    MissingExtra,
    MissingFile,
    StorageError,
)
from stategpt.hub import TOKENIZER_FILES, local_path
from stategpt.json_reader import read_json
from stategpt.shown_fields import documented

TokenizerEngine: TypeAlias = Literal["native", "tokenizers"]
ENGINES: tuple[TokenizerEngine, ...] = ("native", "tokenizers")
_CONFIG_LIMIT_BYTES = 1 << 20
_FIXED = tuple(each.name for each in fields(GPTConfig) if NO_SETTING not in each.metadata)
_VOCABULARY = "tokenizer.vocab_size"
START_SETTINGS = (*(f"model.{name}" for name in _FIXED), _VOCABULARY)
"""Settings that the start model fixes."""
KEPT_FOLDERS = ("start/model", "base/model")
"""Where a run folder holds its copy of the start model (`config.parts.start_part`)."""


@documented
@dataclass(frozen=True)
class StartConfig:
    """The model that a run starts from; its tokenizer comes with it. With [sources] pretraining continues from it."""

    model: str = ""
    """Folder of a model of any family that is read (docs/transformers.md), a stage's folder of a run, a .gguf file, or
    org/name[@revision] on the Hugging Face Hub; empty: random weights."""
    chat: str = ""
    """Its chat format: a name of `ChatTemplate.names()`, or a .toml or .jinja file; empty: the folder's own."""
    engine: TokenizerEngine = "native"
    """What reads its tokenizer.json: native, or tokenizers, the library of that name, for what the native engine does
    not cover (SentencePiece, Unigram, WordPiece). The library is not for files that you do not trust."""

    def __post_init__(self) -> None:
        require_choice("start.engine", self.engine, ENGINES)
        if not self.model and self.engine != "native":
            raise ConfigError(
                f'start.engine = "{self.engine}" reads the tokenizer of start.model, which is not set; give start.model'
            )


def model_place(model: str, files: tuple[str, ...] = TOKENIZER_FILES) -> Path:
    """The folder or .gguf file that `start.model` means: itself, or `model/` inside a stage's folder.

    Of a model of the Hub `files` are downloaded.

    Raises:
        ConfigError: neither is a model's folder with its tokenizer; the Hub has no such model, or cannot be reached.
    """
    from stategpt.gguf_file import is_gguf  # imports NumPy, which a plan without a start model does not wait for

    try:
        given = local_path(model, files)
    except (MissingFile, HubError, MissingExtra) as error:
        raise ConfigError(f"start.model: {error}") from error
    if is_gguf(given) and given.is_file():
        return given
    for folder in (given, given / "model"):
        if os.path.isfile(folder / "config.json"):
            if not os.path.isfile(folder / "tokenizer.json"):
                raise ConfigError(
                    f"start.model = {shown_value(model)}: {shown_key(str(folder))} holds no tokenizer.json; a "
                    "model starts a run with the tokenizer it was trained with, so copy that beside it"
                )
            return folder
    what = "holds no config.json, nor does model/ in it" if os.path.isdir(given) else "is not a folder"
    raise ConfigError(
        f"start.model = {shown_value(model)} {what}; give a model's folder, as runs/NAME/sft/model or runs/NAME/sft, a "
        ".gguf file, or org/name on the Hugging Face Hub"
    )


def start_settings(model: str) -> dict[str, Any]:
    """Settings (dotted key -> value) that the model of `start.model` fixes: its shape and its vocabulary.

    Raises:
        ConfigError: there is no model, or its config.json is none that is read.
    """
    shape = shape_at(model_place(model))
    return {f"model.{name}": getattr(shape, name) for name in _FIXED} | {_VOCABULARY: shape.vocab_size}


def shape_at(place: Path) -> GPTConfig:
    """The shape of the language model in a folder of any family in `config.families`, by its config.json alone, or of
    that in a .gguf file, by its header.

    Raises:
        ConfigError: it cannot be read, or describes what is not computed here.
    """
    from stategpt.config.gguf_shape import gguf_shape
    from stategpt.gguf_file import GgufFile, is_gguf

    path = place / "config.json"
    try:
        if is_gguf(place):
            with GgufFile(place) as file:
                return gguf_shape(file)
        found = read_json(path, error=CorruptArtifact, limit_bytes=_CONFIG_LIMIT_BYTES)
        family = checked_family(str(path), found, "ForCausalLM")
        return as_saved(read_shape(str(path), read_fields(str(path), found, family), family), family)
    except (CorruptArtifact, ForeignArtifact, MissingFile, StorageError) as error:
        raise ConfigError(f"start.model: {error}") from error


def start_architecture(model: str, shape: GPTConfig, run_folder: Path | None) -> Architecture:
    """What the start model computes beyond the settings of [model]: of the copy in `run_folder`, if that is there.

    A folder whose sizes are not those of `shape` is another model. Where none is left that can be read, the plain
    architecture is returned; a run cannot begin then (`stages.start`).
    """
    folders = [run_folder / name for name in KEPT_FOLDERS] if run_folder is not None else []
    with suppress(ConfigError):
        folders.append(model_place(model))
    for folder in folders:
        try:
            found = shape_at(folder)
        except ConfigError:
            continue
        if all(getattr(found, name) == getattr(shape, name) for name in _FIXED):
            return found.architecture
    return PLAIN


def refuse_other_shape(given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuses a setting that was given and that the start model fixes to another value."""
    for key, value in fixed.items():
        if key in given and given[key] != value:
            raise ConfigError(f"{key} = {given[key]!r}: start.model has {value!r}; leave the setting out")
