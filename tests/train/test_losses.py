"""Losses and estimators against closed forms."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.model.policy import sum_by_sample  # noqa: E402
from stategpt.train.losses import (  # noqa: E402
    constant_groups,
    kl_penalized_rewards,
    leave_one_out_advantages,
    next_token_loss,
    policy_gradient_loss,
    ranking_loss,
)


def test_next_token_loss_is_the_summed_negative_log_probability() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])
    loss = next_token_loss(logits, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(-math.log(0.75) - math.log(0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_next_token_loss_and_its_gradient_equal_torchs_cross_entropy_in_float32(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(31, 257, generator=generator)).to(dtype).requires_grad_()
    targets = torch.randint(0, 257, (31,), generator=generator)
    expected = F.cross_entropy(logits.float(), targets, reduction="sum")
    loss = next_token_loss(logits, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    # A step divides by its targets, so the gradient that arrives is not 1.
    (gradient,) = torch.autograd.grad(loss / 7, logits)
    (expected_gradient,) = torch.autograd.grad(expected / 7, logits)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


def test_a_micro_batch_without_targets_gives_zero_with_a_graph() -> None:
    logits = torch.empty(0, 7, requires_grad=True)
    loss = next_token_loss(logits, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0


def test_ranking_loss_is_bradley_terry_with_weight_one_per_prompt() -> None:
    # One prompt of 3 pairs at weight 1/3, one of a single pair at weight 1.
    scores = torch.tensor([2.0, 1.0, 0.0, 0.5, 0.0])
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2], [3, 4]])
    weights = torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0])

    def nats(margin: float) -> float:
        return math.log1p(math.exp(-margin))

    expected = (nats(1) + nats(2) + nats(1)) / 3 + nats(0.5)
    assert ranking_loss(scores, pairs, weights).item() == pytest.approx(expected, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-30, 30), min_size=2, max_size=6), min_size=1, max_size=4), st.integers(0, 5))
def test_every_prompt_weighs_one_and_what_lies_around_its_scores_does_not_matter(
    rewards: list[list[float]], padding: int
) -> None:
    scores, pairs, weights, expected = [], [], [], 0.0
    for of_prompt in rewards:
        scores += [1e4] * padding
        ordered = [(a, b) for a in range(len(of_prompt)) for b in range(a + 1, len(of_prompt))]
        pairs += [(len(scores) + a, len(scores) + b) for a, b in ordered]
        weights += [1 / len(ordered)] * len(ordered)
        expected += sum(math.log1p(math.exp(of_prompt[b] - of_prompt[a])) for a, b in ordered) / len(ordered)
        scores += of_prompt
    loss = ranking_loss(torch.tensor(scores), torch.tensor(pairs), torch.tensor(weights))
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_ranking_loss_survives_margins_that_overflow_a_naive_formula() -> None:
    scores = torch.tensor([0.0, 5000.0], requires_grad=True)
    loss = ranking_loss(scores, torch.tensor([[0, 1]]), torch.ones(1))
    loss.backward()
    assert loss.item() == 5000.0
    assert scores.grad is not None
    assert scores.grad.tolist() == [-1.0, 1.0]


def test_ranking_loss_is_computed_in_float32_whatever_the_scores_are() -> None:
    scores = torch.tensor([0.001, 0.0], dtype=torch.bfloat16)
    assert ranking_loss(scores, torch.tensor([[0, 1]]), torch.ones(1)).dtype == torch.float32


def test_leave_one_out_subtracts_the_mean_of_the_others() -> None:
    advantages = leave_one_out_advantages(torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0]), 3)
    assert advantages.tolist() == [1 - 4.0, 2 - 3.5, 6 - 1.5, 0.0, 0.0, 0.0]


@given(
    st.integers(2, 16),
    st.floats(-(2.0**100), 2.0**100, width=32),
    st.lists(st.integers(-8, 8), min_size=16, max_size=16),
)
def test_a_group_whose_rewards_differ_by_rounding_has_advantage_zero(k: int, reward: float, units: list[int]) -> None:
    equal = torch.full((k,), reward)
    assert leave_one_out_advantages(equal, k).tolist() == [0.0] * k
    noise = torch.tensor(units[:k]) * torch.finfo(torch.float32).eps * abs(reward)
    assert leave_one_out_advantages(equal + noise, k).tolist() == [0.0] * k


def test_a_difference_above_rounding_is_one() -> None:
    rewards = torch.tensor([1.0, 1.0, 1.0001, 1.0])
    assert leave_one_out_advantages(rewards, 4)[2].item() == pytest.approx(1e-4, rel=0.01)
    assert constant_groups(rewards, 2).tolist() == [True, False]


def test_what_canceled_is_rounded_as_its_terms_were() -> None:
    residue = torch.tensor([0.0, 1e-6, -1e-6, 0.0])
    assert not constant_groups(residue, 4).any()
    assert constant_groups(residue, 4, torch.ones(4)).all()
    assert leave_one_out_advantages(residue, 4, torch.ones(4)).tolist() == [0.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_advantages_do_not_change_with_a_constant_added_to_the_rewards(dtype: torch.dtype) -> None:
    rewards = torch.tensor([0.5, -1.25, 2.0, 0.75, 4.0, 0.0], dtype=dtype)
    torch.testing.assert_close(leave_one_out_advantages(rewards + 8, 3), leave_one_out_advantages(rewards, 3))


def test_leave_one_out_needs_two_samples_of_every_prompt() -> None:
    with pytest.raises(InvalidArgument, match="at least 2 completions"):
        leave_one_out_advantages(torch.ones(3), 1)
    with pytest.raises(InvalidArgument, match="5 rewards with 4 completions"):
        leave_one_out_advantages(torch.ones(5), 4)


def test_the_kl_penalty_carries_no_gradient() -> None:
    log_ratio = torch.tensor([0.5, -0.5], requires_grad=True)
    penalised = kl_penalized_rewards(torch.tensor([1.0, 1.0]), log_ratio, beta=0.1)
    assert penalised.tolist() == pytest.approx([0.95, 1.05])
    assert not penalised.requires_grad


def test_on_policy_the_gradient_is_reinforce() -> None:
    log_probs = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantages = torch.tensor([3.0, -4.0])
    policy_gradient_loss(log_probs, log_probs.detach(), advantages, clip_ratio=0.2).backward()
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == [-3.0, 4.0]


def test_the_clip_stops_the_gradient_only_where_it_would_go_further() -> None:
    sampled = torch.zeros(4)
    log_probs = torch.tensor([0.5, 0.5, -0.5, -0.5], requires_grad=True)  # ratios 1.65, 1.65, 0.61, 0.61
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    policy_gradient_loss(log_probs, sampled, advantages, clip_ratio=0.2).backward()
    assert log_probs.grad is not None
    moved = [bool(g != 0) for g in log_probs.grad]
    assert moved == [False, True, True, False]


def test_sum_by_sample_adds_each_samples_tokens() -> None:
    assert sum_by_sample(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 2]), 3).tolist() == [1.0, 0.0, 6.0]
