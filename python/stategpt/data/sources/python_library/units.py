"""Groups modules into units of the split, and assigns each unit to a side.

The unit of the split is the top-level module, because the functions of one module describe each other. A C accelerator
and its Python twin (`_json` and `json`, `_pydecimal` and `decimal`) are one unit: they share their docstrings.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from stategpt.data.corpus import SIDES, Side
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
    """The unit of a dotted module name: `_pyio` -> `io`, `xml.dom.minidom` -> `xml`."""
    top = module.partition(".")[0]
    bare = top if top.startswith("__") else top.lstrip("_")
    return _SAME_UNIT.get(bare, bare)


def fraction(*parts: str | int) -> float:
    """A number in [0, 1) that depends on `parts` alone: the same on every machine and in every process."""
    digest = blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_units(weights: Mapping[str, int], validation_share: float, test_share: float, seed: int) -> dict[str, Side]:
    """The side of every unit: for validation, then for test, units are drawn as long as they stay within the share.

    The weight of a unit is 1 + its prompts. Weights keep a side as large under every seed, though one unit (`builtins`)
    may hold a twentieth of everything. Each side has a separate order, which depends on names and seed only;
    at least one unit is on each of the three. Raises `CorpusError` when there are fewer than three units.
    """
    if len(weights) < len(SIDES):
        raise CorpusError(
            f"the corpus has {len(weights)} top-level module(s) ({', '.join(sorted(weights)) or 'none'}): it cannot be "
            "split into training, validation and test. Give corpus.paths with at least three top-level modules or "
            "packages."
        )
    validation = _drawn(weights, frozenset(), validation_share, "split", seed, most=len(weights) - 2)
    test = _drawn(weights, validation, test_share, "test split", seed, most=len(weights) - len(validation) - 1)
    return {unit: "validation" if unit in validation else "test" if unit in test else "train" for unit in weights}


def _drawn(
    weights: Mapping[str, int], taken: frozenset[str], share: float, purpose: str, seed: int, most: int
) -> frozenset[str]:
    """1 to `most` units that are not `taken`, in the order of their fraction, within `share` of all weights if any."""
    order = sorted(weights.keys() - taken, key=lambda unit: (fraction(purpose, seed, unit), unit))
    room = share * sum(weights.values())
    chosen: list[str] = []
    for unit in order:
        if weights[unit] <= room and len(chosen) < most:
            chosen.append(unit)
            room -= weights[unit]
    return frozenset(chosen or order[:1])
