"""The table of model families: one record for each combination of switches."""

import json
import shutil
from pathlib import Path

import pytest

from stategpt.config import GPTConfig, RunConfig, dump, load, override
from stategpt.config.architecture import PLAIN, Architecture
from stategpt.config.families import FAMILIES, family_of
from stategpt.config.schema import flatten
from stategpt.config.start import shape_at, start_settings
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


@pytest.mark.parametrize("case", ["gemma2", "llama3 rope", "mistral", "smollm3 by a list", "gpt2"])
def test_a_run_has_the_architecture_of_its_start_model(tmp_path: Path, case: str) -> None:
    pytest.importorskip("transformers", reason="writes the config.json")
    from family_models import CASES

    given = tmp_path / "given"
    CASES[case].config(vocab_size=400).save_pretrained(given)
    found = json.loads((given / "config.json").read_text())
    family = FAMILIES[found["model_type"]]
    (given / "config.json").write_text(json.dumps({**found, "architectures": [family.architecture("ForCausalLM")]}))
    (given / "tokenizer.json").touch()
    (tmp_path / "mine.toml").write_text('[start]\nmodel = "given"\n[data]\nrow_tokens = 64\n')
    run = load(tmp_path / "mine.toml")
    assert run.model == shape_at(given)
    assert run.model.architecture != PLAIN
    assert not any("architecture" in key for key in flatten(run))
    assert override(run, {"seed": 4}).model == run.model
    kept = tmp_path / "run"
    kept.mkdir()
    (kept / "run.toml").write_text(dump(run))
    assert load(kept / "run.toml") == run
    shutil.move(given, kept / "base" / "model")
    assert load(kept / "run.toml") == run, "of the copy in the run folder"
    shutil.move(kept / "base", tmp_path / "gone")
    assert load(kept / "run.toml").model.architecture == PLAIN


def test_a_start_model_that_is_not_computed_is_refused(tmp_path: Path) -> None:
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
    for changes, named in (
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "rope_type 'longrope'"),
        ({"hidden_size": 1 << 40}, "hidden_size"),
        ({"quantization_config": {}}, "quantized weights are not read"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ConfigError, match=rf"start\.model: .*{named}"):
            start_settings(str(tmp_path))
