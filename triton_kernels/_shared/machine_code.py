"""What a compiled kernel takes and holds, read from its machine code with the tools of Triton's wheel."""

import re
import subprocess
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

INSTRUCTIONS = {
    "wgmma": ("HGMMA",),
    "mma": ("HMMA",),
    "tma_loads": ("UTMALDG",),
    "async_copies": ("LDGSTS",),
    "reductions": ("RED", "REDG"),
    "spills": ("LDL", "STL"),
}
"""Hopper's warpgroup products, the older warp products, bulk and plain loads into shared memory, atomic sums that
return nothing, and traffic to local memory."""

_MNEMONIC = re.compile(r"/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)")
_LABEL = re.compile(r"^(\.L_\w+):")
_BRANCH = re.compile(r"\bBRA\b.*`\((\.L_\w+)\)")
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")


def figures(cubin: bytes, tools: Path) -> dict[str, int]:
    """Registers a thread, bytes of stack, counts of `INSTRUCTIONS`, and the spills inside loops."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _USAGE.search(_run(tools / "cuobjdump", "-res-usage", path))
        lines = _run(tools / "nvdisasm", "-c", path).splitlines()
    if usage is None:
        raise ValueError("cuobjdump printed no line REG:n STACK:n; compare its output with machine_code.py")
    return {"registers": int(usage[1]), "stack": int(usage[2])} | count(lines)


def count(lines: list[str]) -> dict[str, int]:
    """Counts of `INSTRUCTIONS` in a disassembly, and `loop_spills`."""
    at: dict[str, list[int]] = {name: [] for name in INSTRUCTIONS}
    for number, line in enumerate(lines):
        found = _MNEMONIC.search(line)
        for name, mnemonics in INSTRUCTIONS.items():
            if found and found[1] in mnemonics:
                at[name].append(number)
    looping = {
        n for first, last in _loops(lines) for n in at["spills"][bisect_left(at["spills"], first) :] if n <= last
    }
    return {name: len(numbers) for name, numbers in at.items()} | {"loop_spills": len(looping)}


def _loops(lines: list[str]) -> Iterator[tuple[int, int]]:
    """First and last line of every loop: a branch to a label above it. Cold code that jumps back counts as one too."""
    labels: dict[str, int] = {}
    for number, line in enumerate(lines):
        if label := _LABEL.search(line):
            labels[label[1]] = number
        if (branch := _BRANCH.search(line)) and branch[1] in labels:
            yield labels[branch[1]], number


def _run(tool: Path, *arguments: str | Path) -> str:
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout
