"""The wheel holds the whole package: the kernels behind their link, the types, the binary, and nothing beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cargo")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maturin = shutil.which("maturin", path=str(Path(sys.executable).parent))
    if maturin is None or shutil.which("cargo") is None:
        pytest.skip("maturin (extra: dev) and cargo are needed to build the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    command = [maturin, "build", "--release", "--locked", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def installed_as(paths: Sequence[Path], base: Path, prefix: str) -> set[str]:
    return {prefix + path.relative_to(base).as_posix() for path in paths}


@pytest.mark.timeout(1300)
def test_every_file_of_the_package_and_of_the_kernels_is_in_it(wheel: Path) -> None:
    package, kernels = ROOT / "python" / "stategpt", ROOT / "triton_kernels"
    kernel_files = [path for path in kernels.rglob("*.py") if "__pycache__" not in path.parts]
    tables = list(kernels.rglob("*.json"))
    assert kernel_files
    assert tables
    own_files = [path for path in package.rglob("*.py") if not path.is_relative_to(package / "kernels")]
    expected = installed_as([*kernel_files, *tables], kernels, "stategpt/kernels/") | installed_as(
        own_files, package, "stategpt/"
    )
    expected |= {"stategpt/py.typed", "stategpt/_native.pyi", "stategpt/_native.abi3.so"}
    others = [path for path in package.rglob("*") if path.suffix in {".j2", ".css", ".toml"}]
    expected |= installed_as(others, package, "stategpt/")
    assert not expected - names(wheel)


def test_it_installs_one_package_only(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"stategpt"}
    assert not [name for name in names(wheel) if "__pycache__" in name or name.endswith(".tmp")]


def test_it_works_where_only_it_and_numpy_are(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import stategpt as sg, stategpt._native as native\n"
        "assert sg.__file__.startswith(sys.argv[1]) and native.__file__.startswith(sys.argv[1])\n"
        "tok = sg.Tokenizer.train(['a small text'], vocab_size=260, special_tokens=['<|endoftext|>'])\n"
        "print(tok.decode(tok.encode('a text')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=250)
    assert done.stdout == "a text\n", done.stderr


def test_it_brings_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "stategpt=stategpt.cli:main" in archive.read(entry_points).decode().replace(" ", "")
