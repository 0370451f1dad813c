"""Pairs that a reward model is judged by, from a rankings file."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import CONTROL_TOKENS, RunConfig
from stategpt.data import ChatTemplate, ControlTokens
from stategpt.errors import ForeignArtifact, RankingError
from stategpt.evaluate import RankedPairs, evaluate_reward
from stategpt.evaluate import reward_model as measure
from stategpt.evaluate.reward_model import score_groups
from stategpt.evaluate.reward_quality import length_correlation
from stategpt.recipes import smoke_cpu
from stategpt.tokenizer import Tokenizer


def record(number: int, points: list[int], pairs: list[list[int]]) -> dict[str, Any]:
    ranks = [sorted(set(points), reverse=True).index(point) + 1 for point in points]
    return {
        "id": f"test-{number}",
        "prompt": "What does `a.b` do?",
        "completions": [
            {"text": "x" * place, "rank": rank, "ended": True, "score": point}
            for place, (rank, point) in enumerate(zip(ranks, points, strict=True), start=1)
        ],
        "pairs": pairs,
        "meta": {"group": f"module{number}"},
    }


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path


def test_pairs_index_all_completions_of_the_file(tmp_path: Path) -> None:
    read = RankedPairs.read(written(tmp_path, record(0, [3, 3], []), record(1, [1, 5, 4], [[1, 0], [2, 0]])))
    assert (read.winners.tolist(), read.losers.tolist()) == ([3, 4], [2, 2])
    assert read.margins.tolist() == [4, 3]
    assert read.lengths.tolist() == [1, 2, 1, 2, 3]
    assert read.clusters == ["module1", "module1"]


def test_a_file_without_a_clear_pair_names_itself_its_counts_and_the_settings(tmp_path: Path) -> None:
    path = written(tmp_path, record(0, [3, 3], []), record(1, [4, 3, 4], []), {"id": "bad"})
    expected = r"test\.jsonl: no clear pair in 2 groups of 5 completions, 1 records rejected: .*rankings\.tie_below"
    with pytest.raises(RankingError, match=expected):
        RankedPairs.read(path)


@pytest.mark.parametrize("change", [{"meta": {}}, {"meta": None}, {"completions": [{"text": "a", "rank": 1}] * 3}])
def test_a_record_without_points_or_module_is_a_ranking_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RankingError, match=r"test\.jsonl"):
        RankedPairs.read(written(tmp_path, record(0, [1, 5, 4], [[1, 0], [2, 0]]) | change))


def test_the_baseline_is_of_training_pairs_and_accuracy_of_the_test_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training the shorter text wins, in the test the longer: a baseline of the training pairs is never right."""
    (tmp_path / "a").mkdir()
    train = RankedPairs.read(written(tmp_path / "a", record(0, [5, 1], [[0, 1]]), record(1, [5, 4, 1], [[0, 2]])))
    test = RankedPairs.read(written(tmp_path, record(2, [1, 5, 4], [[1, 0], [2, 0]]), record(3, [2, 2], [])))
    scores = np.array([0.0, 1.0, -1.0, 0.0, 0.0], dtype=np.float32)
    asked: list[Any] = []
    monkeypatch.setattr(measure, "score_groups", lambda scorer, tok, groups: (asked.append(groups), scores)[1])
    scorer: Any = type("Scorer", (), {"model": type("Model", (), {"reward_offset": 0.5})()})()
    tok: Any = None
    found = evaluate_reward(scorer, tok, train, test, np.zeros(3, np.float32), smoke_cpu())
    assert asked == [test.groups]
    assert found.pair_accuracy is not None
    assert found.pair_accuracy.mean == 0.5
    assert found.length_only_accuracy == 0.0
    assert (found.pairs, found.prompts, found.prompts_with_pairs) == (2, 2, 1)


class _Lengths:
    """A scorer whose reward is the completion's length in ids; it takes no model."""

    def __init__(self, tok: Tokenizer) -> None:
        self.chat = ChatTemplate.own(tok)

    def scores(self, prompts: list[Any], completions: list[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        assert len(prompts) == len(completions)
        return np.array([len(ids) for ids in completions], dtype=np.float32)


def test_completions_are_scored_by_the_ids_that_were_sampled(tmp_path: Path) -> None:
    tok = Tokenizer.train(["xx xxx xxxx"] * 5, vocab_size=280, special_tokens=list(CONTROL_TOKENS))
    letter, end = int(tok.encode("x")[0]), ControlTokens.of(tok).end_of_text
    made = record(0, [1, 5, 4], [[1, 0], [2, 0]]) | {"tokenizer": tok.fingerprint}
    made["completions"][2] |= {"ids": [letter] * 3 + [end]}
    groups = RankedPairs.read(written(tmp_path, made)).groups
    encoded = [len(tok.encode("x" * count)) + 1 for count in (1, 2, 3)]
    assert encoded[2] < 4
    assert score_groups(_Lengths(tok), tok, groups).tolist() == [*encoded[:2], 4]  # type: ignore[arg-type]
    made["tokenizer"] = "other"
    with pytest.raises(ForeignArtifact, match="'other'"):
        score_groups(_Lengths(tok), tok, RankedPairs.read(written(tmp_path, made)).groups)  # type: ignore[arg-type]


def test_the_correlation_with_length_takes_each_completion_once(tmp_path: Path) -> None:
    """Also those of a prompt without a clear pair, and the same one of two pairs once."""
    tok = Tokenizer.train(["a b"], vocab_size=272, special_tokens=list(CONTROL_TOKENS))
    made = [record(0, [1, 5, 4], [[1, 0], [2, 0]]), record(1, [3, 3, 4, 1], []), record(2, [4, 1], [[0, 1]])]
    held_out = RankedPairs.read(written(tmp_path, *made))
    rewards = np.random.default_rng(0).normal(size=9).astype(np.float32)

    class Fixed(_Lengths):
        model = SimpleNamespace(reward_offset=0.5)

        def scores(self, prompts: list[Any], completions: list[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
            return rewards

    found = evaluate_reward(Fixed(tok), tok, held_out, held_out, rewards, RunConfig())  # type: ignore[arg-type]
    groups = [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert found.length_correlation == pytest.approx(length_correlation(rewards, held_out.lengths, groups=groups))
    assert (found.prompts, found.prompts_with_pairs) == (3, 2)
