"""Tile sizes, warps and stages of every launch: tables checked in next to the kernels, never a search at run time.

A search at run time looks like a hang, differs between ranks, and changes results from one start to the next. A table
is JSON: `entries` maps a key, its fields divided by slashes, to the launches of an operation's kernels:

    {"fields": ["arch", "dtype", "head_dim", "group", "mask", "length"],
     "entries": {"sm_90/16bit/128/*/*/*": {"forward": [128, 128, 8, 2], ...}, ...}}

A launch is [block_q, block_k, warps, stages]. A star matches everything; the entry with the fewest stars wins.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Key = tuple[str, ...]
MAX_ENTRIES = 40


class NoLaunch(LookupError):
    """No entry of the table matches the key."""


@dataclass(frozen=True)
class Launch:
    """How one kernel is launched."""

    block_q: int
    """Queries (rows) a tile."""
    block_k: int
    """Keys a step."""
    warps: int
    """Warps of 32 threads a program."""
    stages: int
    """Steps whose loads are in flight together."""

    def numbers(self) -> list[int]:
        """As the table writes it."""
        return [self.block_q, self.block_k, self.warps, self.stages]

    def options(self) -> dict[str, int | bool]:
        """Options of Triton besides the arguments. Fused multiply-adds are set: their default will change in 3.10."""
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}


@dataclass(frozen=True)
class Table:
    """The launches of one operation."""

    fields: Key
    """What the parts of a key mean."""
    entries: dict[Key, dict[str, Launch]]
    """Launches by kernel name."""

    def find(self, **values: str) -> dict[str, Launch]:
        """The most specific entry for these fields, one value each. Raises `NoLaunch`."""
        wanted = tuple(values[field] for field in self.fields)
        matching = [key for key in self.entries if all(k in ("*", w) for k, w in zip(key, wanted, strict=True))]
        if not matching:
            raise NoLaunch(f"no launch for {'/'.join(wanted)} ({'/'.join(self.fields)})")
        return self.entries[min(matching, key=lambda key: key.count("*"))]


@cache
def read_table(path: Path) -> Table:
    """The table in the JSON file `path`."""
    document = json.loads(path.read_text(encoding="utf-8"))
    entries = {
        tuple(key.split("/")): {kernel: Launch(*numbers) for kernel, numbers in launches.items()}
        for key, launches in document["entries"].items()
    }
    return Table(tuple(document["fields"]), entries)


def architecture(major: int, minor: int) -> str:
    """The architecture whose launches serve a device of this compute capability.

    sm_90 means TMA, wgmma and 227 KiB of shared memory (Hopper and the data-center Blackwells); consumer chips
    have 99 KiB, within which all launches of sm_80 stay.
    """
    return "sm_90" if major in (9, 10) else "sm_80"
