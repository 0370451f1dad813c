"""The GPT is transformers' Qwen3 (Qwen2, Llama with other switches): logits, training, and folders both ways."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
import torch.nn.functional as F  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import CorruptArtifact  # noqa: E402
from stategpt.model import GPT, RewardModel, SpecialIds  # noqa: E402
from stategpt.model.hf import gpt_tensor_name  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

ROWS, ROW_TOKENS = 3, 20


def config(**changes) -> GPTConfig:
    shape = {"vocab_size": 97, "depth": 3, "width": 48, "heads": 6, "kv_heads": 2, "head_dim": 16}
    return GPTConfig(**{**shape, "mlp_width": 80, "context_tokens": 64, "rope_theta": 5e4, **changes})


CONFIGS = {
    "Qwen3": config(),
    "Qwen3 untied": config(tied_embeddings=False),
    "Qwen3 of one key-value head": config(kv_heads=1),
    "Qwen2": config(qk_norm=False, attention_bias=True),
    "Llama": config(qk_norm=False),
}


def random_gpt(shape: GPTConfig) -> GPT:
    """Every weight random, norms and biases too: ones and zeros would hide a mistake in their place."""
    torch.manual_seed(0)
    model = GPT(shape, SpecialIds(bos=0, eos=(0,), pad=1))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch(seed: int = 0):
    """Random ids without padding: to its embedding transformers gives no gradient from the input side."""
    draw = np.random.default_rng(seed)
    tokens = torch.from_numpy(draw.integers(2, 97, (ROWS, ROW_TOKENS)))
    return tokens, TensorLayout.of(Layout.packed([[ROW_TOKENS]] * ROWS, ROW_TOKENS))


@pytest.fixture(params=CONFIGS, ids=lambda name: name.replace(" ", "_"))
def pair(request, tmp_path):
    """A GPT and transformers' model loaded from the folder it saved."""
    ours = random_gpt(CONFIGS[request.param])
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    assert type(theirs).__name__ == request.param.split()[0] + "ForCausalLM"
    assert theirs.dtype == torch.float32
    return ours, theirs


def test_a_saved_folder_loads_in_transformers_with_equal_logits(pair):
    ours, theirs = pair
    tokens, layout = batch()
    with torch.no_grad():
        expected = theirs(tokens).logits.flatten(0, 1)
        torch.testing.assert_close(ours(tokens.flatten(), layout), expected, rtol=1e-5, atol=1e-5)


def test_twenty_training_steps_have_equal_losses_and_gradients(pair):
    ours, theirs = pair
    theirs.train()
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-6) for m in pair]
    for step in range(20):
        tokens, layout = batch(seed=step)
        targets = tokens.roll(-1, dims=1).flatten()
        losses = [
            F.cross_entropy(ours(tokens.flatten(), layout), targets),
            F.cross_entropy(theirs(tokens).logits.flatten(0, 1), targets),
        ]
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
        torch.testing.assert_close(*(loss.detach() for loss in losses), rtol=1e-5, atol=1e-5)
        gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
        for name, parameter in ours.named_parameters():
            expected = gradients[gpt_tensor_name(name)]
            assert (parameter.grad - expected).norm() <= 1e-4 * expected.norm() + 1e-7, (step, name)
        for optimizer in optimizers:
            optimizer.step()


def test_a_folder_saved_by_transformers_loads_here_with_equal_logits(pair, tmp_path):
    _, theirs = pair
    folder = tmp_path / "theirs"
    theirs.save_pretrained(folder)
    tokens, layout = batch()
    with torch.no_grad():
        expected = theirs(tokens).logits.flatten(0, 1)
        torch.testing.assert_close(
            GPT.from_pretrained(folder)(tokens.flatten(), layout), expected, rtol=1e-5, atol=1e-5
        )


