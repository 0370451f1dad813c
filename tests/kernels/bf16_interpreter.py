"""Test-only repair of bfloat16 in Triton's interpreter (3.6 and 3.9): importing this module installs it.

The interpreter stores bfloat16 as the bits in uint16. `tl.dot` multiplies those bits as if they were numbers, and the
cast from float32 cuts the low bits off where GPUs round to nearest even; the maintainers decline to support the type
(triton issue 11584). Both are put right here. Arithmetic on bfloat16 stays wrong: kernels cast to float32 first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton.language as tl
from numpy.typing import NDArray
from triton.runtime import interpreter


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 whose upper half these bits are."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Bits of the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), nearest).reshape(np.shape(values))


def install() -> None:
    """Puts both repairs in, once."""
    builder = interpreter.InterpreterBuilder
    if getattr(builder, "_bf16_repaired", False):
        return
    product, cast = builder.create_dot, builder.cast_impl

    def operand(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return interpreter.TensorHandle(widened(handle.data), tl.float32)

    def create_dot(self: Any, a: Any, b: Any, accumulator: Any, *rest: Any) -> Any:
        return product(self, operand(a), operand(b), accumulator, *rest)

    def cast_impl(self: Any, source: Any, target: Any) -> Any:
        if source.dtype.scalar == tl.float32 and target.scalar == tl.bfloat16:
            return interpreter.TensorHandle(rounded(source.data), tl.bfloat16)
        if source.dtype.scalar == tl.bfloat16 and target.scalar == tl.float32:
            return interpreter.TensorHandle(widened(source.data), tl.float32)
        return cast(self, source, target)

    builder.create_dot, builder.cast_impl, builder._bf16_repaired = create_dot, cast_impl, True
    for name in ("create_fp_ext", "create_fp_trunc"):
        setattr(builder, name, lambda self, source, target: self.cast_impl(source, target))


install()
