"""A model with its tokenizer and chat template, from a run, a model folder, a GGUF file or the Hugging Face Hub."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stategpt.config.stage_names import STAGES
from stategpt.config.start import ENGINES, TokenizerEngine
from stategpt.errors import ConfigError, NoChatTemplate
from stategpt.hub import local_path

if TYPE_CHECKING:
    import torch

    from stategpt.data import ChatTemplate
    from stategpt.generate import Engine
    from stategpt.model import GPT, RewardModel
    from stategpt.tokenizer import AnyTokenizer

STAGE_FOLDERS = tuple(stage.folder for stage in reversed(STAGES) if stage.artifact == "model")
"""Folders of a run that hold a model, as `--stage` names them."""
_LANGUAGE_MODELS = tuple(stage.folder for stage in reversed(STAGES) if stage.chat)
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_SCORES = "ForSequenceClassification"
_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")
_RUN_DEPTH = 3
"""How far above a model its run is at most: RUN/rl/seed_1/model."""


@dataclass(frozen=True)
class Source:
    """What was loaded."""

    place: Path
    model: GPT | RewardModel
    tok: AnyTokenizer
    chat: ChatTemplate | None
    """None for a base model, and for a tokenizer of this package, whose format is known."""

    def format(self) -> ChatTemplate | None:
        """Returns the chat format, this package's included; None for a base model of others."""
        from stategpt.generate.sampling_ids import own_chat

        return own_chat(self.tok) if self.chat is None else self.chat

    def template(self) -> str | None:
        """Returns the chat format as Jinja; None for a base model of others."""
        from stategpt.data.chat_template import chat_template
        from stategpt.data.control_ids import has_own_block

        if self.chat is None and has_own_block(self.tok):
            return chat_template(self.tok.special_tokens)
        return None if self.chat is None else self.chat.jinja()


def model_place(name: str, stage: str | None = None) -> Path:
    """Returns the model folder or file that `name` (a run, folder, GGUF file, or name on the Hub) and `stage` say.

    Raises:
        ConfigError: a run without that model; a stage of what is no run; nothing there.
    """
    path = local_path(name)
    if (path / "run.toml").is_file():
        there = [each for each in STAGE_FOLDERS if (path / each / "model" / "config.json").is_file()]
        chosen = stage or next((each for each in there if each in _LANGUAGE_MODELS), None)
        if chosen not in there:
            found = f"it has {', '.join(there)}" if there else "no stage has finished yet"
            raise ConfigError(f"{path} has no {chosen or 'language'} model; {found}")
        return path / chosen / "model"
    if stage is not None:
        raise ConfigError(f"--stage {stage} names a model of a run, and {path} is not a run folder (run.toml)")
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give a run folder, a model folder, a .gguf file or org/name")
    return path


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds the option `--engine` of commands that read the tokenizer of a model."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="what reads the tokenizer: native, or the tokenizers library (only for files you trust) (default: native; "
        "of a run what its start.engine says)",
    )


def engine_of(place: Path, given: TokenizerEngine | None) -> TokenizerEngine:
    """Returns the engine for the tokenizer of a model: `given`, else what the run that the model is in recorded, else
    the native one.
    """
    from stategpt.data.control_ids import read_engine

    run = run_above(place)
    return given or (read_engine(run / "tokenizer") if run is not None else "native")


def run_above(place: Path) -> Path | None:
    """Returns the run folder that a model is in; None for a model of no run."""
    above = place.absolute().parents[:_RUN_DEPTH]
    return next((folder for folder in above if (folder / "run.toml").is_file()), None)


def load_source(place: Path, engine: TokenizerEngine | None, dtype: torch.dtype | None = None) -> Source:
    """Loads a model with what reads and writes its text; weights as `dtype`, None: as they are stored.

    Without `engine` a model of a run is read by the engine that the run recorded, any other by the native one.
    """
    from stategpt.data import ChatTemplate
    from stategpt.data.control_ids import has_own_block
    from stategpt.model import GPT, RewardModel
    from stategpt.tokenizer import Tokenizer

    model = (RewardModel if _is_reward_model(place) else GPT).from_pretrained(place, dtype)
    tok = Tokenizer.load(place, engine_of(place, engine))
    if has_own_block(tok):
        return Source(place, model, tok, None)
    try:
        return Source(place, model, tok, ChatTemplate.load(place, tok))
    except NoChatTemplate:
        return Source(place, model, tok, None)


def load_engine(
    place: Path, engine: TokenizerEngine | None, dtype: torch.dtype | None = None, **options: Any
) -> Engine:
    """Loads a language model to sample from, on a GPU where there is one; a model of a run has the run's chat format.

    Args:
        place: of `model_place`.
        engine: what reads the tokenizer, as `load_source`.
        dtype: as `load_source`.
        options: of `Engine`.

    Raises:
        ConfigError: it is a reward model.
    """
    from stategpt.artifacts.run_folder import RunFolder
    from stategpt.generate import Engine
    from stategpt.model import GPT
    from stategpt.stages.chat_format import run_chat
    from stategpt.stages.context import pick_device

    source = load_source(place, engine, dtype)
    if not isinstance(source.model, GPT):
        raise ConfigError(f"{place} is a reward model, which writes no text; give a language model")
    chat, run = source.chat, run_above(place)
    if run is not None:  # a base model's folder is as it came, perhaps without a template
        chat = run_chat(RunFolder(run), source.tok)
    return Engine(source.model.to(pick_device()).eval(), source.tok, chat, **options)


def model_hash(place: Path) -> str:
    """Returns the identity of a model: of its weights, settings and what reads and writes its text."""
    from stategpt import _native
    from stategpt.artifacts import fingerprint

    if place.is_file():
        return _native.hash_file(place)[1]
    files = sorted(path for path in place.iterdir() if path.suffix in _MODEL_SUFFIXES and path.name != "manifest.json")
    return fingerprint({path.name: _native.hash_file(path)[1] for path in files})


def _is_reward_model(place: Path) -> bool:
    from stategpt.errors import StategptError
    from stategpt.json_reader import Items, Optional, Record, Text, read_record

    kind = Record({"architectures": Optional(Items(Text(max_chars=200), max_items=100), ())})
    try:
        found = read_record(place / "config.json", kind)
    except StategptError:  # loading says what is wrong with it
        return False
    return any(str(name).endswith(_SCORES) for name in found["architectures"])


def torch_dtype(name: str | None) -> torch.dtype | None:
    """Returns the number format that `--dtype` names; None for none."""
    import torch

    found: torch.dtype | None = None if name is None else getattr(torch, DTYPES[name])
    return found
