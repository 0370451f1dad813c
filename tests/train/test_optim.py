"""Optimizer groups, clipping, and a state that survives a round trip bit for bit."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import GPTConfig, OptimConfig  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.train.optim import (  # noqa: E402
    adamw,
    clip_gradients,
    expected_tensors,
    optimizer_tensors,
    restore_optimizer,
    unusable_tensor,
)

TINY = GPTConfig(vocab_size=32, depth=1, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=16, context_tokens=16)


@pytest.mark.parametrize("head", [False, True])
def test_the_groups_are_the_models_own_with_the_schedules_rate(head: bool) -> None:
    model = RewardModel(GPT(TINY)) if head else GPT(TINY)
    ours = adamw(model, OptimConfig(learning_rate=1e-2, weight_decay=0.3)).param_groups
    theirs = model.parameter_groups(lr=1e-2, weight_decay=0.3)
    for group, expected in zip(ours, theirs, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in expected["params"]]
        assert {key: group[key] for key in ("lr", "weight_decay", "scale")} == {
            key: expected[key] for key in ("lr", "weight_decay", "scale")
        }


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


def test_the_state_of_a_parameter_without_a_gradient_is_saved_as_what_adamw_starts_with() -> None:
    """Bit for bit as if it had not been saved: its first step is the same."""
    torch.manual_seed(0)
    model = GPT(TINY)
    optimizer = adamw(model, OptimConfig(learning_rate=1e-2))
    saved = optimizer_tensors(model, optimizer)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    _step(model, optimizer, 1)

    other = GPT(TINY)
    other.load_state_dict(weights)
    resumed = adamw(other, OptimConfig(learning_rate=1e-2))
    restore_optimizer(other, resumed, saved)
    _step(other, resumed, 1)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_names_shapes_and_dtypes_are_those_that_adamw_makes() -> None:
    model = GPT(TINY)
    optimizer = adamw(model, OptimConfig(learning_rate=1e-2))
    _step(model, optimizer, 1)
    made, expected = optimizer_tensors(model, optimizer), expected_tensors(model)
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {
        name: (x.shape, x.dtype) for name, x in expected.items()
    }
    assert set(optimizer.state[model.norm.weight]) == {"step", "exp_avg", "exp_avg_sq"}, "AdamW keeps nothing else"
    assert unusable_tensor(made) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("a.step", -1.0), ("a.step", 0.5), ("a.step", 2.0**30), ("a.exp_avg_sq", -1e-9)],
)
def test_a_state_that_no_adamw_has_is_named(name: str, value: float) -> None:
    assert name in (unusable_tensor({name: torch.tensor(value)}) or "")
