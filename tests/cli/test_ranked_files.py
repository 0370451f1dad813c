"""`stategpt plan` on people's rankings without chats: lengths of answers come from the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stategpt.cli.survey import expecting, survey
from stategpt.config import RunConfig
from stategpt.config.planner import Assumptions, plan

PAIRS, WORDS = 40, 350


@pytest.fixture
def ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run whose only file holds 40 pairs of answers of about 350 four-letter words."""
    answers = {"prompt": "word " * WORDS, "chosen": "good " * WORDS, "rejected": "poor " * WORDS}
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(answers) for _ in range(PAIRS)) + "\n")
    monkeypatch.chdir(tmp_path)
    run = RunConfig()
    return replace(
        run,
        rankings=replace(run.rankings, data=("pairs.jsonl",)),
        model=replace(run.model, context_tokens=4096),
    )


def test_the_tokens_of_ranked_answers_are_estimated_from_the_file(ranked: RunConfig) -> None:
    assumed = expecting(ranked, survey(ranked), Assumptions())
    trained = PAIRS * (1 - ranked.corpus.validation_share - ranked.corpus.test_share)
    assert assumed.ranked_prompts == round(trained)
    bytes_of_a_pair = Path("pairs.jsonl").stat().st_size / PAIRS
    group = assumed.prompt_tokens + 2 * assumed.answer_tokens
    assert group == pytest.approx(bytes_of_a_pair / 3.5, rel=0.01)
    short = plan(ranked, replace(assumed, prompt_tokens=20, answer_tokens=15))
    long = plan(ranked, assumed)
    reward = [next(each for each in planned.stages if each.name == "reward").seconds for planned in (short, long)]
    assert reward[1] > 20 * reward[0]


def test_lengths_that_are_given_stay(ranked: RunConfig) -> None:
    given = Assumptions(prompt_tokens=7, answer_tokens=9)
    assumed = expecting(ranked, survey(ranked), given)
    assert (assumed.prompt_tokens, assumed.answer_tokens) == (7, 9)


def test_answers_are_no_longer_than_the_context(ranked: RunConfig) -> None:
    small = replace(ranked, model=replace(ranked.model, context_tokens=128))
    assumed = expecting(small, survey(small), Assumptions())
    assert (assumed.prompt_tokens, assumed.answer_tokens, assumed.longest_group_tokens) == (64, 64, 192)


def test_the_longest_group_decides_the_memory(ranked: RunConfig) -> None:
    usual = expecting(ranked, survey(ranked), Assumptions())
    long = {"prompt": "word " * 3 * WORDS, "chosen": "good " * WORDS, "rejected": "poor " * 2 * WORDS}
    with Path("pairs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(long) + "\n")
    assumed = expecting(ranked, survey(ranked), Assumptions())
    assert assumed.longest_group_tokens == pytest.approx(2 * usual.longest_group_tokens, rel=0.01)
    memory = [
        next(each for each in plan(ranked, given).stages if each.name == "reward").memory_bytes
        for given in (usual, assumed, replace(assumed, longest_group_tokens=0))
    ]
    assert memory[1] > 1.5 * memory[0]
    assert memory[2] == pytest.approx(memory[0], rel=0.05)


def test_a_shared_prompt_counts_once(ranked: RunConfig) -> None:
    """HH repeats the dialogue in both answers; the model reads it once."""
    dialogue = "\n\nHuman: " + "word " * WORDS + "\n\nAssistant: "
    record = {"chosen": dialogue + "good " * WORDS, "rejected": dialogue + "poor " * WORDS}
    Path("pairs.jsonl").write_text("\n".join(json.dumps(record) for _ in range(PAIRS)) + "\n")
    assumed = expecting(ranked, survey(ranked), Assumptions())
    assert assumed.longest_group_tokens == pytest.approx(3 * 5 * WORDS / 3.5, rel=0.01)
