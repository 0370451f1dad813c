"""Which side of the split each measure reads: test for gates and comparison, validation while RL trains."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, publish_folder, read_lines  # noqa: E402
from stategpt.config import RunConfig  # noqa: E402
from stategpt.data.corpus import SIDES, Corpus  # noqa: E402
from stategpt.evaluate import HeldOutComparison, evaluate_answers, evaluate_base, held_out_prompts  # noqa: E402
from stategpt.evaluate import comparison as systems  # noqa: E402
from stategpt.evaluate.records import RankedFit, RewardEvaluation  # noqa: E402
from stategpt.evaluate.scorers import Scores  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages import rankings as ranking_stage  # noqa: E402
from stategpt.stages import reward as reward_stage  # noqa: E402
from stategpt.stages.compare import compare  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.rankings import rankings  # noqa: E402
from stategpt.stages.rl import rl  # noqa: E402


def _asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the decoded prompts that any engine is given."""
    seen: list[str] = []
    generate = Engine.generate

    def record(self: Engine, prompts: Any, **named: Any) -> Any:
        seen.extend(engine.tok.decode(ids) for ids in prompts)
        return generate(self, prompts, **named)

    monkeypatch.setattr(Engine, "generate", record)
    return seen


def _sides(corpus: Corpus, texts: list[str]) -> Iterator[str]:
    """The side of the pair that each text asks about, by its last quoted name."""
    side_of = {pair.meta["subject"]: side for side in SIDES for pair in corpus.conversations[side]}
    return (side_of[text.split("`")[-2]] for text in texts)


