"""The step with a native call between two products: the numbers of the general path, and only for plain models."""

from collections.abc import Callable
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from torch import nn  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagedStep, PagePool  # noqa: E402
from stategpt.generate.pages.memory import SlotPages  # noqa: E402
from stategpt.model import GPT, autocast  # noqa: E402
from stategpt.model.fused_step import FusedWeights  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SIZES = {"vocab_size": 61, "depth": 2, "width": 24, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 40}
SHAPE = GPTConfig(**SIZES, context_tokens=80)
GEMMA = replace(
    FAMILIES["gemma2"].switches,
    windowed_layers=(True, False),
    query_scale=24.0,
    attention_softcap=2.0,
    logit_softcap=3.0,
)
SHAPES = {
    "qwen3": SHAPE,
    "without norms of heads, with biases": GPTConfig(**SIZES, context_tokens=80, qk_norm=False, attention_bias=True),
    "a width of no whole registers": GPTConfig(**(SIZES | {"width": 21, "mlp_width": 37}), context_tokens=80),
    "wide heads": GPTConfig(**(SIZES | {"head_dim": 40}), context_tokens=80),
}


def gpt(config: GPTConfig = SHAPE) -> GPT:
    torch.manual_seed(0)
    model = GPT(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zeros at first
            nn.init.normal_(parameter)
    return model


def ids(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 61, (count,), generator=torch.Generator().manual_seed(seed))


def packed(model: GPT, tokens: torch.Tensor) -> torch.Tensor:
    """Hidden states of one sequence by the training forward pass."""
    with torch.inference_mode():
        return model.hidden(tokens, TensorLayout.of(Layout.packed([[len(tokens)]], len(tokens))))


def steps(model: GPT, pool: PagePool, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    """Hidden states of one sequence, part by part."""
    row, found = PagedSequence(pool), []
    with torch.inference_mode():
        for part in parts:
            step = PagedStep(pool, [(row, len(part))])
            found.append(model.step(part, step.position_N, step))
            step.commit()
    row.close()
    return found


@pytest.fixture
def fused(monkeypatch) -> list[int]:
    """Counts the steps that are fused."""
    calls: list[int] = []
    original = FusedWeights.hidden

    def counted(self, model, x_NW, *arguments):
        calls.append(len(x_NW))
        return original(self, model, x_NW, *arguments)

    monkeypatch.setattr(FusedWeights, "hidden", counted)
    return calls


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_hidden_states_are_those_of_the_training_forward(config, fused):
    model, text = gpt(config), ids(40)
    pool = PagePool(config, pages=4)
    found = steps(model, pool, list(text.split([17, 1, 1, 13, 1, 7])))
    torch.testing.assert_close(torch.cat(found), packed(model, text), rtol=1e-5, atol=1e-5)
    assert fused == [17, 1, 1, 13, 1, 7]


def test_hidden_states_stay_when_the_next_step_writes():
    model, pool = gpt(), PagePool(SHAPE, pages=4)
    first, _ = steps(model, pool, [ids(3), ids(3, 1)])
    again = steps(model, pool, [ids(3)])[0]
    assert torch.equal(first, again)


def _hooked(model: GPT) -> None:
    model.layers[1].mlp.down_proj.register_forward_hook(lambda *_: None)


def _replaced(model: GPT) -> None:
    model.layers[0].self_attn.q_proj = nn.Sequential(model.layers[0].self_attn.q_proj)


def _forward_of_its_own(model: GPT) -> None:
    model.layers[0].forward = model.layers[0].forward


@pytest.mark.parametrize("change", [_hooked, _replaced, _forward_of_its_own])
def test_a_model_that_is_not_plain_takes_the_general_path_from_then_on(change: Callable[[GPT], None], fused):
    model, pool, text = gpt(), PagePool(SHAPE, pages=4), ids(9)
    steps(model, pool, [text])
    change(model)
    found = steps(model, pool, [text])[0]
    torch.testing.assert_close(found, packed(model, text), rtol=1e-5, atol=1e-5)
    assert len(fused) == 1


def test_other_formats_layouts_families_and_exact_mode_take_the_general_path(fused):
    model, text = gpt(), ids(9)
    steps(model, PagePool(SHAPE, pages=4, layout=SlotPages), [text])
    with autocast("bfloat16", "cpu"):
        steps(model, PagePool(SHAPE, pages=4, dtype=torch.bfloat16), [text])
    steps(gpt().to(torch.bfloat16), PagePool(SHAPE, pages=4, dtype=torch.bfloat16), [text])
    model.exact = True
    steps(model, PagePool(SHAPE, pages=4), [text])
    around = GPTConfig(**SIZES, context_tokens=80, qk_norm=False, architecture=GEMMA)
    model = gpt(around)
    found = steps(model, PagePool(around, pages=4), [text])[0]
    torch.testing.assert_close(found, packed(model, text), rtol=1e-5, atol=1e-5)
    assert not fused


@pytest.mark.parametrize(
    "name", ["layers.1.self_attn.k_proj", "layers.0.mlp.up_proj", "layers.0.self_attn.q_norm", "norm"]
)
def test_a_weight_that_changes_between_two_steps_is_read_again(name, fused):
    model, pool, text = gpt(), PagePool(SHAPE, pages=4), ids(9)
    steps(model, pool, [text])
    module = model.get_submodule(name)
    with torch.no_grad():
        module.weight.mul_(1.5)
    torch.testing.assert_close(steps(model, pool, [text])[0], packed(model, text), rtol=1e-5, atol=1e-5)
    module.weight = nn.Parameter(module.weight.detach() * 0.5)
    torch.testing.assert_close(steps(model, pool, [text])[0], packed(model, text), rtol=1e-5, atol=1e-5)
    module.weight.data = module.weight.detach() * 3
    torch.testing.assert_close(steps(model, pool, [text])[0], packed(model, text), rtol=1e-5, atol=1e-5)
    assert len(fused) == 4


def test_a_pool_serves_steps_inside_and_outside_of_inference_mode(fused):
    model, pool, text = gpt(), PagePool(SHAPE, pages=4), ids(5)
    steps(model, pool, [text])
    row = PagedSequence(pool)
    with torch.no_grad():
        step = PagedStep(pool, [(row, 5)])
        found = model.step(text, step.position_N, step)
    torch.testing.assert_close(found, packed(model, text), rtol=1e-5, atol=1e-5)
    assert fused == [5, 5]
