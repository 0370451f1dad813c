"""The learning rate over a stage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import OptimConfig
from stategpt.train.schedule import learning_rate_at


def test_warm_up_flat_then_linear() -> None:
    config = OptimConfig(learning_rate=1.0, warmup_steps=4, flat_fraction=0.5, final_fraction=0.0, decay="linear")
    rates = [learning_rate_at(step, 40, config) for step in range(40)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:20] == [1.0] * 16
    assert rates[20:] == pytest.approx([1 - i / 20 for i in range(1, 21)])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    config = OptimConfig(learning_rate=2.0, warmup_steps=0, final_fraction=0.1, decay="cosine")
    assert learning_rate_at(500, 1001, config) == pytest.approx(2.0 * (0.1 + 0.9 / 2), rel=1e-2)
    assert learning_rate_at(1000, 1001, config) == pytest.approx(0.2)


@given(st.integers(1, 300), st.integers(0, 400), st.sampled_from(["linear", "cosine"]))
def test_a_stage_of_any_length_reaches_its_peak_and_ends_at_its_floor(steps: int, warmup: int, decay: str) -> None:
    config = OptimConfig(learning_rate=1.0, warmup_steps=warmup, final_fraction=0.05, decay=decay)  # type: ignore[arg-type]
    rates = [learning_rate_at(step, steps, config) for step in range(steps)]
    assert max(rates) <= 1.0
    assert min(rates) > 0.0
    if steps > 1:
        assert rates[-1] == pytest.approx(0.05)
