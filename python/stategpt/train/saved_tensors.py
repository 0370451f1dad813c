"""Reads tensors from a safetensors file that may be damaged or hostile: exactly those expected, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from stategpt.errors import CorruptArtifact, StorageError
from stategpt.files import open_regular

_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8"}
"""As safetensors writes them."""


def read_tensors(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `path`, whose names, shapes and dtypes are those of `expected` (which may be on the meta device).

    The header is compared before any value is read: memory stays within what `expected` takes. Every value is finite.

    Raises:
        CorruptArtifact: the file cannot be read, or a tensor is missing, unknown, of another shape or dtype, or holds
            NaN or infinity; the message names it.
    """
    try:
        open_regular(path).close()
        _compare(path, expected)
        tensors = load_file(path)
    except (SafetensorError, StorageError, OSError) as error:
        raise CorruptArtifact(f"{path} cannot be read ({error}). Delete this checkpoint.") from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CorruptArtifact(f"{path}: {name} holds NaN or infinity. Delete this checkpoint.")
    return tensors


def _compare(path: Path, expected: Mapping[str, Tensor]) -> None:
    """The header alone against `expected`."""
    with safe_open(path, framework="pt") as file:
        found = set(file.keys())
        if found != expected.keys():
            missing, unknown = sorted(expected.keys() - found), sorted(found - expected.keys())
            what = f"lacks {missing[0]!r}" if missing else f"has the unknown tensor {unknown[0][:100]!r}"
            others = len(missing) + len(unknown) - 1
            raise CorruptArtifact(
                f"{path} {what}{f' ({others} more differ)' if others else ''}. Delete this checkpoint."
            )
        for name, tensor in expected.items():
            part = file.get_slice(name)
            shape, dtype = tuple(part.get_shape()), part.get_dtype()
            if shape != tuple(tensor.shape) or dtype != _DTYPES.get(tensor.dtype):
                raise CorruptArtifact(
                    f"{path}: {name} is {dtype} {list(shape)}; this model has "
                    f"{_DTYPES.get(tensor.dtype, tensor.dtype)} {list(tensor.shape)}. Delete this checkpoint."
                )
