"""Cross-entropy of a prediction matrix by chunks: the plain computation in float64, and bytes."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.ops import linear_cross_entropy, logit_rows  # noqa: E402
from stategpt.ops.linear_cross_entropy import chunk_rows  # noqa: E402

M, W, V = 75, 16, 601


def _inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(M, W, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, W, generator=generator, dtype=torch.float64)
    targets = torch.randint(V, (M,), generator=generator)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def _results(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss / 7, inputs)]


def _plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden.double(), weight.double()), targets, reduction="sum")


@pytest.mark.parametrize("rows", [1, 20, 74, 75, 1000, None])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_are_those_of_the_plain_computation(
    rows: int | None, dtype: torch.dtype, tolerance: float
) -> None:
    hidden, weight, targets = _inputs(dtype)
    found = _results(linear_cross_entropy(hidden, weight, targets, rows), hidden, weight)
    for ours, theirs in zip(found, _results(_plain(hidden, weight, targets), hidden, weight), strict=True):
        assert ours.dtype == theirs.dtype or ours.ndim == 0
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=tolerance, atol=tolerance)


def test_under_autocast_products_are_bfloat16_and_gradients_of_the_inputs_format() -> None:
    hidden, weight, targets = _inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets, 20)
    found, expected = _results(loss, hidden, weight), _results(_plain(hidden, weight, targets), hidden, weight)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        error = float((ours.double() - theirs.double()).norm() / theirs.double().norm())
        assert 1e-6 < error < 1e-2


def test_weights_of_16_bits_get_gradients_of_16_bits() -> None:
    hidden, weight, targets = _inputs(torch.bfloat16)
    found = _results(linear_cross_entropy(hidden, weight, targets, 20), hidden, weight)
    assert [ours.dtype for ours in found] == [torch.float32, torch.bfloat16, torch.bfloat16]
    for ours, theirs in zip(found, _results(_plain(hidden, weight, targets), hidden, weight), strict=True):
        assert float((ours.double() - theirs.double()).norm() / theirs.double().norm()) < 2e-2


def test_a_target_without_probability_is_computed_from_its_logit() -> None:
    hidden = torch.tensor([[200.0], [0.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(400.0 + 0.693147, rel=1e-6)


def test_no_rows_give_zero_with_a_graph() -> None:
    hidden, weight, targets = _inputs()
    loss = linear_cross_entropy(hidden[:0], weight, targets[:0])
    assert loss.item() == 0.0
    assert bool((torch.autograd.grad(loss, weight)[0] == 0).all())


def test_a_second_backward_is_refused() -> None:
    hidden, weight, targets = _inputs()
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(InvalidArgument, match="has given its gradients"):
        loss.backward()


def test_chunks_are_a_caches_size_and_within_memory() -> None:
    assert chunk_rows(4096) == 256
    assert chunk_rows(1024) * 1024 * 4 == 4 * 2**20
    assert chunk_rows(49_152) == 256
    assert chunk_rows(151_936) == logit_rows(151_936) < 256


class Made(TorchDispatchMode):
    """Bytes of every tensor that an operation makes, by its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor) and tensor.data_ptr() not in {x.data_ptr() for x in _tensors(args)}:
                self.shapes.append(tuple(tensor.shape))
                self.largest = max(self.largest, tensor.nbytes)
        return made


def _tensors(values) -> list[Tensor]:  # type: ignore[no-untyped-def]
    return [value for value in values if isinstance(value, Tensor)]


def test_no_logits_of_all_rows_and_no_gradient_of_a_frozen_matrix() -> None:
    hidden, weight, targets = _inputs(torch.float32)
    frozen = weight.detach()
    with Made() as made:
        loss = linear_cross_entropy(hidden, frozen, targets, 10)
        loss.backward()
    assert made.largest == 10 * V * 4  # a chunk's logits are the largest tensor
    assert (V, W) not in made.shapes
    assert hidden.grad is not None
    expected = torch.autograd.grad(_plain(hidden, weight, targets), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected.float(), rtol=1e-5, atol=1e-5)
    with Made() as made, torch.no_grad():
        linear_cross_entropy(hidden, weight, targets, 10)
    assert (M, W) not in made.shapes, "no gradient where none is wanted"
