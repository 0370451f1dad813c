"""Writes a GPT as a GGUF file that llama.cpp computes as this package does, tensor by tensor.

What llama.cpp has as a constant of the architecture cannot be said in metadata. So the metadata are read back before
anything is written, as `GPT.from_pretrained` reads them, and a shape that they do not give is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from stategpt.arguments import instance
from stategpt.artifacts import publish_written
from stategpt.config import GPTConfig
from stategpt.config.gguf_names import ROPE_FACTORS, GgufFamily, gguf_family_of
from stategpt.config.gguf_shape import TensorFacts, read_config
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.extras import require
from stategpt.tokenizer import AnyTokenizer
from stategpt.tokenizer.gguf_vocabulary import gguf_metadata

from .gguf_rope import rope_factors
from .gguf_shape import config_metadata, plain_switches, special_ids_metadata
from .gguf_tensor_names import gguf_tensor_names
from .gguf_weights import row_places
from .gpt import GPT
from .hf import saved_family
from .reward import RewardModel
from .rotary import attention_factor, scaled_frequencies
from .weights import parameter_groups_on_disk

Format = Literal["f32", "f16", "q8_0"]
_FILE_TYPE: Mapping[str, int] = {"f32": 0, "f16": 1, "q8_0": 7}
"""`general.file_type`: what most tensors are."""
_QUANTIZATION_VERSION = 2
_LARGEST = {"f32": math.inf, "f16": 65504.0, "q8_0": 127 * 65504.0}
"""Largest weight of a format; of q8_0 a block's scale is a float16."""
_BLOCK, _PIECE = 32, 1 << 18
_TOKENS, _TOKEN_TYPES, _SCORES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores"))
_UNUSED_TYPE, _UNUSED_SCORE = 5, -1000.0
_TEMPLATE = "tokenizer.chat_template"


class JinjaChat(Protocol):
    """A chat format that can be said as a Jinja template."""

    def jinja(self) -> str:
        """The template."""
        ...


def save_gguf(
    model: GPT,
    path: str | Path,
    tok: AnyTokenizer | Mapping[str, Any] | None = None,
    chat: JinjaChat | str | None = None,
    dtype: Format = "f16",
) -> None:
    """Writes `model` to the GGUF file `path`; needs the memory of its largest tensor and no more.

    Matrices become `dtype`; vectors stay float32, and so do learned positions and what q8_0 cannot divide into blocks
    of 32 is f16. An existing file is replaced once the new one is complete and durable.

    Args:
        model: the model; adapters are merged first.
        path: the file, with the ending `.gguf`.
        tok: the tokenizer, or metadata of one: those of the GGUF file that the model came from, whose names begin with
            `tokenizer.`. Without it no other program reads text with the model. Ids of the model without a token get
            one that is never used.
        chat: the chat template, as Jinja or a format that has one.
        dtype: "f32", "f16" or "q8_0" (llama.cpp's 8 bits with a scale for 32 weights).

    Raises:
        ForeignArtifact: llama.cpp does not compute this shape; `tok` has more ids than the model, or GGUF cannot say
            it (`tokenizer.gguf_vocabulary`).
        InvalidArgument: a reward model, another `dtype` or ending, weights that are not finite or too large for
            `dtype`, parameters that are not a GPT's.
        MissingExtra: the `gguf` package is not installed.
        OutOfSpace, StorageError: it cannot be written; `path` has its old content.
    """
    if isinstance(model, RewardModel):
        raise InvalidArgument(
            "a reward model cannot be a GGUF file: llama.cpp has no score head with an offset; use save_pretrained"
        )
    instance("model", model, GPT, "As in save_gguf(sg.GPT.from_pretrained(folder), 'model.gguf').")
    if dtype not in _FILE_TYPE:
        raise InvalidArgument(f"dtype is {dtype!r}; give one of {', '.join(_FILE_TYPE)}")
    if Path(path).suffix != ".gguf":
        raise InvalidArgument(f"{path} does not end in .gguf, by which readers know the format")
    require("gguf", "writing GGUF files", "hf")
    record = _record_of(model.config)
    metadata = _metadata(model, record, dtype)
    if tok is not None:
        said = tok if isinstance(tok, Mapping) else gguf_metadata(tok)
        metadata |= _tokenizer_metadata(said, model.config.vocab_size)
    if chat is not None:
        metadata[_TEMPLATE] = chat if isinstance(chat, str) else chat.jinja()
    source = _Tensors(model, record, dtype)
    publish_written(path, lambda file: _write(file, record, metadata, source))


