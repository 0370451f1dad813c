"""Keys: which exist, and what is said about those that do not."""

import json

import pytest

from stategpt.config import RunConfig, from_dict, to_dict
from stategpt.config.schema import flatten, flatten_table, nearest_settings, rebuild, setting_types, unknown_setting
from stategpt.errors import ConfigError


def test_flat_keys_of_a_run_are_the_settings() -> None:
    assert list(flatten(RunConfig())) == [key for key in setting_types() if not key.startswith("sources.NAME.")]
    run = from_dict({"sources": {"wiki": {"paths": ["a"], "share": 1}}})
    assert [key.replace("sources.wiki.", "sources.NAME.") for key in flatten(run)] == list(setting_types())


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("rl.bata", "rl.beta"),
        ("train.lerning_rate", "pretrain.optim.learning_rate"),
        ("sft.learning_rate", "sft.optim.learning_rate"),
        ("sede", "seed"),
        ("model.layers_depth", "model.depth"),
        ("tokenizer.vocabsize", "tokenizer.vocab_size"),
    ],
)
def test_unknown_key_names_the_nearest(typed: str, nearest: str) -> None:
    assert str(unknown_setting(typed)) == f"{typed} is not a setting; nearest: {nearest}"


def test_section_given_as_a_setting_lists_its_keys() -> None:
    assert str(unknown_setting("tokenizer")).endswith("it holds tokenizer.vocab_size, tokenizer.pattern")


def test_unknown_keys_are_found_at_any_depth() -> None:
    for table in ({"rll": {"beta": 1.0}}, {"rl": {"optim": {"lr": 1.0}}}, {"nam": "x"}, {"rl": 3}):
        with pytest.raises(ConfigError, match=r"not a setting|is a section|not a section"):
            flatten_table(table)


def test_an_unknown_table_names_the_nearest_section() -> None:
    with pytest.raises(ConfigError, match=r"^pretrian is not a section; nearest: pretrain \("):
        flatten_table({"pretrian": {"tokens": 1}})
    with pytest.raises(ConfigError, match=r"^sft\.optimiser is not a section; nearest: sft\.optim \("):
        flatten_table({"sft": {"optimiser": {"learning_rate": 1.0}}})


def test_an_abbreviation_and_a_dash_for_the_dot_are_understood() -> None:
    assert all(name.endswith("learning_rate") for name in nearest_settings("lr", 3))
    assert nearest_settings("model-depth", 1) == ["model.depth"]


def test_broken_rule_of_a_nested_section_gives_the_full_key() -> None:
    with pytest.raises(ConfigError, match=r"^reward\.optim\.learning_rate = -1\.0: must be 0 or more$"):
        rebuild(RunConfig(), {"reward.optim.learning_rate": -1.0})


def test_plain_values_are_json() -> None:
    plain = to_dict(RunConfig())
    assert json.loads(json.dumps(plain)) == plain
    assert plain["pretrain"]["sample_at"] == [0, "end"]
    assert plain["rl"]["optim"]["betas"] == [0.9, 0.95]
