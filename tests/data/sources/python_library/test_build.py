"""The corpus as a whole: nothing is lost in silence, leaks between the splits or depends on the process."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stategpt.config import CorpusConfig
from stategpt.data.sources.python_library import PythonLibrary, build_python_library, survey
from stategpt.data.sources.python_library.records import SIDES
from stategpt.errors import CorpusError

pytestmark = pytest.mark.xdist_group("library")

Files = dict[str, str]
MODULE = '''"""The module {0}."""
# About {0}.

def first(a):
    """Return the first {0} of all."""
    return a[0]

class Second:
    """A second {0} that follows the first."""

def again():
    """Say the same in every module."""
'''


@pytest.fixture(scope="module")
def library() -> PythonLibrary:
    return build_python_library(CorpusConfig())


@pytest.fixture
def build(tmp_path: Path) -> Callable[[Files], PythonLibrary]:
    def of(files: Files) -> PythonLibrary:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        return build_python_library(CorpusConfig(kind="files", paths=(str(tmp_path),), validation_share=0.3))

    return of


def test_the_interpreters_library_gives_enough_of_everything(library: PythonLibrary) -> None:
    assert set(library.sources) == {"code", "docstrings", "comments"}
    for source in library.sources.values():
        assert len(source.train) > len(source.test) > len(source.validation) > 15
        assert all(len(source.documents(side)) == len(source.modules(side)) for side in SIDES)
    assert len(library.pairs_train) > 4000
    assert len(library.pairs_test) > 1344, "672 prompts for a comparison, and as many names again"
    assert len(library.pairs_validation) > 384, "192 prompts for the frontier, and as many names again"
    assert library.found["unusable_files"] == []


def test_no_module_text_name_or_prompt_is_on_two_sides(library: PythonLibrary) -> None:
    for source in library.sources.values():
        documents = [document for side in SIDES for document in source.documents(side)]
        assert len(set(documents)) == len(documents)
    modules, names, prompts, sentences = ([], [], [], [])
    for side in SIDES:
        pairs = library.pairs(side)
        of_pairs = {pair.module for pair in pairs}
        modules.append(of_pairs.union(*(source.modules(side) for source in library.sources.values())))
        names.append({pair.name for pair in pairs})
        prompts.append({pair.prompt for pair in pairs})
        sentences.append({pair.summary.casefold() for pair in pairs})
    for sides in (modules, names, prompts, sentences):
        assert len(set.union(*sides)) == sum(map(len, sides))
    train, validation, test = modules
    assert (len(train), sorted(validation), sorted(test)) == tuple(library.found["modules"].values())


def test_held_out_names_come_in_both_kinds_and_trained_names_in_one(library: PythonLibrary) -> None:
    for side in SIDES[1:]:
        kinds = [pair.kind for pair in library.pairs(side)]
        assert kinds == ["what", "complete"] * (len(kinds) // 2)
    names = [pair.name for pair in library.pairs_train]
    assert len(set(names)) == len(names)
    what = sum(pair.kind == "what" for pair in library.pairs_train) / len(names)
    assert 0.45 < what < 0.55


def test_pairs_are_made_from_docstrings_of_the_same_corpus(library: PythonLibrary) -> None:
    upper = next(p for side in SIDES for p in library.pairs(side) if p.name == "str.upper")
    assert upper.summary == "Return a copy of the string converted to uppercase."
    assert upper.module == "builtins"
    text = {" ".join(document.split()) for document in library.sources["docstrings"].train}
    assert all(any(pair.summary in t for t in text) for pair in library.pairs_train[::500])


def test_code_is_python_without_docstrings(library: PythonLibrary) -> None:
    for text in library.sources["code"].train[::20]:
        tree = ast.parse(text)
        described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        assert not [n for n in ast.walk(tree) if isinstance(n, described) and ast.get_docstring(n)]


def test_docstrings_are_conserved(library: PythonLibrary) -> None:
    found = library.found
    read = sum(group["docstrings"] for group in found["groups"].values())
    dropped = sum(n for reason, n in found["dropped"]["docstrings"].items() if reason != "empty")
    kept = sum(side["documents"] for side in found["sources"]["docstrings"].values())
    assert read == kept + dropped
    pairs = found["pairs"]["train"] + found["pairs"]["validation_names"] + found["pairs"]["test_names"]
    assert kept == pairs + sum(found["dropped"]["pairs"].values())


def test_comments_are_conserved(library: PythonLibrary) -> None:
    read = sum(group.get("comments", 0) for group in library.found["groups"].values())
    kept = sum(side["documents"] for side in library.found["sources"]["comments"].values())
    assert read == kept + library.found["dropped"]["comments"]["duplicate"]


def test_two_processes_build_the_same_corpus(tmp_path: Path, build: Callable[[Files], PythonLibrary]) -> None:
    here = build({f"{name}.py": MODULE.format(name) for name in ("ash", "birch", "cedar", "elm")})
    program = (
        "from stategpt.config import CorpusConfig\n"
        "from stategpt.data.sources.python_library import build_python_library as b\n"
        f"l = b(CorpusConfig(kind='files', paths=({str(tmp_path)!r},), validation_share=0.3))\n"
        "print(repr(l), end='')"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert there == repr(here)


def test_repetitions_are_counted_and_used_once(build: Callable[[Files], PythonLibrary]) -> None:
    names = ("ash", "birch", "cedar", "elm")
    library = build({f"{name}.py": MODULE.format(name) for name in names} | {"fir.py": MODULE.format("elm")})
    found = library.found
    assert found["dropped"]["files"] == {"identical_to_another": 1}
    assert found["dropped"]["docstrings"]["duplicate"] == 3
    assert found["dropped"]["code"]["duplicate"] == 3
    assert "c_modules" not in found["groups"]
    documents = [document for side in SIDES for document in library.sources["docstrings"].documents(side)]
    assert sum("Say the same" in document for document in documents) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = '\udce9'\n", r"bad\.py: not utf8: byte 0xe9 at offset 5"),
        ("def f(:\n", r"bad\.py: not python: line 1, column 7"),
    ],
)
def test_a_bad_file_of_the_users_is_an_error(text: str, message: str, build: Callable[[Files], PythonLibrary]) -> None:
    with pytest.raises(CorpusError, match=message):
        build({"good.py": MODULE.format("good"), "bad.py": text})


def test_a_bad_file_of_an_installed_package_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some_pack"
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.py").write_text(MODULE.format(name))
    (folder / "__init__.py").write_text("")
    (folder / "template.py").write_text("{{ name }} = }{\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    found = build_python_library(CorpusConfig(kind="packages", paths=("some_pack",))).found
    assert found["dropped"]["files"] == {"not_python": 1}
    assert found["unusable_files"][0]["file"] == "some_pack/template.py"
    assert found["unusable_files"][0]["detail"].startswith("line 1, column")


def test_a_link_to_nothing_is_an_error_with_its_path(tmp_path: Path, build: Callable[[Files], PythonLibrary]) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"gone\.py: unreadable: No such file"):
        build({"good.py": MODULE.format("good")})


def test_a_strange_escape_in_a_string_is_no_error(build: Callable[[Files], PythonLibrary]) -> None:
    others = {f"{name}.py": MODULE.format(name) for name in ("birch", "cedar")}
    library = build({"a.py": "x = '\\d'\n" + MODULE.format("ash"), **others})
    assert sum(len(library.sources["code"].documents(side)) for side in SIDES) == 2, "two of them are alike"


def test_the_survey_counts_what_the_build_reads(library: PythonLibrary) -> None:
    seen = survey()
    used = {name: group for name, group in seen["groups"].items() if group["used"]}
    for name, group in used.items():
        assert group["files"] == library.found["groups"][name]["files"]
    assert seen["groups"]["encodings"]["used"] is False
    assert seen["c_modules"]["available"] == library.found["c_modules"]["read"]
