"""How far the run as a whole is."""

from stategpt.overall import Overall


def test_before_anything_is_measured_the_plan_is_believed() -> None:
    run = Overall()
    assert run.line() == ""
    run.begin(0, [30.0, 160.0, 10.0])
    assert run.line() == "step 1 of 3, about 3 min 20 s left in total"


def test_finished_steps_correct_the_plans_pace_and_the_step_at_work_speaks_for_itself() -> None:
    run = Overall()
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
