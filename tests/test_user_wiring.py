"""What a user gives reaches the stage that is to read it, and no other."""

import json

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts.run_folder import RunFolder
from stategpt.cli import main
from stategpt.config.toml import load
from stategpt.data.corpus import read_corpus
from stategpt.data.records import Conversation
from stategpt.packing import Shards
from stategpt.stages.context import StageContext
from stategpt.stages.people import people_records
from stategpt.stages.prepare import prepare
from stategpt.stages.rankings import rankings
from stategpt.tokenizer import Tokenizer
from user_files import Writer

TOML = """
[sources.docs]
paths = ["files/docs"]
share = 1.0
[curate]
min_characters = 100
exact_duplicates = true
[tokenizer]
vocab_size = 400
[model]
depth = 1
width = 64
[pretrain]
tokens = 1024
[sft]
data = ["files/chats.jsonl"]
[rankings]
data = ["files/hh.jsonl"]
[reward]
[evaluate]
few_shot_examples = 0
prompts = ["files/prompts.jsonl"]
"""
SHORT = "Too short a page."


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run up to its shards: some pages are removed by curation, some questions are held out for the evaluation."""
    folder = tmp_path_factory.mktemp("wiring")
    writer = Writer(folder / "files")
    writer.everything(40)
    for number in range(5):
        (folder / "files" / "docs" / f"short{number}.md").write_text(SHORT)
    asked = [json.loads(line) for line in (folder / "files" / "chats.jsonl").read_text().splitlines()]
    writer.lines("prompts.jsonl", ({"prompt": row["messages"][1]["content"]} for row in asked[:6]))
    (folder / "mine.toml").write_text(TOML)
    assert main(["run", str(folder / "mine.toml"), "--out", str(folder / "run"), "--until", "prepare"]) == 0
    return RunFolder(folder / "run")


def texts_of(folder: RunFolder, source: str) -> list[str]:
    """The training texts that a stage reads from shards."""
    tok = Tokenizer.load(folder.tokenizer / "tokenizer.json")
    return [tok.decode(ids) for ids in Shards.open(folder.shards(source, "train"))]


def questions(conversations: list[Conversation]) -> set[str]:
    return {conversation.messages[1].content for conversation in conversations}


def test_pretraining_reads_what_curation_kept_of_the_training_side(prepared: RunFolder) -> None:
    split = read_corpus(prepared.corpus).sources["docs"]
    assert sorted(texts_of(prepared, "docs")) == sorted(split.texts("train"))
    assert sum(len(split.of(side)) for side in ("train", "validation", "test")) == 40
    assert SHORT not in texts_of(prepared, "docs")


def test_sft_reads_the_training_conversations_alone(prepared: RunFolder) -> None:
    corpus = read_corpus(prepared.corpus)
    shards = texts_of(prepared, "conversations")
    asked = {side: questions(found) for side, found in corpus.conversations.items()}
    assert len(shards) == len(corpus.conversations["train"])
    assert all(any(question in text for text in shards) for question in asked["train"])
    assert not any(question in text for text in shards for question in asked["validation"] | asked["test"])
    rows = Shards.open(prepared.shards("conversations", "train"))
    assert all(0 < rows.loss_mask(number).sum() < len(rows.loss_mask(number)) for number in range(len(rows)))


def test_prompts_of_the_evaluation_are_in_no_training(prepared: RunFolder) -> None:
    corpus = read_corpus(prepared.corpus)
    held = {prompt.text for prompt in corpus.prompts["evaluate"]["test"]}
    assert len(held) == 6
    assert held <= questions(corpus.conversations["test"])
    assert not any(question in text for text in texts_of(prepared, "conversations") for question in held)


def test_people_s_rankings_are_published_and_no_model_is_asked(
    prepared: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("a model is loaded")

    run = load(prepared.root / "run.toml")
    prepare(run, prepared)  # what is there is checked
    monkeypatch.setattr(StageContext, "load_model", refuse)
    rankings(run, prepared)
    given = [json.loads(line) for line in (prepared.root.parent / "files" / "hh.jsonl").read_text().splitlines()]
    chosen = {row["chosen"].rpartition("Assistant:")[2].strip() for row in given}
    expected = people_records(read_corpus(prepared.corpus), run)
    for side in ("train", "test"):
        lines = (prepared.root / "rankings" / "records" / f"{side}.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in expected[side]]
        best = [c["text"] for line in lines for c in json.loads(line)["completions"] if c["rank"] == 1]
        assert best
        assert set(best) <= chosen
