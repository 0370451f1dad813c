"""The re-launch with a tuned allocator: only where it applies, only once, never against the user."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

import stategpt.cli
from stategpt.cli import launch, main
from stategpt.cli.launch import GUARD, glibc_version, relaunch_tuned, tuned_environment

Launched = list[tuple[str, list[str], Mapping[str, str]]]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    """Every exec that would have happened, on a machine with glibc 2.36 and no torch imported."""
    calls: Launched = []
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    monkeypatch.setattr(launch, "glibc_version", lambda: (2, 36))
    monkeypatch.delenv(GUARD, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return calls


def test_run_starts_again_with_the_same_words_and_the_settings(launched: Launched) -> None:
    relaunch_tuned(["run", "tiny_cpu"])
    [(program, words, environment)] = launched
    assert program == words[0] == sys.executable
    assert words[1:] == sys.orig_argv[1:]
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "4000000000"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("words", "relaunched"),
    [([], False), (["plan", "nope"], False), (["chat", "nope"], False), (["--help"], False), (["run", "nope"], True)],
)
def test_only_a_command_that_trains_is_launched_again(
    words: list[str], relaunched: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(stategpt.cli, "relaunch_tuned", asked.append)
    monkeypatch.setattr(sys, "argv", ["stategpt", *words])
    with contextlib.suppress(SystemExit):
        main()
    assert asked == ([words] if relaunched else [])
    main(["run", "nope"])
    assert len(asked) == relaunched, "a call with words of its own is never launched again"
    capsys.readouterr()


def test_help_is_not_launched_again(launched: Launched) -> None:
    relaunch_tuned(["run", "--help"])
    assert launched == []


def test_second_process_does_not_start_a_third(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD, "1")
    relaunch_tuned(["run", "tiny_cpu"])
    assert launched == []


def test_other_c_libraries_are_left_alone(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "glibc_version", lambda: None)
    relaunch_tuned(["run", "tiny_cpu"])
    assert launched == []


def test_what_the_user_has_set_stays() -> None:
    tuned = tuned_environment({"MALLOC_TOP_PAD_": "1", "OMP_WAIT_POLICY": "ACTIVE"}, (2, 36))
    assert (tuned["MALLOC_TOP_PAD_"], tuned["OMP_WAIT_POLICY"], tuned[GUARD]) == ("1", "ACTIVE", "1")


def test_old_glibc_gets_the_largest_threshold_it_accepts() -> None:
    assert tuned_environment({}, (2, 31))["MALLOC_MMAP_THRESHOLD_"] == str(32 * 2**20)


@pytest.mark.parametrize(
    ("described", "version"), [("glibc 2.36", (2, 36)), ("musl 1.2", None), (None, None), ("glibc", None)]
)
def test_version_is_read_or_unknown(
    monkeypatch: pytest.MonkeyPatch, described: str | None, version: tuple[int, int] | None
) -> None:
    monkeypatch.setattr(os, "confstr", lambda _: described)
    assert glibc_version() == version


@pytest.mark.skipif(glibc_version() is None, reason="the C library is not glibc")
def test_a_real_process_is_replaced_once_and_keeps_its_options() -> None:
    program = (
        "import os, sys, json; from stategpt.cli.launch import relaunch_tuned; relaunch_tuned(sys.argv[1:]);"
        "print(json.dumps([sys.argv[1:], sys.flags.optimize, os.environ['MALLOC_TOP_PAD_'], os.environ['MARK']]))"
    )
    environment = {**os.environ, "MARK": "kept"}
    environment.pop(GUARD, None)
    command = [sys.executable, "-O", "-c", program, "run", "a b", "--x"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [["run", "a b", "--x"], 1, "268435456", "kept"]
