"""Initial weights: sizes of what flows through, and a start without opinions."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
import torch.nn.functional as F  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(depth=4, width=256, heads=4, kv_heads=2, head_dim=64, tied_embeddings=request.param))


def test_the_first_loss_is_that_of_a_uniform_guess(model):
    tokens, targets = torch.randint(0, 4096, (2, 256))
    loss = F.cross_entropy(model(tokens, TensorLayout.of(Layout.packed([[256]], 256))), targets)
    assert float(loss.detach()) == pytest.approx(math.log(4096), abs=0.1)


def test_a_linear_layer_keeps_the_size_of_a_normed_input(model):
    block = model.layers[0]
    normed = torch.randn(512, 256)
    for layer in (block.self_attn.q_proj, block.mlp.gate_proj, block.mlp.up_proj):
        assert float(layer(normed).std().detach()) == pytest.approx(1.0, abs=0.05)


def test_projections_into_the_stream_are_smaller_by_the_root_of_their_number(model):
    block = model.layers[-1]
    for layer in (block.self_attn.o_proj, block.mlp.down_proj):
        expected = (2 * 4 * layer.in_features) ** -0.5
        assert float(layer.weight.std().detach()) == pytest.approx(expected, rel=0.05)


def test_the_same_seed_gives_the_same_weights():
    def built(seed: int) -> list:
        torch.manual_seed(seed)
        return [p.detach() for p in GPT(GPTConfig(depth=1, width=32, heads=2, kv_heads=1, head_dim=16)).parameters()]

    assert all(torch.equal(a, b) for a, b in zip(built(1), built(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(built(1), built(2), strict=True))
