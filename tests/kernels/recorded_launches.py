"""Calls attention and paged attention for a GPU that is not there, and prints what Triton is asked to compile.

    python recorded_launches.py      one JSON object a launch: the call's name, types, constants, alignment, options

All is real up to the compiler: operations, launchers, Triton's binder and its cache keys. Tensors lie on the CPU; fakes
are the device's architecture, Triton's driver, and the compiler, which notes what it is given and makes nothing. Needs
a process of its own without TRITON_INTERPRET. Works with Triton 3.6 and 3.9.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from stategpt.kernels._shared import interpreter
from stategpt.kernels.attention import launch as attention_launch
from stategpt.kernels.paged_attention import launch as paged_launch
from stategpt.ops import SharedPrefix, TensorLayout, attention, paged_attention
from stategpt.packing.layout import Layout

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
PACKINGS = 20
ROWS: dict[str, dict[str, Any]] = {}
"""What was to be compiled, once for each cache key and call."""
TAGS: dict[str, Any] = {}
"""What the rows are tagged with: architecture, dtype, and the call."""


class Driver:
    """Triton's driver of one GPU; its index is its architecture, so that each has caches of its own."""

    def __init__(self, arch: str) -> None:
        self.number = int(arch.removeprefix("sm_"))

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.number, 32)

    def get_current_device(self) -> int:
        return self.number

    def get_current_stream(self, device: int) -> int:
        return 0


def note(
    function: Any, key: str, signature: Any, device: int, constants: Any, options: Any, attributes: Any, warmup: bool
) -> None:
    """Stands for `JITFunction._do_compile`, which Triton calls for every cache key that it does not know."""
    names = function.arg_names
    divisible = [names[place] for (place,), facts in attributes.items() if ["tt.divisibility", 16] in facts]
    row = TAGS | {"kernel": function.__name__, "signature": signature, "aligned": sorted(divisible)}
    row["constants"] = {names[place]: value for (place,), value in constants.items()}
    row["options"] = [options.num_warps, options.num_stages, options.enable_fp_fusion]
    ROWS.setdefault(str((key, *TAGS.values())), row)


@dataclass(frozen=True)
class Call:
    """One call of attention, forward and backward."""

    head_dim: int
    heads: int = 4
    kv_heads: int = 2
    prefix: bool = False
    window: int | None = None
    softcap: float | None = None
    deterministic: bool = True

    def run(self, tokens: int, dtype: torch.dtype, cuts: list[int]) -> None:
        """On a stream of `tokens`, whose documents or branches end at `cuts`."""
        lengths = np.diff([0, *cuts, tokens]).tolist()
        if self.prefix:
            layout = Layout.shared_prefix([lengths[0]], [lengths[1:]], tokens)
        else:
            layout = Layout.packed([lengths], tokens)
        settings = {"window": self.window, "softcap": self.softcap, "deterministic": self.deterministic}
        q, k, v = self.tensors(tokens, dtype)
        o = attention(q, k, v, TensorLayout.of(layout), **settings, backend="triton")
        torch.autograd.grad(o, (q, k, v), torch.zeros_like(o))

    def tensors(self, tokens: int, dtype: torch.dtype) -> list[torch.Tensor]:
        """Views of one tensor, as a model's joined projection leaves them; axes of one entry have a stride of 1."""
        heads = [self.heads, self.kv_heads, self.kv_heads]
        joined = torch.zeros(tokens, sum(heads), self.head_dim, dtype=dtype, requires_grad=True)
        return [
            x.as_strided(x.shape, [1 if n == 1 else s for n, s in zip(x.shape, x.stride(), strict=True)])
            for x in torch.split(joined, heads, dim=1)
        ]


def attention_calls(arch: str, dtype: str) -> list[Call]:
    """Every width with every use that the gate compiles for the dtype."""
    calls = []
    for width in [128] if dtype == "fp16" else [64, 80, 96, 128, 256]:
        calls += [Call(width, heads=3, kv_heads=3, window=30), Call(width, heads=1, kv_heads=1)]
        for deterministic in (True, False):
            calls.append(Call(width, deterministic=deterministic))
            if (arch, dtype) == ("sm_90", "fp16"):
                continue  # other masks have entries of their own, which the gate compiles for bfloat16
            if dtype != "fp32":
                calls.append(Call(width, prefix=True, deterministic=deterministic))
                calls.append(Call(width, softcap=20, deterministic=deterministic))
            calls.append(Call(width, prefix=True, softcap=20, deterministic=deterministic))
    return calls


def record_attention(arch: str, dtype: str) -> None:
    """Each call with one token, an odd number of them, and one that 16 divides."""
    for call, tokens in itertools.product(attention_calls(arch, dtype), (1, 33, 64)):
        if tokens > 1 or not call.prefix:
            TAGS.update(operation="attention", call=f"{call} of {tokens}")
            call.run(tokens, TYPES[dtype], [20, 25] if tokens > 1 else [])


def record_packings() -> None:
    """Twenty streams of random lengths, each packed at random, in calls that are the same otherwise."""
    generator = np.random.default_rng(7)
    for call in (Call(64, prefix=True, window=40), Call(80, heads=2, softcap=20), Call(128, deterministic=False)):
        TAGS.update(operation="packings", call=str(call))
        for tokens in [*generator.integers(30, 3000, PACKINGS - 1).tolist(), 1024]:
            call.run(tokens, torch.bfloat16, sorted(generator.choice(np.arange(1, tokens), 5, replace=False).tolist()))


def record_paged(dtype: str) -> None:
    """The gate's uses, each with several batches, tables and groups; the widths are those that the gate compiles."""
    fills = ((128, 256, None), (80, 8, 20.0)), ((256, 64, None), (160, 8, 20.0))
    for (width, slots, softcap), shared in itertools.product(itertools.chain(*fills), (False, True)):
        for batch, pages, group in ((640, 1, 1), (2, 3, 2), (48, 64, 16), (5, 64, 12)):
            call = f"{batch} sequences, {pages} pages of {slots}, group {group}, {width} wide, shared {shared}"
            TAGS.update(operation="paged_attention", call=call)
            q = torch.zeros(batch, 2 * group, width, dtype=TYPES[dtype])
            keys = torch.zeros(pages, slots, 2, width, dtype=TYPES[dtype])
            table, lengths = torch.zeros(batch, pages, dtype=torch.int32), torch.ones(batch, dtype=torch.int32)
            starts = torch.tensor([0, batch // 2, batch], dtype=torch.int32)
            prefix = SharedPrefix(table[:2].clone(), lengths[:2].clone(), starts) if shared else None
            paged_attention(q, keys, keys, table, lengths, prefix=prefix, softcap=softcap, scale=1, backend="triton")


def main() -> None:
    JITFunction._do_compile = note
    interpreter.INTERPRETED = True  # so that the kernels may be asked for; they are compiled ones
    paged_launch.multiprocessors = lambda device: 132
    for arch in ("sm_80", "sm_90"):
        driver.set_active(Driver(arch))
        attention_launch.architecture_of = lambda device, arch=arch: arch
        paged_launch.architecture = lambda *capability, arch=arch: arch
        for dtype in TYPES:
            TAGS.update(arch=arch, dtype=dtype)
            record_attention(arch, dtype)
            if dtype != "fp16":
                record_paged(dtype)
        TAGS.update(dtype="bf16")
        record_packings()
    for row in ROWS.values():
        print(json.dumps(row))


if __name__ == "__main__":
    main()
