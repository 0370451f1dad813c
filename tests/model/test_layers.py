"""Modules put in the place of a projection or a norm take effect everywhere: forward, packed training, decoding."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
from torch import nn  # noqa: E402

from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.layers import RMSNorm  # noqa: E402
from stategpt.model.rotary import RotaryAngles  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = GPTConfig(
    vocab_size=61,
    depth=2,
    width=24,
    heads=4,
    kv_heads=2,
    head_dim=8,
    mlp_width=40,
    context_tokens=32,
    tied_embeddings=False,
)
BIASED = GPTConfig(**{**SHAPE.__dict__, "qk_norm": False, "attention_bias": True})
PROJECTIONS = [f"self_attn.{letter}_proj" for letter in "qkvo"] + [
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
]
PLACES = [f"layers.1.{name}" for name in PROJECTIONS] + ["lm_head"]
LAYOUT = TensorLayout.of(Layout.packed([[7, 9, 4]], 20))


class Adapter(nn.Module):
    """A low-rank adapter around a linear layer, without a `weight` of its own."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        draw = torch.Generator().manual_seed(5)
        self.down = nn.Parameter(torch.randn(2, base.in_features, generator=draw) / 4)
        self.up = nn.Parameter(torch.randn(base.out_features, 2, generator=draw) / 4)

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


class ShowsWeight(Adapter):
    """As adapters of PEFT do: `weight` is the wrapped layer's, so reading it ignores the adapter."""

    @property
    def weight(self):
        return self.base.weight

    @property
    def bias(self):
        return self.base.bias


class Subclass(nn.Linear):
    """A linear layer by type and by name, with another rule."""

    def forward(self, x):
        return 2 * super().forward(x)


def gpt(config: GPTConfig = SHAPE) -> GPT:
    torch.manual_seed(0)
    return GPT(config).eval()


def tokens(count: int = 20):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 61, count))


def decoded(model: GPT, ids, pieces):
    """Logits by the cache, as the engine makes them."""
    decode = Decoding(model)
    with torch.inference_mode():
        parts = [decode(piece[None])[0] for piece in ids.split(pieces)]
        return model.unembed(torch.cat(parts)).clone()


def replace(model: GPT, place: str, wrap) -> nn.Module:
    parent, _, name = place.rpartition(".")
    wrapped = wrap(model.get_submodule(place))
    setattr(model.get_submodule(parent), name, wrapped)
    return wrapped


def merged(model: GPT, place: str) -> GPT:
    """The same model with the adapter's product added to the weight."""
    plain = copy.deepcopy(model)
    adapter = plain.get_submodule(place)
    with torch.no_grad():
        adapter.base.weight += adapter.up @ adapter.down
    replace(plain, place, lambda module: module.base)
    return plain


@pytest.mark.parametrize("config", [SHAPE, BIASED], ids=["norms", "biases"])
@pytest.mark.parametrize("wrapper", [Adapter, ShowsWeight])
@pytest.mark.parametrize("place", PLACES)
def test_an_adapter_changes_the_output_as_merged_weights_do(place, wrapper, config):
    model = gpt(config)
    before = model(tokens(), LAYOUT).detach()
    replace(model, place, wrapper)
    expected = merged(model, place)
    assert not torch.allclose(model(tokens(), LAYOUT), before, atol=1e-3)
    torch.testing.assert_close(model(tokens(), LAYOUT), expected(tokens(), LAYOUT), rtol=1e-4, atol=1e-5)
    pieces = [12] + [1] * 8
    torch.testing.assert_close(
        decoded(model, tokens(), pieces), decoded(expected, tokens(), pieces), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("place", PLACES)
def test_gradients_reach_the_adapter(place):
    model = gpt().requires_grad_(False)
    adapter = replace(model, place, ShowsWeight)
    model(tokens(), LAYOUT).square().sum().backward()
    for parameter in (adapter.down, adapter.up):
        assert parameter.grad is not None
        assert float(parameter.grad.norm()) > 0


@pytest.mark.parametrize("place", ["layers.0.self_attn.q_norm", "layers.0.self_attn.k_norm"])
def test_a_norm_in_place_of_a_heads_norm_takes_effect(place):
    class Doubled(RMSNorm):
        def forward(self, x):
            return 2 * super().forward(x)

    model, scaled = gpt(), gpt()
    replace(model, place, lambda norm: Doubled(SHAPE.head_dim, norm.epsilon))
    with torch.no_grad():
        scaled.get_submodule(place).weight *= 2
    torch.testing.assert_close(model(tokens(), LAYOUT), scaled(tokens(), LAYOUT))
    torch.testing.assert_close(decoded(model, tokens(), 5), decoded(scaled, tokens(), 5))


def doubled_by_hook(linear):
    linear.register_forward_hook(lambda module, inputs, output: 2 * output)
    return linear


def doubled_by_method(linear):
    plain = linear.forward
    linear.forward = lambda x: 2 * plain(x)
    return linear


def doubled_by_subclass(linear):
    other = Subclass(linear.in_features, linear.out_features, bias=False)
    other.weight = linear.weight
    return other


def doubled_by_parametrization(linear):
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    nn.utils.parametrize.register_parametrization(linear, "weight", Twice())
    return linear


@pytest.mark.parametrize("wrap", [doubled_by_hook, doubled_by_method, doubled_by_subclass, doubled_by_parametrization])
@pytest.mark.parametrize("place", PLACES)
def test_whatever_comes_between_weights_and_output_takes_effect(place, wrap):
    model, scaled = gpt(), gpt()
    with torch.no_grad():
        scaled.get_submodule(place).weight *= 2
    replace(model, place, wrap)
    torch.testing.assert_close(model(tokens(), LAYOUT), scaled(tokens(), LAYOUT), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded(model, tokens(), 5), decoded(scaled, tokens(), 5), rtol=1e-4, atol=1e-5)


def test_a_compiled_model_with_an_adapter_is_one_graph():
    graphs = []
    model = gpt()
    replace(model, "layers.1.self_attn.v_proj", Adapter)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph)
    torch.testing.assert_close(compiled(tokens(), LAYOUT), model(tokens(), LAYOUT))
    assert len(graphs) == 1


def test_a_compiled_model_refuses_more_than_its_context():
    torch._dynamo.reset()
    compiled = torch.compile(gpt(), fullgraph=True, backend="eager")
    compiled(tokens(32), TensorLayout.of(Layout.packed([[32]], 32)))
    with pytest.raises(RuntimeError, match="exceeds the context"):
        compiled(tokens(33), TensorLayout.of(Layout.packed([[33]], 33)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_rotary_frequencies_stay_float32(dtype):
    exact = RotaryAngles(8, 10_000.0).frequency
    model = gpt().to(dtype)
    assert torch.equal(model.rotary.frequency, exact)
    assert torch.equal(gpt().to("meta").to_empty(device="cpu").rotary.frequency, exact)
