"""Progress: what is shown, and that work within work is silent."""

import io
import re

import pytest
from rich.console import Console

import stategpt.progress as module
from stategpt.progress import RunProgress, fitted_line, note_of, progress


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


def test_an_unknown_total_is_not_shown(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stategpt.progress.LOG_EVERY_S", 0.0)
    with progress("curation", 0, "documents") as advance:
        advance(1200)
    assert re.fullmatch(r"curation: 1,200 documents, [0-9.]+/s\n", shown.getvalue())
    assert "1,200 documents" in fitted_line("curation", 1200, 0, "documents", (5.0, float("nan")), "", 80)


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


CASES = [
    ("pretrain", 615, 1026, "steps", "loss 5.041"),
    ("rl, low beta", 12_345, 99_999, "steps", "reward -1.52, kl 12.85"),
    ("answers of prompted_base", 2688, 2688, "completions", ""),
    ("shards docstrings/validation", 1, 123_456, "documents", ""),
]


@pytest.mark.parametrize(("title", "done", "total", "unit", "note"), CASES)
@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_count_and_time_left_are_never_cut(title: str, done: int, total: int, unit: str, note: str, width: int) -> None:
    line = fitted_line(title, done, total, unit, (1234.5, 3599.0), note, width)
    assert len(line) <= width
    assert f"{done:,}/{total:,}" in line
    assert "59 min 59 s left" in line
    assert note in line or width < 80
    assert title[:8] in line or width < 60


def test_a_terminal_of_eighty_columns_shows_count_time_left_reward_and_kl(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    clock = [0.0]
    monkeypatch.setattr(module, "console", Console(file=text, width=80, force_terminal=True, color_system=None))
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(module, "overall", RunProgress())
    module.overall.begin(5, [10.0, 100, 30, 10, 20, 60, 30])
    note = note_of({"reward_mean": 1.523, "kl_nats_per_completion": 2.846, "loss_per_completion": -0.077}, "x")
    with progress("rl, low beta", 1026, "steps") as advance:
        advance(0, "")
        clock[0] = 100.0
        advance(500, note)
    shown = [line for line in text.getvalue().replace("\r", "\n").splitlines() if "500/1,026" in line]
    assert shown, "the last state of the line is drawn"
    assert "1 min 45 s left" in shown[-1]
    assert "reward 1.52, kl 2.85" in shown[-1]
    assert "step 6 of 7, about 2 min 15 s left in total" in text.getvalue()


def test_a_policy_shows_reward_and_kl_and_other_stages_their_loss() -> None:
    assert note_of({"loss_nats_per_token": 5.0412}, "loss_nats_per_token") == "loss 5.041"
    told = note_of(
        {"loss_per_completion": 9.0, "reward_mean": 1.0, "kl_nats_per_completion": 2.0}, "loss_per_completion"
    )
    assert told == "reward 1.00, kl 2.00"


def test_before_anything_is_measured_the_plan_is_believed() -> None:
    run = RunProgress()
    assert run.line() == ""
    run.begin(0, [30.0, 160.0, 10.0])
    assert run.line() == "step 1 of 3, about 3 min 20 s left in total"


def test_a_slow_start_of_next_to_nothing_does_not_multiply_the_rest() -> None:
    """Three seconds for a step that was planned with a twentieth of one are no pace of the 20 seconds that follow."""
    run = RunProgress()
    run.begin(0, [0.05, 15.0, 4.95])
    run.finish(3.0)
    run.begin(1, [0.05, 15.0, 4.95])
    assert 19.95 < run.left_s() < 60.0
    run.finish(30.0)
    run.begin(2, [0.05, 15.0, 4.95])
    assert run.left_s() == pytest.approx(4.95 * 33.0 / 15.05), "three quarters of the plan are measured"


def test_the_first_unit_and_what_comes_before_it_are_no_pace(
    shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step compiles and allocates: 1 of 100 steps took 8 s, each other one 0.1."""
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    with progress("sft", 100, "steps") as advance:
        clock[0] = 8.0
        advance(1, "")
        clock[0] = 11.0
        advance(31, "")
    assert shown.getvalue() == "sft: 31/100 steps, 10.0/s, 7 s left\n"


def test_finished_steps_correct_the_plans_pace_and_the_step_at_work_speaks_for_itself() -> None:
    run = RunProgress()
    run.begin(0, [30.0, 160.0, 10.0])
    run.finish(60.0)
    run.begin(1, [30.0, 160.0, 10.0])
    assert run.left_s() == 340.0
    assert run.left_s(100.0) == 120.0
    run.finish(None)  # nobody measured it
    run.begin(2, [30.0, 160.0, 10.0])
    assert run.line() == "step 3 of 3, about 20 s left in total"
    run.end()
    assert run.line() == ""
    assert not run.measured
