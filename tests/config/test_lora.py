"""[lora] and `train`: what is refused, what decides which part of a run, and the counts of the planner."""

from dataclasses import replace

import pytest

from stategpt.config import GPTConfig, RunConfig, from_dict
from stategpt.config.lora import LoRAConfig, linear_shapes
from stategpt.config.parts import decides
from stategpt.config.presence import missing
from stategpt.config.trainable import trainable_parameters
from stategpt.config.trained import adapter_parameters
from stategpt.errors import ConfigError

SMOLLM2_135M = GPTConfig(
    vocab_size=49152, width=576, depth=30, heads=9, kv_heads=3, mlp_width=1536, qk_norm=False, context_tokens=2048
)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"lora": {"rank": -1}}, "lora.rank"),
        ({"lora": {"rank": 4, "dropout": 1.0}}, "lora.dropout"),
        ({"lora": {"rank": 4, "alpha": 0}}, "lora.alpha"),
        ({"lora": {"rank": 4, "base": "int4"}}, "lora.base"),
        ({"lora": {"rank": 4, "targets": []}}, "lora.targets"),
        ({"lora": {"alpha": 32}}, "lora.alpha.*not read with lora.rank = 0"),
        ({"lora": {"rank": 4, "targets": ["query"]}}, "matches no layer; there are q_proj"),
        ({"lora": {"rank": 4, "targets": ["q_proj", "lm_head"]}}, "tied embeddings"),
        ({"sft": {"train": "some"}}, "sft.train"),
        ({"sft": {"train": "last_0_layers"}}, "sft.train"),
        ({"rl": {"train": "last_9_layers"}}, "rl.train.*more layers than model.depth = 3"),
        ({"lora": {"rank": 4}, "reward": {"train": "last_1_layers"}}, "reward.train.*lora.rank = 4"),
    ],
)
def test_what_contradicts_or_is_read_by_nothing_is_refused(section, said):
    with pytest.raises(ConfigError, match=said):
        from_dict(section)


def test_adapters_without_a_stage_that_trains_them_are_refused():
    run = replace(RunConfig(), stages=("prepare", "pretrain"), lora=LoRAConfig(rank=2))
    assert any("[lora] adapts" in each for each in missing(run))
    assert not any("[lora] adapts" in each for each in missing(replace(run, stages=("prepare", "pretrain", "sft"))))


def test_adapters_decide_the_stages_that_train_them_and_not_the_base():
    decided = {part: decides(RunConfig(), "lora.rank", part) for part in ("base/model", "sft/model", "rl/model")}
    assert decided == {"base/model": False, "sft/model": True, "rl/model": True}
    assert decides(RunConfig(), "sft.train", "sft/model")


def test_counts_of_smollm2():
    run = replace(
        RunConfig(), model=SMOLLM2_135M, tokenizer=replace(RunConfig().tokenizer, vocab_size=49152), lora=LoRAConfig()
    )
    assert trainable_parameters(run, "sft") == run.model.parameters == 134_515_008
    adapted = replace(run, lora=LoRAConfig(rank=8))
    attention = 8 * (2 * (576 + 576) + 2 * (576 + 192))
    assert trainable_parameters(adapted, "sft") == 30 * (attention + 8 * 3 * (576 + 1536))
    assert trainable_parameters(adapted, "reward") == trainable_parameters(adapted, "sft") + 576
    assert trainable_parameters(run, "reward") == run.model.parameters + 576
    assert trainable_parameters(adapted, "pretrain") == run.model.parameters
    assert trainable_parameters(adapted, "compare") == 0
    dora = adapter_parameters(SMOLLM2_135M, LoRAConfig(rank=8, dora=True))
    outputs = sum(shape[0] for shape in linear_shapes(SMOLLM2_135M).values())
    assert dora == trainable_parameters(adapted, "sft") + 30 * outputs


def test_the_prediction_matrix_counts_where_it_is_one():
    untied = replace(SMOLLM2_135M, tied_embeddings=False)
    only = LoRAConfig(rank=2, targets=("lm_head",))
    assert adapter_parameters(untied, only) == 2 * (49152 + 576)
    assert adapter_parameters(untied, LoRAConfig(rank=2, targets=("all",))) == adapter_parameters(
        SMOLLM2_135M, LoRAConfig(rank=2)
    )
