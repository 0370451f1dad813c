"""The distribution over the ids that a token was drawn among, and what policy gradients need of it."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="policies need the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import SampledRow, Sampling, draw  # noqa: E402
from stategpt.model.kept_sets import KeptSet, log_probs_within  # noqa: E402


def logits_of(rows, vocabulary, seed=0):
    return 2 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def test_the_shorter_list_of_ids_is_kept():
    few = KeptSet.of(np.array([True, False, False, True, False]))
    most = KeptSet.of(np.array([True, True, False, True, True]))
    assert (few.ids.tolist(), few.is_removed) == ([0, 3], False)
    assert (most.ids.tolist(), most.is_removed) == ([2], True)
    assert few.ids.dtype == np.uint32


def test_log_probabilities_are_those_of_the_renormalized_rest():
    logits = logits_of(3, 6)
    sets = [KeptSet.of(np.array(row, dtype=bool)) for row in ([1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1], [1] * 6)]
    found = log_probs_within(logits, sets, 0.7)
    for row, kept in enumerate(([0, 2], [0, 1, 2, 3, 5], list(range(6)))):
        expected = (logits[row, kept].double() / 0.7).log_softmax(0)
        torch.testing.assert_close(found[row, kept].double(), expected, rtol=0, atol=1e-6)
        assert (found[row].exp() > 0).nonzero()[:, 0].tolist() == kept


def test_gradients_reach_kept_ids_only():
    logits = logits_of(2, 5).requires_grad_()
    sets = [KeptSet.of(np.array(row, dtype=bool)) for row in ([1, 1, 0, 0, 0], [1, 1, 1, 1, 0])]
    log_probs_within(logits, sets)[:, 1].sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad != 0).tolist() == [[True, True, False, False, False], [True, True, True, True, False]]


LIMITS = [{"top_p": 0.8}, {"top_k": 5}, {"min_p": 0.1}, {"typical_p": 0.6}, {"top_p": 0.9, "top_k": 7, "min_p": 0.02}]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_mean_ratio_over_kept_sets_is_one(limits, temperature):
    """Every token that can be drawn, weighed by its probability: mean of new / old, new being another policy."""
    vocabulary, rows = 40, 8
    old, new = logits_of(rows, vocabulary, 1), logits_of(rows, vocabulary, 2)
    settings = Sampling(temperature, forbidden=(0, 3), seed=2, **limits)
    drawn = draw(old, [SampledRow(settings, sample=row) for row in range(rows)], keep_sets=True)
    old_log_probs = log_probs_within(old, drawn.kept, temperature)
    chosen = old_log_probs.gather(1, drawn.ids_M[:, None])[:, 0]
    torch.testing.assert_close(chosen, drawn.log_probs_M, rtol=0, atol=2e-6)
    ratio = (log_probs_within(new, drawn.kept, temperature).double() - old_log_probs.double()).exp()
    mean = torch.where(old_log_probs > -math.inf, old_log_probs.double().exp() * ratio, 0.0).sum(-1)
    torch.testing.assert_close(mean, torch.ones(rows, dtype=torch.float64), rtol=0, atol=1e-6)
    unaware = ((new / temperature).double().log_softmax(-1) - old_log_probs.double()).exp()
    wrong = torch.where(old_log_probs > -math.inf, old_log_probs.double().exp() * unaware, 0.0).sum(-1)
    assert (wrong < 0.999).all()


def test_the_mean_ratio_of_two_tokens_in_a_row_is_one():
    """All pairs of tokens: the second token's kept set depends on the first."""
    vocabulary = 6
    tables = [[logits_of(1, vocabulary, 10 * policy + first) for first in range(vocabulary + 1)] for policy in (1, 2)]
    total = 0.0
    settings = Sampling(top_p=0.7)
    states = [(0, None, 0.0)]
    for first, before, ratio_before in states:
        logits = [table[first] for table in tables]
        kept = draw(logits[0], [SampledRow(settings)], keep_sets=True).kept
        old, new = (log_probs_within(part, kept).double()[0] for part in logits)
        for token in (old > -math.inf).nonzero()[:, 0].tolist():
            ratio = ratio_before + float(new[token] - old[token])
            if before is None:
                states.append((token + 1, float(old[token]), ratio))
            else:
                total += math.exp(before + float(old[token]) + ratio)
    assert total == pytest.approx(1.0, abs=1e-6)


def test_removed_ids_are_listed_where_nothing_is_truncated():
    drawn = draw(torch.zeros(1, 200), [SampledRow(Sampling(forbidden=(3, 9)))], keep_sets=True)
    assert (drawn.kept[0].ids.tolist(), drawn.kept[0].is_removed) == ([3, 9], True)
    assert draw(torch.zeros(1, 200), [SampledRow(Sampling())]).kept == [None]


def test_sets_that_do_not_fit_are_refused():
    kept = KeptSet(np.array([4], dtype=np.uint32), False)
    with pytest.raises(InvalidArgument, match="id 4"):
        log_probs_within(torch.zeros(1, 4), [kept])
    with pytest.raises(InvalidArgument, match="1 kept sets for 2 rows"):
        log_probs_within(torch.zeros(2, 5), [kept])
    with pytest.raises(InvalidArgument, match="temperature 0"):
        log_probs_within(torch.zeros(1, 5), [kept], 0.0)
