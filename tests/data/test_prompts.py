"""Which prompts are completed: given ones first, and those of the evaluation for nothing else."""

import pytest

from stategpt.data.corpus import SIDES, Corpus, Side
from stategpt.data.groups import question_group
from stategpt.data.prompts import Purpose, prompt_of, prompts_of
from stategpt.data.rankings import RankedGroup, Rankings
from stategpt.data.records import Conversation, Prompt

NO_CHATS: dict[Side, list[Conversation]] = {side: [] for side in SIDES}
CHATS: dict[Side, list[Conversation]] = {side: [Conversation.of(f"asked in {side}", "answer")] for side in SIDES}


def given(text: str) -> dict[Side, list[Prompt]]:
    return {side: [Prompt.of(f"{text} {side}")] for side in SIDES}


def ranked() -> dict[Side, list[RankedGroup]]:
    completions = [{"text": "yes", "rank": 1}, {"text": "no", "rank": 2}]
    rows = [{"id": str(number), "prompt": "ranked", "completions": completions} for number in range(2)]
    return {side: list(Rankings.read(rows).groups) for side in SIDES}


def texts(corpus: Corpus, purpose: Purpose, side: Side) -> list[str]:
    return [prompt.text for prompt in prompts_of(corpus, purpose, side)]


@pytest.mark.parametrize("side", SIDES)
def test_given_prompts_come_first_and_serve_their_purpose(side: Side) -> None:
    corpus = Corpus({}, CHATS, {}, {}, {"rl": given("rl"), "evaluate": given("evaluate")})
    assert texts(corpus, "rl", side) == [f"rl {side}"]
    assert texts(corpus, "evaluate", side) == [f"evaluate {side}"]
    assert texts(corpus, "rankings", side) == [f"asked in {side}"]


def test_without_conversations_other_prompts_serve_but_never_those_of_the_evaluation() -> None:
    corpus = Corpus({}, NO_CHATS, {}, {}, {"rl": given("rl"), "evaluate": given("evaluate")})
    assert texts(corpus, "rankings", "train") == ["rl train"]
    only = Corpus({}, NO_CHATS, {}, {}, {"evaluate": given("evaluate")})
    assert texts(only, "rl", "train") == []


def test_prompts_of_rankings_are_the_last_resort_and_come_once() -> None:
    corpus = Corpus({}, NO_CHATS, {}, ranked(), {})
    assert texts(corpus, "rl", "train") == ["ranked"]


def test_a_side_without_given_prompts_takes_the_next_kind() -> None:
    held_out: dict[Side, list[Prompt]] = {"train": [], "validation": [], "test": [Prompt.of("held out")]}
    corpus = Corpus({}, CHATS, {}, {}, {"evaluate": held_out})
    assert texts(corpus, "evaluate", "test") == ["held out"]
    assert texts(corpus, "evaluate", "validation") == ["asked in validation"]


def test_a_ranked_prompt_has_the_group_of_its_first_question() -> None:
    messages = [{"role": role, "content": role + " says"} for role in ("user", "assistant", "user")]
    completions = [{"text": "yes", "rank": 1}, {"text": "no", "rank": 2}]
    [dialogue] = Rankings.read([{"id": "1", "messages": messages, "completions": completions}]).groups
    [plain] = Rankings.read([{"id": "1", "prompt": "user says", "completions": completions}]).groups
    assert prompt_of(dialogue).messages == dialogue.prompt
    assert prompt_of(dialogue).group == prompt_of(plain).group == question_group("user says")
