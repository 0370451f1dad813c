"""Which files are read, what is left out, and what each complaint says."""

import os
import sys
from pathlib import Path

import pytest

from stategpt.data.sources.python_library.source_files import (
    LEFT_OUT,
    folder_files,
    interpreter_files,
    package_files,
    path_files,
)
from stategpt.errors import CorpusError


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1\n")
    return folder


def test_the_interpreters_library_without_tests_tables_and_installed_packages() -> None:
    found = interpreter_files()
    shown = {file.shown for file in found.files}
    assert {"json/decoder.py", "argparse.py"} <= shown
    parts = {part for name in shown for part in Path(name).with_suffix("").parts}
    assert not parts & {"test", "tests", "idlelib", "encodings", "site-packages", "__pycache__"}
    assert set(found.left_out) <= set(LEFT_OUT)
    assert found.left_out["encodings"]


def test_public_modules_come_before_private_ones() -> None:
    modules = [file.module for file in interpreter_files().files]
    first_private = next(i for i, module in enumerate(modules) if module.startswith("_"))
    assert all(module.startswith("_") for module in modules[first_private:])


def test_a_folder_of_modules_is_split_by_module(tmp_path: Path) -> None:
    write(tmp_path, "b.py", "a/__init__.py", "a/x/y.py", ".hidden/z.py", "a/__pycache__/c.py", "a/note.txt")
    found = path_files([str(tmp_path)]).files
    assert [(file.module, file.unit) for file in found] == [("a", "a"), ("a.x.y", "a"), ("b", "b")]
    assert all(file.strict for file in found)


def test_a_folder_that_is_a_package_is_split_by_its_parts(tmp_path: Path) -> None:
    folder = write(tmp_path / "pack", "__init__.py", "one.py", "two/__init__.py", "two/inner.py")
    files = path_files([str(folder)]).files
    assert [(file.module, file.unit) for file in files] == [
        ("pack", "pack"),
        ("pack.one", "pack.one"),
        ("pack.two", "pack.two"),
        ("pack.two.inner", "pack.two"),
    ]


def test_an_installed_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "loud_package", "part.py")
    (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    write(tmp_path, "single_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = path_files(["package:loud_package", "package:single_module"]).files
    assert [file.module for file in found] == ["loud_package", "loud_package.part", "single_module"]
    assert "loud_package" not in sys.modules
    assert not any(file.strict for file in found)


def test_folders_and_packages_can_be_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "site", "some_module.py")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = path_files(["package:some_module", str(write(tmp_path / "own", "a.py"))])
    assert [(file.module, file.strict) for file in found.files] == [("a", True), ("some_module", False)]
    assert found.location == f"package:some_module, {tmp_path / 'own'}"


@pytest.mark.parametrize("name", ["no_such_package_here", "json.decoder", "math"])
def test_a_package_that_cannot_be_read_is_named(name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        package_files(name)


def test_missing_empty_and_unlistable_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"absent does not exist, or .*; give"):
        folder_files(str(tmp_path / "absent"))
    with pytest.raises(CorpusError, match=r"holds no \.py files"):
        folder_files(str(write(tmp_path / "empty", "readme.txt")))
    with pytest.raises(CorpusError, match="is not a folder"):
        folder_files(str(tmp_path / "empty" / "readme.txt"))

    def deny(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    write(tmp_path / "secret", "a.py")
    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(CorpusError, match=r"cannot list .*secret: Permission denied"):
        folder_files(str(tmp_path / "secret"))


def test_a_library_of_byte_code_alone_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "json/__init__.pyc")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match=r"set corpus\.paths to folders"):
        interpreter_files()
