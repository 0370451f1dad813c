"""What it takes to compile one kernel of one shipped launch ahead of time, on a machine without a GPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One kernel with the types, constants and options of a launch."""

    kernel: str
    """Name of the function in the operation's `kernel.py`."""
    arch: str
    """sm_80 or sm_90."""
    dtype: str
    """Of the operands, as Triton writes it: bf16, fp16, fp32."""
    label: str
    """What a person calls it."""
    signature: dict[str, str]
    """Triton type of each argument in the kernel's order; constants are "constexpr"."""
    constants: dict[str, int | float | bool]
    """Values of the constexpr arguments."""
    aligned: tuple[str, ...]
    """Arguments the launcher finds divisible by 16: addresses in bytes, integers as they are."""
    warps: int
    """Warps a program."""
    stages: int
    """Steps whose loads are in flight together."""
    wants_wgmma: bool
    """Must the machine code hold Hopper's warpgroup products?"""
