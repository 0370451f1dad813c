"""Optimizer groups, clipping, and a state that survives a round trip bit for bit."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import GPTConfig, OptimConfig  # noqa: E402
from stategpt.config.optimizers import OPTIMIZERS, Optimizer  # noqa: E402
from stategpt.errors import ConfigError, InvalidArgument  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.train.optimizers import (  # noqa: E402
    build_optimizer,
    clip_gradients,
    expected_tensors,
    optimizer_tensors,
    restore_optimizer,
    unusable_tensor,
)

TINY = GPTConfig(vocab_size=32, depth=1, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=16, context_tokens=16)


NAMES = pytest.mark.parametrize("name", OPTIMIZERS)


def _config(name: str, **changes: object) -> OptimConfig:
    return OptimConfig(learning_rate=1e-2, optimizer=name, **changes)  # type: ignore[arg-type]


def test_the_setting_chooses_the_class_and_its_arguments() -> None:
    model = GPT(TINY)
    adamw = build_optimizer(model, _config("adamw", betas=(0.8, 0.7), epsilon=1e-3))
    assert type(adamw) is torch.optim.AdamW
    assert {(group["betas"], group["eps"]) for group in adamw.param_groups} == {((0.8, 0.7), 1e-3)}
    sgd = build_optimizer(model, _config("sgd", betas=(0.8, 0.7)))
    assert type(sgd) is torch.optim.SGD
    assert {group["momentum"] for group in sgd.param_groups} == {0.8}
    with pytest.raises(ConfigError, match=r"optim\.optimizer = 'adam': must be one of adamw, adamw8bit, sgd"):
        _config("adam")


def test_an_optimizer_needs_one_entry_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Config, planner, training and checkpoints all read the table."""
    entry = Optimizer(
        "torch.optim:Adagrad", lambda optim: {"eps": optim.epsilon}, ("sum",), ("sum",), counts_steps=True
    )
    monkeypatch.setitem(OPTIMIZERS, "adagrad", entry)  # type: ignore[arg-type]
    _continues_bit_for_bit(_config("adagrad"))


def test_the_state_of_an_unknown_optimizer_is_refused() -> None:
    model = GPT(TINY)
    with pytest.raises(InvalidArgument, match="state of a RMSprop is not described"):
        optimizer_tensors(model, torch.optim.RMSprop(model.parameters()))


@NAMES
@pytest.mark.parametrize("head", [False, True])
def test_the_groups_are_the_models_own_with_the_schedules_rate(head: bool, name: str) -> None:
    model = RewardModel(GPT(TINY)) if head else GPT(TINY)
    ours = build_optimizer(model, _config(name, weight_decay=0.3)).param_groups
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


def _continues_bit_for_bit(config: OptimConfig) -> None:
    torch.manual_seed(0)
    model = GPT(TINY)
    optimizer = build_optimizer(model, config)
    _step(model, optimizer, 1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    saved = {name: value.clone() for name, value in optimizer_tensors(model, optimizer).items()}
    _step(model, optimizer, 2)

    other = GPT(TINY)
    other.load_state_dict(weights)
    resumed = build_optimizer(other, config)
    restore_optimizer(other, resumed, saved)
    _step(other, resumed, 2)
    for (name, ours), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


@NAMES
def test_restored_state_continues_bit_for_bit(name: str) -> None:
    _continues_bit_for_bit(_config(name))


@NAMES
def test_restored_state_continues_bit_for_bit_without_momentum(name: str) -> None:
    """SGD then keeps no buffer at all."""
    _continues_bit_for_bit(_config(name, betas=(0.0, 0.5)))


@NAMES
def test_a_parameter_without_a_gradient_is_saved_with_the_state_it_starts_with(name: str) -> None:
    """Bit for bit as if it had not been saved: its first step is the same."""
    torch.manual_seed(0)
    model = GPT(TINY)
    optimizer = build_optimizer(model, _config(name))
    saved = optimizer_tensors(model, optimizer)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    _step(model, optimizer, 1)

    other = GPT(TINY)
    other.load_state_dict(weights)
    resumed = build_optimizer(other, _config(name))
    restore_optimizer(other, resumed, saved)
    _step(other, resumed, 1)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@NAMES
def test_the_entry_describes_all_that_the_optimizer_keeps(name: str) -> None:
    model = GPT(TINY)
    optimizer = build_optimizer(model, _config(name))
    _step(model, optimizer, 1)
    made, expected = optimizer_tensors(model, optimizer), expected_tensors(model, optimizer)
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {
        name: (x.shape, x.dtype) for name, x in expected.items()
    }
    entry = OPTIMIZERS[name]
    assert set(optimizer.state[model.norm.weight]) == {*entry.state, *(["step"] if entry.counts_steps else [])}
    assert unusable_tensor(optimizer, made) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("a.step", -1.0), ("a.step", 0.5), ("a.step", 2.0**30), ("a.exp_avg_sq", -1e-9)],
)
def test_a_state_that_no_adamw_has_is_named(name: str, value: float) -> None:
    optimizer = build_optimizer(GPT(TINY), _config("adamw"))
    assert name in (unusable_tensor(optimizer, {name: torch.tensor(value)}) or "")
