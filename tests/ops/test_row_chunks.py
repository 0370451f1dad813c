"""Losses by chunks of rows against the same computed whole: values, gradients, and the largest tensor that is made."""

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from stategpt.ops import by_row_chunks, logit_rows, next_token_loss_by_chunks, row_chunks  # noqa: E402

M, W, V = 37, 8, 50


class LargestTensor(TorchDispatchMode):
    """Remembers the largest count of numbers in one tensor that any operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return result


class Prediction:
    """A prediction matrix, hidden states and targets; counts the rows of every call of `unembed`."""

    def __init__(self, dtype=torch.float64, rows: int = M):
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(V, W, generator=generator, dtype=dtype).requires_grad_()
        self.hidden = torch.randn(rows, W, generator=generator, dtype=dtype).requires_grad_()
        self.targets = torch.randint(0, V, (rows,), generator=generator)
        self.calls: list[int] = []

    def unembed(self, hidden):
        self.calls.append(len(hidden))
        return hidden @ self.weight.T

    def gradients(self, max_rows: int):
        loss = next_token_loss_by_chunks(self.unembed, self.hidden, self.targets, max_rows)
        return loss, torch.autograd.grad(0.3 * loss, (self.hidden, self.weight))


@pytest.mark.parametrize("max_rows", [1, 2, 12, 18, 19, 36, 37, 1000])
def test_chunks_of_any_size_give_the_loss_and_the_gradients_of_the_whole(max_rows):
    ours = Prediction()
    expected = torch.nn.functional.cross_entropy((ours.hidden @ ours.weight.T).float(), ours.targets, reduction="sum")
    expected_gradients = torch.autograd.grad(0.3 * expected, (ours.hidden, ours.weight))
    loss, gradients = ours.gradients(max_rows)
    torch.testing.assert_close(loss, expected)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-6)
    assert max(ours.calls) <= max_rows


def test_what_fits_is_computed_once_and_whole():
    ours = Prediction()
    ours.gradients(M)
    assert ours.calls == [M]


def test_chunks_differ_by_one_row_and_are_computed_a_second_time_for_the_gradient():
    ours = Prediction()
    ours.gradients(M - 1)
    assert sorted(ours.calls) == [18, 18, 19, 19]
    ours.calls.clear()
    with torch.no_grad():
        next_token_loss_by_chunks(ours.unembed, ours.hidden, ours.targets, 10)
    assert ours.calls == [10, 9, 9, 9]


def test_no_tensor_is_larger_than_a_chunks_logits():
    ours = Prediction(rows=400)
    with LargestTensor() as largest:
        ours.gradients(10)
    assert largest.numbers == max(400 * W, 10 * V)  # the hidden states' gradient is larger here
    with LargestTensor() as whole:
        ours.gradients(400)
    assert whole.numbers == 400 * V


def test_no_logits_are_kept_for_the_backward_pass():
    ours = Prediction(rows=400)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        next_token_loss_by_chunks(ours.unembed, ours.hidden, ours.targets, 10)
    assert max(kept, default=0) <= V * W


def test_the_second_pass_computes_in_the_number_format_of_the_first():
    ours = Prediction(torch.float32)
    formats = set()

    def unembed(hidden):
        logits = ours.unembed(hidden)
        formats.add(logits.dtype)
        return logits

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = next_token_loss_by_chunks(unembed, ours.hidden, ours.targets, 10)
    torch.autograd.grad(loss, ours.weight)
    assert len(ours.calls) == 8
    assert formats == {torch.bfloat16}


def test_a_second_backward_is_right():
    """A chunk's probabilities become its gradient in place; the next backward pass makes them again."""
    ours = Prediction()
    loss = next_token_loss_by_chunks(ours.unembed, ours.hidden, ours.targets, 10)
    first = torch.autograd.grad(loss, ours.weight, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, ours.weight)[0], first)


def test_no_rows_give_zero_with_a_graph():
    ours = Prediction(rows=0)
    loss, gradients = ours.gradients(10)
    assert float(loss.detach()) == 0.0
    assert not gradients[1].any()


def test_several_results_a_row_are_concatenated_in_order():
    ours = Prediction()

    def nats_and_entropy(hidden, targets):
        log_probs = (hidden @ ours.weight.T).log_softmax(-1)
        return -log_probs.gather(1, targets[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(-1)

    whole = nats_and_entropy(ours.hidden, ours.targets)
    chunked = by_row_chunks(nats_and_entropy, (ours.hidden, ours.targets), 5)
    weights = torch.arange(M) - 17.0
    for ours_M, expected_M in zip(chunked, whole, strict=True):
        torch.testing.assert_close(ours_M, expected_M)
        found, expected = (
            torch.autograd.grad((x * weights).sum(), ours.hidden, retain_graph=True)[0] for x in (ours_M, expected_M)
        )
        torch.testing.assert_close(found, expected)


def test_the_rows_follow_from_the_vocabulary():
    assert logit_rows(4096) * 4096 * 4 == row_chunks.MAX_LOGITS_BYTES
    assert logit_rows(151_936) == 110
    assert logit_rows(1 << 40) == 1
