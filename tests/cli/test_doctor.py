"""Doctor: finds things out, and never fails for what it cannot find."""

from pathlib import Path
from typing import NoReturn

import pytest

from stategpt.cli import doctor


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
    assert "stategpt[train]" in told


def test_allocator_marks_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "glibc_version", lambda: (2, 36))
    monkeypatch.setenv("MALLOC_TOP_PAD_", "7")
    assert dict(doctor.allocator())["MALLOC_TOP_PAD_"] == "7 (set by you)"


def test_statistics_of_any_shape_are_shown_on_one_line() -> None:
    assert (
        doctor._plain({"files": 1234, "groups": ["a", "b"], "left_out": {}})
        == "files 1,234, groups a, b, left_out none"
    )
