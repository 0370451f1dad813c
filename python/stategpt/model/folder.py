"""Loads and saves the folder of a model: one sequence for the GPT, the reward model and the classifier.

Each class says what its parameters are called on disk, what config.json says of it beyond its shape, and how a model
without weights is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from stategpt.artifacts import Json
from stategpt.config import GPTConfig
from stategpt.data.chats import ChatTemplate
from stategpt.errors import ForeignArtifact
from stategpt.gguf_file import is_gguf
from stategpt.hub import local_path
from stategpt.tokenizer import AnyTokenizer

from . import hf
from .biased_llama import kept_ids_format
from .exported_tokenizer import write_tokenizer
from .special_ids import SpecialIds
from .weights import load_model, save_weights

_Model = TypeVar("_Model", bound=nn.Module)


@dataclass(frozen=True)
class Kind:
    """What distinguishes the folders of one class of models from those of another."""

    head: str
    """End of the architecture's name in config.json: ForCausalLM or ForSequenceClassification."""
    tensor_name: Callable[[str], str]
    """Standard name on disk of a parameter."""


LANGUAGE_MODEL = Kind("ForCausalLM", hf.gpt_tensor_name)
SEQUENCE_MODEL = Kind("ForSequenceClassification", hf.reward_tensor_name)


@dataclass(frozen=True)
class Texts:
    """What reads and writes the texts of a model that is saved."""

    tok: AnyTokenizer
    chat: ChatTemplate | None = None
    """Its chat format, where that is not the tokenizer's own."""
    scores: bool = False
    """A reward model: it reads finished chats."""
    ends: bool = False
    """A classifier: what ends a text is put behind it."""
    reward_id: int | None = None
    """The reward token."""


def local_folder(folder: str | Path, what: str) -> Path:
    """Returns the local folder that `folder`, a path or a name on the Hub, means.

    Raises `ForeignArtifact` for a GGUF file, which holds no `what`.
    """
    if is_gguf(folder):
        raise ForeignArtifact(f"{folder}: GGUF files hold language models; give the folder of a {what}")
    return local_path(folder)


def load_folder(
    folder: Path, kind: Kind, build: Callable[[GPTConfig, SpecialIds], _Model], dtype: torch.dtype | None
) -> tuple[_Model, hf.Description]:
    """Loads the model of a folder, in eval mode, with what its config.json says.

    `build` makes the model of a shape; it is called on the meta device. `dtype` and errors as `GPT.from_pretrained`.
    """
    found = hf.read_config(folder, kind.head)

    def build_shape(config: GPTConfig) -> _Model:
        """Builds the model of a shape, with the ids of the folder."""
        return build(config, found.special_ids)

    names = hf.names_of(found.family, kind.tensor_name)
    return load_model(build_shape, found.config, folder, names, dtype).eval(), found


def save_folder(
    model: nn.Module,
    folder: Path,
    kind: Kind,
    build: Callable[[GPTConfig], nn.Module],
    config: GPTConfig,
    described: Mapping[str, Json],
    ids: SpecialIds,
    texts: Texts | None,
    *,
    manifest: bool,
    shard_bytes: int,
    generation: Sequence[int] | None = None,
) -> None:
    """Writes weights, config.json and, with `texts`, the tokenizer's files.

    Args:
        model: what is saved.
        folder: where to; what it holds of an earlier model is replaced.
        kind: its class's folders.
        build: makes a model of a shape with the same parameters, untrained.
        config: its shape.
        described: config.json in the format of that shape.
        ids: what begins, ends and pads its texts.
        texts: what reads and writes them; None: weights and settings only.
        manifest: the folder is about to be published.
        shard_bytes: most bytes of tensors in a file.
        generation: ids that are never sampled, for generation_config.json; None: there is no such file.

    Raises:
        InvalidArgument: as `save_weights`.
    """
    written, further = kept_ids_format(dict(described), config, texts.tok) if texts else (dict(described), {})
    names = hf.names_of(hf.saved_family(config), kind.tensor_name)
    save_weights(model, build, config, folder, names, manifest, further, shard_bytes)
    hf.write_config(folder, written)
    if generation is not None:
        hf.write_generation_config(folder, ids, generation)
    if texts is not None:
        write_tokenizer(
            folder,
            texts.tok,
            ids,
            texts.chat,
            config.context_tokens,
            scores=texts.scores,
            ends=texts.ends,
            reward_id=texts.reward_id,
        )
