"""Imports point down the layers, packages of one layer do not import each other, and stages are listed once."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from stategpt.config.stage_names import STAGES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "stategpt"
KERNELS = ROOT / "triton_kernels"

LAYERS: tuple[tuple[str, ...], ...] = (  # top to bottom
    ("__init__", "__main__"),
    ("cli",),
    ("serve",),
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
    ("_native", "gguf_file", "hub", "json_reader", "lazy_names", "user_functions"),
    ("files", "arguments", "extras", "machine", "quantities", "randomness", "shown_fields", "visible_text"),
    ("errors",),
)
LAYER_OF = {package: number for number, packages in enumerate(LAYERS) for package in packages}

# A stage hands over through published artifacts; it never calls another.
STAGE_MODULES = {stage.name for stage in STAGES}
STAGE_WORDS = {word for stage in STAGES for word in (stage.name, stage.folder)}

# These work in the base install: no import of torch, not even inside a function.
WITHOUT_TORCH = (
    "errors",
    "files",
    "gguf_file",
    "arguments",
    "extras",
    "quantities",
    "shown_fields",
    "visible_text",
    "json_reader",
    "json_records",
    "hub",
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
LIBRARY_OF = {"hf_library.py": "tokenizers"}

LISTS_OF_OTHER_THINGS = {
    "artifacts/measurements.py": "folders as an earlier version of the layout had them; they never change",
    "config/dial.py": "learning rates that were tuned by stage; a stage without one sets its own",
    "config/evaluation.py": "families of gates, which a recipe can require",
    "config/stage_costs.py": "what each stage costs",
    "evaluate/gates.py": "folders that gates read",
    "evaluate/records/__init__.py": "the record of each folder's evaluation.json",
    "recipes/small_cpu.py": "families of gates",
    "recipes/tiny_cpu.py": "families of gates",
    "report/canvas.py": "colors of systems",
    "report/views/feedback.py": "names in a template's context",
    "stages/__init__.py": "the package's public names",
}
"""Files that list some of these words for another purpose than the order and names of stages, and which."""

CRATE_LAYERS = (
    ("bindings",),
    ("pipeline",),
    ("tokenizer", "packing", "ranking", "curation"),
    ("layout", "lines", "matvec", "attention", "rows"),
    ("storage", "simd", "threads"),
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
            if module == "stategpt":  # `from stategpt import data` imports a package by its name
                yield from ((node.lineno, f"stategpt.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def _package_of(path: Path) -> list[str]:
    for folder, name in ((PACKAGE, ["stategpt"]), (KERNELS, ["stategpt", "kernels"])):
        if path.is_relative_to(folder):
            return [*name, *path.relative_to(folder).parent.parts]
    return []


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_files() -> list[Path]:
    """Python files of the package; the kernels, a link into it, have other rules."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.is_relative_to(PACKAGE / "kernels")]


def violations(path: Path, package: str) -> list[str]:
    """What the imports of a file of `package` break, each as `file:line: ...`."""
    found = []
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] != "stategpt" or len(parts) == 1 or parts[1] == package:
            continue
        target = parts[1]
        if target not in LAYER_OF:
            found.append(f"{path}:{line}: {package} imports {target}, a package that LAYERS does not list")
        elif LAYER_OF[target] <= LAYER_OF[package] and package != "__init__":
            relation = "is above it" if LAYER_OF[target] < LAYER_OF[package] else "is on its layer"
            found.append(f"{path}:{line}: {package} imports {target}, which {relation}")
    return found


def test_every_package_has_a_layer() -> None:
    assert {package_of(path) for path in own_files()} <= set(LAYER_OF)


def test_the_table_in_the_documents_has_the_layers_in_this_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.partition("```")[0], re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == [set(packages) for packages in LAYERS[1:]]


def test_imports_point_down() -> None:
    assert not [problem for path in own_files() for problem in violations(path, package_of(path))]


