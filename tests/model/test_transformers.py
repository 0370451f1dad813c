"""The GPT is transformers' Qwen3 (Qwen2, Llama with other switches): logits, training, and folders both ways."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
import torch.nn.functional as F  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.data.layout import Layout  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.hf import gpt_tensor_name  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402

ROWS, ROW_TOKENS = 3, 20


def config(**changes) -> GPTConfig:
    shape = {"vocab_size": 97, "depth": 3, "width": 48, "heads": 6, "kv_heads": 2, "head_width": 16}
    return GPTConfig(**{**shape, "hidden_width": 80, "context_tokens": 64, "rope_theta": 5e4, **changes})


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
    model = GPT(shape)
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
