"""What pretraining and SFT train on: the loss at the targets alone, whole or by chunks of rows."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from torch import nn  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT, autocast  # noqa: E402
from stategpt.model.token_batch import TokenBatch, pad_sequences  # noqa: E402
from stategpt.ops import row_chunks  # noqa: E402
from stategpt.train.next_token import NextTokenTask  # noqa: E402

CONFIG = GPTConfig(vocab_size=101, depth=2, width=16, heads=4, kv_heads=2, head_dim=4, mlp_width=24)


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG)


@pytest.fixture
def batch() -> TokenBatch:
    """Two rows of 24 tokens, 35 targets."""
    draw = np.random.default_rng(0)
    rows = pad_sequences([draw.integers(2, 101, length) for length in (24, 20)], pad=1)
    mask = np.arange(48) % 4 != 0
    mask[44:] = False
    mask[:2] = True
    tokens_N, layout = rows.tensors(torch.device("cpu"))
    index, targets = np.flatnonzero(mask), draw.integers(0, 101, 48)
    return TokenBatch(tokens_N, layout, torch.from_numpy(index), torch.from_numpy(targets[index]))


class NoBatches:
    steps = 0

    def updates(self, step):
        return []


def loss_and_gradients(model, batch, precision="float32"):
    with autocast(precision, "cpu"):
        loss = NextTokenTask("pretrain", model, NoBatches()).loss(batch).total
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_the_loss_is_the_sum_at_the_targets(model, batch):
    logits = model(batch.tokens_N, batch.layout)[batch.target_index_M]
    expected = torch.nn.functional.cross_entropy(logits, batch.targets_M, reduction="sum")
    torch.testing.assert_close(loss_and_gradients(model, batch)[0], expected.detach())


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_large_vocabularies_go_in_chunks_with_equal_gradients(model, batch, monkeypatch, precision, tolerance):
    whole_loss, whole = loss_and_gradients(model, batch, precision)
    rows = []
    unembed = model.unembed
    monkeypatch.setattr(model, "unembed", lambda hidden: rows.append(len(hidden)) or unembed(hidden))
    monkeypatch.setattr(row_chunks, "MAX_LOGITS_BYTES", 10 * 4 * CONFIG.vocab_size)
    loss, chunked = loss_and_gradients(model, batch, precision)
    assert sum(rows) == 2 * batch.target_count
    assert max(rows) <= 10
    torch.testing.assert_close(loss, whole_loss, rtol=1e-5, atol=0)
    for name, gradient in whole.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(chunked[name], gradient, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("tied", [True, False])
def test_the_prediction_matrix_is_used_as_it_is_or_called(batch, tied):
    """An adapter, a hook or a cap has to be computed; the loss then comes through `unembed`, and is the same."""
    torch.manual_seed(0)
    model = GPT(replace(CONFIG, tied_embeddings=tied))
    plain_loss, plain = loss_and_gradients(model, batch)
    head = model.embed_tokens if tied else model.lm_head
    assert model.prediction_matrix is head.weight
    called = []
    head.register_forward_hook(lambda *_: called.append(1))
    assert model.prediction_matrix is None
    loss, gradients = loss_and_gradients(model, batch)
    assert called
    torch.testing.assert_close(loss, plain_loss)
    for name, gradient in plain.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5)


def test_an_adapter_on_the_head_gets_its_gradient_and_the_frozen_matrix_none(batch):
    torch.manual_seed(0)
    model = GPT(replace(CONFIG, tied_embeddings=False)).requires_grad_(False)
    a, b = nn.Linear(16, 2, bias=False), nn.Linear(2, 101, bias=False)

    class Adapted(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base, self.a, self.b = base, a, b

        def forward(self, x):
            return self.base(x) + self.b(self.a(x))

    model.lm_head = Adapted(model.lm_head)
    loss = NextTokenTask("sft", model, NoBatches()).loss(batch).total
    loss.backward()
    hidden = model.hidden(batch.tokens_N, batch.layout)[batch.target_index_M].double()
    weight = model.lm_head.base.weight.double() + b.weight.double() @ a.weight.double()
    expected = torch.nn.functional.cross_entropy(hidden @ weight.T, batch.targets_M, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        "lm_head.a.weight",
        "lm_head.b.weight",
    }


def test_a_frozen_matrix_gets_no_gradient_and_the_blocks_theirs(batch):
    torch.manual_seed(0)
    model = GPT(replace(CONFIG, tied_embeddings=False))
    _, whole = loss_and_gradients(model, batch)
    model.zero_grad()
    model.lm_head.requires_grad_(False)
    NextTokenTask("sft", model, NoBatches()).loss(batch).total.backward()
    assert model.lm_head.weight.grad is None
    for name, parameter in model.named_parameters():
        if not name.startswith("lm_head"):
            torch.testing.assert_close(parameter.grad, whole[name])
