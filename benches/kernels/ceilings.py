"""What the device itself can do, measured in the same run: copying, and a matrix product."""

from __future__ import annotations

import torch
from timing import Call, in_turns

COPY = "copy"
PRODUCT = 8192
"""Rows and columns of the matrices."""


def copy_rounds(copy_bytes: int, device: torch.device, rounds: int) -> list[float]:
    """Milliseconds of copying so many bytes, which reads and writes them."""
    source = torch.empty(copy_bytes // 4, dtype=torch.float32, device=device).normal_()
    target = torch.empty_like(source)
    return in_turns({COPY: Call(lambda _: target.copy_(source))}, device, rounds)[COPY]


def product_rounds(size: int, device: torch.device, dtype: torch.dtype, rounds: int) -> list[float]:
    """Milliseconds of a product of two square matrices of normal numbers."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return in_turns({"": Call(lambda _: a @ b)}, device, rounds)[""]
