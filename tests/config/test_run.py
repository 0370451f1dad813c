"""Rules between sections."""

from dataclasses import replace

import pytest

from stategpt.config import DataConfig, GPTConfig, PretrainConfig, RunConfig, SamplingConfig, TokenizerConfig
from stategpt.errors import ConfigError


def test_sections_that_contradict_are_refused_naming_both() -> None:
    with pytest.raises(ConfigError, match=r"model\.vocab_size = 4096: must equal tokenizer\.vocab_size = 512"):
        RunConfig(tokenizer=TokenizerConfig(vocab_size=512))
    with pytest.raises(ConfigError, match=r"data\.row_tokens = 512: must not exceed model\.context_tokens = 256"):
        RunConfig(data=DataConfig(row_tokens=512))
    with pytest.raises(ConfigError, match=r"sampling\.max_tokens = 256: leaves no room for a prompt"):
        RunConfig(sampling=SamplingConfig(max_tokens=256))


def test_model_that_no_format_can_hold_is_refused_before_it_is_trained() -> None:
    with pytest.raises(ConfigError, match=r"model\.attention_bias = True: with model\.qk_norm no published"):
        RunConfig(model=GPTConfig(qk_norm=True, attention_bias=True))


def test_root_settings_have_no_section_in_their_name() -> None:
    with pytest.raises(ConfigError, match=r"^seed = -1"):
        RunConfig(seed=-1)


def test_tokens_are_rounded_up_to_whole_steps() -> None:
    run = RunConfig(pretrain=PretrainConfig(tokens=1025, batch_rows=8))
    assert (run.step_tokens, run.pretrain_steps) == (1024, 2)
    assert replace(run, pretrain=PretrainConfig(tokens=1024)).pretrain_steps == 1


def test_longer_context_makes_room_for_longer_rows() -> None:
    assert RunConfig(data=DataConfig(row_tokens=512), model=GPTConfig(context_tokens=512)).data.row_tokens == 512
