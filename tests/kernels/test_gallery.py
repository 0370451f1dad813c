"""Every operation's folder is complete, named in the gallery, and independent of the package."""

import ast
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "triton_kernels"
OPERATIONS = sorted(path.parent.name for path in KERNELS.glob("[!_]*/__init__.py"))
ALLOWED = {
    "reference.py": {"torch"},
    "cases.py": {"torch", "dataclasses", "collections"},
    "kernel.py": {"triton"},
    "autograd.py": {"torch", "typing"},
    "blockwise.py": {"torch", "collections", "dataclasses"},
    "binding.py": {"torch"},
    "schedule.py": {"dataclasses"},
    "launch.py": {"__future__", "torch", "triton", "dataclasses", "functools", "pathlib", "typing"},
    "signatures.py": {"collections", "dataclasses", "pathlib"},
}


def test_there_are_operations_and_no_package_above_them():
    assert OPERATIONS
    assert not (KERNELS / "__init__.py").exists()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_has_a_reference_cases_and_a_place_in_the_gallery(operation):
    for name in ("reference.py", "cases.py"):
        assert (KERNELS / operation / name).exists(), name
    assert f"[`{operation}`]({operation}/reference.py)" in (KERNELS / "README.md").read_text()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_files_import_only_what_the_readme_says(operation):
    for name, allowed in ALLOWED.items():
        path = KERNELS / operation / name
        if not path.exists():
            continue
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).split(".")[0])
        assert imported <= allowed, f"{path} imports {sorted(imported - allowed)}"
