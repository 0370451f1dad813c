"""Loads a GPT from a GGUF file, as llama.cpp and its converters write them. The file is never mapped into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from stategpt.config import GPTConfig
from stategpt.config.gguf_shape import gguf_shape, record_of
from stategpt.gguf_file import GgufFile

from .gguf_shape import read_special_ids
from .gguf_tensor_names import gguf_tensor_names
from .gguf_weights import GgufWeights
from .special_ids import SpecialIds
from .weights import load_tensors, require_weight_dtype

_Model = TypeVar("_Model", bound=nn.Module)


def load_gguf(build: Callable[[GPTConfig, SpecialIds], _Model], path: Path, dtype: torch.dtype | None) -> _Model:
    """Builds the model of a GGUF file with its weights.

    Its metadata decide the shape; what they leave to the architecture is as llama.cpp has it. Before any weight is
    read, the header is checked as a whole and compared with the shape. Then one tensor at a time is dequantized into
    its place: the peak of memory is the weights and one tensor. `dtype` None: the format of the matrices where it holds
    every value, float32 for quantized ones.

    Raises:
        ForeignArtifact: an architecture, metadata, tensors or formats that are not computed here; one part of several.
        CorruptArtifact: a header that breaks the format, sizes that do not fit together, tensors that are missing, of
            another shape or not finite.
        MissingExtra: quantized weights without the `gguf` package.
        InvalidArgument: another `dtype` than float32, bfloat16, float16 and None.
    """
    require_weight_dtype(dtype)
    with GgufFile(path) as file:
        record, config = record_of(file), gguf_shape(file)
        ids = read_special_ids(str(path), file.metadata, config.vocab_size)

        def build_shape(shape: GPTConfig) -> _Model:
            """Builds the model of a shape."""
            return build(shape, ids)

        return load_tensors(GgufWeights(file, record, config), build_shape, config, gguf_tensor_names(record), dtype)
