"""bfloat16 weights, recomputed blocks and 8-bit moments in the loop: exact, and resumed bit for bit."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from safetensors.torch import load_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from stategpt.config import GPTConfig, LoopConfig, OptimConfig, PretrainConfig  # noqa: E402
from stategpt.config.optimizers import OPTIMIZERS  # noqa: E402
from stategpt.errors import ConfigError, InvalidArgument  # noqa: E402
from stategpt.model import GPT, TokenBatch  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402
from stategpt.train import LoopSettings, NextTokenTask, build_optimizer, fit  # noqa: E402
from stategpt.train.master_weights import MasterWeights  # noqa: E402
from stategpt.train.optimizers import clip_gradients, expected_tensors, optimizer_tensors  # noqa: E402

# A vocabulary of 600 x 8: a tensor of more than 4,096 numbers.
TINY = GPTConfig(vocab_size=600, depth=3, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=16, context_tokens=16)


class Batches:
    """Random tokens, a function of the step; rows of one document or two."""

    steps = 6

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        tokens = torch.randint(600, (32,), generator=torch.Generator().manual_seed(step))
        layout = TensorLayout.of(Layout.padded([16, 12], 16))
        yield [TokenBatch(tokens, layout, torch.arange(27), tokens[1:28])]


def _model() -> GPT:
    torch.manual_seed(1)
    return GPT(TINY)


def _fit(folder: Path, model: GPT, steps: int = 6, stop: int | None = None, **changes: object) -> GPT:
    task = NextTokenTask("test", model, Batches())
    task.steps = steps
    settings = LoopSettings(
        **{
            "optim": OptimConfig(learning_rate=1e-2),
            "folder": folder,
            "fingerprint": "b3:test",
            "precision": "auto",
            "checkpoint_every_steps": 3,
            **changes,
        }
    )

    def hook(step: int) -> None:
        if step == stop:
            raise KeyboardInterrupt

    try:
        fit(task, model, settings, hook)
    except KeyboardInterrupt:
        assert stop is not None
    return model


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def _equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("recompute", [False, True])
def test_a_resumed_run_is_bit_identical(tmp_path: Path, weights: str, optimizer: str, recompute: bool) -> None:
    changes = {
        "optim": OptimConfig(learning_rate=1e-2, optimizer=optimizer),
        "weights": weights,
        "gradient_checkpointing": recompute,
    }
    whole = _fit(tmp_path / "whole", _model(), **changes)
    _fit(tmp_path / "cut", _model(), stop=5, **changes)  # the checkpoint is of step 3
    resumed = _fit(tmp_path / "cut", _model(), **changes)
    assert _equal(_state(whole), _state(resumed))
    assert {value.dtype for value in _state(whole).values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recomputed_blocks_give_the_same_gradients_bit_for_bit(precision: str) -> None:
    """With random numbers in a block too: the second pass draws the same."""
    model = _model()
    for block in model.layers:
        block.mlp.down_proj = nn.Sequential(block.mlp.down_proj, nn.Dropout(0.5))
    model.train()
    (batch,) = next(iter(Batches().updates(0)))
    gradients, calls = [], []
    model.layers[1].register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    for recompute in (False, True):
        model.recomputes_blocks = recompute
        torch.manual_seed(7)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            NextTokenTask("test", model, Batches()).loss(batch).total.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        model.zero_grad()
    assert len(gradients[0]) == len(list(model.parameters()))
    assert _equal(*gradients)
    assert len(calls) == 3  # once plain; twice where it is computed again


def test_the_loop_recomputes_every_block_while_it_trains_and_not_after(tmp_path: Path) -> None:
    model, calls = _model(), [0, 0, 0]
    for layer, block in enumerate(model.layers):

        def count(*_: object, layer: int = layer) -> None:
            calls[layer] += 1

        block.register_forward_pre_hook(count)
    _fit(tmp_path, model, steps=2, gradient_checkpointing=True)
    assert calls == [4, 4, 4]
    assert not model.recomputes_blocks


def test_a_small_step_is_not_lost_in_bfloat16(tmp_path: Path) -> None:
    """Steps of 1e-5 of weights near 1 are below half a unit of bfloat16; the float32 copy adds them up."""
    optim = OptimConfig(learning_rate=1e-5, warmup_steps=0, weight_decay=0.0)
    start, model = _state(_model()), _model()
    _fit(tmp_path, model, optim=optim, weights="bfloat16")
    moved = (model.layers[0].input_layernorm.weight.detach() - start["layers.0.input_layernorm.weight"]).abs()
    assert 1e-5 < float(moved.max()) < 1e-4


def test_the_model_is_the_rounded_copy_while_it_trains() -> None:
    model = _model()
    start = _state(model)
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-3), "bfloat16")
    assert isinstance(optimizer, MasterWeights)
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        for name, parameter in model.named_parameters():
            assert parameter.dtype == torch.bfloat16
            assert torch.equal(parameter, optimizer.masters[parameter].bfloat16()), name
    plain = _model()
    assert _equal(start, _state(plain))
    optimizer.give_back(model)
    assert _equal(_state(model), {n: optimizer.masters[p].detach() for n, p in model.named_parameters()})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_copies_are_stepped_as_float32_weights_are(name: str) -> None:
    config = OptimConfig(learning_rate=1e-3, optimizer=name)
    held, plain = _model(), _model()
    optimizers = [build_optimizer(held, config, "bfloat16"), build_optimizer(plain, config)]
    for step in range(3):
        for ours, theirs in zip(held.parameters(), plain.parameters(), strict=True):
            gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(step)).bfloat16()
            ours.grad, theirs.grad = gradient, gradient.float()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 10.0**-step * group["scale"]
            optimizer.step()
    optimizers[0].give_back(held)  # type: ignore[attr-defined]
    assert _equal(_state(held), _state(plain))


def test_weights_that_the_task_replaced_are_kept() -> None:
    """As `rl.max_kl` does, which puts the weights of an earlier step into the model."""
    model = _model()
    optimizer = build_optimizer(model, OptimConfig(), "bfloat16")
    with torch.no_grad():
        model.norm.weight.fill_(0.5)
    optimizer.give_back(model)  # type: ignore[attr-defined]
    assert model.norm.weight.unique().tolist() == [0.5]
    assert model.norm.weight.dtype == torch.float32


def test_checkpoints_hold_the_copies_and_the_8_bit_state(tmp_path: Path) -> None:
    optim = OptimConfig(learning_rate=1e-2, optimizer="adamw8bit")
    model = _fit(tmp_path, _model(), optim=optim, weights="bfloat16")
    folder = tmp_path / "checkpoints" / "step-000006"
    weights, state = load_file(folder / "model.safetensors"), load_file(folder / "optimizer.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    for name, value in model.named_parameters():
        assert torch.equal(state[f"{name}.master"], value)
        assert torch.equal(weights[name], value.bfloat16())
    moment = state["embed_tokens.weight.exp_avg"]
    assert (moment.dtype, moment.shape) == (torch.uint8, (600, 8))
    assert state["embed_tokens.weight.exp_avg_scale"].shape == (-(-4800 // 256),)
    assert state["norm.weight.exp_avg"].dtype == torch.float32


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_parameters_have_no_state_and_do_not_move(tmp_path: Path, weights: str, optimizer: str) -> None:
    model = _model()
    trained = "layers.2.mlp.down_proj.weight"
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == trained)
    start = _state(model)
    optim = OptimConfig(learning_rate=1e-2, optimizer=optimizer)
    _fit(tmp_path, model, optim=optim, weights=weights)
    state = load_file(tmp_path / "checkpoints" / "step-000006" / "optimizer.safetensors")
    assert {name.rpartition(".")[0] for name in state} == {trained}
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, start[name])}
    if weights == "bfloat16":  # what is frozen is published as it was read: rounded
        changed = {n for n, value in model.named_parameters() if not torch.equal(value, start[n].bfloat16().float())}
    assert changed == {trained}


def test_expected_tensors_describe_the_copies() -> None:
    model = _model()
    optimizer = build_optimizer(model, OptimConfig(), "bfloat16")
    made, expected = optimizer_tensors(model, optimizer), expected_tensors(model, optimizer)
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {
        name: (x.shape, x.dtype) for name, x in expected.items()
    }
    assert {value.device.type for value in expected.values()} == {"meta"}


def test_the_norm_of_bfloat16_gradients_is_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = [nn.Parameter(torch.zeros(300, dtype=torch.bfloat16)) for _ in range(3)]
    for weight in weights:
        weight.grad = torch.randn(300, generator=generator).bfloat16()
    exact = float(torch.cat([w.grad for w in weights if w.grad is not None]).double().norm())
    assert float(clip_gradients(weights, 0.0)) == pytest.approx(exact, rel=1e-6)
    assert float(clip_gradients(weights, 1.0)) == pytest.approx(exact, rel=1e-6)
    scaled = float(torch.cat([w.grad for w in weights if w.grad is not None]).double().norm())
    assert scaled == pytest.approx(1.0, rel=1e-2)


def test_weights_that_are_not_float32_cannot_begin() -> None:
    with pytest.raises(InvalidArgument, match="is bfloat16; weights"):
        build_optimizer(_model().bfloat16(), OptimConfig(), "bfloat16")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.weights = 'float16': must be one of float32, bfloat16"):
        PretrainConfig(weights="float16")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r'pretrain\.precision = .float32.: must be "auto" or "bfloat16"'):
        PretrainConfig(weights="bfloat16", precision="float32")
    assert LoopConfig().weights == "float32"
    assert not LoopConfig().gradient_checkpointing
