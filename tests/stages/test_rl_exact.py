"""RL in exact mode: sampler and trainer have the same log-probabilities; with truncated sampling the same support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from exact_machine import needs_exact_machine  # noqa: E402
from stategpt.config import RLConfig  # noqa: E402
from stategpt.data import chat_prompt  # noqa: E402
from stategpt.data.corpus import Corpus  # noqa: E402
from stategpt.errors import ConfigError, InvalidArgument, NotExact  # noqa: E402
from stategpt.generate import Completion, Engine, Limits  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.policy import CompletionBatch, completion_log_probs, log_ratios  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.rl import update  # noqa: E402
from stategpt.stages.rl.update import RLTask, WeightedBatch, _Watched  # noqa: E402

pytestmark = needs_exact_machine()

EXACT = RLConfig(steps=2, prompts_per_step=3, completions=4, precision="float32", max_kl=0.0, exact=True)


def task_of(config: RLConfig, inputs: StageContext, corpus: Corpus, prompts: int = 20) -> RLTask:
    """Policy and reference with different random weights; the reward is the length."""
    torch.manual_seed(0)
    policy, reference = GPT(inputs.run.model), GPT(inputs.run.model)
    asked = [chat_prompt(inputs.tok, pair.prompt()) for pair in corpus.conversations["train"][:prompts]]

    def rewards(numbers: Sequence[int], completions: Sequence[Completion]) -> np.ndarray:
        return np.array([len(completion.ids) for completion in completions], dtype=np.float32)

    engine = inputs.engine(policy, exact=config.exact)
    return RLTask(config, engine, reference.eval(), rewards, asked, sampling=inputs.run.sampling, seed=1)


def micro_batches(task: RLTask) -> list[WeightedBatch]:
    return [batch for minibatch in task.updates(0) for batch in minibatch]


@pytest.mark.parametrize("most", [192, 4, 5])
def test_the_gap_is_zero_and_every_first_ratio_one(inputs: StageContext, corpus: Corpus, most: int) -> None:
    task = task_of(replace(EXACT, micro_batch_completions=most), inputs, corpus)
    for batch in micro_batches(task):
        loss = task.loss(batch)
        assert loss.metrics["ratio_mean"] == task.weight(batch), "each ratio is exactly 1"
        assert loss.metrics["kl_old_nats_per_completion"] == 0.0
        loss.total.backward()
    metrics = task.step_metrics()
    assert metrics["sampler_gap_nats"] == 0.0
    assert metrics["entropy_nats_per_token"] > 1.0
    assert all(parameter.grad is not None for parameter in task.policy.parameters())


def test_later_minibatches_compute_their_own_log_probabilities(inputs: StageContext, corpus: Corpus) -> None:
    task = task_of(replace(EXACT, minibatches=3), inputs, corpus)
    batches = micro_batches(task)
    assert task.step_metrics()["sampler_gap_nats"] == 0.0
    with torch.no_grad():
        for parameter in task.policy.parameters():
            parameter.mul_(1.01)
    assert task.loss(batches[1]).metrics["ratio_mean"] != task.weight(batches[1])


def test_exact_and_plain_training_have_the_same_loss_and_gradient(inputs: StageContext, corpus: Corpus) -> None:
    gradients = []
    for config in (EXACT, replace(EXACT, exact=False)):
        task = task_of(config, inputs, corpus)
        (batch,) = micro_batches(task)
        task.loss(batch).total.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in task.policy.parameters()]))
    assert torch.allclose(*gradients, atol=1e-4 * float(gradients[0].abs().max()), rtol=1e-3)


def test_a_difference_of_one_bit_is_an_error(inputs: StageContext, corpus: Corpus) -> None:
    task = task_of(EXACT, inputs, corpus)
    (batch,) = micro_batches(task)
    bits = batch.sampled_log_probs_M.view(torch.int32)
    bits[3] += 1
    with pytest.raises(NotExact, match=r"1 of [0-9]+ tokens .* token 3"):
        task.loss(batch)


@pytest.mark.parametrize(
    ("sampled", "trained"), [([float("nan"), 1.0], [0.0, 1.0]), ([float("-inf"), 1.0], [float("-inf"), 1.0])]
)
def test_what_is_not_a_number_differs(sampled: list[float], trained: list[float]) -> None:
    tokens = torch.tensor(sampled), torch.tensor(trained), torch.zeros(2)
    with pytest.raises(NotExact, match=r"1 of 2 tokens .* token 0"):
        _Watched(exact=True).add(*tokens)
    watched = _Watched(exact=False)
    watched.add(*tokens)
    watched.add(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    assert math.isnan(watched.metrics()["sampler_gap_nats"])


def test_weights_that_change_between_sampling_and_training_are_noticed(inputs: StageContext, corpus: Corpus) -> None:
    task = task_of(EXACT, inputs, corpus)
    (batch,) = micro_batches(task)
    with torch.no_grad():
        task.policy.norm.weight.mul_(1 + 1e-6)
    with pytest.raises(NotExact, match=r"rl\.exact = false"):
        task.loss(batch)


def test_the_end_by_max_kl_still_looks_at_every_token(inputs: StageContext, corpus: Corpus) -> None:
    task = task_of(replace(EXACT, max_kl=1e-6), inputs, corpus)
    list(task.updates(0))
    assert task.ended()
    assert task.step_metrics()["sampler_gap_nats"] == 0.0


def test_a_step_has_no_padding_and_no_second_forward_pass_of_the_policy(
    inputs: StageContext, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(EXACT, inputs, corpus)
    forwards: list[GPT] = []

    def counted(model: GPT, batch: CompletionBatch, *args: object, **kwargs: object) -> object:
        forwards.append(model)
        return completion_log_probs(model, batch, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(update, "completion_log_probs", counted)
    (batch,) = micro_batches(task)
    task.loss(batch)
    assert forwards == [task.reference, task.policy]
    assert task.weighted is not None
    rollout, _ = task.weighted
    different = {id(prompt): len(prompt) for prompt in rollout.prompts}
    completions = sum(len(completion.ids) - 1 for completion in rollout.completions)
    assert task.tokens(batch) == sum(different.values()) + completions


def test_a_step_of_one_micro_batch_makes_one_forward_pass_of_the_policy(
    inputs: StageContext, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(replace(EXACT, exact=False), inputs, corpus)
    forwards: list[GPT] = []

    def counted(model: GPT, batch: CompletionBatch, *args: object, **kwargs: object) -> object:
        forwards.append(model)
        return completion_log_probs(model, batch, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(update, "completion_log_probs", counted)
    (batch,) = micro_batches(task)
    loss = task.loss(batch)
    assert forwards == [task.reference, task.policy]
    assert loss.metrics["ratio_mean"] == task.weight(batch)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("truncation", [{"top_k": 5}, {"top_p": 0.8}, {"top_k": 20, "top_p": 0.9}])
def test_with_truncated_sampling_the_mean_ratio_is_one(
    inputs: StageContext, corpus: Corpus, exact: bool, truncation: dict[str, float]
) -> None:
    task = task_of(replace(EXACT, exact=exact, **truncation), inputs, corpus)
    (batch,) = micro_batches(task)
    assert batch.kept is not None
    assert len(batch.kept) == len(batch.batch.ids_M)
    for token, kept in zip(batch.batch.ids_M.tolist(), batch.kept, strict=True):
        assert (token in kept.ids) != kept.is_removed
    assert task.loss(batch).metrics["ratio_mean"] / task.weight(batch) == pytest.approx(1.0, abs=1e-6)
    gap = task.step_metrics()["sampler_gap_nats"]
    assert gap == 0 if exact else gap < 1e-5


def test_settings_that_contradict_exact_mode_are_refused(inputs: StageContext, model: GPT, corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"rl\.precision"):
        RLConfig(exact=True, precision="auto")
    with pytest.raises(ConfigError, match=r"rl\.top_p"):
        RLConfig(top_p=0.0)
    with pytest.raises(InvalidArgument, match='precision is "bfloat16"'):
        Engine(model, inputs.tok, precision="bfloat16", exact=True)
    task = task_of(EXACT, inputs, corpus)
    with pytest.raises(InvalidArgument, match=r"config\.exact is False"):
        RLTask(replace(EXACT, exact=False), task.engine, task.reference, task.rewards, task.prompts,
               sampling=task.sampling, seed=1)  # fmt: skip


def test_the_kl_of_exact_models_is_that_of_plain_ones(inputs: StageContext, corpus: Corpus) -> None:
    task = task_of(EXACT, inputs, corpus)
    ids = [completion.ids for completion in task.engine.generate(task.prompts[:4], temperature=0.7, max_tokens=9)]
    found = log_ratios(task.policy, task.reference, task.prompts[:4], ids, temperature=0.7, tok=inputs.tok)
    task.policy.exact = task.reference.exact = False
    expected = log_ratios(task.policy, task.reference, task.prompts[:4], ids, temperature=0.7, tok=inputs.tok)
    assert found == pytest.approx(expected, abs=1e-4)


def test_twenty_thousand_sampled_tokens_are_equal_by_every_path(inputs: StageContext, corpus: Corpus) -> None:
    """Batches of 1, 3, 16 and 64; prompts in parts; known prefixes or none; packed, padded and alone."""
    torch.manual_seed(3)
    model, tok = GPT(inputs.run.model).eval(), inputs.tok
    asked = [chat_prompt(tok, pair.prompt()) for pair in corpus.conversations["train"][:40]]
    prompts = [np.concatenate((asked[0][: 7 * (n % 3)], prompt[: 5 + n])) for n, prompt in enumerate(asked)]
    settings = {"n": 16, "temperature": 0.9, "max_tokens": 40, "seed": 5}
    warm = Engine(model, tok, exact=True, keep_prefixes=True)
    sampled = warm.generate(prompts, **settings)
    pad, forbidden = warm.control.pad, warm.sampling().forbidden
    tokens = sum(len(each.ids) for each in sampled)
    assert tokens > 20_000
    again = warm.generate(prompts, **settings)
    engines = {
        "one at a time": (Limits(rows=1, step_tokens=16), range(0, 40, 20)),
        "three rows, prompts in parts of a page": (Limits(rows=3, step_tokens=16), range(0, 40, 10)),
        "sixteen rows, parts of 40": (Limits(rows=16, step_tokens=40), range(1, 40, 8)),
        "sixty-four rows": (Limits(rows=64), range(2, 40, 4)),
    }
    found = {"known prefixes": (range(40), again)}
    for name, (limits, chosen) in engines.items():
        engine = Engine(model, tok, exact=True, limits=limits)
        found[name] = chosen, engine.generate([prompts[n] for n in chosen], first_stream=list(chosen), **settings)
    for name, (chosen, completions) in found.items():
        expected = [each for n in chosen for each in sampled[16 * n : 16 * n + 16]]
        for ours, theirs in zip(completions, expected, strict=True):
            assert np.array_equal(ours.ids, theirs.ids), name
            assert np.array_equal(ours.log_probs.view(np.uint32), theirs.log_probs.view(np.uint32)), name
    repeated = [prompt for prompt in prompts for _ in range(16)]
    for name, samples, flat in (("packed", range(640), True), ("padded rows", range(200, 260), False)):
        _assert_same(model, [repeated[s] for s in samples], [sampled[s] for s in samples], pad, forbidden, flat, name)
    for sample in (0, 111, 639):
        _assert_same(model, [repeated[sample]], [sampled[sample]], pad, forbidden, True, "alone")


def _assert_same(
    model: GPT, prompts: list[np.ndarray], completions: list[Completion], pad: int, forbidden: Sequence[int],
    flat: bool, name: str,
) -> None:  # fmt: skip
    batch = CompletionBatch.of(prompts, [each.ids for each in completions], pad, torch.device("cpu"), flat=flat)
    trained, _ = completion_log_probs(model, batch, 0.9, forbidden)
    sampled = np.concatenate([each.log_probs for each in completions])
    assert np.array_equal(trained.detach().numpy().view(np.uint32), sampled.view(np.uint32)), name