def _record_of(config: GPTConfig) -> GgufFamily:
    family = saved_family(config)
    record = gguf_family_of(family)
    if record is None:
        raise ForeignArtifact(f"llama.cpp's architectures that are written here have none of the family {family.name}")
    where, switches = f"a {family.name} of this shape cannot be a GGUF file", config.architecture
    if family.model_type == "mistral" and switches.window is not None and switches.window < config.context_tokens:
        raise ForeignArtifact(
            f"{where}: sliding_window is {switches.window}, and llama.cpp computes the architecture llama without one"
        )
    if record.heads_fill_width and config.query_width != config.width:
        raise ForeignArtifact(f"{where}: heads x head_dim is {config.query_width}, llama.cpp expects {config.width}")
    if record.always_tied and not config.tied_embeddings:
        raise ForeignArtifact(f"{where}: tied_embeddings is false, llama.cpp predicts with the embedding")
    return record


def _metadata(model: GPT, record: GgufFamily, dtype: Format) -> dict[str, Any]:
    """Metadata of the model, which give its shape when they are read back."""
    config = model.config
    own = {record.key(suffix): value for suffix, value in config_metadata(config, record).items()}
    _require_said(config, record, own)
    found = {"general.type": "model", "general.file_type": _FILE_TYPE[dtype], **own}
    if dtype == "q8_0":
        found["general.quantization_version"] = _QUANTIZATION_VERSION
    return found | special_ids_metadata(model.special_ids)


def _require_said(config: GPTConfig, record: GgufFamily, metadata: Mapping[str, Any]) -> None:
    scaling = config.architecture.rope_scaling
    factors = None
    if scaling is not None and scaling.rope_type == "llama3":
        factors = rope_factors(config.head_dim, config.rope_theta, scaling).numpy()
    facts = TensorFacts(config.vocab_size, config.tied_embeddings, config.attention_bias, factors)
    where = f"a {record.architecture} of this shape cannot be a GGUF file"
    expected = plain_switches(config, record)
    read = plain_switches(read_config(where, metadata, record, facts), record)
    for each in fields(GPTConfig):
        if each.name != "architecture" and getattr(read, each.name) != getattr(expected, each.name):
            _refuse(where, each.name, getattr(expected, each.name), getattr(read, each.name))
    for each in fields(expected.architecture):
        ours, theirs = (getattr(shape.architecture, each.name) for shape in (expected, read))
        if each.name == "rope_scaling":
            if _rotation(expected) != _rotation(read):
                _refuse(where, each.name, ours, theirs)
        elif ours != theirs:
            _refuse(where, each.name, ours, theirs)


def _rotation(config: GPTConfig) -> tuple[list[float], float]:
    """What positions rotate by, to 6 digits: several settings of one scaling are equal."""
    scaling = config.architecture.rope_scaling
    frequencies = scaled_frequencies(config.head_dim, config.rope_theta, scaling)
    return [float(f"{each:.5e}") for each in frequencies.tolist()], round(attention_factor(scaling), 6)


def _refuse(where: str, name: str, ours: object, theirs: object) -> None:
    raise ForeignArtifact(f"{where}: {name} is {ours}, llama.cpp computes {theirs}")


def _tokenizer_metadata(tok: Mapping[str, Any], vocabulary: int) -> dict[str, Any]:
    """The tokenizer's metadata, with a token for each row of the embedding, which llama.cpp wants."""
    if odd := sorted(key for key in tok if not key.startswith("tokenizer.")):
        raise InvalidArgument(f"tok has {odd[0]!r}; metadata of a tokenizer begin with 'tokenizer.'")
    found = {key: value for key, value in tok.items() if value is not None and value != []}
    count = len(found.get(_TOKENS, ()))
    if count > vocabulary:
        raise ForeignArtifact(
            f"the tokenizer has {count} ids and the model embeds {vocabulary}; save the model with the tokenizer that "
            "it was trained with"
        )
    unused = [f"[PAD{number}]" for number in range(count, vocabulary)]
    for key, more in (
        (_TOKENS, unused),
        (_TOKEN_TYPES, [_UNUSED_TYPE] * len(unused)),
        (_SCORES, [_UNUSED_SCORE] * len(unused)),
    ):
        if key in found:
            found[key] = [*found[key], *more]
    return found


