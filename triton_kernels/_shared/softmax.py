"""The online softmax of every attention kernel, and functions it needs. Imports triton only.

Scores are in units of log 2, for which GPUs have an instruction, or in natural units: a score of 1e3 is 1443 in units
of log 2, whose rounding costs float32 half of its last digits.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def tanh(x) -> tl.tensor:
    """Computes tanh with a relative error below 2e-7, without libdevice, which the interpreter lacks.

    Near 0 the exponential form cancels; Cephes' odd polynomial is used there (S. Moshier, single/tanhf.c).
    """
    size = tl.abs(x)
    z = x * x
    near = ((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1
    near = (near * z - 3.33332819422e-1) * z * size + size
    far = 1.0 - 2.0 / (tl.exp2(tl.minimum(size, 20.0) * (2.0 * LOG2_E)) + 1.0)
    size = tl.where(size < 0.625, near, far)
    return tl.where(x < 0.0, -size, size)


@triton.jit
def power(x, NATURAL: tl.constexpr) -> tl.tensor:
    """Computes e^x or 2^x."""
    return tl.exp(x) if NATURAL else tl.exp2(x)


@triton.jit
def logarithm(x, NATURAL: tl.constexpr) -> tl.tensor:
    """Computes the inverse of `power`."""
    return tl.log(x) if NATURAL else tl.log2(x)


@triton.jit
def softmax_step(acc, total, top, x, v_tile, NATURAL: tl.constexpr) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Rescales the sums to the new maximum of each row, and adds this step's keys."""
    new_top = tl.maximum(top, tl.max(x, 1))
    # The top of a row that has seen nothing is -inf; 0 instead makes `power` give 0 and not NaN.
    shift = tl.where(new_top == float("-inf"), 0.0, new_top)
    p = power(x - shift[:, None], NATURAL)
    shrink = power(top - shift, NATURAL)
    acc = tl.dot(p.to(v_tile.dtype), v_tile, acc * shrink[:, None], input_precision="ieee")
    return acc, total * shrink + tl.sum(p, 1), new_top
