"""Quantized layers: what is quantized, what the layers compute, and what a quantized model can and cannot do."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import InvalidArgument, UnknownToken  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.quantize import Int8Linear, NF4Linear, QuantizedEmbedding, QuantizedLinear, joint_product, quantize  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.ops.int8 import from_int8, to_int8  # noqa: E402
from stategpt.ops.int8_product import FEW, Int8Product  # noqa: E402
from stategpt.ops.nf4 import from_nf4, to_nf4  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = {"vocab_size": 61, "depth": 2, "width": 24, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 40}
TIED = GPTConfig(**SHAPE, context_tokens=32)
UNTIED = GPTConfig(**SHAPE, context_tokens=32, tied_embeddings=False)
KINDS = ["int8", "nf4"]
PROJECTIONS = 7


def gpt(config: GPTConfig = TIED) -> GPT:
    torch.manual_seed(0)
    return GPT(config).eval()


def causal(tokens: int) -> TensorLayout:
    return TensorLayout.of(Layout.packed([[tokens]], tokens))


def linear(width: int = 24, outputs: int = 40, bias: bool = True) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(width, outputs, bias=bias)


def quantized(layer: nn.Linear, kind: str) -> QuantizedLinear:
    return Int8Linear(layer) if kind == "int8" else NF4Linear(layer)


def plain(model: GPT) -> GPT:
    """The same model with plain layers that hold the dequantized weights."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedLinear):
            layer = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            layer.weight = nn.Parameter(module.dequantized())
            layer.bias = module.bias
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, layer)
        elif isinstance(module, QuantizedEmbedding):
            model.embed_tokens = nn.Embedding.from_pretrained(module.dequantized())
    return model


def layers(model: nn.Module) -> dict[str, str]:
    return {name: type(module).__name__ for name, module in model.named_modules() if not list(module.children())}


# What is quantized


@pytest.mark.parametrize("kind", KINDS)
def test_the_linear_layers_of_every_block_are_quantized_and_nothing_else(kind):
    before, after = layers(gpt(UNTIED)), layers(quantize(gpt(UNTIED), kind))
    changed = {name for name in before if before[name] != after[name]}
    assert len(changed) == PROJECTIONS * UNTIED.depth
    assert all(name.endswith("_proj") for name in changed)
    assert after["lm_head"] == "Linear"
    assert after["embed_tokens"] == "Embedding"


def test_an_empty_skip_quantizes_the_prediction_matrix_too():
    assert layers(quantize(gpt(UNTIED), "nf4", skip=()))["lm_head"] == "NF4Linear"
    tied = layers(quantize(gpt(TIED), "int8", skip=()))
    assert tied["embed_tokens"] == "QuantizedEmbedding"
    assert layers(quantize(gpt(UNTIED), "int8", skip=()))["embed_tokens"] == "Embedding"


def test_a_tied_prediction_matrix_is_not_quantized_to_nf4():
    with pytest.raises(InvalidArgument, match="leave 'lm_head' in skip"):
        quantize(gpt(TIED), "nf4", skip=())


def test_skipped_layers_stay_as_they_are():
    found = layers(quantize(gpt(), "int8", skip=("lm_head", "o_proj", "layers.1.mlp.up_proj")))
    kept = {name for name, kind in found.items() if kind == "Linear"}
    assert kept == {"layers.0.self_attn.o_proj", "layers.1.self_attn.o_proj", "layers.1.mlp.up_proj"}


@pytest.mark.parametrize("skip", [("lm_head",), ("lm_head", "o_proj")])
def test_skipped_layers_keep_their_embedding(skip):
    assert isinstance(quantize(gpt(TIED), "int8", skip=skip).embed_tokens, nn.Embedding)


@pytest.mark.parametrize("skip", [("lm_head",), ()])
def test_the_head_of_a_reward_model_is_never_quantized(skip):
    model = quantize(RewardModel(gpt()), "int8", skip=skip)
    assert isinstance(model.head, nn.Linear)
    assert isinstance(model.gpt.layers[0].mlp.up_proj, Int8Linear)
    assert isinstance(model.gpt.embed_tokens, nn.Embedding)


def hooked(model: GPT) -> GPT:
    model.layers[1].mlp.up_proj.register_forward_hook(lambda *arguments: None)
    return model


def diverged(model: GPT) -> GPT:
    model.layers[1].mlp.up_proj.weight.data[3, 3] = float("nan")
    return model


