"""The RL stage: what it samples is what it scores and what it trains on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.artifacts import Measurements, RunFolder, read_lines  # noqa: E402
from stategpt.config import CONTROL_TOKENS, RLConfig, RunConfig, SamplingConfig  # noqa: E402
from stategpt.config.stages import Objective  # noqa: E402
from stategpt.data import ChatTemplate, chat_prompt  # noqa: E402
from stategpt.data.corpus import Corpus  # noqa: E402
from stategpt.evaluate import FrontierProbe, RewardScorer  # noqa: E402
from stategpt.evaluate.records import FrontierPoint  # noqa: E402
from stategpt.evaluate.statistics import Interval  # noqa: E402
from stategpt.generate import Completion  # noqa: E402
from stategpt.model import GPT, RewardModel, SpecialIds  # noqa: E402
from stategpt.model.policy import CompletionBatch, completion_log_probs, log_ratios, sum_by_sample  # noqa: E402
from stategpt.stages import rl as stage  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.rl import policy_seed, rl  # noqa: E402
from stategpt.stages.rl import rollout as rollout_module  # noqa: E402
from stategpt.stages.rl.advantages import OBJECTIVES, completion_weights  # noqa: E402
from stategpt.stages.rl.rollout import prompts_of_step  # noqa: E402
from stategpt.stages.rl.update import RLTask, WeightedBatch  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.train.loop import LoopSettings, _accumulate  # noqa: E402
from stategpt.train.losses import leave_one_out_advantages  # noqa: E402

CONFIG = RLConfig(steps=2, prompts_per_step=3, completions=4, precision="float32", max_kl=0.0)


@pytest.fixture
def task(inputs: StageContext, model: GPT, corpus: Corpus) -> RLTask:
    torch.manual_seed(2)
    reference, judge = GPT(model.config), RewardModel(GPT(model.config))
    reference.load_state_dict(model.state_dict())
    prompts = [chat_prompt(inputs.tok, pair.prompt()) for pair in corpus.conversations["train"][:20]]
    return _task(inputs, model, reference, judge, prompts)


def _task(inputs: StageContext, policy: GPT, reference: GPT, judge: RewardModel, prompts: list[np.ndarray]) -> RLTask:
    engine, run, scorer = inputs.engine(policy), inputs.run, RewardScorer(judge, inputs.tok)

    def rewards(numbers: Sequence[int], completions: Sequence[Completion]) -> np.ndarray:
        return scorer.scores([prompts[i] for i in numbers], [completion.ids for completion in completions])

    return RLTask(CONFIG, engine, reference.eval(), rewards, prompts, sampling=run.sampling, seed=run.seed)


def _rollout(task: RLTask, step: int = 0) -> WeightedBatch:
    ((rollout,),) = list(task.updates(step))
    return rollout


def test_sampled_ids_are_trained_on_as_they_are(task: RLTask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    generate = task.engine.generate

    def record(*args, **kwargs):  # type: ignore[no-untyped-def]
        seen.extend(generate(*args, **kwargs))
        return seen

    monkeypatch.setattr(task.engine, "generate", record)
    rollout = _rollout(task)
    assert rollout.batch.ids_M.tolist() == [int(i) for completion in seen for i in completion.ids]
    assert len(seen) == 12


def test_end_of_text_is_an_action_that_is_trained(task: RLTask) -> None:
    end = task.engine.control.end_of_text
    # A fresh model ends early by chance somewhere in a few dozen samples.
    rollouts = [_rollout(task, step).batch for step in range(12)]
    ended = [batch for batch in rollouts if (batch.ids_M == end).any()]
    assert ended, "no sample ended; the test saw nothing"
    for batch in ended:
        places = torch.nonzero(batch.ids_M == end).flatten()
        last_of_sample = torch.cat([batch.sample_M[1:] != batch.sample_M[:-1], torch.tensor([True])])
        assert last_of_sample[places].all(), "end of text only ever ends a completion"


def test_no_control_token_is_ever_sampled(task: RLTask) -> None:
    sampled = set(torch.cat([_rollout(task, step).batch.ids_M for step in range(8)]).tolist())
    assert not sampled & set(task.engine.control.forbidden)


def test_the_ratio_of_the_first_minibatch_is_one(task: RLTask) -> None:
    rollout = _rollout(task)
    assert task.loss(rollout).metrics["ratio_mean"] / task.weight(rollout) == pytest.approx(1.0, abs=1e-6)


def test_the_sampler_and_the_training_forward_agree(task: RLTask) -> None:
    _rollout(task)
    assert task.step_metrics()["sampler_gap_nats"] < 1e-4


def test_a_padded_vocabulary_is_one_distribution_for_sampler_trainer_and_judge(
    recipe: RunConfig, corpus: Corpus, tmp_path: Path
) -> None:
    texts = [text for source in sorted(corpus.sources) for text in corpus.sources[source].texts("train")]
    small = Tokenizer.train(texts, vocab_size=300, special_tokens=list(CONTROL_TOKENS))
    inputs = StageContext(recipe, RunFolder(tmp_path), small, ChatTemplate.own(small), torch.device("cpu"))
    prompts = [chat_prompt(small, pair.prompt()) for pair in corpus.conversations["train"][:6]]
    torch.manual_seed(0)
    policy, reference, judge = GPT(recipe.model), GPT(recipe.model), RewardModel(GPT(recipe.model))
    assert (small.vocab_size, recipe.model.vocab_size) == (300, 512)
    # An end id of the model's own is an action, as end of text is.
    policy.special_ids = reference.special_ids = SpecialIds(eos=(inputs.control.end_of_text, inputs.control.user))
    task = _task(inputs, policy, reference, judge, prompts)
    rollout = _rollout(task)
    assert task.step_metrics()["sampler_gap_nats"] < 1e-5
    assert rollout.batch.ids_M.max() < 300
    assert set(task.forbidden) == {*inputs.control.forbidden, *range(300, 512)} - {inputs.control.user}

    sampled = task.engine.generate(prompts, temperature=0.7, max_tokens=10, seed=1)
    ids = [completion.ids for completion in sampled]
    ratios = log_ratios(policy, reference, prompts, ids, temperature=0.7, tok=small)
    batch = CompletionBatch.of(prompts, ids, inputs.control.pad, inputs.device)
    with torch.no_grad():
        theirs, _ = completion_log_probs(reference, batch, 0.7, task.forbidden)
    theirs_S = sum_by_sample(theirs, batch.sample_M, batch.samples)
    ours_S = np.array([completion.log_probs.sum() for completion in sampled])
    assert (ours_S - theirs_S.numpy()) == pytest.approx(ratios, abs=1e-4), "the judge's KL is of the same distribution"


def test_log_probabilities_are_those_of_the_distribution_sampled_from(task: RLTask) -> None:
    batch = _rollout(task).batch
    ours, entropy = completion_log_probs(task.policy, batch, 0.7, task.forbidden)
    logits = task.policy(batch.tokens_N, batch.layout)[batch.index_M].double() / 0.7
    logits[:, list(task.forbidden)] = -torch.inf
    expected = torch.log_softmax(logits, dim=1)
    assert torch.allclose(ours.double(), expected.gather(1, batch.ids_M[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(entropy.double(), torch.special.entr(expected.exp()).sum(dim=1), atol=1e-4)


def test_the_prediction_of_a_token_is_read_at_the_token_before_it(inputs: StageContext) -> None:
    prompts = [np.array([0, 4, 20, 5], dtype=np.uint32), np.array([0, 4, 5], dtype=np.uint32)]
    completions = [np.array([31, 32], dtype=np.uint32), np.array([41, 42, 0], dtype=np.uint32)]
    batch = CompletionBatch.of(prompts, completions, inputs.control.pad, inputs.device)
    assert batch.ids_M.tolist() == [31, 32, 41, 42, 0]
    assert batch.tokens_N[batch.index_M].tolist() == [5, 31, 5, 41, 42]
    assert batch.sample_M.tolist() == [0, 0, 1, 1, 1]


def test_the_policy_starts_at_kl_zero(task: RLTask) -> None:
    _rollout(task)
    assert task.step_metrics()["kl_nats_per_completion"] == pytest.approx(0.0, abs=1e-6)


def test_there_is_no_dropout(model: GPT) -> None:
    assert not any(isinstance(module, torch.nn.Dropout) for module in model.modules())
    tokens = torch.arange(16)
    from stategpt.ops import TensorLayout
    from stategpt.packing import Layout

    layout = TensorLayout.of(Layout.padded([16], 16))
    assert torch.equal(model.train()(tokens, layout), model.eval()(tokens, layout))


def _gradient(task: RLTask, update: Sequence[WeightedBatch]) -> torch.Tensor:
    task.policy.zero_grad()
    _accumulate(task, task.policy, update, "float32")
    return torch.cat([parameter.grad.flatten() for parameter in task.policy.parameters()])


@pytest.mark.parametrize("most", [1, 3, 4, 7, 11])
def test_micro_batches_do_not_change_the_gradient(task: RLTask, most: int) -> None:
    whole = next(iter(task.updates(0)))
    task.config = replace(CONFIG, micro_batch_completions=most)
    pieces = next(iter(task.updates(0)))
    sizes = [piece.batch.samples for piece in pieces]
    assert max(sizes) == (most if most < 4 else most // 4 * 4), "whole prompts where they fit"
    assert sum(sizes) == whole[0].batch.samples == 12
    weights = torch.cat([piece.weights_S for piece in pieces])
    torch.testing.assert_close(weights, whole[0].weights_S, atol=1e-5, rtol=1e-4)
    expected = _gradient(task, whole)
    torch.testing.assert_close(_gradient(task, pieces), expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


def test_minibatches_split_the_rollout_by_prompt(task: RLTask) -> None:
    task.config = replace(CONFIG, minibatches=3)
    updates = list(task.updates(0))
    assert [task.weight(update[0]) for update in updates] == [4, 4, 4]
    assert len({tuple(update[0].batch.tokens_N[:16].tolist()) for update in updates}) == 3


@pytest.mark.parametrize("objective", ["rloo", "reward_weighted"])
def test_samples_of_an_older_policy_have_a_ratio_and_a_clip(task: RLTask, objective: Objective) -> None:
    on_policy = replace(CONFIG, objective=objective, micro_batch_completions=12)
    task.config = replace(on_policy, minibatches=3, clip_ratio=0.05)
    first, second, _ = list(task.updates(0))
    expected = _gradient(task, first)
    task.config = on_policy
    torch.testing.assert_close(_gradient(task, first), expected, atol=1e-6, rtol=1e-4)

    task.config = replace(on_policy, minibatches=3, clip_ratio=0.05)
    with torch.no_grad():
        task.policy.embed_tokens.weight.mul_(1.3)
    metrics = task.loss(second[0]).metrics
    assert abs(metrics["ratio_mean"] / 4 - 1) > 1e-3
    assert 0 < metrics["ratio_clipped"] / 4 < 1
    assert metrics["kl_old_nats_per_completion"] / 4 > 1e-4
    (rollout,) = second
    log_probs, _ = completion_log_probs(task.policy, rollout.batch, task.temperature, task.forbidden)
    ratio = (log_probs - rollout.sampled_log_probs_M).exp()
    weights = rollout.weights_S[rollout.batch.sample_M]
    clipped = torch.minimum(ratio * weights, ratio.clamp(0.95, 1.05) * weights)
    assert task.loss(rollout).total.item() == pytest.approx(-clipped.sum().item(), rel=1e-5)
    no_gradient = torch.autograd.grad(clipped.sum(), log_probs)[0] == 0
    shares = torch.stack([no_gradient[rollout.batch.sample_M == i].float().mean() for i in range(4)])
    assert metrics["ratio_clipped"] == pytest.approx(shares.sum().item(), abs=1e-5)


def test_a_completion_that_did_not_end_loses_the_penalty(task: RLTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "rewards", lambda numbers, completions: np.zeros(len(completions), dtype=np.float32))
    generate, ended = task.engine.generate, [i % 3 == 0 for i in range(12)]

    def cut(*args, **kwargs):  # type: ignore[no-untyped-def]
        return [replace(c, ended=e) for c, e in zip(generate(*args, **kwargs), ended, strict=True)]

    monkeypatch.setattr(task.engine, "generate", cut)
    task.config = replace(CONFIG, no_eos_penalty=0.75, objective="reward_weighted", beta=0.0)
    assert _rollout(task).weights_S.tolist() == [0.0 if e else -0.75 for e in ended]
    metrics = task.step_metrics()
    assert metrics["reward_mean"] == -0.5
    assert metrics["reward_sd"] == pytest.approx(0.75 * (1 / 3 * 2 / 3) ** 0.5)
    assert metrics["ended_share"] == pytest.approx(1 / 3)


def test_each_step_has_its_own_prompts_and_samples(task: RLTask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    generate = task.engine.generate

    def record(prompts, **settings):  # type: ignore[no-untyped-def]
        asked.append(([prompt.tolist() for prompt in prompts], settings))
        return generate(prompts, **settings)

    monkeypatch.setattr(task.engine, "generate", record)
    for step in (0, 1, 0):
        _rollout(task, step)
    (prompts, settings), (other, others), again = asked
    assert again == asked[0], "a step is a function of its number"
    assert all(prompt not in other for prompt in prompts)
    assert settings["seed"] != others["seed"]
    given = [prompt.tolist() for prompt in task.prompts]
    order = prompts_of_step(len(given), 3, task.seed, 1)
    assert other == [given[i] for i in order]
    assert settings["temperature"] == task.sampling.temperature
    assert settings["n"] == CONFIG.completions


def test_advantages_have_a_root_mean_square_of_one() -> None:
    rewards = torch.randn(24, generator=torch.Generator().manual_seed(0))
    weights, _ = completion_weights(rewards, torch.zeros(24), CONFIG)
    assert weights.square().mean().item() == pytest.approx(1.0, abs=1e-5)
    raw = leave_one_out_advantages(rewards, CONFIG.completions)
    assert (weights / raw).std().item() == pytest.approx(0.0, abs=1e-5), "one number for all prompts"


def test_the_reward_loses_beta_times_the_kl_to_the_reference(task: RLTask) -> None:
    task.config = replace(CONFIG, objective="reward_weighted", beta=0.5)
    with torch.no_grad():
        task.policy.embed_tokens.weight.mul_(1.1)
    rollout = _rollout(task)
    prompts, ids = _texts(rollout, task)
    numbers = [next(i for i, prompt in enumerate(task.prompts) if np.array_equal(prompt, one)) for one in prompts]
    scores = task.rewards(numbers, [SimpleNamespace(ids=each) for each in ids])  # type: ignore[misc]
    with torch.no_grad():
        reference_M, _ = completion_log_probs(task.reference, rollout.batch, task.temperature, task.forbidden)
    kl_S = sum_by_sample(rollout.sampled_log_probs_M - reference_M, rollout.batch.sample_M, rollout.batch.samples)
    assert kl_S.abs().min() > 1e-3
    assert rollout.weights_S.numpy() == pytest.approx(scores - 0.5 * kl_S.numpy(), abs=1e-4)
    assert task.step_metrics()["kl_nats_per_completion"] == pytest.approx(kl_S.mean().item(), abs=1e-5)


def _texts(rollout: WeightedBatch, task: RLTask) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prompts and completions of step 0, in the rollout's order."""
    batch = rollout.batch
    order = prompts_of_step(len(task.prompts), 3, task.seed, 0)
    prompts = [task.prompts[i] for i in order for _ in range(CONFIG.completions)]
    ids = batch.ids_M.numpy().astype(np.uint32)
    return prompts, [ids[batch.sample_M.numpy() == sample] for sample in range(batch.samples)]


