"""A refused setting names its key, its value and the rule."""

import pytest

from stategpt.config.checks import (
    SettingError,
    require,
    require_choice,
    require_not_negative,
    require_positive,
    require_share,
)
from stategpt.errors import ConfigError


def test_message_has_key_value_and_rule() -> None:
    with pytest.raises(ConfigError, match=r"^rl\.beta = -1: must be 0 or more$"):
        require_not_negative("rl", steps=0, beta=-1)


def test_refusal_moves_into_the_section_that_holds_it() -> None:
    error = SettingError("optim.epsilon", 0.0, "must be above 0").inside("sft.optim")
    assert (error.key, error.value, error.rule) == ("sft.optim.epsilon", 0.0, "must be above 0")


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_positive_refuses_zero_negative_and_nan(value: float) -> None:
    with pytest.raises(SettingError):
        require_positive("model", depth=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_share_refuses_what_is_no_share(value: float) -> None:
    with pytest.raises(SettingError):
        require_share("gates", rl_win_rate=value)


def test_allowed_values_pass() -> None:
    require(True, "a", 0, "never shown")
    require_positive("model", depth=1)
    require_share("gates", rl_win_rate=1.0, sft_ended_share=0.0)
    require_choice("rl.objective", "rloo", ("rloo",))