def test_answers_of_sft_are_measured_on_test_questions_with_examples_from_training(
    inputs: StageContext, model: GPT, corpus: Corpus, recipe: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = inputs.engine(model)
    seen = _asked(engine, monkeypatch)
    run = replace(recipe, evaluate=replace(recipe.evaluate, few_shot_examples=2))
    found = evaluate_answers(engine, engine, corpus, run)
    assert set(_sides(corpus, seen)) == {"test"}
    assert len(seen) == 3 * (found.samples or 0)
    documents = [text for text in seen if "Question:" in text]
    test_sentences = {pair.meta["summary"] for pair in corpus.conversations["test"]}
    side_of = {pair.meta["subject"]: side for side in SIDES for pair in corpus.conversations[side]}
    for text in documents:
        assert text.count("Question:") == text.count("Answer:") == 3
        assert [side_of[name] for name in text.split("`")[1::2]] == ["train", "train", "test"]
        assert not any(sentence in text for sentence in test_sentences), "the answer asked for is not in the document"
    assert found.few_shot_document == documents[0].removeprefix("<|endoftext|>")
    first = corpus.conversations["train"][0]
    trained = [token.text for token in found.training_example if token.trained]
    assert "".join(trained) == first.messages[-1].content + "<|endoftext|>"
    assert "<|assistant|>" in [token.text for token in found.training_example if not token.trained]
    assert found.ended_share is not None
    assert found.ended_share.low <= found.ended_share.mean <= found.ended_share.high


def test_bits_per_byte_are_of_test_documents(
    inputs: StageContext, model: GPT, corpus: Corpus, recipe: RunConfig
) -> None:
    encoded: list[str] = []
    encode = type(inputs.tok).encode

    class Recording:
        def __getattr__(self, name: str) -> Any:
            return getattr(inputs.tok, name)

        def encode(self, text: str, **named: Any) -> Any:
            encoded.append(text)
            return encode(inputs.tok, text, **named)

    tok: Any = Recording()
    measured = evaluate_base(model, tok, recipe, corpus, [b"seen in training"], chat=inputs.chat)
    tests = {text for source in corpus.sources.values() for text in source.texts("test")}
    assert set(encoded) <= tests
    assert sum(source.documents or 0 for source in measured.sources.values()) == len(encoded) > 3


def test_rankings_are_of_training_and_test_prompts(
    recipe: RunConfig, before_rl: RunFolder, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking_stage, "_require_clear_pairs", lambda records: None)  # these models know nothing
    rankings(recipe, before_rl)
    for side in ("train", "test"):
        rows = read_lines(before_rl.root / "rankings" / "records" / f"{side}.jsonl")
        assert {row["prompt"] for row in rows} <= {pair.prompt().text for pair in corpus.conversations[side]}  # type: ignore[arg-type]
        assert len(rows) == (recipe.rankings.train_prompts if side == "train" else recipe.rankings.test_prompts)


def test_the_reward_model_learns_from_training_records_and_is_judged_by_test_records(
    recipe: RunConfig, before_rl: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(before_rl.model("reward"))
    publish_folder(before_rl.root / "rankings" / "records", lambda temporary: None, kind="rankings")
    judged: list[str] = []

    def fit(task: reward_stage.RewardTask, model: RewardModel, settings: Any) -> None:
        assert task.rankings.groups == "train.jsonl"

    def evaluate(scorer: Any, tok: Any, baseline_of: Any, judged_by: Any, *rest: Any) -> RewardEvaluation:
        judged.extend([baseline_of.groups, judged_by.groups])
        return RewardEvaluation()

    monkeypatch.setattr(reward_stage.RankedPairs, "read", lambda path: SimpleNamespace(groups=path.name))
    monkeypatch.setattr(reward_stage, "fit", fit)
    monkeypatch.setattr(reward_stage.RewardTask, "_epoch_batches", lambda *given: [])
    monkeypatch.setattr(reward_stage, "say_what_is_cut", lambda *given: None)
    monkeypatch.setattr(reward_stage, "fitting_pairs", lambda pairs, *rest: (pairs, RankedFit()))
    monkeypatch.setattr(reward_stage, "evaluate_reward", evaluate)
    reward_stage.reward(recipe, before_rl)
    assert judged == ["train.jsonl", "test.jsonl"]


def test_rl_samples_training_prompts_looks_at_validation_and_is_compared_on_test(
    recipe: RunConfig, before_rl: RunFolder, inputs: StageContext, model: GPT, corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen = _asked(inputs.engine(model), monkeypatch)
    run = replace(recipe, rl=replace(recipe.rl, steps=1, evaluate_every_steps=1, seeds=1))
    rl(run, before_rl)
    sides = list(_sides(corpus, seen))
    probe = run.evaluate.frontier_prompts
    assert sides == ["validation"] * probe + ["train"] * run.rl.prompts_per_step + ["validation"] * probe
    seen.clear()
    compare(run, before_rl)
    assert set(_sides(corpus, seen)) == {"test"}
    asked = [text for text in seen if "Question:" not in text]
    count = run.evaluate.comparison_prompts
    assert len(seen) == 4 * count
    assert asked[:count] == asked[count : 2 * count] == asked[2 * count :], "every system answers the same prompts"


def test_a_judges_prompts_are_those_of_its_side_and_a_function_of_the_seed(corpus: Corpus) -> None:
    for side in ("validation", "test"):
        prompts = held_out_prompts(corpus, side, 10, seed=1)  # type: ignore[arg-type]
        of_side = [conversation.prompt() for conversation in corpus.conversations[side]]  # type: ignore[index]
        assert all(prompt in of_side for prompt in prompts)
        assert prompts == held_out_prompts(corpus, side, 10, seed=1)  # type: ignore[arg-type]
    assert held_out_prompts(corpus, "test", 10, seed=1) != held_out_prompts(corpus, "test", 10, seed=2)
    assert any(prompt.opening for prompt in held_out_prompts(corpus, "test", 10, seed=1))
    assert not any(prompt.opening for prompt in held_out_prompts(corpus, "test", 10, seed=1, with_openings=False))


def test_best_of_n_takes_the_highest_reward_of_samples_that_its_opponent_is_not_one_of(
    recipe: RunConfig, inputs: StageContext, model: GPT, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(recipe, evaluate=replace(recipe.evaluate, best_of=(2, 4), comparison_prompts=6))

    class ByLast:
        """Reward: the last id of a completion, so that a test can say which is best."""

        def scores(self, prompts: Any, completions: Any) -> Any:
            import numpy as np

            values = [float(each.ids[-1]) + len(each.ids) / 100 for each in completions]
            return Scores(np.array(values, dtype=np.float32))

    judge = HeldOutComparison.of(run, corpus, "test", 6, inputs.tok, ByLast(), ByLast(), model)
    pools: list[Any] = []
    answer = systems.answer

    def record(engine: Engine, pairs: Any, run: RunConfig, system: str, n: int = 1) -> Any:
        found = answer(engine, pairs, run, system, n=n)
        if n > 1:
            pools.extend(found[i : i + n] for i in range(0, len(found), n))
        return found

    monkeypatch.setattr(systems, "answer", record)
    monkeypatch.setattr(
        systems, "answer_few_shot", lambda engine, prompts, corpus, run: answer(engine, prompts, run, "x")
    )
    answered = systems._answers(judge, corpus, model)
    assert [len(pool) for pool in pools] == [5] * 6
    for number, pool in enumerate(pools):
        rewards = [float(c.ids[-1]) + len(c.ids) / 100 for c in pool]
        assert answered["sft"].completions[0][number] is pool[0]
        for size in (2, 4):
            best = answered[f"best_of_{size}"]
            assert best.rewards_SP[0, number] == pytest.approx(max(rewards[1 : 1 + size]))
            assert any(best.completions[0][number] is completion for completion in pool[1 : 1 + size])


def test_the_kl_is_to_sft_and_of_the_policys_own_completions(
    recipe: RunConfig, inputs: StageContext, model: GPT, corpus: Corpus
) -> None:
    torch.manual_seed(5)
    other = GPT(model.config).eval()
    scorer: Any = None
    judge = HeldOutComparison.of(recipe, corpus, "test", 8, inputs.tok, scorer, scorer, model.eval())
    own = systems.answer(judge.engine(other), judge.prompts, recipe, "rlhf", n=1)
    assert judge.kl(model, own) == pytest.approx([0.0] * 8, abs=1e-6), "SFT is no way from itself"
    assert judge.kl(other, own).mean() > 0
