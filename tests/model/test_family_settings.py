"""config.json of other families: old spellings and absent keys mean what they mean there; the rest is named."""

import contextlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from family_models import CASES, CONTEXT, VOCABULARY  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.config.architecture import Architecture, RopeScaling  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.errors import ConfigError, ContextOverflow, CorruptArtifact, ForeignArtifact  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

ABSENT = "absent"
LAYOUT = TensorLayout.of(Layout.packed([[CONTEXT]], CONTEXT))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each case, made once."""
    made = {}

    def folder(name: str):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("family")
            CASES[name].model().save_pretrained(made[name])
            made[name, "config"] = json.loads((made[name] / "config.json").read_text())
        write(made[name], made[name, "config"])
        return made[name]

    return folder


def write(folder, config) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def change(folder, changes) -> None:
    found = {**json.loads((folder / "config.json").read_text()), **changes}
    write(folder, {key: value for key, value in found.items() if value != ABSENT})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (
            "gpt2",
            dict.fromkeys(("n_inner", "tie_word_embeddings", "activation_function", "layer_norm_epsilon"), ABSENT),
        ),
        ("gpt2", {"activation_function": "gelu_pytorch_tanh"}),
        ("yarn rope", {"original_max_position_embeddings": 32}),
        ("llama3 rope", {"original_max_position_embeddings": 24}),
        ("linear rope", {"rope_parameters": ABSENT, "rope_scaling": {"type": "linear", "factor": 4.0}}),
        ("linear rope", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}, "rope_theta": 500.0}),
        ("mistral", {"sliding_window": ABSENT}),
        ("smollm3", {"no_rope_layers": ABSENT, "rope_parameters": ABSENT, "no_rope_layer_interval": 2}),
        ("smollm3", dict.fromkeys(("no_rope_layers", "no_rope_layer_interval", "rope_parameters"), ABSENT)),
        ("phi3", {"rope_parameters": ABSENT, "original_max_position_embeddings": 4096}),
        ("gemma2", dict.fromkeys(("layer_types", "hidden_activation", "tie_word_embeddings"), ABSENT)),
        ("gemma2", dict.fromkeys(("query_pre_attn_scalar", "sliding_window"), ABSENT)),
        ("gemma2", dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), ABSENT)),
        ("gemma3", dict.fromkeys(("rope_parameters", "layer_types"), ABSENT)),
        (
            "gemma3",
            {
                **dict.fromkeys(("rope_parameters", "layer_types"), ABSENT),
                "rope_theta": 5000.0,
                "rope_local_base_freq": 50.0,
                "sliding_window_pattern": 3,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_old_spellings_and_absent_keys_mean_what_they_mean_in_transformers(folders, name, changes):
    folder = folders(name)
    change(folder, changes)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype="float32")
    tokens = torch.from_numpy(np.random.default_rng(0).integers(2, VOCABULARY, (1, CONTEXT)))
    with torch.no_grad():
        found = GPT.from_pretrained(folder)(tokens[0], LAYOUT)
        torch.testing.assert_close(found, theirs(tokens).logits[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function is 'relu'; only 'gelu_new'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is true"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is false"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is true"),
        ("smollm3", {"use_sliding_window": True}, "use_sliding_window is true"),
        ("smollm3", {"attention_bias": True}, "attention_bias is true"),
        ("phi3", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_type 'yarn'; computed are default"),
        ("phi3", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is not 1"),
        ("olmo2", {"attention_bias": True}, "attention_bias is true"),
        ("gemma2", {"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
        ("gemma2", {"layer_types": ["chunked_attention"] * 4}, "layer_types has 'chunked_attention'"),
        ("gemma3", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "is not by full_attention"),
        ("gemma3", {"rope_parameters": {"sliding_attention": {"rope_type": "yarn"}}}, "sliding_attention has a rope"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_setting_that_is_not_computed_is_named(folders, name, changes, named):
    folder = folders(name)
    change(folder, changes)
    with pytest.raises(ForeignArtifact, match=named):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        ("gpt2", {"n_embd": ABSENT}, "n_embd"),
        ("gpt2", {"n_head": 5}, "do not fit together"),
        ("mistral", {"sliding_window": 0}, "sliding_window"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers has 2 entries, there are 5 layers"),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 2, 1]}, "no_rope_layers"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types has 1 entries, there are 4 layers"),
        ("gemma2", {"sliding_window": None}, "there is no sliding_window"),
        ("gemma2", {"attn_logit_softcapping": -1.0}, "attn_logit_softcapping"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar"),
        ("gemma3", {"rope_parameters": {"full_attention": 5}}, "full_attention"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_value_that_cannot_be_is_corrupt_and_named(folders, name, changes, named):
    folder = folders(name)
    change(folder, changes)
    with pytest.raises(CorruptArtifact, match=named):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [
        ("gpt2", "transformer.h.1.attn.c_attn.weight", (48, 144)),
        ("phi3", "model.layers.1.mlp.gate_up_proj.weight", (160, 48)),
    ],
)
def test_a_joined_tensor_that_is_missing_or_of_another_shape_is_named(folders, tmp_path, name, tensor, shape):
    tensors = load_file(folders(name) / "model.safetensors")
    assert tuple(tensors[tensor].shape) == shape
    write(tmp_path, json.loads((folders(name) / "config.json").read_text()))
    save_file({**tensors, tensor: tensors[tensor].t().contiguous()}, tmp_path / "model.safetensors")
    with pytest.raises(
        CorruptArtifact, match=rf"{tensor} is {list(shape[::-1])}, config.json says {list(shape)}".replace("[", r"\[")
    ):
        GPT.from_pretrained(tmp_path)
    del tensors[tensor]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CorruptArtifact, match=f"lacks {tensor}"):
        GPT.from_pretrained(tmp_path)


_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([-1, 0, 1, 2, 3, 7, 64, 10**6, 2**31, 2**63, 0.5, 1e-9, 1e300, math.inf, math.nan]),
        st.sampled_from(["", "default", "linear", "yarn", "llama3", "dynamic", "full_attention", "sliding_attention"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["rope_type", "factor", "rope_theta", "beta_fast", "full_attention", "sliding_attention"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ["gpt2", "yarn rope", "mistral", "smollm3", "phi3", "olmo2", "gemma2", "gemma3"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_config_loads_or_is_refused_by_a_typed_error(folders, name, data):
    folder = folders(name)
    keys = sorted({*json.loads((folder / "config.json").read_text()), "rope_scaling", "sliding_window_pattern"})
    change(folder, data.draw(st.dictionaries(st.sampled_from(keys), _JSON, min_size=1, max_size=2)))
    with contextlib.suppress(CorruptArtifact, ForeignArtifact):
        GPT.from_pretrained(folder)


SMALL = GPTConfig(vocab_size=40, depth=2, width=32, heads=4, kv_heads=4, head_dim=8, mlp_width=128, context_tokens=32)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_new_model_of_a_family_begins_nearly_uniform_and_can_be_saved(tmp_path, model_type):
    family = FAMILIES[model_type]
    switches = family.switches
    if "query_pre_attn_scalar" in family.reads:
        switches = replace(switches, query_scale=8.0, window=6, windowed_layers=(True, False), windowed_theta=1e4)
        switches = switches if model_type == "gemma3_text" else replace(switches, windowed_theta=None)
    shape = replace(SMALL, qk_norm=family.qk_norm, attention_bias=family.attention_bias, architecture=switches)
    torch.manual_seed(0)
    model = GPT(shape)
    assert model.parameter_count == shape.parameters
    tokens = torch.arange(32) + 3
    logits = model(tokens, TensorLayout.of(Layout.packed([[32]], 32)))
    loss = torch.nn.functional.cross_entropy(logits, tokens.roll(-1))
    assert abs(float(loss.detach()) - math.log(40)) < 0.4
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    assert GPT.from_pretrained(tmp_path).config == shape


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ({"architecture": Architecture(model_type="mistral", attention_softcap=5.0)}, "no architecture"),
        ({"architecture": Architecture(mlp="gelu")}, "no family of"),
        ({"architecture": Architecture(model_type="gpt5")}, "no family of"),
        ({"architecture": FAMILIES["gpt2"].switches, "attention_bias": True, "kv_heads": 2}, "no kv_heads = 2"),
        ({"architecture": FAMILIES["gpt2"].switches}, "no attention_bias = False"),
        (
            {"architecture": Architecture(model_type="phi3", rope_scaling=RopeScaling("linear", 2.0))},
            "cannot be saved as a Phi3.*linear",
        ),
    ],
)
def test_a_shape_that_no_family_can_describe_is_refused_before_training(shape, named):
    with pytest.raises(ConfigError, match=named):
        GPT(replace(SMALL, qk_norm=False, **shape))


def test_learned_positions_end_with_the_context(folders):
    model = GPT.from_pretrained(folders("gpt2"))
    with pytest.raises(ContextOverflow):
        model(torch.zeros(CONTEXT + 1, dtype=torch.int64), TensorLayout.of(Layout.packed([[CONTEXT + 1]], CONTEXT + 1)))
    with torch.no_grad(), pytest.raises(ContextOverflow):
        Decoding(model)(torch.zeros(1, CONTEXT + 1, dtype=torch.int64))


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(["to be or not to be, that is 1 question"] * 9, 300, special_tokens=CONTROL_TOKENS)


@pytest.mark.parametrize("name", ["gpt2", "mistral", "smollm3", "phi3", "olmo2", "gemma2", "gemma3"])
def test_a_tokenizer_saved_with_the_model_keeps_its_ids(tmp_path, tok, name):
    CASES[name].model(vocab_size=tok.vocab_size, num_hidden_layers=1).save_pretrained(tmp_path / "theirs")
    GPT.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "ours", tok)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    for text in ("to be 12", " Ünï\u0301 \ufb01\n\n x", "I'm  not  1234"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == tok.encode(text).tolist(), text
