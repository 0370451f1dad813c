"""Names of a GPT's parameters in a GGUF file."""

from __future__ import annotations

from dataclasses import replace

from stategpt.config.gguf_names import GgufFamily

from .hf import gpt_tensor_name
from .tensor_names import TensorNames


def gguf_tensor_names(record: GgufFamily) -> TensorNames:
    """Returns the names that files of an architecture have."""
    constants = r"rope_freqs\.weight" if record.rope_factors else ""
    family = replace(record.family, tensor_names=record.names, transposed=(), constants=constants, prefix="")
    return TensorNames(family, gpt_tensor_name)
