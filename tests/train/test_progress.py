"""Progress: what is shown, and that work within work is silent."""

import io

import pytest
from rich.console import Console

pytest.importorskip("torch", reason="the [train] extra is not installed")

import stategpt.train.progress as module
from stategpt.train.progress import progress


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=text, width=200))
    return text


def test_a_log_gets_a_line_at_the_end_with_count_and_rate(shown: io.StringIO) -> None:
    with progress("pretrain", 1000, "steps") as advance:
        advance(10, "")
        advance(1000, "loss 2.0")
    assert shown.getvalue().startswith("pretrain: 1,000/1,000 steps, ")
    assert shown.getvalue().count("\n") == 1


def test_a_long_job_says_how_much_time_is_left(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    with progress("pretrain", 100, "steps") as advance:
        advance(20, "")  # what an earlier run did is not counted as speed
        clock[0] = 15.0
        advance(50, "")
    assert shown.getvalue() == "pretrain: 50/100 steps, 2.0/s, 25 s left\n"


def test_work_within_work_is_silent(shown: io.StringIO) -> None:
    with progress("rl", 1, "steps") as outer:
        with progress("answers", 5, "completions") as inner:
            inner(5, "")
        assert shown.getvalue() == ""
        outer(1, "")
    assert shown.getvalue().startswith("rl: 1/1 steps")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=text, width=200, force_terminal=True))
    with progress("sft", 4, "steps") as advance:
        advance(4, "loss 3.1")
    assert "4/4" in text.getvalue()
    assert "loss 3.1" in text.getvalue()
