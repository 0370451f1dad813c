"""The reward model: whole prompts, a reward token always last, ties out of the loss, demonstrations at zero."""

from itertools import combinations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.data import ControlTokens, PythonLibrary, Rankings, Tokenizer, chat_prompt, reward_sequence  # noqa: E402
from stategpt.evaluate import RewardScorer  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages.inputs import Inputs  # noqa: E402
from stategpt.stages.rankings import clear_pairs  # noqa: E402
from stategpt.stages.reward import RewardTask, center_on_demonstrations, to_tensors  # noqa: E402

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


@pytest.fixture
def reward_model(model: GPT) -> RewardModel:
    torch.manual_seed(1)
    return RewardModel(model).eval()


def test_k_forwards_and_all_pairs_minus_ties(inputs: Inputs, tok: Tokenizer) -> None:
    batch = to_tensors(Rankings.read(RECORDS).batches(tok, prompts_per_batch=3)[0], inputs.device)
    assert batch.reward_index_S.numel() == 4 + 3, "one forward a completion; the group without a pair is left out"
    assert len(batch.pairs_P2) == 6 + (3 - 1), "C(4,2), and C(3,2) minus one tie"
    assert batch.pair_weights_P.tolist() == pytest.approx([1 / 6] * 6 + [1 / 2] * 2)
    assert batch.prompts == 2
    assert Rankings.read(RECORDS).summary()["ties"] == 1 + 1


def test_the_reward_token_is_last_and_the_scalar_is_read_there(inputs: Inputs, tok: Tokenizer) -> None:
    batch = to_tensors(Rankings.read(RECORDS).batches(tok, prompts_per_batch=3)[0], inputs.device)
    control = ControlTokens.of(tok)
    assert (batch.tokens_N[batch.reward_index_S] == control.reward).all()
    assert int((batch.tokens_N == control.reward).sum()) == batch.reward_index_S.numel(), "one a completion"


def test_shared_prefix_rows_give_the_same_rewards(inputs: Inputs, tok: Tokenizer, reward_model: RewardModel) -> None:
    scores = {}
    for arrange in ("rows", "shared_prefix"):
        batch = to_tensors(Rankings.read(RECORDS).batches(tok, 3, arrange)[0], inputs.device)  # type: ignore[arg-type]
        with torch.no_grad():
            scores[arrange] = reward_model.scores(batch.tokens_N, batch.layout, batch.reward_index_S)
    assert torch.allclose(scores["rows"], scores["shared_prefix"], atol=1e-5)


def test_the_scorer_reads_what_the_batches_read(inputs: Inputs, tok: Tokenizer, reward_model: RewardModel) -> None:
    read = Rankings.read(RECORDS)
    batch = to_tensors(read.batches(tok, 3)[0], inputs.device)
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


def test_ties_leave_no_gradient(inputs: Inputs, tok: Tokenizer, reward_model: RewardModel) -> None:
    task = RewardTask(inputs, reward_model, Rankings.read(RECORDS))
    (batch,) = next(iter(task.updates(0)))
    scores = torch.zeros(batch.reward_index_S.numel(), requires_grad=True)
    from stategpt.train.losses import ranking_loss

    ranking_loss(scores, batch.pairs_P2, batch.pair_weights_P).backward()
    assert scores.grad is not None
    assert scores.grad.sum().item() == pytest.approx(0.0, abs=1e-6)


def test_demonstrations_score_zero_on_average_after_centering(
    inputs: Inputs, tok: Tokenizer, reward_model: RewardModel, library: PythonLibrary
) -> None:
    scorer = RewardScorer(reward_model, tok)
    shifted = center_on_demonstrations(inputs, reward_model, scorer, library.pairs_train)
    assert shifted.mean(dtype=np.float64) == pytest.approx(0.0, abs=1e-6)
    assert reward_model.reward_offset != 0.0
    pair = library.pairs_train[0]
    end = np.array([inputs.control.end_of_text], dtype=np.uint32)
    again = scorer.scores([chat_prompt(tok, pair.prompt)], [np.append(tok.encode(pair.response), end)])
    assert again[0] == pytest.approx(shifted[0], abs=1e-5)


def test_clear_pairs_are_those_that_differ_by_the_margin() -> None:
    points = [9, 8, 7, 7]
    assert clear_pairs(points, 2) == [[0, 2], [0, 3]]
    assert len(clear_pairs(points, 1)) == 5
    assert clear_pairs(points, 0) == clear_pairs(points, 1), "equal points are always a tie"
    assert {frozenset(pair) for pair in clear_pairs(points, 1)} == {
        frozenset(pair) for pair in combinations(range(4), 2)
    } - {frozenset((2, 3))}
