"""A finished run folder for the tests of the report, and one rendered page of it."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

WriteRun = Callable[..., Path]


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    """write_run(root, leave_out=()) writes a finished run folder, without the files so named."""
    pytest.importorskip("stategpt._native", reason="run folders are published by the built extension")
    found: WriteRun = runpy.run_path(str(Path(__file__).with_name("run_folder.py")))["write_run_folder"]
    return found


@pytest.fixture(scope="session")
def publish_part(write_run: WriteRun) -> Callable[..., str]:
    """publish_part(root, path, files, kind="evaluation") publishes files as a folder of a run."""
    found: Callable[..., str] = write_run.__globals__["publish_part"]
    return found


@pytest.fixture(scope="session")
def run_folder(write_run: WriteRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests only read it."""
    return write_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def page(run_folder: Path) -> str:
    """The rendered page of the finished run."""
    pytest.importorskip("matplotlib", reason="the report needs the train extra")
    pytest.importorskip("jinja2", reason="the report needs the train extra")
    from stategpt.report import render

    return render(run_folder).read_text(encoding="utf-8")
