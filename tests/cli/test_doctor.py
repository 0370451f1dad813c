"""Doctor: finds things out, and never fails for what it cannot find."""

from pathlib import Path
from typing import NoReturn

import pytest

from stategpt.cli import doctor
from stategpt.errors import CorpusError


def test_machine_names_interpreter_cores_and_memory() -> None:
    found = dict(doctor.machine())
    assert found["Python"][0].isdigit()
    assert int(found["cores"].split()[0]) >= 1
    assert found["memory"]


def test_unreadable_system_files_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("no such file")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr("os.sysconf", refuse)
    found = dict(doctor.machine())
    assert found["CPU features"] == found["memory"] == "unknown on this system"


def test_missing_packages_are_named_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_extras", lambda: {"train": ["no-such-package"]})
    assert dict(doctor.packages())["train"] == "no-such-package missing"


def test_extras_are_read_from_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "numpy>=1.26",
        "torch>=2.11 ; extra == 'train'",
        'triton>=3.6; sys_platform == "linux" and extra == "train"',
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: requirements)
    assert doctor._extras() == {"train": ["torch", "triton"]}


def test_without_torch_it_says_what_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    [(name, told)] = doctor.acceleration()
    assert name == "torch"
    assert "pip install '.[train]'" in told


def test_allocator_marks_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "glibc_version", lambda: (2, 36))
    monkeypatch.setenv("MALLOC_TOP_PAD_", "7")
    assert dict(doctor.allocator())["MALLOC_TOP_PAD_"] == "7 (set by you)"


def test_default_corpus_is_told_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {
        "core": {"files": 1234, "bytes": 5_120_000, "used": True},
        "test": {"files": 1, "bytes": 10, "used": False, "why": "tests"},
    }
    found = {"location": "/lib", "groups": groups, "c_modules": {"available": ["math"], "missing": ["_gdbm"]}}
    monkeypatch.setattr("stategpt.data.sources.python_library.building.survey", lambda config: found)
    assert doctor.corpus() == [
        ("read from", "/lib"),
        ("core", "1,234 files, 5.12 MB"),
        ("test", "1 files, 10 B, left out: tests"),
        ("C modules", "1 with docstrings, missing _gdbm"),
    ]


def test_unusable_corpus_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object) -> NoReturn:
        raise CorpusError("no library here")

    monkeypatch.setattr("stategpt.data.sources.python_library.building.survey", refuse)
    assert doctor.corpus() == [("unusable", "no library here")]
