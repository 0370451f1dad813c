"""C modules and builtins are described under the names that users type."""

import subprocess
import sys

import pytest

from stategpt.data.sources.python_library.extension_modules import (
    SAFE_TO_IMPORT,
    available,
    public_name,
    read_extension_modules,
)


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    return {
        entry.name: entry.document for entry in read_extension_modules(["builtins", "math", "_struct", "_io"]).entries
    }


@pytest.mark.parametrize("name", ["str.upper", "dict.get", "max", "math.sin", "struct.pack", "io.BytesIO.read"])
def test_what_users_try_first_is_there(described: dict[str, str], name: str) -> None:
    assert described[name].startswith(f"{name}(")


def test_entries_look_like_help(described: dict[str, str]) -> None:
    assert described["str.upper"] == "str.upper(self, /)\n    Return a copy of the string converted to uppercase.\n"
    assert described["math.sin"].startswith("math.sin(x, /)\n    Return the sine of x")
    assert "\n" not in described["math.sin"].split("\n    ")[0]


def test_signatures_show_only_what_a_caller_gives(described: dict[str, str]) -> None:
    heads = [document.partition("\n")[0] for document in described.values()]
    assert not [head for head in heads if "$" in head or " at 0x" in head]


def test_what_python_code_adds_to_a_module_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import math

    def added() -> None:
        """Not part of the library."""

    class Added:
        """Nor this."""

        def method(self) -> None: ...

    before = read_extension_modules(["math"]).entries
    monkeypatch.setattr(math, "added", added, raising=False)
    monkeypatch.setattr(math, "Added", Added, raising=False)
    monkeypatch.setattr(math, "borrowed", len, raising=False)
    names = {entry.name for entry in read_extension_modules(["math"]).entries}
    assert names - {entry.name for entry in before} <= {"len"}


@pytest.mark.parametrize(
    ("module", "shown"),
    [("_struct", "struct"), ("posix", "os"), ("builtins", ""), ("_thread", "_thread"), ("math", "math")],
)
def test_public_names(module: str, shown: str) -> None:
    assert public_name(module) == shown


def test_a_module_that_is_not_there_is_reported() -> None:
    found = read_extension_modules(["math", "no_such_extension"])
    assert (found.read, found.missing) == (["math"], ["no_such_extension"])
    have, missing = available()
    assert set(have) | set(missing) == set(SAFE_TO_IMPORT)
    assert "builtins" in have


def test_importing_the_list_writes_nothing() -> None:
    program = (
        "from stategpt.data.sources.python_library.extension_modules import read_extension_modules as r; r()\n"
        "import sys; loud = {'antigravity', 'this', 'readline', 'idlelib', 'tkinter'} & set(sys.modules)\n"
        "assert not loud, loud"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
