"""Files are data: nothing in the package runs code from a file or builds a shell command from a string."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "python" / "stategpt", ROOT / "triton_kernels")

# Modules whose loaders run code that a file names.
BANNED_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
# Functions that run or build code, by their dotted name as written.
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.save", "torch.hub.load",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "pickle.loads",
}  # fmt: skip
# Arguments that open such a door in an otherwise harmless call.
BANNED_ARGUMENTS = {"shell", "allow_pickle", "trust_remote_code", "weights_only"}


def violations(source: str) -> Iterator[tuple[int, str]]:
    """(line, what) of every use that the rule forbids."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if _root(alias.name) in BANNED_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            if _root(node.module or "") in BANNED_MODULES or names & BANNED_CALLS:
                yield node.lineno, f"from {node.module}"
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in BANNED_CALLS:
                yield node.lineno, ast.unparse(node.func)
            yield from ((node.lineno, f"{word.arg}=") for word in node.keywords if _opens_a_door(word))


def _root(module: str) -> str:
    return module.split(".")[0]


def _opens_a_door(word: ast.keyword) -> bool:
    # Only a literal False is certain to keep it shut; weights_only belongs to torch.load, which is banned either way.
    shut = isinstance(word.value, ast.Constant) and word.value.value is False
    return word.arg in BANNED_ARGUMENTS and not shut


def test_no_source_file_runs_code_from_a_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for folder in SOURCES
        for path in sorted(folder.rglob("*.py"))
        for line, what in violations(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "use safetensors and JSON, argument lists and plain functions instead"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import numpy, cloudpickle",
        "from pickle import loads",
        "from torch import load",
        "def f():\n    import shelve",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "eval(text)",
        "exec(compile(text, 'x', 'exec'))",
        "subprocess.run(f'ls {folder}', shell=True)",
        "os.system('ls')",
        "yaml.load(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_each_forbidden_use_is_found(source: str) -> None:
    assert list(violations(source))


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "re.compile('a')",
        "np.load(path, allow_pickle=False)",
        "safetensors.torch.load_file(path)",
        "json.loads(text)",
        "subprocess.run(['ls', folder])",
        "def evaluate(exec_time): return exec_time",
    ],
)
def test_ordinary_code_is_left_alone(source: str) -> None:
    assert list(violations(source)) == []
