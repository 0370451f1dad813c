"""The RL stage's own estimators against enumeration, and the whole stage against the closed-form optimum."""

import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stages.exact_world import TabularPolicy, objective, optimum, sequences  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig, OptimConfig, RLConfig, RunConfig, SamplingConfig  # noqa: E402
from stategpt.data import ControlTokens  # noqa: E402
from stategpt.generate import Completion, Engine  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.policy import CompletionBatch, completion_log_probs, sum_by_sample  # noqa: E402
from stategpt.stages.rl.advantages import completion_weights  # noqa: E402
from stategpt.stages.rl.rollout import Rewards  # noqa: E402
from stategpt.stages.rl.update import RLTask  # noqa: E402
from stategpt.train.loop import LoopSettings, fit  # noqa: E402
from stategpt.train.losses import policy_gradient_loss  # noqa: E402
from stategpt.train.metrics import early_end  # noqa: E402

ACTIONS, END, LENGTH, BETA = (1, 2, 3, 4, 5), 0, 3, 0.3


def _world() -> tuple[list[tuple[int, ...]], TabularPolicy, TabularPolicy, torch.Tensor]:
    whole = sequences(ACTIONS, END, LENGTH)
    rewards = torch.randn(len(whole), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return whole, TabularPolicy(ACTIONS, END, LENGTH, 0.5, 1), TabularPolicy(ACTIONS, END, LENGTH, 0.5, 2), rewards


def _log_probs(policy: TabularPolicy, whole: list[tuple[int, ...]]) -> torch.Tensor:
    return torch.stack([policy.token_log_probs(sequence).sum() for sequence in whole])


def test_the_world_is_a_distribution() -> None:
    whole, policy, reference, rewards = _world()
    assert len(whole) == len(set(whole)) == 1 + 5 + 25 + 125
    log_probs = _log_probs(policy, whole)
    assert log_probs.exp().sum().item() == pytest.approx(1.0)
    assert objective(log_probs, _log_probs(reference, whole), rewards, BETA) < optimum(
        _log_probs(reference, whole).detach(), rewards, BETA
    )


def _enumerated_gradient(objective_name: str, k1_in_loss: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The expected gradient of the stage's loss over all pairs of samples, and the exact gradient of -J."""
    whole, policy, reference, rewards = _world()
    log_probs = _log_probs(policy, whole)
    (exact,) = torch.autograd.grad(-objective(log_probs, _log_probs(reference, whole), rewards, BETA), policy.logits)

    # All ordered pairs of samples of one prompt (K = 2), each with the probability of drawing it.
    count = len(whole)
    first, second = (
        index.flatten() for index in torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
    )
    pairs = torch.stack([first, second], dim=1).flatten()
    tokens = [policy.token_log_probs(sequence) for sequence in whole]
    ratios = (log_probs - _log_probs(reference, whole)).detach()
    config = RLConfig(objective=objective_name, completions=2, beta=BETA)  # type: ignore[arg-type]
    weights, idle = completion_weights(rewards[pairs], ratios[pairs], config)
    assert idle == pytest.approx(1 / count), "only a sample met by itself has no variance"
    drawn = (log_probs[first] + log_probs[second]).exp().detach().repeat_interleave(2)
    # A sequence's tokens all carry its weight, summed over the pairs in which it stands.
    per_sequence = torch.zeros(count, dtype=torch.float64).index_add(0, pairs, weights * drawn)
    lengths = torch.tensor([len(sequence) for sequence in whole])
    token_log_probs = torch.cat(tokens)
    loss = policy_gradient_loss(
        token_log_probs, token_log_probs.detach(), per_sequence.repeat_interleave(lengths), clip_ratio=0.2
    )
    (expected,) = torch.autograd.grad(loss, policy.logits)
    return expected.flatten(), exact.flatten()


@pytest.mark.parametrize("objective_name", ["rloo", "reward_weighted"])
def test_the_expected_gradient_is_that_of_the_enumerated_objective(objective_name: str) -> None:
    expected, exact = _enumerated_gradient(objective_name)
    assert torch.cosine_similarity(expected, exact, dim=0).item() > 0.999999


def test_reward_weighting_and_leave_one_out_differ_only_in_variance() -> None:
    weighted, exact = _enumerated_gradient("reward_weighted")
    assert (weighted / 2).tolist() == pytest.approx(exact.tolist(), abs=1e-12), (
        "two samples a prompt: twice the gradient"
    )


def test_k1_in_the_loss_would_have_no_gradient() -> None:
    whole, policy, reference, _ = _world()
    log_probs = _log_probs(policy, whole)
    k1_as_loss = (log_probs.exp().detach() * (log_probs - _log_probs(reference, whole).detach())).sum()
    (gradient,) = torch.autograd.grad(k1_as_loss, policy.logits)
    assert gradient.abs().max().item() < 1e-12


def test_sums_by_sample_recover_sequence_log_probabilities() -> None:
    whole, policy, _, _ = _world()
    tokens = [policy.token_log_probs(sequence) for sequence in whole]
    owner = torch.repeat_interleave(torch.arange(len(whole)), torch.tensor([len(t) for t in tokens]))
    sums = sum_by_sample(torch.cat(tokens), owner, len(whole))
    assert torch.allclose(sums, _log_probs(policy, whole))


class _Scorer:
    """Rewards by table: what the reward model is in a world that can be enumerated."""

    def __init__(self, table: dict[tuple[int, ...], float]) -> None:
        self.table = table

    def __call__(self, numbers: Sequence[int], completions: Sequence[Completion]) -> np.ndarray:
        return np.array([self.table[tuple(c.ids.tolist())] for c in completions], dtype=np.float32)


class _Tokenizer:
    """The sixteen control tokens and five actions; no text."""

    special_tokens: ClassVar[dict[str, int]] = {name: i for i, name in enumerate(CONTROL_TOKENS)}
    vocab_size = 21

    def encode(self, text: str) -> np.ndarray:
        raise AssertionError("this world has no text")

    def decode(self, ids: np.ndarray) -> str:
        return ""


def _model_log_probs(
    model: GPT, prompt: np.ndarray, whole: list[tuple[int, ...]], control: ControlTokens
) -> torch.Tensor:
    batch = CompletionBatch.of(
        [prompt] * len(whole), [np.array(s, dtype=np.uint32) for s in whole], control.pad, torch.device("cpu")
    )
    tokens, _ = completion_log_probs(model, batch, 1.0, control.forbidden)
    return sum_by_sample(tokens.double(), batch.sample_M, batch.samples)


def _task(model_config: GPTConfig, config: RLConfig, scorer: Rewards) -> tuple[RLTask, GPT, GPT, NDArray[np.uint32]]:
    """The stage's task over a real GPT in this world; its policy, its reference and the one prompt."""
    torch.manual_seed(0)
    reference, policy = GPT(model_config), GPT(model_config)
    policy.load_state_dict(reference.state_dict())
    engine = Engine(policy, _Tokenizer())  # type: ignore[arg-type]
    prompt = np.array([0, engine.control.user, engine.control.assistant], dtype=np.uint32)
    prompts = [prompt] * config.prompts_per_step
    sampling = SamplingConfig(temperature=1.0, max_tokens=LENGTH)
    seed = RunConfig().seed
    task = RLTask(config, engine, reference.eval(), scorer, prompts, sampling=sampling, seed=seed)
    return task, policy, reference, prompt


def test_the_whole_stage_closes_the_gap_to_the_closed_form_optimum(
    small_world_config: GPTConfig, tmp_path: Path
) -> None:
    """RLTask, its sampler, its loop and a real GPT: at least 95 % of the way from the reference to beta log Z."""
    actions, steps = tuple(range(16, 21)), 300
    whole = sequences(actions, END, LENGTH)
    rewards = torch.randn(len(whole), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    config = RLConfig(
        steps=steps, prompts_per_step=16, completions=8, beta=BETA, max_kl=0.0,
        precision="float32", optim=OptimConfig(learning_rate=1e-3, warmup_steps=5, weight_decay=0.0, flat_fraction=0.4),
    )  # fmt: skip
    scorer = _Scorer({sequence: float(reward) for sequence, reward in zip(whole, rewards, strict=True)})
    task, policy, reference, prompt = _task(small_world_config, config, scorer)
    control = task.engine.control

    with torch.no_grad():
        start = _model_log_probs(reference, prompt, whole, control)
        assert start.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    fit(task, policy, LoopSettings(config.optim, tmp_path, "b3:exact-world", "float32", 10_000, 50))
    with torch.no_grad():
        end = _model_log_probs(policy.eval(), prompt, whole, control)
    at_start, at_end = (float(objective(p, start, rewards, BETA)) for p in (start, end))
    best = optimum(start, rewards, BETA)
    closed = (at_end - at_start) / (best - at_start)
    assert 0.95 <= closed <= 1.0, f"J went from {at_start:.3f} to {at_end:.3f}; the optimum is {best:.3f}"


class _Noise:
    """A reward that is the same for every completion, but for `units` in the last place of float32."""

    def __init__(self, reward: float, units: int) -> None:
        self.reward, self.units = np.float32(reward), units

    def __call__(self, numbers: Sequence[int], completions: Sequence[Completion]) -> np.ndarray:
        units = np.array([sum(c.ids.tolist()) % (self.units + 1) for c in completions], dtype=np.float32)
        return (self.reward + units * np.spacing(self.reward)).astype(np.float32)


@pytest.mark.parametrize("units", [0, 8])
@pytest.mark.parametrize("completions", [3, 7, 8, 16])
def test_a_constant_reward_does_not_move_the_policy(
    completions: int, units: int, small_world_config: GPTConfig, tmp_path: Path
) -> None:
    config = RLConfig(
        steps=3, prompts_per_step=2, completions=completions, beta=0.0, max_kl=0.0,
        precision="float32", optim=OptimConfig(learning_rate=1e-3, warmup_steps=0, weight_decay=0.0),
    )  # fmt: skip
    for number, reward in enumerate((0.1, 0.3, 0.7, 0.95, -2.3, 1e4)):
        folder = tmp_path / str(number)
        task, policy, reference, _ = _task(small_world_config, config, _Noise(reward, units))
        fit(task, policy, LoopSettings(config.optim, folder, "b3:constant", "float32", 10_000, 1))
        for name, tensor in reference.state_dict().items():
            assert torch.equal(policy.state_dict()[name], tensor), f"reward {reward} moved {name}"
        assert task.step_metrics()["zero_variance_share"] == 1.0


def test_a_policy_beyond_the_limit_of_kl_ends_the_stage_with_the_one_before(
    small_world_config: GPTConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = sequences(tuple(range(16, 21)), END, LENGTH)
    scorer = _Scorer({sequence: float(sequence[0] == 16) for sequence in whole})
    config = RLConfig(
        steps=40, prompts_per_step=4, completions=8, beta=0.0, max_kl=0.4, precision="float32",
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=0, weight_decay=0.0),
    )  # fmt: skip

    def train(folder: Path, stop_after: int = 0) -> tuple[GPT, list[float], list[dict[str, torch.Tensor]], str]:
        task, policy, _, _ = _task(small_world_config, config, scorer)
        kls, weights = [], []

        def hook(step: int) -> None:
            kls.append(task.step_metrics().get("kl_nats_per_completion", 0.0))
            weights.append({name: tensor.clone() for name, tensor in policy.state_dict().items()})
            if stop_after and step == stop_after:
                signal.raise_signal(signal.SIGTERM)

        with suppress(SystemExit):
            fit(task, policy, LoopSettings(config.optim, folder, "b3:limit", "float32", 100, 10), hook)
        return policy, kls, weights, task.ended()

    policy, kls, weights, reason = train(tmp_path / "straight")
    end = len(kls) - 1
    assert 2 < end < config.steps
    assert kls[end] > config.max_kl >= max(kls[:end]), "the first rollout beyond the limit is the last"
    assert "above rl.max_kl = 0.4" in reason
    assert reason in " ".join(capsys.readouterr().err.split())
    line = early_end(tmp_path / "straight" / "metrics.jsonl")
    assert line is not None
    assert (line["step"], line["kl_nats_per_completion"]) == (end, pytest.approx(kls[end]))
    # The rollout before, within the limit, was of the weights after end - 2 updates.
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, weights[end - 2][name])

    train(tmp_path / "cut", stop_after=end - 1)
    assert early_end(tmp_path / "cut" / "metrics.jsonl") is None
    resumed, _, _, again = train(tmp_path / "cut")
    assert again == reason
    for name, tensor in policy.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), "a resumed run ends with the same policy"
