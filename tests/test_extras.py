"""The one text that says how to get what is not installed."""

import re
from pathlib import Path

import pytest

from stategpt.errors import MissingExtra
from stategpt.extras import MODULES, extra_of, install_hint, require

ROOT = Path(__file__).resolve().parents[1]


def test_a_missing_module_is_explained_and_is_an_import_error() -> None:
    with pytest.raises(MissingExtra, match=r"^the sky needs no_such_module, which is not installed\. .*'\.\[hf\]'"):
        require("no_such_module", "the sky", "hf")
    assert issubclass(MissingExtra, ImportError)


def test_what_is_there_passes_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("json", "this test")
    (tmp_path / "costly.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    require("costly", "this test")


def test_modules_belong_to_the_extras_of_pyproject() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, modules in MODULES.items():
        assert {re.split(r"[<>=;]", requirement)[0] for requirement in declared[extra]} == set(modules)
    assert extra_of("torch.nn") == "train"
    assert extra_of("tokenizers") == "hf"
    assert extra_of("stategpt.gone") is None
    assert extra_of(None) is None


def test_nothing_else_tells_people_what_to_install() -> None:
    """The name is not on PyPI: a remedy written by hand elsewhere would send people to a stranger's package."""
    sources = [*(ROOT / "python" / "stategpt").rglob("*.py"), ROOT / "README.md"]
    assert not [str(path) for path in sources if re.search(r"install ['\"]?stategpt\b(?!-)", path.read_text())]
    holding = {path.name for path in sources if "pip install" in path.read_text()}
    assert holding == {"extras.py", "README.md"}
    assert install_hint("train").startswith("In the folder of stategpt's source run: pip install '.[train]'")
