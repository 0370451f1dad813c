"""What the files of mutants say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class WrongEntry(Exception):
    """An entry that breaks nothing testable; the message says why."""


@dataclass(frozen=True)
class Mutant:
    """One entry: `old` in `file` becomes `new`, and `tests` (or the `cargo test` arguments) must then fail."""

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    cargo: str = ""

    @property
    def is_rust(self) -> bool:
        """Does the compiled module change?"""
        return self.file.startswith("rust/")

    @property
    def named(self) -> str:
        """What must fail, in words."""
        return self.cargo or ", ".join(self.tests)


def read_mutants(folder: Path, areas: Sequence[str], only: str) -> list[Mutant]:
    """The entries of `folder`'s TOML files whose area is asked for and whose name or file holds `only`."""
    known = sorted(path.stem for path in folder.glob("*.toml"))
    unknown = sorted(set(areas) - set(known))
    if unknown:
        raise WrongEntry(f"no area is called {unknown[0]}; known are {', '.join(known)}")
    found = [mutant for area in areas or known for mutant in _read(folder / f"{area}.toml")]
    return [mutant for mutant in found if only in mutant.name or only in mutant.file]


def _read(path: Path) -> Iterator[Mutant]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    if content.keys() - {"mutant"}:
        raise WrongEntry(f"{path.name} holds {sorted(content)}; only [[mutant]] tables belong there")
    for number, entry in enumerate(content.get("mutant", []), start=1):
        try:
            mutant = Mutant(area=path.stem, **{**entry, "tests": tuple(entry.get("tests", ()))})
        except TypeError as error:
            raise WrongEntry(f"{path.name}, entry {number}: {error}") from None
        if bool(mutant.tests) == bool(mutant.cargo):
            raise WrongEntry(f"{path.name}, {mutant.name}: give `tests` or `cargo`, one of them")
        yield mutant
