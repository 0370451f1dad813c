"""The table of model families: one record for each combination of switches."""

import pytest

from stategpt.config import GPTConfig
from stategpt.config.families import FAMILIES, family_of


@pytest.mark.parametrize(
    ("qk_norm", "attention_bias", "name"),
    [(True, False, "Qwen3"), (False, True, "Qwen2"), (False, False, "Llama"), (True, True, None)],
)
def test_the_switches_decide_the_family(qk_norm: bool, attention_bias: bool, name: str | None) -> None:
    found = GPTConfig(qk_norm=qk_norm, attention_bias=attention_bias).family
    assert (found.name if found else None) == name


def test_no_two_families_have_the_same_switches_and_each_is_found_under_its_model_type() -> None:
    for model_type, family in FAMILIES.items():
        assert family.model_type == model_type
        assert family_of(qk_norm=family.qk_norm, attention_bias=family.attention_bias) is family