def test_a_prompt_whose_samples_earn_the_same_has_advantage_zero() -> None:
    rewards = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 2.0, 3.0])
    weights, idle_share = completion_weights(rewards, torch.zeros(8), CONFIG)
    assert weights[:4].tolist() == [0.0] * 4
    assert idle_share == 0.5
    everything_equal, _ = completion_weights(torch.ones(8), torch.zeros(8), CONFIG)
    assert everything_equal.tolist() == [0.0] * 8, "nothing is divided by a spread of zero"


@pytest.mark.parametrize("reward", [0.0, 0.1, 0.3, 0.7, 1.0, -3.3, 1e-6, 1e6])
@pytest.mark.parametrize("completions", range(2, 17))
def test_a_constant_reward_gives_no_advantage(completions: int, reward: float) -> None:
    config, samples = replace(CONFIG, completions=completions), 24 * completions
    weights, idle_share = completion_weights(torch.full((samples,), reward), torch.zeros(samples), config)
    assert not weights.any()
    assert idle_share == 1.0
    kl_noise = 1e-6 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    weights, _ = completion_weights(torch.full((samples,), reward), kl_noise, config)
    assert not weights.any(), "a KL of rounding errors is none"


def test_prompts_without_signal_are_counted_before_the_kl_penalty() -> None:
    rewards = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 2.0, 3.0])
    kl = torch.tensor([0.5, 0.1, 0.7, 0.2, 0.0, 0.3, 0.1, 0.2])
    weights, idle_share = completion_weights(rewards, kl, replace(CONFIG, beta=0.1))
    assert idle_share == 0.5
    assert weights[:4].abs().min() > 0, "the KL alone is a reason to move"


