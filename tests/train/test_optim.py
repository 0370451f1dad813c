"""Optimizer groups, clipping, and a state that survives a round trip bit for bit."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import GPTConfig, OptimConfig  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.train.optim import (  # noqa: E402
    adamw,
    clip_gradients,
    decay_groups,
    learning_rate_scales,
    optimizer_tensors,
    restore_optimizer,
)

TINY = GPTConfig(vocab_size=32, depth=1, width=8, heads=2, kv_heads=1, head_width=4, hidden_width=16, context_tokens=16)


def test_matrices_decay_and_norms_and_the_tied_embedding_do_not() -> None:
    model = GPT(TINY)
    decayed, kept = decay_groups(model)
    assert len(decayed) + len(kept) == len(list(model.parameters()))
    assert "embed_tokens.weight" in kept
    assert all("proj" in name for name in decayed)
    assert all("norm" in name or "embed" in name for name in kept)


def test_a_tied_embedding_and_the_last_norm_move_in_proportion_to_their_size() -> None:
    scale = TINY.width**0.5
    assert learning_rate_scales(GPT(TINY)) == {"embed_tokens.weight": scale, "norm.weight": 1 / scale}
    inside = learning_rate_scales(RewardModel(GPT(TINY)))
    assert inside == {"gpt.embed_tokens.weight": scale, "gpt.norm.weight": 1 / scale, "head.weight": scale}
    untied = replace(TINY, tied_embeddings=False)
    assert learning_rate_scales(GPT(untied)) == {}


def test_every_parameter_is_in_one_group_with_its_scale() -> None:
    model = GPT(TINY)
    groups = adamw(model, OptimConfig(learning_rate=1e-2)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scale_of = {names[id(p)]: group["scale"] for group in groups for p in group["params"]}
    assert sorted(scale_of) == sorted(names.values())
    assert sum(len(group["params"]) for group in groups) == len(names)
    assert {name for name, scale in scale_of.items() if scale != 1.0} == {"embed_tokens.weight", "norm.weight"}


def test_the_norm_is_global_and_returned_as_it_was() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    weights[0].grad, weights[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert clip_gradients(weights, 1.0).item() == pytest.approx(5.0)
    assert weights[0].grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert clip_gradients(weights, 0.0).item() == pytest.approx(1.0, rel=1e-5)
    assert weights[1].grad.tolist() == pytest.approx([0.8], rel=1e-5)


def _step(model: GPT, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def test_restored_state_continues_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = GPT(TINY)
    optimizer = adamw(model, OptimConfig(learning_rate=1e-2))
    _step(model, optimizer, 1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    saved = {name: value.clone() for name, value in optimizer_tensors(model, optimizer).items()}
    _step(model, optimizer, 2)

    other = GPT(TINY)
    other.load_state_dict(weights)
    resumed = adamw(other, OptimConfig(learning_rate=1e-2))
    restore_optimizer(other, resumed, saved)
    _step(other, resumed, 2)
    for (name, ours), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
