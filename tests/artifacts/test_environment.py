"""What a run records of the machine and the command that made it."""

from dataclasses import replace
from pathlib import Path

import pytest

from stategpt.artifacts import environment
from stategpt.artifacts.environment import Environment, current_environment, read_environments, record_environment
from stategpt.errors import CorruptArtifact


def test_calls_are_kept_in_order_and_a_repeated_one_is_not(tmp_path: Path) -> None:
    first = Environment(date="2026-01-01 10:00 UTC", cpu="one", cores=2)
    assert read_environments(tmp_path).calls == ()
    record_environment(tmp_path, first)
    record_environment(tmp_path, replace(first, date="2026-01-02 10:00 UTC"))
    record_environment(tmp_path, replace(first, cpu="another"))
    assert [call.cpu for call in read_environments(tmp_path).calls] == ["one", "another"]


def test_the_number_of_calls_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MAX_CALLS", 3)
    for number in range(5):
        record_environment(tmp_path, Environment(cores=number))
    assert [call.cores for call in read_environments(tmp_path).calls] == [0, 3, 4]


def test_a_changed_record_is_found(tmp_path: Path) -> None:
    record_environment(tmp_path, Environment(cpu="one"))
    path = tmp_path / "log" / "environment.json"
    path.write_text(path.read_text().replace("one", "two"))
    with pytest.raises(CorruptArtifact):
        read_environments(tmp_path)


def test_this_process_is_described_and_only_typed_paths_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/home/someone/bin/stategpt", "run", "tiny_cpu", "--out", "runs/a b"])
    found = current_environment()
    assert found.command == "stategpt run tiny_cpu --out 'runs/a b'"
    assert "someone" not in repr(found)
    assert (found.cores or 0) >= 1
    assert found.python.startswith("3.")
    monkeypatch.setattr("sys.argv", ["/home/someone/train.py", "secret"])
    assert current_environment().command == ""
