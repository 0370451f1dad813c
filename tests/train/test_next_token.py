"""What pretraining and SFT train on: the loss at the targets alone, whole or by chunks of rows."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

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
