"""Model folders: what is written, that it comes back bit by bit, and what each kind of damage answers."""

import json

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
from safetensors.torch import load_file, save_file  # noqa: E402

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402

SHAPE = GPTConfig(
    vocab_size=31, depth=2, width=16, heads=4, kv_heads=2, head_width=8, hidden_width=24, context_tokens=32
)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    GPT(SHAPE).save_pretrained(tmp_path)
    return tmp_path


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_comes_back_bit_by_bit(tmp_path, tied):
    shape = GPTConfig(vocab_size=31, depth=2, width=16, heads=2, kv_heads=1, head_width=8, tied_embeddings=tied)
    model = GPT(shape)
    model.save_pretrained(tmp_path)
    loaded = GPT.from_pretrained(tmp_path)
    assert loaded.config == shape
    assert not loaded.training
    for (name, ours), (_, theirs) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_saved_reward_model_comes_back_with_its_offset(tmp_path):
    model = RewardModel(GPT(SHAPE))
    model.reward_offset = 1.25
    model.save_pretrained(tmp_path)
    loaded = RewardModel.from_pretrained(tmp_path)
    assert loaded.reward_offset == 1.25
    for ours, theirs in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_folder_holds_what_others_look_for_and_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == SHAPE.rope_theta


def test_a_published_folder_is_verified_before_it_is_loaded(tmp_path):
    final = tmp_path / "model"
    publish_folder(final, GPT(SHAPE).save_pretrained, kind="model")
    GPT.from_pretrained(final)
    weights = final / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-3] ^= 1  # a bit of the last weight: nothing but a checksum can tell
    weights.write_bytes(damaged)
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        GPT.from_pretrained(final)


def test_another_architecture_is_foreign(folder):
    change_config(folder, model_type="gpt2", architectures=["GPT2LMHeadModel"])
    with pytest.raises(ForeignArtifact, match=r"'gpt2'.*known are Qwen3ForCausalLM"):
        GPT.from_pretrained(folder)


def test_a_reward_model_is_no_language_model_and_the_other_way_round(folder, tmp_path):
    with pytest.raises(ForeignArtifact, match="Qwen3ForCausalLM"):
        RewardModel.from_pretrained(folder)
    other = tmp_path / "reward"
    RewardModel(GPT(SHAPE)).save_pretrained(other)
    with pytest.raises(ForeignArtifact, match="ForSequenceClassification"):
        GPT.from_pretrained(other)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hidden_act", "gelu"),
        ("use_sliding_window", True),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}),
        ("attention_bias", True),
    ],
)
def test_settings_that_change_the_arithmetic_are_foreign(folder, setting, value):
    change_config(folder, **{setting: value})
    with pytest.raises(ForeignArtifact, match=setting.removesuffix("_parameters")):
        GPT.from_pretrained(folder)


def test_a_tensor_without_a_place_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.update({"model.layers.2.mlp.up_proj.weight": torch.ones(1)}))
    with pytest.raises(ForeignArtifact, match=r"model\.layers\.2\.mlp\.up_proj\.weight"):
        GPT.from_pretrained(folder)


def test_a_missing_tensor_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(CorruptArtifact, match=r"lacks model\.norm\.weight"):
        GPT.from_pretrained(folder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder):
    change_tensors(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(15)}))
    with pytest.raises(CorruptArtifact, match=r"model\.norm\.weight is \[15\].*asks for \[16\]"):
        GPT.from_pretrained(folder)


def test_a_second_copy_of_a_tied_matrix_is_accepted_only_if_equal(folder):
    change_tensors(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    GPT.from_pretrained(folder)
    change_tensors(folder, lambda t: t["lm_head.weight"].add_(1))
    with pytest.raises(ForeignArtifact, match=r"lm_head\.weight"):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_truncated_files_are_corrupt(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.")):
        GPT.from_pretrained(folder)
    (folder / name).unlink()
    with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.")):
        GPT.from_pretrained(folder)


def test_a_config_without_a_size_is_corrupt(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CorruptArtifact, match="hidden_size"):
        GPT.from_pretrained(folder)


def test_switches_that_no_format_has_are_refused_before_training():
    shape = GPTConfig(vocab_size=8, depth=1, width=8, heads=1, kv_heads=1, head_width=8, attention_bias=True)
    with pytest.raises(ConfigError, match="no format in use has both"):
        GPT(shape)
