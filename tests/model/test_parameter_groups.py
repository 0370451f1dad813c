"""Parameter groups: what decays, what has a learning rate of its own, and that torch's optimizers take them."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.parameter_groups import decay_groups, learning_rate_scales, parameter_groups  # noqa: E402

TINY = GPTConfig(vocab_size=32, depth=1, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=16, context_tokens=16)


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
    assert learning_rate_scales(RewardModel(GPT(untied))) == {}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", [False, True])
def test_every_parameter_is_in_one_group_with_its_rate_and_decay(tied: bool, head: bool) -> None:
    gpt = GPT(replace(TINY, tied_embeddings=tied))
    model = RewardModel(gpt) if head else gpt
    groups = model.parameter_groups(lr=1e-2, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)]: group for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(names) == len(found)
    scales, decayed = learning_rate_scales(model), decay_groups(model)[0]
    for name, group in found.items():
        assert group["scale"] == scales.get(name, 1.0)
        assert group["lr"] == 1e-2 * scales.get(name, 1.0)
        assert group["weight_decay"] * group["scale"] == pytest.approx(0.1 if name in decayed else 0.0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", [False, True])
def test_a_step_takes_the_same_share_of_every_tensor_that_decays(tied: bool, head: bool) -> None:
    """However fast the loop lets its group learn; the embedding and the norms lose nothing."""
    gpt = GPT(replace(TINY, tied_embeddings=tied))
    model = RewardModel(gpt) if head else gpt
    optimizer = torch.optim.AdamW(model.parameter_groups(lr=1.0, weight_decay=0.1))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 0.02 * group["scale"]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = decay_groups(model)[0]
    assert ("head.weight" in decayed) == head
    for name, parameter in model.named_parameters():
        kept = 1 - 0.02 * 0.1 if name in decayed else 1.0
        assert torch.allclose(parameter, before[name] * kept, rtol=1e-6, atol=0), name


def test_groups_keep_the_order_of_parameters() -> None:
    """On which the sums of a fused optimizer and the clipped norm depend, bit for bit."""
    model = GPT(TINY)
    order = {id(parameter): place for place, parameter in enumerate(model.parameters())}
    for group in model.parameter_groups(lr=1.0, weight_decay=0.1):
        places = [order[id(parameter)] for parameter in group["params"]]
        assert places == sorted(places)


def test_a_module_without_scales_is_one_rate_for_all() -> None:
    (weights, bias) = parameter_groups(torch.nn.Linear(3, 2), lr=0.5, weight_decay=0.1)
    assert (weights["lr"], weights["weight_decay"]) == (0.5, 0.1)
    assert (bias["lr"], bias["weight_decay"]) == (0.5, 0.0)


def test_torchs_optimizer_and_scheduler_move_each_group_by_its_own_rate() -> None:
    """Adam's first step moves every weight by its group's rate."""
    torch.manual_seed(0)
    model = GPT(TINY)
    optimizer = torch.optim.AdamW(model.parameter_groups(lr=1e-3, weight_decay=0.0), eps=1e-30)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scales = learning_rate_scales(model)
    for name, parameter in model.named_parameters():
        moved = (before[name] - parameter.detach()).mean()
        assert float(moved) == pytest.approx(0.5e-3 * scales.get(name, 1.0), rel=1e-2)
    assert scheduler.get_last_lr() == [0.5 * group["initial_lr"] for group in optimizer.param_groups]


def test_help_says_how_to_make_the_optimizer() -> None:
    assert "torch.optim.AdamW(model.parameter_groups(" in (GPT.__doc__ or "")
    assert "parameter_groups(" in (RewardModel.__doc__ or "")
