"""Which files the corpus is read from: the interpreter's library, folders of the user's, or installed packages."""

from __future__ import annotations

import importlib.util
import os
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from stategpt.data.sources.python_library.units import unit_of
from stategpt.errors import CorpusError

CORE = "core"
PACKAGE = "package"
"""A path `package:NAME` is an importable package, every other one a folder."""
LEFT_OUT = MappingProxyType(
    {
        "test": "tests repeat what they test, and are three quarters of all code",
        "idlelib": "an application, absent from many distributions",
        "lib2to3": "grammar tables and a fixer for Python 2",
        "encodings": "tables",
        "pydoc_data": "one generated table of topics",
        "build_data": "generated per machine (_sysconfigdata*), or scripts outside any module",
    }
)
"""Groups of the interpreter's library that are not used, and why."""
_OWN_GROUP = frozenset({"distutils", "tkinter", "turtledemo"})
_NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "lib-dynload"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A .py file and its place in the corpus."""

    path: Path
    shown: str
    """Path for messages and statistics: relative to the library, so that it is the same on every machine."""
    module: str
    """Dotted module name."""
    unit: str
    """What it is held out with."""
    group: str
    """Part of the library, for the statistics."""
    strict: bool = False
    """A file in a folder of the user: where it cannot be used that is an error, not a count."""


@dataclass(slots=True)
class SourceFiles:
    """The files to read, in order, and what was left out."""

    files: list[SourceFile] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    """By group of `LEFT_OUT`."""
    location: str = ""
    """Their folders on this machine; for messages only."""

    def sort(self) -> SourceFiles:
        """Public modules first: where two share a docstring, the name people know is kept."""
        self.files.sort(key=lambda file: (file.module.startswith("_"), file.module, file.shown))
        return self


def interpreter_files() -> SourceFiles:
    """The running interpreter's standard library.

    Raises `CorpusError` when its folder is missing or holds no source files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = SourceFiles(location=str(root))
    for path in _python_files(root, without=_NOT_LIBRARY):
        relative = path.relative_to(root)
        group = _group(relative)
        if group in LEFT_OUT:
            found.left_out.setdefault(group, []).append(path)
        else:
            module = _module_name(relative)
            found.files.append(SourceFile(path, relative.as_posix(), module, unit_of(module), group))
    if not found.files:
        raise CorpusError(
            f"{root}, the standard library of this interpreter, holds no .py files (some distributions ship byte code "
            "only). Install the full library, or set corpus.paths to folders of .py files."
        )
    return found.sort()


def path_files(paths: Sequence[str]) -> SourceFiles:
    """The .py files of folders and of importable packages (`package:NAME`), in the order that `SourceFiles.sort` gives.

    Raises `CorpusError` for a path that has none.
    """
    found = SourceFiles(location=", ".join(paths))
    for path in paths:
        prefix, separator, name = path.partition(":")
        is_package = bool(separator) and prefix == PACKAGE
        found.files += package_files(name) if is_package else folder_files(path)
    return found.sort()


def folder_files(folder: str) -> list[SourceFile]:
    """Every .py file below `folder`; hidden folders and `__pycache__` are not entered.

    The unit of the split is the first name below the folder. Raises `CorpusError` for a folder that is missing, not a
    folder, unreadable, or without a .py file.
    """
    root = Path(folder)
    found = list(_below(root, root.name if os.path.exists(root / "__init__.py") else "", folder, strict=True))
    if not found:
        raise CorpusError(f"corpus.paths: {folder} holds no .py files; give folders that do")
    return found


def package_files(name: str) -> list[SourceFile]:
    """Every .py file of an installed package, which is found without being imported.

    The unit of the split is the part of the package: `numpy.linalg`. Raises `CorpusError` for a package that is not
    installed or has no Python source.
    """
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None:
        raise CorpusError(f"corpus.paths: no top-level package {name!r} is installed here; install it or drop it")
    found: list[SourceFile] = []
    for location in spec.submodule_search_locations or ():
        found += _below(Path(location), name, name)
    if spec.submodule_search_locations is None and (spec.origin or "").endswith(".py"):
        found.append(SourceFile(Path(str(spec.origin)), f"{name}.py", name, name, name))
    if not found:
        raise CorpusError(f"corpus.paths: package {name!r} ships no .py files; drop it")
    return found


def _below(root: Path, package: str, group: str, *, strict: bool = False) -> Iterator[SourceFile]:
    """Files below `root`, which is the package `package` itself or, when that is empty, a folder of modules."""
    for path in _python_files(root):
        relative = path.relative_to(root)
        inner = _module_name(relative)
        module = ".".join(filter(None, (package, inner)))
        first = inner.partition(".")[0]
        unit = f"{package}.{first}".rstrip(".") if package else unit_of(first or root.name)
        yield SourceFile(path, f"{root.name}/{relative.as_posix()}", module or root.name, unit, group, strict)


def _python_files(root: Path, without: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All .py files below `root` in sorted order, its subfolders `without` left out; folder links are not followed."""
    if not os.path.isdir(root):  # False also where a parent folder cannot be entered
        problem = "is not a folder" if os.path.exists(root) else "does not exist, or a parent folder cannot be entered"
        raise CorpusError(f"{root} {problem}; give an existing folder of .py files")

    def refuse(error: OSError) -> None:
        raise CorpusError(f"cannot list {error.filename}: {error.strerror}; make it readable or leave it out")

    for folder, inner, names in os.walk(root, onerror=refuse):
        inner[:] = sorted(name for name in inner if name != "__pycache__" and not name.startswith("."))
        if folder == str(root):
            inner[:] = [name for name in inner if name not in without]
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _group(relative: Path) -> str:
    """The group of a file of the interpreter's library."""
    parts = relative.with_suffix("").parts
    if any(part in ("test", "tests") for part in parts):
        return "test"
    if parts[0].startswith("_sysconfigdata") or not all(part.isidentifier() for part in parts):
        return "build_data"
    return parts[0] if parts[0] in _OWN_GROUP or parts[0] in LEFT_OUT else CORE


def _module_name(relative: Path) -> str:
    """`json/decoder.py` -> `json.decoder`; `json/__init__.py` -> `json`; `__init__.py` -> the empty name."""
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_counts(files: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, int]]:
    """Files and bytes by group; a link to nothing has no bytes."""
    return {
        group: {"files": len(paths), "bytes": sum(path.stat().st_size for path in paths if path.exists())}
        for group, paths in sorted(files.items())
    }