def test_reward_weighted_is_the_reward_less_the_kl() -> None:
    config = replace(CONFIG, objective="reward_weighted", beta=0.5)
    weights, _ = completion_weights(torch.tensor([1.0, -1.0]), torch.tensor([0.4, 0.0]), replace(config, completions=2))
    assert weights.tolist() == pytest.approx([0.8, -1.0])


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 9))
def test_prompts_of_consecutive_steps_cover_each_epoch_once(prompts: int, per_step: int, seed: int) -> None:
    steps = -(-2 * prompts // per_step)
    drawn = np.concatenate([prompts_of_step(prompts, per_step, seed, step) for step in range(steps)])
    assert sorted(drawn[:prompts].tolist()) == list(range(prompts))
    assert sorted(drawn[prompts : 2 * prompts].tolist()) == list(range(prompts))


def _weights(folder: RunFolder, name: str) -> bytes:
    return (folder.model(name) / "model.safetensors").read_bytes()


def _several(recipe: RunConfig, seeds: int, *extra_betas: float) -> RunConfig:
    steps = replace(recipe.rl, steps=2, evaluate_every_steps=1, seeds=seeds, extra_betas=extra_betas)
    return replace(recipe, rl=steps)


def test_every_seed_draws_other_prompts_and_other_samples_over_the_same_models(
    recipe: RunConfig, before_rl: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Any]] = {}
    generate = stage.RLTask.updates

    def record(task: RLTask, step: int) -> Any:
        for update in generate(task, step):
            seen.setdefault(task.name, []).append(update[0].batch.ids_M.tolist())
            yield update

    prompts: dict[int, Sequence[int]] = {}
    drawn = rollout_module.prompts_of_step

    def remember(count: int, per_step: int, seed: int, step: int) -> Any:
        found = drawn(count, per_step, seed, step)
        prompts.setdefault(seed, found.tolist())
        return found

    monkeypatch.setattr(stage.RLTask, "updates", record)
    monkeypatch.setattr(rollout_module, "prompts_of_step", remember)
    rl(_several(recipe, seeds=3), before_rl)
    assert list(seen) == ["rl", "rl, seed 1", "rl, seed 2"]
    assert len({str(samples) for samples in seen.values()}) == 3
    assert list(prompts) == [policy_seed(recipe.seed, index) for index in range(3)]
    assert len({tuple(order) for order in prompts.values()}) == 3
    assert len({_weights(before_rl, name) for name in ("sft", "rl", "rl/seed_1", "rl/seed_2")}) == 4


