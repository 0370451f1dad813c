"""Which prompts are completed: given ones first, and those of the evaluation for nothing else."""

import pytest

from stategpt.data.corpus import SIDES, Corpus
from stategpt.data.prompts import prompts_of
from stategpt.data.rankings import Rankings
from stategpt.data.records import Conversation, Prompt

NO_CHATS = {side: [] for side in SIDES}
CHATS = {side: [Conversation.of(f"asked in {side}", "answer")] for side in SIDES}


def given(text: str) -> dict[str, list[Prompt]]:
    return {side: [Prompt.of(f"{text} {side}")] for side in SIDES}


def ranked() -> dict[str, list[object]]:
    completions = [{"text": "yes", "rank": 1}, {"text": "no", "rank": 2}]
    rows = [{"id": str(number), "prompt": "ranked", "completions": completions} for number in range(2)]
    return {side: list(Rankings.read(rows).groups) for side in SIDES}


def texts(corpus: Corpus, purpose: str, side: str) -> list[str]:
    return [prompt.text for prompt in prompts_of(corpus, purpose, side)]  # type: ignore[arg-type]


@pytest.mark.parametrize("side", SIDES)
def test_given_prompts_come_first_and_serve_their_purpose(side: str) -> None:
    corpus = Corpus({}, CHATS, {}, {}, {"rl": given("rl"), "evaluate": given("evaluate")})  # type: ignore[arg-type]
    assert texts(corpus, "rl", side) == [f"rl {side}"]
    assert texts(corpus, "evaluate", side) == [f"evaluate {side}"]
    assert texts(corpus, "rankings", side) == [f"asked in {side}"]


def test_without_conversations_other_prompts_serve_but_never_those_of_the_evaluation() -> None:
    corpus = Corpus({}, NO_CHATS, {}, {}, {"rl": given("rl"), "evaluate": given("evaluate")})  # type: ignore[arg-type]
    assert texts(corpus, "rankings", "train") == ["rl train"]
    only = Corpus({}, NO_CHATS, {}, {}, {"evaluate": given("evaluate")})  # type: ignore[arg-type]
    assert texts(only, "rl", "train") == []


def test_prompts_of_rankings_are_the_last_resort_and_come_once() -> None:
    corpus = Corpus({}, NO_CHATS, {}, ranked(), {})  # type: ignore[arg-type]
    assert texts(corpus, "rl", "train") == ["ranked"]


def test_a_side_without_given_prompts_takes_the_next_kind() -> None:
    prompts = {"evaluate": {"train": [], "validation": [], "test": [Prompt.of("held out")]}}
    corpus = Corpus({}, CHATS, {}, {}, prompts)  # type: ignore[arg-type]
    assert texts(corpus, "evaluate", "test") == ["held out"]
    assert texts(corpus, "evaluate", "validation") == ["asked in validation"]