@pytest.mark.parametrize(
    ("model", "kind", "skip", "message"),
    [
        (gpt(), "int4", (), "kind is 'int4'; choose one of int8, nf4"),
        (gpt(), "int8", "lm_head", "skip is the string"),
        (gpt(), "int8", ("q_porj",), "skip names 'q_porj'"),
        (hooked(gpt()), "int8", (), r"layers\.1\.mlp\.up_proj is no plain nn\.Linear"),
        (diverged(gpt()), "nf4", ("lm_head",), r"layers\.1\.mlp\.up_proj\.weight is not finite"),
        (quantize(gpt(), "int8"), "nf4", ("lm_head",), "quantized already"),
        (nn.Embedding(3, 3), "int8", (), "holds no nn.Linear"),
    ],
)
def test_what_cannot_be_quantized_is_refused_by_name(model, kind, skip, message):
    before = layers(model)
    with pytest.raises(InvalidArgument, match=message):
        quantize(model, kind, skip)
    assert layers(model) == before


def test_a_hooked_layer_may_be_skipped():
    assert isinstance(quantize(hooked(gpt()), "int8", skip=("lm_head", "up_proj")).layers[1].mlp.up_proj, nn.Linear)


# What a layer computes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_a_layer_computes_the_product_with_its_dequantized_weights(kind, bias, rows):
    layer = quantized(linear(bias=bias), kind)
    x = torch.randn(rows, 24)
    torch.testing.assert_close(layer(x), F.linear(x, layer.dequantized(), layer.bias), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_dequantized_weights_are_those_of_the_format(kind):
    layer = linear()
    weight = layer.weight.detach()
    expected = from_int8(to_int8(weight)) if kind == "int8" else from_nf4(to_nf4(weight), (40, 24))
    assert torch.equal(quantized(layer, kind).dequantized(), expected)
    assert quantized(layer, kind).dequantized(torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_of_input_and_bias_are_those_of_the_dequantized_weights(kind, dtype):
    layer = quantized(linear().to(dtype), kind)
    x = torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
    other, bias = x.detach().clone().requires_grad_(), layer.bias.detach().clone().requires_grad_()
    seed = torch.randn(3, 5, 40, dtype=dtype)
    layer(x).backward(seed)
    (F.linear(other, layer.dequantized(dtype)) + bias).backward(seed)
    assert torch.equal(x.grad, other.grad)
    assert torch.equal(layer.bias.grad, bias.grad)


def test_the_gradient_is_that_of_finite_differences():
    layer = quantized(linear().double(), "nf4")
    assert torch.autograd.gradcheck(layer, torch.randn(2, 24, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("kind", KINDS)
def test_no_dequantized_matrix_is_kept_for_the_backward_pass(kind):
    layer, kept = quantized(linear(), kind), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        output = layer(torch.randn(2, 24, requires_grad=True))
    assert sum(kept) == 0
    output.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_multiplies_in_its_number_format(kind):
    layer, x = quantized(linear(bias=False), kind), torch.randn(4, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)
    expected = F.linear(x.bfloat16(), layer.dequantized(torch.bfloat16))
    torch.testing.assert_close(output, expected, atol=0.02, rtol=0.02)


# A whole model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", [TIED, UNTIED], ids=["tied", "untied"])
def test_a_model_computes_the_logits_of_its_dequantized_weights(kind, config):
    model = quantize(gpt(config), kind, skip=() if kind == "int8" else ("lm_head",))
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 61, 20))
    layout = causal(20)
    torch.testing.assert_close(model(tokens, layout), plain(model)(tokens, layout), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_another_number_format_of_the_model_leaves_the_quantized_weights(kind, dtype):
    model = quantize(gpt(), kind, skip=() if kind == "int8" else ("lm_head",))
    before = model.layers[0].mlp.up_proj.dequantized()
    model.to(dtype)
    assert torch.equal(model.layers[0].mlp.up_proj.dequantized(), before)
    assert model.dtype == dtype
    with torch.inference_mode():
        assert Decoding(model)(torch.tensor([[1, 2, 3]])).dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_brings_the_quantized_weights_to_another_model(kind):
    model = quantize(gpt(), kind)
    torch.manual_seed(7)
    other = quantize(GPT(TIED).eval(), kind)
    other.load_state_dict(model.state_dict())
    tokens, layout = torch.arange(20), causal(20)
    assert torch.equal(other(tokens, layout), model(tokens, layout))


def test_a_quantized_model_is_not_saved(tmp_path):
    with pytest.raises(InvalidArgument, match=r"14 layers of the model are quantized .*save the model before quantize"):
        quantize(gpt(), "int8").save_pretrained(tmp_path)
    with pytest.raises(InvalidArgument, match="15 layers"):
        quantize(gpt(), "int8", skip=()).save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_embedding_refuses_an_unknown_id():
    with pytest.raises(UnknownToken, match="the stream holds id 61"):
        quantize(gpt(), "int8", skip=())(torch.tensor([1, 61]), causal(2))


# Decoding by the codes themselves


def few(rows: int, width: int = 24):
    return torch.from_numpy(np.random.default_rng(5).standard_normal((rows, width)).astype(np.float32))


@pytest.fixture
def products(monkeypatch) -> list[int]:
    """Matrices of every product by codes."""
    counts, call = [], Int8Product.__call__

    def counted(self, x, matrices):
        counts.append(len(matrices))
        return call(self, x, matrices)

    monkeypatch.setattr(Int8Product, "__call__", counted)
    return counts


def test_few_rows_are_multiplied_by_the_codes_and_many_are_not(products):
    layer = Int8Linear(linear())
    for rows in (1, FEW):
        expected = F.linear(few(rows), layer.dequantized(), layer.bias)
        torch.testing.assert_close(layer(few(rows)), expected, atol=2e-6, rtol=1e-5)
    assert products == [1, 1]
    layer(few(FEW + 1))
    layer(few(1).double())
    layer(few(1).requires_grad_())
    assert products == [1, 1]


def test_a_row_s_product_does_not_depend_on_the_others():
    layer, x = Int8Linear(linear()), few(FEW)
    alone = torch.cat([layer(row[None]) for row in x])
    assert torch.equal(layer(x), alone)
    assert torch.equal(layer(x[3:7].view(2, 2, 24)).view(4, -1), alone[3:7])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_product_in_another_number_format_is_rounded_once(dtype):
    layer, x = Int8Linear(linear(bias=False)), few(3).to(dtype)
    assert torch.equal(layer(x), layer(x.float()).to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(few(3)), layer(few(3).bfloat16()))


def test_products_follow_the_weights():
    layer, x = Int8Linear(linear(bias=False)), few(2)
    layer(x)
    torch.manual_seed(9)
    other = Int8Linear(nn.Linear(24, 40, bias=False))
    twin = copy.deepcopy(layer)
    layer.load_state_dict(other.state_dict())
    assert torch.equal(layer(x), other(x))
    layer.load_state_dict(twin.state_dict(), assign=True)
    assert torch.equal(layer(x), twin(x))
    assert not torch.equal(layer(x), other(x))


def test_products_of_several_layers_together_have_the_bits_of_separate_ones():
    layers, x = [Int8Linear(linear(outputs=outputs, bias=False)) for outputs in (70, 3, 40)], few(3)
    assert torch.equal(joint_product(Int8Product(), x, layers), torch.cat([layer(x) for layer in layers], dim=1))
    assert joint_product(Int8Product(), x, [layers[0], linear()]) is None
    assert joint_product(Int8Product(), x, [layers[0], Int8Linear(linear(bias=True))]) is None
    assert joint_product(Int8Product(), few(FEW + 1), layers) is None


NORMED = GPTConfig(**SHAPE, context_tokens=32)
PLAIN = GPTConfig(**SHAPE, context_tokens=32, qk_norm=False)
BIASED = GPTConfig(**SHAPE, context_tokens=32, qk_norm=False, attention_bias=True)


def decoded(model: GPT, rows: int = 2):
    tokens = torch.from_numpy(np.random.default_rng(1).integers(0, 61, (rows, 7)))
    decode = Decoding(model, rows)
    with torch.inference_mode():
        return torch.cat([model.unembed(decode(t)[:, 0]) for t in tokens.split(1, dim=1)], dim=1)


@pytest.mark.parametrize("config", [NORMED, PLAIN, BIASED], ids=["norms", "plain", "biases"])
def test_decoding_multiplies_by_several_layers_at_a_time(monkeypatch, products, config):
    model = quantize(gpt(config), "int8", skip=())
    together = decoded(model)
    assert products[:4] == ([1, 1, 1, 1] if config is BIASED else [3, 1, 2, 1])
    monkeypatch.setattr("stategpt.model.layers.joint_product", lambda *arguments: None)
    # Equal but for the last bits: norms and SiLU of a view are summed and rounded in another order than a copy's.
    torch.testing.assert_close(decoded(model), together, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("config", [NORMED, PLAIN, BIASED], ids=["norms", "plain", "biases"])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_has_the_logits_of_the_dequantized_weights(kind, config):
    model = quantize(gpt(config), kind, skip=() if kind == "int8" else ("lm_head",))
    torch.testing.assert_close(decoded(model), decoded(plain(model)), atol=1e-5, rtol=1e-5)


def test_a_hook_on_a_quantized_projection_is_called():
    model, calls = quantize(gpt(), "int8"), []
    model.layers[0].self_attn.k_proj.register_forward_hook(lambda *arguments: calls.append(1))
    decoded(model)
    assert len(calls) == 7


def test_a_row_of_a_batch_is_decoded_to_the_bits_it_has_alone():
    """Of int8 layers; attention and norms are torch's, which hold it for rows of one length."""
    model = quantize(gpt(), "int8", skip=())
    x = few(6)
    for layer in (model.layers[0].mlp, model.embed_tokens.project):
        assert torch.equal(layer(x), torch.cat([layer(row[None]) for row in x]))