def test_the_first_seed_is_the_runs_own_and_others_fit_a_run() -> None:
    assert policy_seed(7, 0) == 7
    others = {policy_seed(seed, index) for seed in range(20) for index in range(1, 16)}
    assert len(others) == 300
    assert all(replace(RunConfig(), seed=seed) for seed in others), "a run takes no seed beyond 2**53"


def test_a_policy_does_not_depend_on_how_many_others_there_are(
    recipe: RunConfig, before_rl: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rl(_several(recipe, seeds=1), before_rl)
    alone = _weights(before_rl, "rl")
    trained = []
    fit = stage.fit
    monkeypatch.setattr(
        stage, "fit", lambda task, *rest, **named: (trained.append(task.name), fit(task, *rest, **named))
    )
    rl(_several(recipe, 2, 0.01), before_rl)
    assert trained == ["rl, seed 1", "rl, beta 0.01"], "the first policy is there already"
    assert _weights(before_rl, "rl") == alone
    for name in ("rl", "rl/seed_1", "rl/beta_0.01"):
        assert {path.name for path in before_rl.evaluation(name).iterdir()} == {
            *("completions.jsonl", "frontier.jsonl", "manifest.json"),
        }
        assert not (before_rl.root / name / "frontier.jsonl").exists(), "working copies are removed"


def test_an_extra_beta_is_trained_at_that_beta_with_the_first_seed(
    recipe: RunConfig, before_rl: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[float, int]] = {}

    def note(run: RunConfig, folder: RunFolder, config: RLConfig, name: str, seed: int) -> None:
        asked[name] = (config.beta, seed)

    monkeypatch.setattr(stage, "train_policy", note)
    rl(_several(recipe, 2, 0.01), before_rl)
    beta = recipe.rl.beta
    assert asked == {
        "rl": (beta, recipe.seed), "rl/seed_1": (beta, policy_seed(recipe.seed, 1)),
        "rl/beta_0.01": (0.01, recipe.seed),
    }  # fmt: skip


def test_the_policy_starts_from_sft_trains_on_training_prompts_and_is_what_is_published(
    inputs: StageContext, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    seed_of = {"base": 11, "sft": 12}

    def load(self: StageContext, stage: str) -> GPT:
        loaded.append(stage)
        torch.manual_seed(seed_of[stage])
        return GPT(self.run.model)

    seen: list[RLTask] = []

    def fit(task: RLTask, policy: GPT, settings: LoopSettings, hook: object) -> None:
        seen.append(task)
        assert policy is task.policy
        assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), task.reference.parameters(), strict=True))
        with torch.no_grad():
            policy.norm.weight.add_(1)
        assert settings.fingerprint == "b3:rl"

    monkeypatch.setattr(StageContext, "load_model", load)
    monkeypatch.setattr(StageContext, "scorer", lambda self, setting, corpus: None)
    monkeypatch.setattr(StageContext, "corpus", lambda self: corpus)
    monkeypatch.setattr(stage, "fit", fit)
    monkeypatch.setattr(FrontierProbe, "of", lambda *arguments: None)
    published = stage._train(inputs, CONFIG, "rl", "b3:rl", 0)
    assert loaded == ["sft"], "the reference is made of the policy"
    (task,) = seen
    assert not any(parameter.requires_grad for parameter in task.reference.parameters())
    assert torch.equal(published.norm.weight, task.policy.norm.weight)
    assert not torch.equal(published.norm.weight, task.reference.norm.weight)
    texts = [pair.prompt().text for pair in corpus.conversations["train"]]
    assert [prompt.tolist() for prompt in task.prompts] == [chat_prompt(inputs.tok, text).tolist() for text in texts]
    assert not set(texts) & {pair.prompt().text for pair in corpus.conversations["validation"]}


