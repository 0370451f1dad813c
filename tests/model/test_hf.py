"""Model folders: what is written, that it comes back bit by bit, and what each kind of damage answers."""

import contextlib
import json

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.config.family import Family  # noqa: E402
from stategpt.config.planner import exportability  # noqa: E402
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402

SHAPE = GPTConfig(vocab_size=31, depth=2, width=16, heads=4, kv_heads=2, head_dim=8, mlp_width=24, context_tokens=32)


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
    shape = GPTConfig(vocab_size=31, depth=2, width=16, heads=2, kv_heads=1, head_dim=8, tied_embeddings=tied)
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
    change_config(folder, model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"])
    with pytest.raises(ForeignArtifact, match=r"'gpt_neox'.*known are Qwen3ForCausalLM.*GPT2LMHeadModel"):
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
        ("rope_scaling", {"type": "longrope", "factor": 2.0}),
        ("rope_scaling", {"factor": 8.0}),
        ("rope_parameters", {"rope_type": "proportional", "rope_theta": 1e4}),
        ("rope_parameters", {"type": "longrope", "rope_theta": 1e4}),
        ("rope_parameters", {"full_attention": {"rope_type": "default"}}),
        ("partial_rotary_factor", 0.5),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}),
        ("quantization_config", {"quant_method": "gptq"}),
        ("attention_bias", True),
    ],
)
def test_settings_that_change_the_arithmetic_are_foreign(folder, setting, value):
    change_config(folder, **{setting: value})
    with pytest.raises(ForeignArtifact, match=setting if "partial" not in str(value) else "partial_rotary_factor"):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("rope", "named"),
    [
        ({"rope_type": "linear"}, "lack factor"),
        ({"rope_type": "llama3", "factor": 8.0}, "lack low_freq_factor"),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}, "high_freq_factor"),
        ({"rope_type": "yarn", "factor": "8"}, "factor"),
        ({"rope_type": "yarn", "factor": 8.0, "beta_fast": 1.0, "beta_slow": 2.0}, "beta_fast"),
        ({"rope_type": "dynamic", "factor": 0.0}, "factor"),
    ],
)
def test_rotary_positions_without_their_numbers_are_corrupt(folder, rope, named):
    for setting in ("rope_scaling", "rope_parameters"):
        change_config(folder, rope_scaling=None, rope_parameters=None)
        change_config(folder, **{setting: rope})
        with pytest.raises(CorruptArtifact, match=named):
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
    with pytest.raises(CorruptArtifact, match=r"model\.norm\.weight is \[15\].*says \[16\]"):
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
    shape = GPTConfig(vocab_size=8, depth=1, width=8, heads=1, kv_heads=1, head_dim=8, attention_bias=True)
    with pytest.raises(ConfigError, match="no format in use has both"):
        GPT(shape)


def test_rope_theta_beside_rope_parameters_is_read(folder):
    for rope in ({"rope_type": "default"}, {}, None):
        change_config(folder, rope_theta=77_777.0, rope_parameters=rope)
        assert GPT.from_pretrained(folder).config.rope_theta == 77_777.0
    change_config(folder, rope_theta=77_777.0, rope_parameters={"rope_theta": 5e5})
    assert GPT.from_pretrained(folder).config.rope_theta == 5e5


@pytest.mark.parametrize("value", [True, "1", None, [], 1e400], ids=str)
def test_a_reward_offset_is_a_finite_number(tmp_path, value):
    RewardModel(GPT(SHAPE)).save_pretrained(tmp_path)
    change_config(tmp_path, reward_offset=value)
    if value is None:
        assert RewardModel.from_pretrained(tmp_path).reward_offset == 0.0
        return
    with pytest.raises(CorruptArtifact, match=r"reward_offset|Infinity"):
        RewardModel.from_pretrained(tmp_path)


def test_sizes_that_do_not_fit_together_are_corrupt(folder):
    change_config(folder, num_key_value_heads=3)
    with pytest.raises(CorruptArtifact, match=r"do not fit together.*kv_heads"):
        GPT.from_pretrained(folder)


