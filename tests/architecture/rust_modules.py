"""Import graph of the source files of a Rust crate, read from its text; what is compiled for tests only is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Comments, strings and character literals: what they hold is no path. (A lifetime has no second quote.)
_NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\'])'""", re.DOTALL
)
_TEST_ONLY = re.compile(r"#\[cfg\(test\)\]")
_FIELD = re.compile(r"\s*(?:pub(?:\([^)]*\))?\s+)?\w+\s*:(?!:)")
_MODULE = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", re.MULTILINE)
_USE = re.compile(r"(?<!\w)use\s+([^;]+);")
_PATH = re.compile(r"(?<![\w:.])\w+(?:::\w+)+")

ModulePath = tuple[str, ...]  # of a module: ("merge", "check"); of the crate's root: ()


@dataclass
class Module:
    """One file: its name within the crate, its code without tests, its child modules, and the names that it imports."""

    file: str
    code: str
    children: set[str] = field(default_factory=set)
    imported: dict[str, ModulePath] = field(default_factory=dict)


def import_graph(source: Path) -> dict[str, set[str]]:
    """For each file of the crate in the folder `source`, the files whose items it names."""
    modules: dict[ModulePath, Module] = {}
    _read(source, (), "lib.rs", modules)
    uses = {path: list(_uses(module.code)) for path, module in modules.items()}
    for path, module in modules.items():
        for used, name in uses[path]:
            target = _absolute(used, path, modules)
            if target is not None and name != "*":
                module.imported[name] = target
    graph: dict[str, set[str]] = {module.file: set() for module in modules.values()}
    for path, module in modules.items():
        inline = (tuple(match.group().split("::")) for match in _PATH.finditer(_USE.sub("", module.code)))
        for used in [*(used for used, _ in uses[path]), *inline]:
            target = _absolute(used, path, modules)
            if target is not None:
                graph[module.file].add(_file_of(target, modules))
        graph[module.file].discard(module.file)
    return graph


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one file, each sorted."""
    found = []
    reached = {file: _reachable(graph, file) for file in graph}
    left = set(graph)
    while left:
        file = left.pop()
        together = {file} | {other for other in reached[file] if file in reached[other]}
        left -= together
        if len(together) > 1:
            found.append(sorted(together))
    return sorted(found)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    stack = [start]
    while stack:
        for file in graph[stack.pop()] - seen:
            seen.add(file)
            stack.append(file)
    return seen


def _read(source: Path, path: ModulePath, file: str, modules: dict[ModulePath, Module]) -> None:
    code = _without_tests(_NOT_CODE.sub('""', (source / file).read_text(encoding="utf-8")))
    module = Module(file, code, set(_MODULE.findall(code)))
    modules[path] = module
    for child in module.children:
        folder = "/".join((*path, child))
        name = f"{folder}.rs" if (source / f"{folder}.rs").exists() else f"{folder}/mod.rs"
        _read(source, (*path, child), name, modules)


def _without_tests(code: str) -> str:
    """The code without the items and fields that `#[cfg(test)]` is written before."""
    while (match := _TEST_ONLY.search(code)) is not None:
        code = code[: match.start()] + code[_item_end(code, match.end()) :]
    return code


def _item_end(code: str, start: int) -> int:
    """Where the item or field that begins at `start` ends."""
    ends = ",;" if _FIELD.match(code, start) else ";"
    depth = 0
    for at in range(start, len(code)):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
            if depth < 0:
                return at
            if depth == 0 and code[at] == "}" and not code[at + 1 :].lstrip().startswith(";"):
                return at + 1
        elif code[at] in ends and depth == 0:
            return at + 1
    return len(code)


def _uses(code: str) -> Iterator[tuple[ModulePath, str]]:
    """Each path that a `use` names, and the name that it is known by."""
    for match in _USE.finditer(code):
        yield from _tree(match.group(1).strip(), ())


def _tree(text: str, prefix: ModulePath) -> Iterator[tuple[ModulePath, str]]:
    if "{" in text:
        before, _, inside = text.partition("{")
        prefix += tuple(part for part in before.split("::") if part.strip())
        for part in _split(inside.rpartition("}")[0]):
            yield from _tree(part, prefix)
        return
    path, _, alias = text.partition(" as ")
    parts = prefix + tuple(part.strip() for part in path.split("::"))
    if parts[-1] in ("self", "*") and len(parts) > 1:
        yield parts[:-1], "*" if parts[-1] == "*" else alias.strip() or parts[-2]
    else:
        yield parts, alias.strip() or parts[-1]


def _split(text: str) -> Iterator[str]:
    """The parts of a list, at the commas outside of braces."""
    depth, start = 0, 0
    for at, character in enumerate(text + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if part := text[start:at].strip():
                yield part
            start = at + 1


def _absolute(used: ModulePath, here: ModulePath, modules: dict[ModulePath, Module]) -> ModulePath | None:
    """A path as written in the module `here`, from the crate's root; None for what is not of this crate."""
    first, rest = used[0], used[1:]
    if first == "crate":
        return rest
    if first == "self":
        return here + rest
    if first == "super":
        parent = here[:-1]
        while rest and rest[0] == "super":
            parent, rest = parent[:-1], rest[1:]
        return parent + rest
    return here + used if first in modules[here].children else None


def _file_of(target: ModulePath, modules: dict[ModulePath, Module], followed: int = 0) -> str:
    """The file that defines an item: re-exports are followed."""
    path: ModulePath = ()
    for place, name in enumerate(target):
        if name in modules[path].children:
            path = (*path, name)
        elif name in modules[path].imported and followed < 20:
            return _file_of(modules[path].imported[name] + target[place + 1 :], modules, followed + 1)
        else:
            break
    return modules[path].file
