"""Scores do not depend on what shares a batch or a prompt, and equal tokens have equal scores."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.data import chat_prompt  # noqa: E402
from stategpt.evaluate import RewardScorer, reward_scorer  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

TEXT = "Return the length of a list. Return True if the key is in the dictionary. "


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train([TEXT * 5], vocab_size=300, special_tokens=CONTROL_TOKENS)


@pytest.fixture(scope="module")
def scorer(tok: Tokenizer) -> RewardScorer:
    torch.manual_seed(0)
    shape = GPTConfig(
        vocab_size=300, depth=2, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=48, context_tokens=32
    )
    model = RewardModel(GPT(shape))
    model.reward_offset = 0.25
    return RewardScorer(model, tok, batch_rows=8)


def _samples(tok: Tokenizer, each: int = 6) -> tuple[list[np.ndarray], list[np.ndarray]]:
    texts = ["Return the length", "Return True if the key is in the list", "dictionary"]
    prompts = [chat_prompt(tok, text) for text in texts for _ in range(each)]
    answer = tok.encode("Return the key of a list. True")
    return prompts, [answer[: 1 + number % each] for number in range(len(prompts))]


def test_a_shared_prompt_gives_the_scores_of_single_sequences(
    tok: Tokenizer, scorer: RewardScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, completions = _samples(tok)
    alone = [scorer.scores([p], [c])[0] for p, c in zip(prompts, completions, strict=True)]
    shared: list[int] = []
    lay_out = reward_scorer.PromptRows.of

    def record(heads, tails, rows, pad):  # type: ignore[no-untyped-def]
        shared.extend(map(len, rows))
        return lay_out(heads, tails, rows, pad)

    monkeypatch.setattr(reward_scorer.PromptRows, "of", record)
    assert scorer.scores(prompts, completions) == pytest.approx(alone, abs=1e-5)
    assert max(shared) > 1, "prompts are shared here"
    assert sum(shared) == len(prompts)


def test_equal_completions_of_a_prompt_are_scored_once(
    tok: Tokenizer, scorer: RewardScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, completions = _samples(tok)
    twice = [completion for pair in zip(completions, completions, strict=True) for completion in pair]
    repeated = [prompt for prompt in prompts for _ in range(2)]
    counted: list[int] = []
    batch = scorer._batch
    monkeypatch.setattr(scorer, "_batch", lambda heads, *rest: counted.append(len(heads)) or batch(heads, *rest))
    scores = scorer.scores(repeated, twice)
    assert sum(counted) == len(prompts)
    assert scores[::2].tolist() == scores[1::2].tolist()
    assert len(set(scores.tolist())) == len(prompts)


def test_prompts_that_are_cut_are_shared_only_where_the_cut_is_equal(tok: Tokenizer, scorer: RewardScorer) -> None:
    prompts = [chat_prompt(tok, TEXT)] * 3
    completions = [tok.encode("Return the key")[:length] for length in (1, 3, 3)]
    assert len(prompts[0]) > 32 - 4
    alone = [scorer.scores([p], [c])[0] for p, c in zip(prompts, completions, strict=True)]
    assert scorer.scores(prompts, completions) == pytest.approx(alone, abs=1e-5)


def test_no_completions_have_no_scores(scorer: RewardScorer) -> None:
    assert scorer.scores([], []).tolist() == []