class _Tensors:
    """The tensors of a file, in turn: names, formats and shapes first, then the values."""

    def __init__(self, model: GPT, record: GgufFamily, dtype: Format) -> None:
        self._config, self._record, self._dtype = model.config, record, dtype
        self._names = gguf_tensor_names(record)
        self._parameters = dict(model.named_parameters())
        self._groups = parameter_groups_on_disk(model, GPT, model.config, self._names)
        if record.untied and model.config.tied_embeddings:
            self._groups[self._names.prediction] = self._groups[self._names.embedding]

    def __iter__(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        for name, parts in self._groups.items():
            shape = self._names.stored_shape(name, [tuple(self._parameters[part].shape) for part in parts])
            yield name, self._format(name, shape), shape
        if self._factors is not None:
            yield ROPE_FACTORS, "f32", tuple(self._factors.shape)

    def _format(self, name: str, shape: tuple[int, ...]) -> str:
        """As llama.cpp's converter chooses it."""
        if len(shape) == 1 or name.startswith("position_embd"):
            return "f32"
        return "f16" if self._dtype == "q8_0" and shape[-1] % _BLOCK else self._dtype

    @property
    def _factors(self) -> Tensor | None:
        scaling = self._config.architecture.rope_scaling
        if scaling is None or scaling.rope_type != "llama3":
            return None
        return rope_factors(self._config.head_dim, self._config.rope_theta, scaling)

    def values(self, name: str, form: str) -> np.ndarray[Any, Any]:
        """The values of a tensor in its format; blocks are bytes."""
        if name == ROPE_FACTORS and self._factors is not None:
            return self._factors.numpy()
        parts = [self._parameters[part].detach().cpu() for part in self._groups[name]]
        whole = self._names.stored(name, parts)
        low, high = whole.aminmax()
        if not float(torch.maximum(-low, high)) <= _LARGEST[form] or not math.isfinite(float(high)):
            raise InvalidArgument(
                f"{name} holds values of {float(low)} to {float(high)}, which {form} does not hold; write 'f32', or "
                "train with weight decay"
            )
        places = None if self._record.pairs_apart else row_places(name, self._config)
        if places is not None:
            whole = whole[places]
        if self._record.norm_offset and name.endswith("norm.weight"):
            whole = whole.float() + self._record.norm_offset
        if form == "q8_0":
            return _blocks(whole)
        return whole.to(torch.float16 if form == "f16" else torch.float32).contiguous().numpy()


def _blocks(matrix: Tensor) -> np.ndarray[Any, Any]:
    """Quantizes a matrix to q8_0 as llama.cpp does. -> uint8[rows, bytes]."""
    from gguf import GGMLQuantizationType, quantize  # of the extra `hf`

    numbers = matrix.reshape(-1)
    with np.errstate(over="ignore"):  # 1 / d of a block of the smallest numbers
        pieces = [
            quantize(piece.float().numpy().reshape(1, -1), GGMLQuantizationType.Q8_0).reshape(-1)
            for piece in torch.split(numbers, _PIECE)
        ]
    return np.concatenate(pieces).reshape(len(matrix), -1)


def _write(path: Path, record: GgufFamily, metadata: Mapping[str, Any], source: _Tensors) -> None:
    """Writes header and tensors with the package's writer."""
    from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter  # of the extra `hf`

    types = {bool: GGUFValueType.BOOL, int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32}
    types |= {str: GGUFValueType.STRING, list: GGUFValueType.ARRAY}
    writer = GGUFWriter(path, record.architecture)
    try:
        for key, value in metadata.items():
            writer.add_key_value(key, value, types[type(value)])
        tensors = list(source)
        for name, form, shape in tensors:
            kind = GGMLQuantizationType[form.upper()]
            size = math.prod(shape) // _BLOCK * 34 if form == "q8_0" else math.prod(shape) * (2 if form == "f16" else 4)
            writer.add_tensor_info(name, shape, np.dtype(np.float32), size, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, form, _ in tensors:
            writer.write_tensor_data(source.values(name, form))
    finally:
        writer.close()
