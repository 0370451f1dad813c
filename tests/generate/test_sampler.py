"""Drawing tokens: truncation against a naive reference, inversion at its borders, randomness by counters."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import Sampler  # noqa: E402
from stategpt.generate.sampler import invert, truncate  # noqa: E402


def naive_truncation(probabilities: list[float], top_k: int | None, top_p: float | None) -> list[float]:
    """Likeliest first, smaller id first among equals; cut; renormalise."""
    order = sorted(range(len(probabilities)), key=lambda token: (-probabilities[token], token))
    order = order[:top_k]
    held = sum(probabilities[token] for token in order)
    kept, before = [], 0.0
    for token in order:
        if top_p is not None and before >= top_p:
            break
        kept.append(token)
        before += probabilities[token] / held
    total = sum(probabilities[token] for token in kept)
    return [probabilities[token] / total if token in kept else 0.0 for token in range(len(probabilities))]


@pytest.mark.parametrize("top_k", [None, 1, 3, 11, 50])
@pytest.mark.parametrize("top_p", [None, 1e-9, 0.3, 0.9, 1.0])
def test_truncation_equals_the_naive_reference(top_k, top_p):
    logits = torch.randn(6, 11, generator=torch.Generator().manual_seed(0))
    logits[1] = 0.0  # all equally likely
    logits[2, 3] = 20.0  # one takes nearly everything
    logits[3, 5:] = float("-inf")  # forbidden ones
    rows = truncate(logits.log_softmax(dim=-1), top_k, top_p).exp()
    for row, original in zip(rows, logits.double().softmax(dim=-1), strict=True):
        expected = torch.tensor(naive_truncation(original.tolist(), top_k, top_p))
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-6)


def test_truncation_breaks_ties_by_the_smaller_id():
    kept = truncate(torch.zeros(1, 4).log_softmax(dim=-1), top_k=2, top_p=None)
    assert torch.isfinite(kept).tolist() == [[True, True, False, False]]


def test_inversion_takes_the_first_token_whose_share_is_not_used_up():
    shares = torch.tensor([[0.5, 0.0, 0.25, 0.25]], dtype=torch.float64).log()
    borders = {0.0: 0, 0.4999: 0, 0.5: 2, 0.7499: 2, 0.75: 3, 1 - 2.0**-53: 3}
    for uniform, token in borders.items():
        assert invert(shares, torch.tensor([uniform], dtype=torch.float64)).item() == token


def test_inversion_never_draws_a_token_without_probability():
    shares = torch.tensor([[float("-inf"), 0.3, float("-inf")]]).log_softmax(dim=-1)
    for uniform in (0.0, 0.5, 1 - 2.0**-53):
        assert invert(shares, torch.tensor([uniform], dtype=torch.float64)).item() == 1


def test_a_rows_draw_depends_on_its_own_counters_only():
    sampler = Sampler(seed=5)
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    streams, samples = np.array([7, 3, 7, 0]), np.array([0, 1, 2, 0])
    together = sampler.draw(logits, streams, samples, position=9)
    for row in range(4):
        alone = sampler.draw(logits[row : row + 1], streams[row : row + 1], samples[row : row + 1], position=9)
        assert alone.ids_M.item() == together.ids_M[row].item()
    reseeded = [Sampler(seed=seed).draw(logits, streams, samples, 9).ids_M.tolist() for seed in range(5)]
    moved = [sampler.draw(logits, streams, samples, position).ids_M.tolist() for position in range(5)]
    assert len(set(map(tuple, reseeded))) == len(set(map(tuple, moved))) == 5


def test_the_log_probability_is_that_of_the_distribution_drawn_from():
    logits = torch.tensor([[1.0, 3.0, 2.0, 9.0]])
    drawn = Sampler(temperature=0.5, top_k=2, forbidden=(3,)).draw(logits, np.array([0]), np.array([0]), 0)
    weights = {1: math.exp(6.0), 2: math.exp(4.0)}
    expected = math.log(weights[drawn.ids_M.item()] / sum(weights.values()))
    assert drawn.log_probs_M.item() == pytest.approx(expected, abs=1e-6)


def test_temperature_zero_takes_the_likeliest_allowed_token():
    logits = torch.tensor([[1.0, 3.0, 2.0, 9.0]])
    drawn = Sampler(temperature=0, forbidden=(3,)).draw(logits, np.array([0]), np.array([0]), 0)
    assert drawn.ids_M.tolist() == [1]
    total = math.exp(1.0) + math.exp(3.0) + math.exp(2.0)
    assert drawn.log_probs_M.item() == pytest.approx(3.0 - math.log(total), abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(InvalidArgument, match=next(iter(settings))):
        Sampler(**settings)
