"""Joined projections: once a generation, again when the weights change, the same bits as joined in every step."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.fused_step import FusedWeights  # noqa: E402
from stategpt.model.layers import SelfAttention  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=61, depth=3, width=24, heads=4, kv_heads=2, head_dim=8, mlp_width=40, context_tokens=32)
BIASED = GPTConfig(**{**SHAPE.__dict__, "qk_norm": False, "attention_bias": True})
STEPS = 9


@pytest.fixture
def joins(monkeypatch) -> Counter:
    """Counts the joins."""
    count, join = Counter(), SelfAttention._join

    def counted(self):
        count["joins"] += 1
        return join(self)

    monkeypatch.setattr(SelfAttention, "_join", counted)
    return count


def gpt(config: GPTConfig = SHAPE) -> GPT:
    torch.manual_seed(0)
    return GPT(config).eval()


def ids(rows: int, count: int):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 61, (rows, count)))


@pytest.fixture(autouse=True)
def general_path(monkeypatch) -> None:
    """The fused step joins by itself: `test_fused_step.py`."""
    monkeypatch.setattr(FusedWeights, "suit", lambda *_: False)


def steps(model: GPT, decode: Decoding, count: int, rows: int = 2):
    with torch.inference_mode():
        return torch.cat([decode(piece) for piece in ids(rows, count).split(1, dim=1)], dim=1).clone()


def cache_of(model: GPT, rows: int = 2, dtype=torch.float32) -> Decoding:
    return Decoding(model, rows, dtype)


@pytest.mark.parametrize("config", [SHAPE, BIASED], ids=["norms", "biases"])
def test_steps_of_one_generation_join_once(joins, config):
    model = gpt(config)
    cache = cache_of(model, 5)
    cache.rows = cache.rows[:1]
    steps(model, cache, STEPS, rows=1)
    assert joins["joins"] == config.depth
    cache.rows = [cache.rows[0].fork() for _ in range(4)]
    steps(model, cache, STEPS, rows=4)  # the prompt's samples continue with the prompt's
    assert joins["joins"] == config.depth


@pytest.mark.parametrize("config", [SHAPE, BIASED], ids=["norms", "biases"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_result_has_the_bits_of_joining_in_every_step(monkeypatch, config, precision):
    model = gpt(config)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        kept = steps(model, cache_of(model, dtype=precision), STEPS)
        monkeypatch.setattr("stategpt.model.joined.JoinedWeights.of", lambda self, sources, join: join())
        assert torch.equal(steps(model, cache_of(model, dtype=precision), STEPS), kept)


def by_optimizer(fused: bool):
    def change(model: GPT) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    return change


def by_loading(model: GPT) -> None:
    model.load_state_dict({name: 1.5 * tensor for name, tensor in model.state_dict().items()})


def by_assigning(model: GPT) -> None:
    model.load_state_dict({name: 1.5 * tensor for name, tensor in model.state_dict().items()}, assign=True)


def by_data(model: GPT) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(1.5)


def by_data_pointer(model: GPT) -> None:
    for parameter in model.parameters():
        parameter.data = 1.5 * parameter.data


def by_moving(model: GPT) -> None:
    by_data(model)
    model.double().float()


CHANGES = [by_optimizer(fused=True), by_optimizer(fused=False), by_loading, by_assigning, by_data, by_data_pointer]
NAMES = ["fused_step", "step", "load", "assign", "data", "data_pointer"]


@pytest.mark.parametrize("change", [*CHANGES, by_moving], ids=[*NAMES, "to"])
def test_the_next_generation_joins_the_changed_weights(joins, change):
    model = gpt()
    before = steps(model, cache_of(model), STEPS)
    change(model)
    after = steps(model, cache_of(model), STEPS)
    assert joins["joins"] == 2 * SHAPE.depth
    other = GPT(SHAPE).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(after, steps(other, cache_of(other), STEPS))
    assert not torch.allclose(after, before, atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [by_optimizer(fused=False), by_loading, by_assigning, by_data_pointer],
    ids=["step", "load", "assign", "ptr"],
)
def test_a_change_between_two_steps_joins_again(joins, change):
    model = gpt()
    cache = cache_of(model)
    steps(model, cache, 2)
    change(model)
    steps(model, cache, 2)
    assert joins["joins"] == 2 * SHAPE.depth


def test_where_gradients_are_kept_nothing_is_kept(joins):
    model = gpt()
    steps(model, cache_of(model), 2)
    hidden = model.hidden(ids(1, 5)[0], TensorLayout.of(Layout.packed([[5]], 5)))
    hidden.square().sum().backward()
    assert joins["joins"] == 2 * SHAPE.depth
    assert float(model.layers[0].self_attn.q_proj.weight.grad.norm()) > 0


def test_weights_made_in_inference_mode_have_no_version_and_still_join(joins):
    with torch.inference_mode():
        model = gpt()
        cache = cache_of(model)
        steps(model, cache, STEPS)
    assert joins["joins"] == SHAPE.depth
