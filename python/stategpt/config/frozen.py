"""Bytes of frozen weights in the formats of `lora.base`, as `ops.int8` and `ops.nf4` keep them."""

from __future__ import annotations

from math import ceil

from stategpt.config.lora import BaseFormat, LoRAConfig, linear_shapes
from stategpt.config.model import GPTConfig
from stategpt.config.trained import adapted_in

HEAD = "lm_head"
NF4_BLOCK, NF4_SCALES = 64, 256
"""Weights that share a scale, and scales that share a step (`ops.nf4`)."""


def matrix_bytes(outputs: int, inputs: int, base: BaseFormat) -> int:
    """Bytes of a quantized matrix: int8 codes and a float32 scale a row; or 4-bit codes, 8-bit scales, their steps."""
    if base == "int8":
        return outputs * inputs + 4 * outputs
    blocks = ceil(outputs * inputs / NF4_BLOCK)
    groups = ceil(blocks / NF4_SCALES)
    return blocks * NF4_BLOCK // 2 + groups * NF4_SCALES + 4 * groups + 4


def quantized_bytes(model: GPTConfig, base: BaseFormat, weights: int) -> int:
    """Bytes of a model whose linear layers in blocks are in the format `base`, the rest in `weights` bytes a number.

    "float32" and "bfloat16" leave all in `weights` bytes.
    """
    if base not in ("int8", "nf4"):
        return weights * model.parameters
    shapes = [shape for name, shape in linear_shapes(model).items() if name != HEAD]
    rest = model.parameters - model.depth * block_matrices(model)
    return weights * rest + model.depth * sum(matrix_bytes(*shape, base) for shape in shapes)


def block_matrices(model: GPTConfig) -> int:
    """Numbers in the linear layers of a block, biases aside."""
    return sum(outputs * inputs for name, (outputs, inputs) in linear_shapes(model).items() if name != HEAD)


def adapted_numbers(model: GPTConfig, lora: LoRAConfig, layer: int) -> int:
    """Numbers in the matrices of block `layer` that have an adapter."""
    return sum(outputs * inputs for outputs, inputs in adapted_in(model, lora, layer).values())