def test_the_rule_finds_an_import_that_points_up(tmp_path: Path) -> None:
    path = tmp_path / "gpt.py"
    path.write_text(
        "import numpy\n\ndef f():\n    from stategpt.train.loop import run\n    from stategpt import data\n"
    )
    assert violations(path, "model") == [f"{path}:4: model imports train, which is above it"]
    assert violations(path, "generate") == [f"{path}:4: generate imports train, which is on its layer"]


def stage_of(path: Path) -> str:
    """The stage that a file of `stages` belongs to, or "" where several share it."""
    name = path.relative_to(PACKAGE).parts[1].removesuffix(".py")
    return name if name in STAGE_MODULES else ""


def test_a_stage_never_imports_another_stage() -> None:
    problems = [
        f"{path}:{line}: stage {stage_of(path)} imports {module}"
        for path in own_files()
        if package_of(path) == "stages" and stage_of(path)
        for line, module in imports(path)
        if module.startswith("stategpt.stages.") and module.split(".")[2] in STAGE_MODULES - {stage_of(path)}
    ]
    assert not problems


def test_every_stage_is_a_module_and_what_stages_share_knows_none_of_them() -> None:
    folder = PACKAGE / "stages"
    assert all((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in STAGE_MODULES)
    shared = [path for path in folder.glob("*.py") if not stage_of(path) and path.name != "__init__.py"]
    assert shared
    assert not [
        f"{path}:{line}: imports {module}"
        for path in shared
        for line, module in imports(path)
        if module.startswith("stategpt.stages.") and module.split(".")[2] in STAGE_MODULES
    ]


def test_evaluate_does_not_know_how_models_are_trained() -> None:
    assert not [
        f"{path}:{line}: imports {module}"
        for path in own_files()
        if package_of(path) == "evaluate"
        for line, module in imports(path)
        if f"{module}.".startswith("stategpt.train.")
    ]


def stage_lists(source: str) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of every literal collection that holds three or more stage names or folders."""
    for node in ast.walk(ast.parse(source)):
        items: Iterable[ast.expr | None] = ()
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            items = node.elts
        elif isinstance(node, ast.Dict):
            items = node.keys
        words = {item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)}
        if len(words & STAGE_WORDS) >= 3:
            yield node.lineno, sorted(words & STAGE_WORDS)


def test_stages_are_listed_in_one_file() -> None:
    found = [
        f"{path}:{line}: lists {', '.join(words)}; read config/stage_names.py instead"
        for path in own_files()
        if path != PACKAGE / "config" / "stage_names.py"
        for line, words in stage_lists(path.read_text())
        if path.relative_to(PACKAGE).as_posix() not in LISTS_OF_OTHER_THINGS
    ]
    assert not found
    listing = {file for file in LISTS_OF_OTHER_THINGS if list(stage_lists((PACKAGE / file).read_text()))}
    assert listing == set(LISTS_OF_OTHER_THINGS), "an exception that nothing needs is removed"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('a = ("sft", "reward", "rl")', 1),
        ('a = {"base": 1, "sft": 2, "comparison": 3}', 1),
        ('a: Literal["pretrain", "sft", "rl"]', 1),
        ('a = ["sft", "rl"]', 0),
        ('a = ["sft", "sft", "sft"]', 0),
        ('a = ("sft/model", "rl/model", "base/model")', 0),
    ],
)
def test_a_list_of_stages_is_found(source: str, found: int) -> None:
    assert len(list(stage_lists(source))) == found


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_packages_of_the_base_install_know_no_torch(package: str) -> None:
    problems = [
        f"{path}:{line}: {package} imports {module}"
        for path in own_files()
        if package_of(path) == package
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
    layer_of = {crate: number for number, crates in enumerate(CRATE_LAYERS) for crate in crates}
    manifests = {path.parent.name: path for path in (ROOT / "rust").glob("*/Cargo.toml")}
    assert set(manifests) == set(layer_of)
    problems = [
        f"{manifests[crate]}: {crate} depends on {name}"
        for crate, layer in layer_of.items()
        for name in tomllib.loads(manifests[crate].read_text())["dependencies"]
        if name.startswith("stategpt-") and layer_of[name.removeprefix("stategpt-")] <= layer
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
