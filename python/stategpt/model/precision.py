"""Number format of matrix products: resolves `precision` settings to autocast contexts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch

from stategpt.errors import ConfigError

Precision = Literal["auto", "bfloat16", "float32"]


def autocast(precision: Precision, device: torch.device | str) -> torch.autocast:
    """Context in which matrix products run in `precision`; weights, optimizer state, norms and losses stay float32.

    "auto" is bfloat16 where the device multiplies it faster: a GPU that has it, a CPU with AMX tiles, an AMD CPU with
    AVX512-BF16 (`docs/decisions/0022`). It does not depend on a timing: equal runs compute in equal formats.

    Raises `ConfigError` for any other name.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r} is not one of {', '.join(get_args(Precision))}")
    kind = torch.device(device).type
    chosen = fastest(kind) if precision == "auto" else precision
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=chosen == "bfloat16")


def fastest(device_type: str) -> Literal["bfloat16", "float32"]:
    """Resolves "auto" on "cpu" or "cuda"."""
    if device_type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device_type == "cpu" and multiplies_bfloat16_faster(_cpu_description()) else "float32"


def multiplies_bfloat16_faster(cpu_description: str) -> bool:
    """Whether a CPU multiplies bfloat16 faster than float32, by Linux's /proc/cpuinfo: AMX tiles, or an AMD with it.

    Without tiles an Intel CPU was measured to be slower in bfloat16, as one is that has no such instruction.
    """
    flags = set(cpu_description.split())
    return "amx_bf16" in flags or {"avx512_bf16", "AuthenticAMD"} <= flags


@cache
def _cpu_description() -> str:
    """Empty on systems that do not say."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
