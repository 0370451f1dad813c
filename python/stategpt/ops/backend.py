"""Where the Triton kernels can run, and why they cannot elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., object])

MAX_HEAD_DIM = 256
KERNEL_DTYPES = ("bfloat16", "float16", "float32")


def constant_when_traced(function: Function) -> Function:
    """Decorates a function whose result a compiled graph keeps, as `torch.compiler.assume_constant_result`.

    That imports Dynamo, seconds for a process that only samples. The mark is all it sets; that the installed torch
    reads it is what the tests of compiled attention show.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def triton_obstacle(device: str, dtype: str) -> str | None:
    """Why the kernels cannot run for this device and dtype (`cuda:0`, `bfloat16`); None where they can."""
    if find_spec("triton") is None:
        return "triton is not installed (extra: train)"
    if dtype not in KERNEL_DTYPES:
        return f"its dtypes are bfloat16, float16 and float32, not {dtype}"
    from stategpt.kernels._shared.interpreter import INTERPRETED

    if INTERPRETED:
        return None
    if not device.startswith("cuda") or torch.version.hip is not None:
        return f"it needs an NVIDIA GPU, or TRITON_INTERPRET=1 set before the first import; q is on {device}"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        return f"it needs compute capability 8.0 or later; {device} has {capability[0]}.{capability[1]}"
    return None
