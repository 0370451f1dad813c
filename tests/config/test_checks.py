"""A refused setting names its key, its value and the rule."""

import pytest

from stategpt.config import RunConfig, SFTConfig
from stategpt.config.checks import (
    SettingError,
    require,
    require_choice,
    require_not_negative,
    require_positive,
    require_share,
)
from stategpt.config.sources import SourceConfig
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


def test_no_setting_holds_half_a_character() -> None:
    for changes, key in (
        ({"sft": SFTConfig(data=("a.jsonl", "\udce9.jsonl"))}, r"sft\.data"),
        ({"sft": SFTConfig(columns={"\ud800": "x"})}, r"sft\.columns"),
    ):
        with pytest.raises(ConfigError, match=rf"{key}.* must be Unicode text"):
            RunConfig(**changes)
    for name in ("text", "id", "group", "license"):
        with pytest.raises(ConfigError, match=rf"sources\.{name} = '\\udcff': must be Unicode text"):
            SourceConfig(("a",), 1.0, **{name: "\udcff"})
    source = SourceConfig(("a",), 1.0)
    object.__setattr__(source, "text", "\udcff")
    with pytest.raises(ConfigError, match="text"):
        RunConfig(sources={"x": source})
