"""The sampler's distribution as training sees it."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.model import log_probs  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_it_is_the_softmax_of_logits_over_temperature_with_forbidden_ids_left_out():
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    result = log_probs(logits, temperature=0.5, forbidden=(2,))
    weights = [math.exp(2.0), math.exp(4.0), 0.0, math.exp(0.0)]
    expected = torch.tensor([[weight / sum(weights) for weight in weights]])
    torch.testing.assert_close(result.exp(), expected)
    assert result[0, 2] == float("-inf")


def test_logits_are_not_changed():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    log_probs(logits, 1.0, forbidden=(0,))
    assert logits.tolist() == [[1.0, 2.0, 3.0]]


def test_the_gradient_is_finite_and_none_reaches_a_forbidden_id():
    logits = torch.randn(3, 5, requires_grad=True)
    log_probs(logits, 0.7, forbidden=(1, 4))[:, 2].sum().backward()
    assert bool(torch.isfinite(logits.grad).all())
    assert logits.grad[:, [1, 4]].tolist() == [[0.0, 0.0]] * 3


def test_bfloat16_logits_are_divided_and_normalised_in_float32():
    logits = torch.randn(2, 7).bfloat16()
    torch.testing.assert_close(log_probs(logits, 0.7), (logits.float() / 0.7).log_softmax(dim=-1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_of_zero_or_less_is_refused(temperature):
    with pytest.raises(InvalidArgument, match="temperature"):
        log_probs(torch.zeros(1, 2), temperature)
