"""The reward model: whole prompts, a reward token always last, ties out of the loss, demonstrations at zero."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.data import ControlTokens, Rankings, chat_prompt, ranking_batches, reward_sequence  # noqa: E402
from stategpt.data.corpus import Corpus  # noqa: E402
from stategpt.data.records import Prompt  # noqa: E402
from stategpt.evaluate import RewardScorer  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.rankings import _chosen_prompts, clear_pairs  # noqa: E402
from stategpt.stages.reward import center_on_references, reward  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.train.loop import LoopSettings, _accumulate, _fetched  # noqa: E402
from stategpt.train.reward import RewardTask, to_tensors  # noqa: E402

RECORDS = [
    {
        "id": "strict",
        "prompt": "What does `a.b` do?",
        "completions": [{"text": f"Return the {word}.", "rank": rank} for rank, word in enumerate("abcd", start=1)],
    },
    {
        "id": "tied",
        "prompt": "What does `c.d` do?",
        "completions": [{"text": t, "rank": r} for t, r in (("Read it.", 1), ("Write it.", 2), ("Copy it.", 2))],
    },
    {
        "id": "all tied",
        "prompt": "What does `e.f` do?",
        "completions": [{"text": "Open it.", "rank": 1}, {"text": "Close it.", "rank": 1}],
    },
]


def _task(inputs: StageContext, model: RewardModel, read: Rankings) -> RewardTask:
    return RewardTask(inputs.run.reward, model, read, inputs.tok, seed=inputs.run.seed)


@pytest.fixture
def reward_model(model: GPT) -> RewardModel:
    torch.manual_seed(1)
    return RewardModel(model).eval()


def test_k_forwards_and_all_pairs_minus_ties(inputs: StageContext, tok: Tokenizer) -> None:
    batch = to_tensors(ranking_batches(Rankings.read(RECORDS), tok, prompts_per_batch=3)[0], inputs.device)
    assert batch.reward_index_S.numel() == 4 + 3, "one forward a completion; the group without a pair is left out"
    assert len(batch.pairs_P2) == 6 + (3 - 1), "C(4,2), and C(3,2) minus one tie"
    assert batch.pair_weights_P.tolist() == pytest.approx([1 / 6] * 6 + [1 / 2] * 2)
    assert batch.prompts == 2
    assert Rankings.read(RECORDS).summary()["ties"] == 1 + 1


def test_the_reward_token_is_last_and_the_scalar_is_read_there(inputs: StageContext, tok: Tokenizer) -> None:
    batch = to_tensors(ranking_batches(Rankings.read(RECORDS), tok, prompts_per_batch=3)[0], inputs.device)
    control = ControlTokens.of(tok)
    assert (batch.tokens_N[batch.reward_index_S] == control.reward).all()
    assert int((batch.tokens_N == control.reward).sum()) == batch.reward_index_S.numel(), "one a completion"


def test_shared_prefix_rows_give_the_same_rewards(
    inputs: StageContext, tok: Tokenizer, reward_model: RewardModel
) -> None:
    scores = {}
    for arrange in ("rows", "shared_prefix"):
        batch = to_tensors(ranking_batches(Rankings.read(RECORDS), tok, 3, arrange)[0], inputs.device)  # type: ignore[arg-type]
        with torch.no_grad():
            scores[arrange] = reward_model.scores(batch.tokens_N, batch.layout, batch.reward_index_S)
    assert torch.allclose(scores["rows"], scores["shared_prefix"], atol=1e-5)


def test_the_scorer_reads_what_the_batches_read(
    inputs: StageContext, tok: Tokenizer, reward_model: RewardModel
) -> None:
    read = Rankings.read(RECORDS)
    batch = to_tensors(ranking_batches(read, tok, 3)[0], inputs.device)
    with torch.no_grad():
        expected = reward_model.scores(batch.tokens_N, batch.layout, batch.reward_index_S).numpy()
    end = np.array([inputs.control.end_of_text], dtype=np.uint32)
    groups = [group for group in read.groups if len(group.pairs)]
    prompts = [chat_prompt(tok, group.prompt) for group in groups for _ in group.completions]
    completions = [np.append(tok.encode(text), end) for group in groups for text in group.completions]
    assert RewardScorer(reward_model, tok, batch_rows=2).scores(prompts, completions) == pytest.approx(
        expected, abs=1e-5
    )


def test_an_over_long_prompt_loses_its_middle_and_never_the_reward_token(tok: Tokenizer) -> None:
    control = ControlTokens.of(tok)
    prompt, completion = chat_prompt(tok, "word " * 300), tok.encode("Return it.")
    sequence = reward_sequence(prompt, completion, control, context_tokens=64)
    assert len(sequence) == 64
    assert sequence[-1] == control.reward
    assert sequence[-1 - len(completion) : -1].tolist() == completion.tolist()
    assert sequence[:2].tolist() == prompt[:2].tolist()


def test_ties_leave_no_gradient(inputs: StageContext, tok: Tokenizer, reward_model: RewardModel) -> None:
    task = _task(inputs, reward_model, Rankings.read(RECORDS))
    (batch,) = next(iter(task.updates(0)))
    scores = torch.zeros(batch.reward_index_S.numel(), requires_grad=True)
    from stategpt.train.losses import ranking_loss

    ranking_loss(scores, batch.pairs_P2, batch.pair_weights_P).backward()
    assert scores.grad is not None
    assert scores.grad.sum().item() == pytest.approx(0.0, abs=1e-6)


def _with(inputs: StageContext, **settings: Any) -> StageContext:
    return replace(inputs, run=replace(inputs.run, reward=replace(inputs.run.reward, **settings)))


def _prompts(count: int, words: int = 1, completion_words: int = 1) -> Rankings:
    """Records of three completions whose first is the best; prompt lengths differ."""
    texts = [f"{name} it{' now' * completion_words}." for name in ("Return", "Read", "Write")]
    completions = [{"text": text, "rank": rank} for rank, text in enumerate(texts, 1)]
    return Rankings.read(
        [
            {
                "id": str(i),
                "prompt": f"What does `m.f{i}` do{' now' * words * (1 + i % 3)}?",
                "completions": completions,
            }
            for i in range(count)
        ]
    )


def test_epochs_decide_the_steps_and_each_has_every_prompt_in_an_order_of_its_own(
    inputs: StageContext, reward_model: RewardModel
) -> None:
    task = _task(_with(inputs, prompts_per_batch=4, epochs=2.0), reward_model, _prompts(9))
    assert task.steps == 2 * 3
    epochs = [
        [[batch.prompts for batch in next(iter(task.updates(s)))] for s in steps] for steps in (range(3), (3, 4, 5))
    ]
    assert epochs == [[[3], [3], [3]]] * 2, "no step of one prompt at the end"
    tokens = [
        [batch.tokens_N.tolist() for step in steps for batch in next(iter(task.updates(step)))]
        for steps in (range(3), range(3, 6), range(3))
    ]
    assert tokens[0] == tokens[2]
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize("micro_batch_prompts", [1, 2, 9])
@pytest.mark.parametrize("arrange", ["rows", "shared_prefix"])
def test_micro_batches_and_arrangements_give_the_gradient_of_the_whole_step(
    inputs: StageContext, reward_model: RewardModel, micro_batch_prompts: int, arrange: str
) -> None:
    found = []
    for settings in (
        {"micro_batch_prompts": 4, "arrange": "rows"},
        {"micro_batch_prompts": micro_batch_prompts, "arrange": arrange},
    ):
        # The prompts have one clear pair, two and three: a mean of means, or one over pairs, would show.
        completions = [{"text": f"Return {w}.", "rank": r} for w, r in (("a", 1), ("b", 2), ("c", 3))]
        stated = ([[0, 1]], [[0, 1], [0, 2]], [[0, 1], [0, 2], [1, 2]], [[1, 2]])
        records = [
            {"id": str(i), "prompt": f"What{' is' * i} it?", "completions": completions, "pairs": pairs}
            for i, pairs in enumerate(stated)
        ]
        task = _task(_with(inputs, prompts_per_batch=4, **settings), reward_model, Rankings.read(records))
        (update,) = task.updates(0)
        assert len(update) == -(-4 // min(4, settings["micro_batch_prompts"]))
        reward_model.zero_grad()
        values = _fetched(_accumulate(task, reward_model, update, "float32"))
        gradients = {name: p.grad.clone() for name, p in reward_model.named_parameters() if p.grad is not None}
        found.append((values, gradients))
    (values, gradients), (other_values, other_gradients) = found
    assert other_values == pytest.approx(values, rel=1e-4)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, other_gradients[name], rtol=1e-3, atol=1e-6), name


def test_each_prompt_weighs_the_same_whatever_its_pairs(inputs: StageContext, reward_model: RewardModel) -> None:
    """The logged loss at equal scores is log 2 a prompt."""
    task = _task(_with(inputs, prompts_per_batch=4), reward_model, Rankings.read(RECORDS))
    with torch.no_grad():
        reward_model.head.weight.zero_()
    (update,) = task.updates(0)
    values = _fetched(_accumulate(task, reward_model, update, "float32"))
    assert values == pytest.approx({"loss_nats_per_prompt": math.log(2), "pair_accuracy": 0.5})


def test_auto_takes_the_arrangement_that_is_less_to_compute(inputs: StageContext, reward_model: RewardModel) -> None:
    def laid_out(read: Rankings, arrange: str) -> list[tuple[int, int]]:
        task = _task(_with(inputs, prompts_per_batch=4, arrange=arrange), reward_model, read)
        return [(b.layout.num_rows, b.layout.row_tokens) for b in next(iter(task.updates(0)))]

    long_prompts, long_completions = _prompts(4, words=20), _prompts(4, completion_words=60)
    assert laid_out(long_prompts, "auto") == laid_out(long_prompts, "shared_prefix") != laid_out(long_prompts, "rows")
    assert laid_out(long_prompts, "rows")[0][0] == 3 * laid_out(long_prompts, "shared_prefix")[0][0]
    assert laid_out(long_completions, "auto") == laid_out(long_completions, "rows")


def test_demonstrations_score_zero_on_average_after_centering(
    inputs: StageContext, tok: Tokenizer, reward_model: RewardModel, corpus: Corpus
) -> None:
    scorer = RewardScorer(reward_model, tok)
    shifted = center_on_references(
        inputs, reward_model, scorer, [each.prompt() for each in corpus.conversations["train"]]
    )
    assert shifted.mean(dtype=np.float64) == pytest.approx(0.0, abs=1e-6)
    assert reward_model.reward_offset != 0.0
    pair = corpus.conversations["train"][0].prompt()
    end = np.array([inputs.control.end_of_text], dtype=np.uint32)
    again = scorer.scores([chat_prompt(tok, pair)], [np.append(tok.encode(pair.reference or ""), end)])
    assert again[0] == pytest.approx(shifted[0], abs=1e-5)


def test_clear_pairs_are_those_that_differ_by_the_margin() -> None:
    points = [9, 8, 7, 7]
    assert clear_pairs(points, 2) == [[0, 2], [0, 3]]
    assert len(clear_pairs(points, 1)) == 5
    assert clear_pairs(points, 0) == clear_pairs(points, 1), "equal points are always a tie"
    assert {frozenset(pair) for pair in clear_pairs(points, 1)} == {
        frozenset(pair) for pair in combinations(range(4), 2)
    } - {frozenset((2, 3))}


def _ranked(prompts: Sequence[Prompt]) -> str:
    """Records of three completions of each prompt, the first the best; those of every third prompt are tied."""
    lines = []
    for number, prompt in enumerate(prompts):
        completions = [
            {"text": text, "rank": rank, "score": 9 - rank} for rank, text in enumerate(("Return it.", "x y", "z"), 1)
        ]
        clear = {"pairs": []} if number % 3 == 0 else {}
        record = {"id": str(number), "prompt": prompt.text, "completions": completions, "meta": {"group": prompt.group}}
        lines.append(json.dumps(record | clear) + "\n")
    return "".join(lines)


def test_the_stage_trains_from_sft_and_publishes_the_centered_model(
    published: StageContext, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stategpt.train.loop import fit

    def write(folder: Path) -> None:
        splits = _chosen_prompts(published.run, corpus)
        for split, count in zip(splits, (12, 6), strict=True):
            (folder / f"{split}.jsonl").write_text(_ranked(splits[split][:count]))

    publish_folder(published.folder.stage("rankings") / "records", write, kind="rankings")
    started: list[dict[str, torch.Tensor]] = []

    def watched(task: RewardTask, model: RewardModel, settings: LoopSettings) -> None:
        assert settings.optim == published.run.reward.optim
        started.append({name: weight.clone() for name, weight in model.gpt.state_dict().items()})
        fit(task, model, settings)

    monkeypatch.setattr("stategpt.stages.reward.fit", watched)
    reward(published.run, published.folder)
    sft = published.load_model("sft").state_dict()
    assert all(torch.equal(weight, sft[name]) for name, weight in started[0].items())

    model = RewardModel.from_pretrained(published.folder.model("reward"))
    assert any(not torch.equal(weight, sft[name]) for name, weight in model.gpt.state_dict().items()), "it was trained"
    end = np.array([published.control.end_of_text], dtype=np.uint32)
    scores = RewardScorer(model, published.tok).scores(
        [chat_prompt(published.tok, pair.prompt()) for pair in corpus.conversations["train"]],
        [np.append(published.tok.encode(pair.messages[-1].content), end) for pair in corpus.conversations["train"]],
    )
    assert scores.mean(dtype=np.float64) == pytest.approx(0.0, abs=1e-5), "the folder holds the shift"
    assert model.reward_offset != 0.0

    found = json.loads((published.folder.evaluation("reward") / "evaluation.json").read_text())
    assert (found["prompts"], found["prompts_with_pairs"], found["pairs"]) == (6, 4, 4 * 3)
    assert len(found["rewards"]["sft"]) == 6 * 3, "measured on the held-out records"
