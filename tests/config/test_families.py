"""The table of model families: one record for each combination of switches."""

import pytest

from stategpt.config import GPTConfig, RunConfig, override
from stategpt.config.architecture import PLAIN, Architecture
from stategpt.config.families import FAMILIES, family_of
from stategpt.config.schema import flatten
from stategpt.errors import ConfigError


@pytest.mark.parametrize(
    ("qk_norm", "attention_bias", "name"),
    [(True, False, "Qwen3"), (False, True, "Qwen2"), (False, False, "Llama"), (True, True, None)],
)
def test_the_switches_decide_the_family(qk_norm: bool, attention_bias: bool, name: str | None) -> None:
    found = GPTConfig(qk_norm=qk_norm, attention_bias=attention_bias).family
    assert (found.name if found else None) == name


def test_no_two_families_have_the_same_switches_and_each_is_found_under_its_model_type() -> None:
    assert len({family.switches for family in FAMILIES.values()}) == len(FAMILIES) - 2  # three have the plain ones
    for model_type, family in FAMILIES.items():
        assert family.model_type == model_type
        shape = GPTConfig(qk_norm=family.qk_norm, attention_bias=family.attention_bias, architecture=family.switches)
        assert shape.family is family
        if family.switches == PLAIN:
            assert family_of(qk_norm=family.qk_norm, attention_bias=family.attention_bias) is family


def test_the_architecture_is_no_setting_of_a_run() -> None:
    gemma = FAMILIES["gemma2"]
    run = RunConfig(model=GPTConfig(qk_norm=False, architecture=gemma.switches))
    assert not any("architecture" in key for key in flatten(run))
    with pytest.raises(ConfigError, match="architecture"):
        override(run, {"model.architecture": "gemma2"})
    assert override(run, {"model.depth": 4}).model.architecture == gemma.switches


def test_layers_without_a_place_in_the_list_are_refused() -> None:
    with pytest.raises(ConfigError, match="every layer"):
        GPTConfig(depth=3, architecture=Architecture(model_type="smollm3", rotated_layers=(True, False)))
