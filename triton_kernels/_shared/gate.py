"""What the machine code of a shipped kernel may take: the rules, and the exceptions from them with their reasons."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
"""Figures of one compiled variant, as `aot.py` writes them."""

KIB = 1024
MAX_SHARED = {"sm_80": 99 * KIB, "sm_90": 227 * KIB}
"""Bytes a program may have: an H100's limit, and for sm_80 that of the consumer chips which its launches serve too."""
REGISTER_FILE = 64 * KIB
"""Registers of a multiprocessor; a program that needs more cannot start."""
WARP = 32


@dataclass(frozen=True)
class Allowed:
    """Spills that are accepted."""

    pattern: str
    """Regular expression found in the names of the rows."""
    stack: int
    """Most bytes a thread."""
    loop_spills: int
    """Most loads and stores of them within loops."""
    reason: str


ALLOWED = (
    Allowed("", 64, 0, "outside loops: written and read once a program, compared with hundreds of steps of its loops"),
    Allowed(
        r"sm_90 (bf|fp)16 backward_kv 128/\S* plain",
        *(24, 15),
        "Triton 3.6 alone; with 32 queries a step, which spill nothing, wgmma of 32 columns waits for shared memory",
    ),
    Allowed(
        r"sm_90 (bf|fp)16 backward_kv 128/\S* .*one-pass",
        *(256, 154),
        "mostly Triton 3.6 (3.9: 56 bytes); with 32 queries a step the product that makes dq is no wgmma",
    ),
    Allowed(
        r"sm_90 bf16 backward_kv 256/",
        *(280, 167),
        "two sums of 64 x 256 take half of all registers; with 16 queries a step, which spill 40 bytes, wgmma has 8 "
        "columns and waits for shared memory twice as long",
    ),
    Allowed(
        r"sm_90 bf16 backward_kv 256/\S* .*one-pass",
        *(632, 258),
        "the same next to the product for dq, which smaller tiles make without wgmma; two passes are the default",
    ),
    Allowed(
        r"sm_90 bf16 backward_q 256/\*/softcap/", 32, 21, "Triton 3.6 alone; smaller tiles read keys twice as often"
    ),
    Allowed(
        r"fp32 backward_q 256/", 200, 142, "16 x 16 is the smallest tile there is; float32 products take no others"
    ),
    Allowed(r"sm_90 fp32 forward (80|96)/", 96, 75, "Triton 3.6 alone; a thread makes 1,024 products a step besides"),
)


def problems(rows: Mapping[str, Row], allowed: Sequence[Allowed] = ALLOWED) -> list[str]:
    """What the rows break, each as `name: what, why, what to do`."""
    return [f"{name}: {problem}" for name, row in rows.items() for problem in _problems(name, row, allowed)]


def _problems(name: str, row: Row, allowed: Sequence[Allowed]) -> Iterator[str]:
    arch = next(arch for arch in MAX_SHARED if f" {arch} " in name)
    if row["wants_wgmma"] and row["wgmma"] == 0:
        yield "no wgmma, so at most half an H100's speed; a program needs 4 warps and 64 rows for it"
    if row["shared"] > MAX_SHARED[arch]:
        yield f"{row['shared']} bytes of shared memory of {MAX_SHARED[arch]}; take fewer stages or smaller tiles"
    if row["registers"] * row["warps"] * WARP > REGISTER_FILE:
        yield f"{row['registers']} registers x {row['warps'] * WARP} threads exceed {REGISTER_FILE}; take fewer warps"
    stack, in_loops = max_spills(name, allowed)
    if row["stack"] > stack or row["loop_spills"] > in_loops:
        yield (
            f"{row['stack']} bytes spilled with {row['loop_spills']} accesses in loops, allowed are {stack} with "
            f"{in_loops}; take smaller tiles or more warps, or give a reason in _shared/gate.py"
        )


def max_spills(name: str, allowed: Sequence[Allowed] = ALLOWED) -> tuple[int, int]:
    """Bytes, and accesses in loops, that the row of this name may spill."""
    found = [entry for entry in allowed if re.search(entry.pattern, name)]
    return max((e.stack for e in found), default=0), max((e.loop_spills for e in found), default=0)


def unused(names: Sequence[str], allowed: Sequence[Allowed] = ALLOWED) -> list[str]:
    """Patterns of exceptions that no row bears the name of."""
    return [entry.pattern for entry in allowed if not any(re.search(entry.pattern, name) for name in names)]