def test_a_reward_model_loads_as_sequence_classification_with_equal_scores(tmp_path):
    torch.manual_seed(1)
    model = RewardModel(random_gpt(config()))
    model.reward_offset = -0.75
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert type(theirs).__name__ == "Qwen3ForSequenceClassification"
    assert theirs.num_labels == 1
    pad, lengths = theirs.config.pad_token_id, [20, 7, 13]
    tokens = batch()[0].clone()
    for row, length in enumerate(lengths):
        tokens[row, length:] = pad
    layout = TensorLayout.of(Layout.padded(lengths, ROW_TOKENS))
    index = torch.tensor([row * ROW_TOKENS + length - 1 for row, length in enumerate(lengths)])
    with torch.no_grad():
        expected = theirs(tokens, attention_mask=(tokens != pad).long()).logits.squeeze(1)
        torch.testing.assert_close(model.scores(tokens.flatten(), layout, index), expected, rtol=1e-5, atol=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["reward_offset"] == -0.75
    assert theirs.config.reward_offset == -0.75


def test_greedy_generation_in_transformers_follows_the_saved_end_of_text(tmp_path):
    random_gpt(config()).save_pretrained(tmp_path)
    settings = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (settings.bos_token_id, settings.eos_token_id, settings.pad_token_id) == (0, 0, 1)


FAMILIES = {"Qwen3": (True, False), "Qwen2": (False, True), "Llama": (False, False)}


def theirs_of(family: str, **changes):
    """A model that transformers made, with every weight random."""
    qk_norm, bias = FAMILIES[family]
    shape = config(qk_norm=qk_norm, attention_bias=bias)
    made = getattr(transformers, f"{family}Config")(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.mlp_width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        **changes,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(made).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_odd_ids_and_number_format_survive_loading_and_saving(tmp_path, family, dtype):
    first, again = tmp_path / "theirs", tmp_path / "ours"
    model = theirs_of(family, bos_token_id=3, eos_token_id=2, pad_token_id=5).to(dtype)
    model.generation_config.eos_token_id = [2, 7]
    model.save_pretrained(first)
    loaded = GPT.from_pretrained(first)
    assert loaded.special_ids == SpecialIds(bos=3, eos=(2, 7), pad=5)
    loaded.save_pretrained(again)
    back = transformers.AutoModelForCausalLM.from_pretrained(again, attn_implementation="eager", dtype="auto")
    assert back.dtype == dtype
    assert (back.config.bos_token_id, back.config.pad_token_id) == (3, 5)
    assert back.generation_config.eos_token_id == [2, 7]
    for (name, one), (_, other) in zip(model.named_parameters(), back.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    tokens, layout = batch()
    with torch.no_grad():
        # Loaded anew: `.to(bfloat16)` rounded the rotary frequencies of `model`.
        exact = transformers.AutoModelForCausalLM.from_pretrained(first, attn_implementation="eager", dtype="float32")
        expected = exact(tokens).logits.flatten(0, 1)
        ours = GPT.from_pretrained(first, torch.float32)(tokens.flatten(), layout)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(loaded(tokens.flatten(), layout), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 77_777.0, "rope_parameters": {"rope_type": "default"}},
        {"rope_theta": 77_777.0, "rope_parameters": None},
        {"rope_theta": 5.0, "rope_parameters": {"rope_theta": 77_777.0}},
        {"rope_theta": 77_777.0, "rope_scaling": {"type": "default"}, "rope_parameters": None},
        {"rope_theta": 77_777.0, "rope_scaling": {"rope_type": "default"}},
        {"rope_theta": 5.0, "rope_scaling": {"rope_type": "default", "rope_theta": 77_777.0}},
        {"rope_parameters": {"rope_type": "default"}},
        {"hidden_act": "swish"},
    ],
    ids=lambda changes: ",".join(changes),
)
@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
def test_spellings_of_config_json_mean_what_they_mean_in_transformers(tmp_path, family, changes):
    theirs_of(family).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    found = {**json.loads(path.read_text()), "rope_theta": None, **changes}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    tokens, layout = batch()
    with torch.no_grad():
        expected = theirs(tokens).logits.flatten(0, 1)
        torch.testing.assert_close(
            GPT.from_pretrained(tmp_path)(tokens.flatten(), layout), expected, rtol=1e-5, atol=1e-5
        )


def test_an_absent_head_dim_is_the_familys(tmp_path):
    for family, width in (("Llama", 48 // 6), ("Qwen3", 128)):
        model = theirs_of(family)
        model.save_pretrained(tmp_path / family)
        path = tmp_path / family / "config.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "head_dim"}))
        assert transformers.AutoConfig.from_pretrained(tmp_path / family).head_dim == width
        with pytest.raises(CorruptArtifact, match=rf"says \[{6 * width}, 48\]"):
            GPT.from_pretrained(tmp_path / family)
