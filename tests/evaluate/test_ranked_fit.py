"""What of ranked prompts cannot be measured is left out and counted: too long, unusable, or equal as tokens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import CONTROL_TOKENS
from stategpt.errors import RankingError
from stategpt.evaluate import RankedPairs
from stategpt.evaluate.ranked_fit import equal_pairs, fitting_pairs
from stategpt.tokenizer import Tokenizer

TOK = Tokenizer.train(["a b c"], vocab_size=256 + len(CONTROL_TOKENS), special_tokens=list(CONTROL_TOKENS))


class LowerCase:
    """A tokenizer that does not tell upper from lower case, as some that normalize."""

    def __getattr__(self, name: str) -> Any:
        return getattr(TOK, name)

    def encode(self, text: str) -> Any:
        return TOK.encode(text.lower())


def record(name: str, prompt: str, *texts: str) -> dict[str, Any]:
    completions = [{"text": text, "rank": rank} for rank, text in enumerate(texts, start=1)]
    return {"id": name, "prompt": prompt, "completions": completions, "meta": {"group": name}}


def read(tmp_path: Path, *records: dict[str, Any]) -> RankedPairs:
    path = tmp_path / "ranked.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return RankedPairs.read(path)


def test_what_does_not_fit_is_left_out_with_its_code(tmp_path: Path) -> None:
    pairs = read(
        tmp_path,
        record("short", "why", "yes", "no"),
        record("long prompt", "why " * 20, "yes", "no"),
        record("long answer", "why", "yes " * 40, "no"),
        record("three", "how", "one", "two", "three"),
    )
    left, fit = fitting_pairs(pairs, TOK, 40)
    assert [group.id for group in left.groups] == ["short", "long prompt", "three"]
    assert (fit.truncated_prompts, dict(fit.left_out), fit.equal_pairs) == (1, {"completion_too_long": 1}, 0)
    texts = [text for group in left.groups for text in group.completions]
    assert left.lengths.tolist() == [len(text) for text in texts]
    told = [(texts[winner], texts[loser]) for winner, loser in zip(left.winners, left.losers, strict=True)]
    assert told == [("yes", "no"), ("yes", "no"), ("one", "two"), ("one", "three"), ("two", "three")]
    assert left.clusters == ["short", "long prompt", "three", "three", "three"]
    everything, whole = fitting_pairs(pairs, TOK, 4096)
    assert np.array_equal(everything.winners, pairs.winners)
    assert (whole.truncated_prompts, whole.left_out, whole.equal_pairs) == (0, {}, 0)


def test_pairs_that_are_the_same_tokens_are_counted_and_not_measured(tmp_path: Path) -> None:
    pairs = read(tmp_path, record("cased", "why", "Yes", "yes", "no"), record("other", "how", "so", "not"))
    left, fit = fitting_pairs(pairs, LowerCase(), 4096)  # type: ignore[arg-type]
    assert fit.equal_pairs == equal_pairs(pairs.groups, LowerCase()) == 1  # type: ignore[arg-type]
    assert len(left.winners) == len(pairs.winners) - 1
    assert equal_pairs(pairs.groups, TOK) == 0
    only = read(tmp_path, record("cased", "why", "Yes", "yes"))
    with pytest.raises(RankingError, match=r"no pair of the 1 groups can be measured.*1 pairs are equal as tokens"):
        fitting_pairs(only, LowerCase(), 4096)  # type: ignore[arg-type]
