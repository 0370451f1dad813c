"""The corpus as a whole: nothing is lost in silence, leaks between the splits or depends on the process."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stategpt.config import CorpusConfig
from stategpt.data.corpus import SIDES, Corpus, write_corpus
from stategpt.data.sources.python_library import build as build_library
from stategpt.data.sources.python_library.building import survey
from stategpt.errors import CorpusError
from stategpt.recipes import tiny_cpu

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
def corpus() -> Corpus:
    return build_library(tiny_cpu().corpus)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[Files], Corpus]:
    def of(files: Files) -> Corpus:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        return build_library(CorpusConfig(paths=(str(tmp_path),), validation_share=0.3))

    return of


def test_the_interpreters_library_gives_enough_of_everything(corpus: Corpus) -> None:
    assert set(corpus.sources) == {"code", "docstrings", "comments"}
    for name, source in corpus.sources.items():
        assert len(source.train) > len(source.test) > len(source.validation) > 15
        assert all(document.source == name and document.group for side in SIDES for document in source.of(side))
    assert len(corpus.conversations["train"]) > 4000
    assert len(corpus.conversations["test"]) > 1344, "672 prompts for a comparison, and as many names again"
    assert len(corpus.conversations["validation"]) > 384, "192 prompts for the frontier, and as many names again"
    assert corpus.found["unusable_files"] == []


def test_no_module_text_name_or_prompt_is_on_two_sides(corpus: Corpus) -> None:
    for source in corpus.sources.values():
        documents = [text for side in SIDES for text in source.texts(side)]
        assert len(set(documents)) == len(documents)
    modules, names, prompts, sentences = ([], [], [], [])
    for side in SIDES:
        pairs = corpus.conversations[side]
        groups = {document.group for source in corpus.sources.values() for document in source.of(side)}
        modules.append({pair.group for pair in pairs} | groups)
        names.append({pair.meta["subject"] for pair in pairs})
        prompts.append({pair.prompt().text for pair in pairs})
        sentences.append({pair.meta["summary"].casefold() for pair in pairs})
    for sides in (modules, names, prompts, sentences):
        assert len(set.union(*sides)) == sum(map(len, sides))
    train, validation, test = modules
    assert (len(train), sorted(validation), sorted(test)) == tuple(corpus.found["modules"].values())


def test_held_out_names_come_in_both_kinds_and_trained_names_in_one(corpus: Corpus) -> None:
    for side in SIDES[1:]:
        kinds = [pair.meta["kind"] for pair in corpus.conversations[side]]
        assert kinds == ["what", "complete"] * (len(kinds) // 2)
    names = [pair.meta["subject"] for pair in corpus.conversations["train"]]
    assert len(set(names)) == len(names)
    what = sum(pair.meta["kind"] == "what" for pair in corpus.conversations["train"]) / len(names)
    assert 0.45 < what < 0.55


def test_pairs_are_made_from_docstrings_of_the_same_corpus(corpus: Corpus) -> None:
    upper = next(p for side in SIDES for p in corpus.conversations[side] if p.meta["subject"] == "str.upper")
    assert upper.meta["summary"] == "Return a copy of the string converted to uppercase."
    assert upper.group == "builtins"
    text = {" ".join(document.split()) for document in corpus.sources["docstrings"].texts("train")}
    assert all(any(pair.meta["summary"] in t for t in text) for pair in corpus.conversations["train"][::500])


def test_code_is_python_without_docstrings(corpus: Corpus) -> None:
    for text in corpus.sources["code"].texts("train")[::20]:
        tree = ast.parse(text)
        described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        assert not [n for n in ast.walk(tree) if isinstance(n, described) and ast.get_docstring(n)]


def test_docstrings_are_conserved(corpus: Corpus) -> None:
    found = corpus.found
    read = sum(group["docstrings"] for group in found["groups"].values())
    dropped = sum(n for reason, n in found["dropped"]["docstrings"].items() if reason != "empty")
    kept = sum(side["documents"] for side in corpus.counts()["sources"]["docstrings"].values())
    assert read == kept + dropped
    pairs = sum(found["names"][side] for side in SIDES)
    assert kept == pairs + sum(found["dropped"]["conversations"].values())


def test_comments_are_conserved(corpus: Corpus) -> None:
    read = sum(group.get("comments", 0) for group in corpus.found["groups"].values())
    kept = sum(side["documents"] for side in corpus.counts()["sources"]["comments"].values())
    assert read == kept + corpus.found["dropped"]["comments"]["duplicate"]


def test_two_processes_build_the_same_corpus(tmp_path: Path, build: Callable[[Files], Corpus]) -> None:
    here = build({f"{name}.py": MODULE.format(name) for name in ("ash", "birch", "cedar", "elm")})
    program = (
        "from stategpt.config import CorpusConfig\n"
        "from stategpt.data.corpus import write_corpus\n"
        "from stategpt.data.sources.python_library import build\n"
        f"corpus = build(CorpusConfig(paths=({str(tmp_path)!r},), validation_share=0.3))\n"
        f"print(write_corpus(corpus, {str(tmp_path / 'there')!r}).fingerprint)"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert there.strip() == write_corpus(here, tmp_path / "here").fingerprint


def test_repetitions_are_counted_and_used_once(build: Callable[[Files], Corpus]) -> None:
    names = ("ash", "birch", "cedar", "elm")
    corpus = build({f"{name}.py": MODULE.format(name) for name in names} | {"fir.py": MODULE.format("elm")})
    found = corpus.found
    assert found["dropped"]["files"] == {"identical_to_another": 1}
    assert found["dropped"]["docstrings"]["duplicate"] == 3
    assert found["dropped"]["code"]["duplicate"] == 3
    assert "c_modules" not in found["groups"]
    documents = [text for side in SIDES for text in corpus.sources["docstrings"].texts(side)]
    assert sum("Say the same" in document for document in documents) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = '\udce9'\n", r"bad\.py: not utf8: byte 0xe9 at offset 5"),
        ("def f(:\n", r"bad\.py: not python: line 1, column 7"),
    ],
)
def test_a_bad_file_of_the_users_is_an_error(text: str, message: str, build: Callable[[Files], Corpus]) -> None:
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
    found = build_library(CorpusConfig(paths=("package:some_pack",))).found
    assert found["dropped"]["files"] == {"not_python": 1}
    assert found["unusable_files"][0]["file"] == "some_pack/template.py"
    assert found["unusable_files"][0]["detail"].startswith("line 1, column")


def test_a_link_to_nothing_is_an_error_with_its_path(tmp_path: Path, build: Callable[[Files], Corpus]) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"gone\.py: unreadable: No such file"):
        build({"good.py": MODULE.format("good")})


def test_a_strange_escape_in_a_string_is_no_error(build: Callable[[Files], Corpus]) -> None:
    others = {f"{name}.py": MODULE.format(name) for name in ("birch", "cedar")}
    corpus = build({"a.py": "x = '\\d'\n" + MODULE.format("ash"), **others})
    assert sum(len(corpus.sources["code"].of(side)) for side in SIDES) == 2, "two of them are alike"


def test_the_survey_counts_what_the_build_reads(corpus: Corpus) -> None:
    seen = survey(tiny_cpu().corpus)
    used = {name: group for name, group in seen["groups"].items() if group["used"]}
    for name, group in used.items():
        assert group["files"] == corpus.found["groups"][name]["files"]
    assert seen["groups"]["encodings"]["used"] is False
    assert seen["c_modules"]["available"] == corpus.found["c_modules"]["read"]
