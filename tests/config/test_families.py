"""The table of model families: one record for each combination of switches."""

import json
from pathlib import Path

import pytest

from stategpt.config import GPTConfig, RunConfig, override
from stategpt.config.architecture import PLAIN, Architecture
from stategpt.config.families import FAMILIES, family_of
from stategpt.config.schema import flatten
from stategpt.config.start import start_settings
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


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gemma2"}, "'gemma2'; a run can start from qwen3, qwen2, llama"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "has rope_scaling"),
    ],
)
def test_a_run_does_not_start_from_what_its_settings_cannot_say(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    config = {
        "model_type": "llama",
        **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"), 8),
        **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"), 8),
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e4,
    }
    (tmp_path / "tokenizer.json").touch()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert start_settings(str(tmp_path))["model.width"] == 8
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ConfigError, match=named):
        start_settings(str(tmp_path))
