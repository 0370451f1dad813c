"""Files that paths and patterns name, sorted, each once, whatever links a folder has."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from stategpt.errors import CorpusError
from stategpt.visible_text import visible_line

_MAGIC = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?[])\]")
_EVERY_DEPTH = "**"
_OWN_FILE = "run.toml"
"""A folder below a pattern's root that has this file is the folder of a run: its files are no input."""


def files_of(
    patterns: Iterable[str],
    base: str | os.PathLike[str],
    exclude: Iterable[str | os.PathLike[str]] = (),
    what: str = "",
) -> list[Path]:
    """The files that `patterns` name, sorted by path; a file that two of them name, or two links, is in it once.

    A pattern is a file, a folder (every file below it), or a path with `*`, `?`, `[...]` (within a name) and `**` (any
    number of folders). As in a shell, `*` and `**` match no name that starts with a dot. Links are followed, each
    folder is visited once. Folders of runs below a pattern are left out.

    Args:
        patterns: relative to `base`, or absolute.
        base: folder that they are relative to.
        exclude: folders whose files are no input, such as the run's folder.
        what: the setting that names the patterns, for messages.

    Raises:
        CorpusError: a pattern matches no file, a path does not exist, or is in an excluded folder, or a folder cannot
            be read.
    """
    left_out = {identity for folder in exclude if (identity := _identity(folder))}
    prefix, root = f"{what}: " if what else "", Path(base)
    named: dict[tuple[int, int] | str, Path] = {}
    for pattern in patterns:
        shown = visible_line(pattern, 200)
        found = list(_matches(root, pattern, left_out, prefix))
        if not found:
            raise CorpusError(
                f"{prefix}{shown!r} matches no file; paths are relative to {root}. Check the spelling, and whether "
                "names start with a dot"
            )
        for path in found:
            named.setdefault(_identity(path) or str(path), path)
    return sorted(named.values(), key=lambda path: path.parts)


def require_distinct(files: Mapping[str, Sequence[Path]]) -> None:
    """Checks that no file is in two inputs: it would be trained on twice, or in two roles.

    Args:
        files: by the setting that names them.

    Raises:
        CorpusError: one is; it names the file and both settings.
    """
    owner: dict[tuple[int, int], tuple[str, Path]] = {}
    for name, paths in files.items():
        for path in paths:
            identity = _identity(path)
            if identity is None:
                continue
            other, before = owner.setdefault(identity, (name, path))
            if other != name:
                link = "" if before == path else f" (a link to {before})"
                raise CorpusError(f"{path}{link} is in {other} and in {name}; leave it out of one of them")


def root_of(patterns: Iterable[str], base: str | os.PathLike[str] = ".") -> Path:
    """The folder that all patterns start from: the files that they name, present or not, are below it."""
    roots = []
    for pattern in patterns:
        parts = (Path(os.path.abspath(base)) / pattern).parts
        literal = next((number for number, part in enumerate(parts) if _is_pattern(part)), len(parts) - 1)
        roots.append(Path(*map(_plain, parts[:literal])))
    return Path(os.path.commonpath(roots)) if roots else Path(os.path.abspath(base))


def shown_name(path: Path, base: str | os.PathLike[str]) -> str:
    """The name of a file in places: relative to `base` where it is inside, so that it is the same on every machine.

    What of a name is not UTF-8 is escaped (`caf\\udce9.md`): places are written into files of JSON.
    """
    try:
        name = path.relative_to(base).as_posix()
    except ValueError:
        name = str(path)
    return name.encode(errors="backslashreplace").decode()


def _matches(root: Path, pattern: str, left_out: set[tuple[int, int]], prefix: str) -> Iterator[Path]:
    parts = Path(pattern).parts
    literal = next((number for number, part in enumerate(parts) if _is_pattern(part)), len(parts))
    parts = (*map(_plain, parts[:literal]), *parts[literal:])
    path = root.joinpath(*parts)
    if not os.path.lexists(path) and os.path.lexists(root / pattern):  # a file whose name has a bracket
        path, literal = root / pattern, len(parts)
    is_folder = os.path.isdir(path)  # False for a name that is too long, where Path.is_dir raises
    if os.path.lexists(path) or literal == len(parts):
        _require_outside(path, left_out, prefix)
        if not is_folder:
            if not os.path.exists(path):
                raise CorpusError(f"{prefix}{path} does not exist; check the path (relative to {root})")
            yield path
            return
        start = path
        wanted: tuple[str, ...] = (_EVERY_DEPTH, "*")
    else:
        start, wanted = root.joinpath(*parts[:literal]), parts[literal:]
        _require_outside(start, left_out, prefix)
    if wanted[-1] == _EVERY_DEPTH:
        wanted = (*wanted, "*")
    for below in _files_below(start, wanted, left_out, prefix):
        if _fits(below, wanted):
            yield start.joinpath(*below)


def _files_below(
    start: Path, wanted: tuple[str, ...], left_out: set[tuple[int, int]], prefix: str
) -> Iterator[tuple[str, ...]]:
    """Names, from `start`, of everything that is no folder, as deep as the pattern goes."""
    depth = 10**9 if _EVERY_DEPTH in wanted else len(wanted)
    visited = set(left_out)
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        below = waiting.pop()
        folder = start.joinpath(*below)
        identity = _identity(folder)
        if identity is None or identity in visited:
            continue
        visited.add(identity)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except NotADirectoryError:
            continue
        except OSError as error:
            raise CorpusError(f"{prefix}{folder} cannot be listed ({error}); check its permissions") from error
        if below and any(entry.name == _OWN_FILE for entry in entries):
            continue
        folders = [entry.name for entry in entries if _is_folder(entry)]
        waiting += [(*below, name) for name in reversed(folders) if len(below) + 1 < depth]
        yield from ((*below, entry.name) for entry in entries if not _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; opening it says so
        return False


def _fits(names: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether the parts of a path fit the parts of a pattern, where `**` is any number of folders, also none."""
    fits = [True] + [False] * len(names)
    for part in wanted:
        if part == _EVERY_DEPTH:
            for at, name in enumerate(names):
                fits[at + 1] = fits[at + 1] or (fits[at] and not name.startswith("."))
            continue
        is_match = _name_pattern(part)
        before = fits
        fits = [False] * (len(names) + 1)
        for at, name in enumerate(names):
            if before[at] and (part.startswith(".") or not name.startswith(".")):
                fits[at + 1] = is_match.match(name) is not None
    return fits[-1]


def _is_pattern(part: str) -> bool:
    """Whether a part of a path is a pattern, apart from what `glob.escape` made of a plain name."""
    return _MAGIC.search(_ESCAPED.sub("", part)) is not None


def _plain(part: str) -> str:
    """The name that `glob.escape` was given."""
    return part if _is_pattern(part) else _ESCAPED.sub(r"\1", part)


@cache
def _name_pattern(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))


def _require_outside(path: Path, left_out: set[tuple[int, int]], prefix: str) -> None:
    if not left_out:
        return
    for folder in (path, *Path(os.path.realpath(path)).parents):  # Path.resolve raises for links in a loop
        if _identity(folder) in left_out:
            raise CorpusError(f"{prefix}{path} is inside {folder}, the run's folder; give files outside of it")


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Device and inode, which links share; None for what does not exist."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
