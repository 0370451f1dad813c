"""The house has floors: an import may only point down, and rooms on one floor do not import each other."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "stategpt"
KERNELS = ROOT / "triton_kernels"

FLOORS: tuple[tuple[str, ...], ...] = (  # top to bottom
    ("__init__", "__main__"),
    ("cli",),
    ("pipeline",),
    ("stages",),
    ("report",),
    ("evaluate",),
    ("train", "generate"),
    ("model",),
    ("data", "ops"),
    ("tokenizer", "packing"),
    ("artifacts",),
    ("recipes",),
    ("config", "kernels"),
    ("progress",),
    ("json_records",),
    ("_native", "json_reader", "lazy_names"),
    ("files", "arguments", "extras", "machine", "quantities", "randomness", "shown_fields", "visible_text"),
    ("errors",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# A stage hands over through checkpoints; it never calls another.
STAGES = ("pretrain", "sft", "rankings", "reward", "rl")

# These work in the base install: no import of torch, not even inside a function.
WITHOUT_TORCH = (
    "errors",
    "files",
    "arguments",
    "extras",
    "quantities",
    "shown_fields",
    "visible_text",
    "json_reader",
    "json_records",
    "config",
    "recipes",
    "artifacts",
    "tokenizer",
    "packing",
    "data",
    "report",
    "progress",
    "randomness",
    "lazy_names",
)

# But for the files whose job it is: they ask for the library when it is used, and say what to install.
LIBRARY_OF = {"hf_library.py": "tokenizers", "tensors.py": "torch"}
# `Batch.torch(device)` gives the layout as `ops.TensorLayout`. A method of a batch is where users look for it, and the
# batch cannot be of a room above: this file reaches the room beside its own, when it is called.
REACHES_BESIDE = {("packing", "tensors.py"): "ops"}

CRATE_FLOORS = (
    ("bindings",),
    ("pipeline",),
    ("tokenizer", "packing", "ranking"),
    ("layout", "lines"),
    ("storage",),
)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import in the file, at its top or inside a function; relative ones resolved."""
    package = _package_of(path)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "stategpt":  # `from stategpt import data` imports a room by its name
                yield from ((node.lineno, f"stategpt.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def _package_of(path: Path) -> list[str]:
    for folder, name in ((PACKAGE, ["stategpt"]), (KERNELS, ["stategpt", "kernels"])):
        if path.is_relative_to(folder):
            return [*name, *path.relative_to(folder).parent.parts]
    return []


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_files() -> list[Path]:
    """Python files of the package; the kernels, a link into it, obey rules of their own."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.is_relative_to(PACKAGE / "kernels")]


def violations(path: Path, room: str) -> list[str]:
    """What the imports of a file of `room` break, each as `file:line: ...`."""
    found = []
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] != "stategpt" or len(parts) == 1 or parts[1] == room:
            continue
        if REACHES_BESIDE.get((room, path.name)) == parts[1]:
            continue
        target = parts[1]
        if target not in FLOOR_OF:
            found.append(f"{path}:{line}: {room} imports {target}, a room that FLOORS does not know")
        elif FLOOR_OF[target] <= FLOOR_OF[room] and room != "__init__":
            relation = "is above it" if FLOOR_OF[target] < FLOOR_OF[room] else "is on its floor"
            found.append(f"{path}:{line}: {room} imports {target}, which {relation}")
    return found


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in own_files()} <= set(FLOOR_OF)


def test_imports_point_down() -> None:
    assert not [problem for path in own_files() for problem in violations(path, room_of(path))]


def test_the_rule_finds_an_import_that_climbs(tmp_path: Path) -> None:
    path = tmp_path / "gpt.py"
    path.write_text(
        "import numpy\n\ndef f():\n    from stategpt.train.loop import run\n    from stategpt import data\n"
    )
    assert violations(path, "model") == [f"{path}:4: model imports train, which is above it"]
    assert violations(path, "generate") == [f"{path}:4: generate imports train, which is on its floor"]


def test_a_stage_never_imports_another_stage() -> None:
    problems = [
        f"{path}:{line}: stage {path.stem} imports {module}"
        for path in own_files()
        if room_of(path) == "stages" and path.stem in STAGES
        for line, module in imports(path)
        if module.startswith("stategpt.stages.") and module.split(".")[2] in STAGES
    ]
    assert not problems


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_of_the_base_install_know_no_torch(room: str) -> None:
    problems = [
        f"{path}:{line}: {room} imports {module}"
        for path in own_files()
        if room_of(path) == room
        for line, module in imports(path)
        if module.split(".")[0] in {"torch", "triton", "transformers", "tokenizers"} - {LIBRARY_OF.get(path.name)}
    ]
    assert not problems


def test_kernels_import_torch_triton_and_each_other_only() -> None:
    allowed = {
        "torch",
        "triton",
        "__future__",
        "collections",
        "dataclasses",
        "functools",
        "math",
        "pathlib",
        "typing",
        "",
    }
    problems = [
        f"{path}:{line}: a kernel file imports {module}"
        for path in sorted(KERNELS.rglob("*.py"))
        for line, module in imports(path)
        if path.parent.name != "_shared"
        if module.split(".")[0] not in allowed and not module.startswith("stategpt.kernels")
    ]
    assert not problems
    assert not (KERNELS / "__init__.py").exists(), "a top-level package triton_kernels belongs to another project"


def test_what_kernels_share_runs_where_triton_is_alone() -> None:
    allowed = {"triton", *sys.stdlib_module_names}
    problems = [
        f"{path}:{line}: imports {module}"
        for path in sorted((KERNELS / "_shared").glob("*.py"))
        for line, module in imports(path)
        if module.split(".")[0] not in allowed and not module.startswith("stategpt.kernels._shared")
    ]
    assert not problems


@pytest.mark.parametrize(("name", "other"), [("reference.py", "triton"), ("kernel.py", "torch")])
def test_a_reference_knows_no_triton_and_a_kernel_no_torch(name: str, other: str) -> None:
    problems = [
        f"{path}:{line}: imports {module}"
        for path in sorted(KERNELS.rglob(name))
        for line, module in imports(path)
        if module.split(".")[0] == other
    ]
    assert not problems


def test_crates_depend_downwards_only() -> None:
    floor_of = {crate: number for number, crates in enumerate(CRATE_FLOORS) for crate in crates}
    manifests = {path.parent.name: path for path in (ROOT / "rust").glob("*/Cargo.toml")}
    assert set(manifests) == set(floor_of)
    problems = [
        f"{manifests[crate]}: {crate} depends on {name}"
        for crate, floor in floor_of.items()
        for name in tomllib.loads(manifests[crate].read_text())["dependencies"]
        if name.startswith("stategpt-") and floor_of[name.removeprefix("stategpt-")] <= floor
    ]
    assert not problems


def test_only_the_bindings_know_python() -> None:
    knowing = [
        path.parent.name
        for path in (ROOT / "rust").glob("*/Cargo.toml")
        if {"pyo3", "numpy"} & set(tomllib.loads(path.read_text())["dependencies"])
    ]
    assert knowing == ["bindings"]


def test_measuring_does_not_need_the_training_loop() -> None:
    """`evaluate` is above `train` by name only: a server that scores or labels need not load the trainer."""
    found = [
        f"{path}:{line}: evaluate imports {module}"
        for path in sorted((PACKAGE / "evaluate").rglob("*.py"))
        for line, module in imports(path)
        if module.split(".")[:2] == ["stategpt", "train"]
    ]
    assert not found, "\n".join(found)
