"""Which modules are held out together, and which are held out.

The unit of the split is the top-level module, because the functions of one module describe each other. A C accelerator
and its Python twin (`_json` and `json`, `_pydecimal` and `decimal`) are one unit: they share their docstrings.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from stategpt.errors import CorpusError

# What stripping the leading underscore does not bring together.
_SAME_UNIT = {
    "blake2": "hashlib", "md5": "hashlib", "sha1": "hashlib", "sha2": "hashlib", "sha256": "hashlib",
    "sha3": "hashlib", "sha512": "hashlib",
    "cProfile": "profile", "lsprof": "profile",
    "collections_abc": "collections", "curses_panel": "curses", "elementtree": "xml", "pyexpat": "xml",
    "frozen_importlib": "importlib", "frozen_importlib_external": "importlib", "gdbm": "dbm",
    "genericpath": "os", "nt": "os", "ntpath": "os", "posix": "os", "posixpath": "os",
    "posixshmem": "multiprocessing", "posixsubprocess": "subprocess",
    "py_abc": "abc", "pydatetime": "datetime", "pydecimal": "decimal", "pyio": "io", "multibytecodec": "codecs",
    "sre": "re", "sre_compile": "re", "sre_constants": "re", "sre_parse": "re",
    "thread": "threading", "threading_local": "threading", "turtledemo": "turtle", "weakrefset": "weakref",
}  # fmt: skip


def unit_of(module: str) -> str:
    """The unit a dotted module name belongs to: `_pyio` -> `io`, `xml.dom.minidom` -> `xml`."""
    top = module.partition(".")[0]
    bare = top if top.startswith("__") else top.lstrip("_")
    return _SAME_UNIT.get(bare, bare)


def fraction(*parts: str | int) -> float:
    """A number in [0, 1) that depends on `parts` alone: the same on every machine and in every process."""
    digest = blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def held_out_units(weights: Mapping[str, int], share: float, seed: int) -> frozenset[str]:
    """Units held out: taken in the order of their fraction as long as their weights together stay within `share`.

    The weight of a unit is 1 + its prompts. Weights keep the held-out set as large under every seed, though one unit
    (`builtins`) may hold a twentieth of everything. At least one unit is held out and at least one is not.
    Raises `CorpusError` when there are fewer than two units.
    """
    order = sorted(weights, key=lambda unit: (fraction("split", seed, unit), unit))
    if len(order) < 2:
        raise CorpusError(
            f"the corpus has {len(order)} top-level module(s) ({', '.join(order) or 'none'}): nothing could be held "
            "out. Give corpus.paths with at least two top-level modules or packages."
        )
    room = share * sum(weights.values())
    chosen: list[str] = []
    for unit in order:
        if weights[unit] <= room and len(chosen) < len(order) - 1:
            chosen.append(unit)
            room -= weights[unit]
    return frozenset(chosen or order[:1])