def test_every_objective_that_the_config_knows_has_its_function() -> None:
    assert set(OBJECTIVES) == set(get_args(Objective))


def test_any_rule_over_the_sampled_ids_can_be_the_scorer(inputs: StageContext, model: GPT) -> None:
    """Neither a reward model nor a run folder is needed."""

    asked: list[int] = []

    def short(numbers: Sequence[int], completions: Sequence[Completion]) -> np.ndarray:
        asked.extend(numbers)
        return np.array([-float(len(completion.ids)) for completion in completions], dtype=np.float32)

    prompts = [chat_prompt(inputs.tok, text) for text in ("one", "two", "three")]
    engine = inputs.engine(model)
    sampling = SamplingConfig(temperature=1.0, max_tokens=6)
    task = RLTask(CONFIG, engine, GPT(model.config).eval(), short, prompts, sampling=sampling, seed=5)
    list(task.updates(0))
    metrics = task.step_metrics()
    assert metrics["reward_mean"] == pytest.approx(-metrics["length_tokens"])
    assert 0 < metrics["length_tokens"] <= 6
    assert asked == [i for i in prompts_of_step(3, 3, 5, 0).tolist() for _ in range(CONFIG.completions)]


def test_the_scorer_that_the_run_names_rewards(
    recipe: RunConfig, before_rl: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`rl.scorer` decides what is reinforced and what the frontier calls reward; wins are by `evaluate.scorer`."""
    (tmp_path / "rules_of_rl.py").write_text(
        "def long(prompts, completions):\n    return [float(len(c.ids)) for c in completions]\n"
        "def one(prompts, completions):\n    return [1.0] * len(completions)\n"
    )
    monkeypatch.chdir(tmp_path)
    few = replace(recipe.rl, steps=1, evaluate_every_steps=1, seeds=1, scorer="rules_of_rl:long")
    rl(replace(recipe, rl=few, evaluate=replace(recipe.evaluate, scorer="rules_of_rl:one")), before_rl)
    (line,) = read_lines(before_rl.root / "rl" / "log" / "metrics.jsonl")
    assert line["reward_mean"] == pytest.approx(line["length_tokens"])
    first, last = Measurements(before_rl.root).read_lines("rl", "frontier.jsonl", FrontierPoint)
    assert first.reward is not None
    assert first.reward.mean >= 1
    assert [point.win_rate and point.win_rate.mean for point in (first, last)] == [0.5, 0.5], "all scores tie"


def test_the_frontier_begins_at_sft_itself(recipe: RunConfig, before_rl: RunFolder) -> None:
    rl(replace(recipe, rl=replace(recipe.rl, steps=1, evaluate_every_steps=1, seeds=1)), before_rl)
    first, last = Measurements(before_rl.root).read_lines("rl", "frontier.jsonl", FrontierPoint)
    assert (first.step, last.step) == (0, 1)
    assert first.kl == Interval(0.0, 0.0, 0.0)
    assert first.win_rate == Interval(0.5, 0.5, 0.5)
    for point in (first, last):
        assert point.prompts == recipe.evaluate.frontier_prompts
        assert point.reward is not None
        assert point.reward.low < point.reward.mean < point.reward.high