def test_a_foreign_name_is_shown_without_control_characters(folder):
    change_config(folder, model_type="\x1b]0;evil\x07", architectures=["\x1b[31m"])
    with pytest.raises(ForeignArtifact) as refused:
        GPT.from_pretrained(folder)
    assert "\x1b" not in str(refused.value)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 200),
        st.sampled_from([-1, 0, 10**6, 10**9, 2**31, 2**63, 10**30]),
        st.floats(allow_nan=True, allow_infinity=True),
        st.text(max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_ROPE = st.dictionaries(
    st.sampled_from(["rope_theta", "rope_type", "type", "factor", "full_attention"]), JSON, max_size=3
)
KEYS = [
    *("model_type", "architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings"),
    *("rms_norm_eps", "rope_theta", "rope_parameters", "rope_scaling", "tie_word_embeddings", "attention_bias"),
    *("mlp_bias", "use_sliding_window", "bos_token_id", "eos_token_id", "pad_token_id", "reward_offset"),
    *("quantization_config", "dtype", "use_cache", "partial_rotary_factor"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A language model and a reward model."""
    folders = tmp_path_factory.mktemp("gpt"), tmp_path_factory.mktemp("reward")
    GPT(SHAPE).save_pretrained(folders[0])
    RewardModel(GPT(SHAPE)).save_pretrained(folders[1])
    return [(folder, json.loads((folder / "config.json").read_text())) for folder in folders]


@settings(max_examples=500, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(KEYS), JSON | _ROPE, min_size=1, max_size=3), drop=st.booleans())
def test_any_config_loads_or_is_refused_by_a_typed_error(both, changes, drop):
    for kind, (folder, whole) in zip((GPT, RewardModel), both, strict=True):
        found = {key: value for key, value in whole.items() if not (drop and key in changes)}
        (folder / "config.json").write_text(json.dumps(found if drop else {**found, **changes}))
        try:
            model = kind.from_pretrained(folder)
        except (CorruptArtifact, ForeignArtifact):
            continue
        assert sum(parameter.numel() for parameter in model.parameters()) < 10_000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_as_config_load_or_are_refused_by_a_typed_error(both, data):
    folder, whole = both[0]
    content = bytearray(json.dumps(whole).encode())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (folder / "config.json").write_bytes(content)
    with contextlib.suppress(CorruptArtifact, ForeignArtifact):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 50_000, "9" * 5000, "[]", "5", '"x"', "null", "\ufeff{}"])
def test_a_config_that_is_no_object_is_corrupt(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CorruptArtifact, match=r"config\.json"):
        GPT.from_pretrained(folder)


def test_a_config_above_the_limit_is_not_read(folder):
    change_config(folder, padding="x" * (1 << 20))
    with pytest.raises(CorruptArtifact, match="1,048,576"):
        GPT.from_pretrained(folder)


TOY = Family(
    "Toy",
    "toy",
    qk_norm=True,
    attention_bias=True,
    fixed={"normed_and_biased": True},
    default_head_dim=8,
    default_ids={"eos_token_id": 5},
    tensor_names=(("self_attn.", "attention."), ("model.embed_tokens", "model.tokens")),
)


@pytest.fixture
def toy(monkeypatch):
    """A family of the switches that no published one has."""
    monkeypatch.setitem(FAMILIES, "toy", TOY)
    return GPTConfig(
        vocab_size=31, depth=2, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=24, attention_bias=True
    )


@pytest.mark.parametrize("head", [False, True], ids=["language model", "reward model"])
def test_a_family_needs_one_record_to_go_out_and_come_in(toy, tmp_path, head):
    torch.manual_seed(0)
    model = RewardModel(GPT(toy)) if head else GPT(toy)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["normed_and_biased"]) == ("toy", True)
    assert config["architectures"] == ["ToyForSequenceClassification" if head else "ToyForCausalLM"]
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {"model.tokens.weight", "model.layers.1.attention.q_proj.bias", "model.norm.weight"} <= names
    assert not any("self_attn" in name for name in names)
    loaded = type(model).from_pretrained(tmp_path)
    for (name, ours), (_, theirs) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert exportability(toy).architecture == "ToyForCausalLM"


def test_what_a_family_fixes_and_what_it_takes_where_nothing_is_said(toy, tmp_path):
    GPT(toy).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    for name in ("head_dim", "eos_token_id", "normed_and_biased"):
        del config[name]
    path.write_text(json.dumps(config))
    loaded = GPT.from_pretrained(tmp_path)
    assert (loaded.config, loaded.special_ids.eos) == (toy, (5,))
    change_config(tmp_path, normed_and_biased=False)
    with pytest.raises(ForeignArtifact, match="normed_and_biased is false; only true is computed"):
        GPT.from_pretrained(tmp_path)
