"""Rankings: the right prompts, sampled from the SFT model as the run says, written down as they were sampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.config import override  # noqa: E402
from stategpt.data import Rankings, chat_prompt  # noqa: E402
from stategpt.data.corpus import Corpus, write_corpus  # noqa: E402
from stategpt.data.ranking_ids import CompletionIds  # noqa: E402
from stategpt.errors import RankingError  # noqa: E402
from stategpt.evaluate.scorers.docstring_style import DocstringStyle  # noqa: E402
from stategpt.generate import Completion  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.rankings import (  # noqa: E402
    _chosen_prompts,
    _describe,
    _make,
    _typical,
    _write_all,
    clear_pairs,
    rankings,
    record_of,
)

TEXTS = ("Return the name of the file.", "the the the the the", "Return it.", "x")


class Sampler:
    """In the engine's place: the first texts of `TEXTS`, spelled letter by letter; the last did not end."""

    def __init__(self, inputs: StageContext, model: GPT) -> None:
        self.inputs, self.model, self.calls = inputs, model, []  # type: ignore[var-annotated]

    def generate(self, prompts: Sequence[Any], n: int, **settings: Any) -> list[Completion]:
        self.calls.append({"prompts": [prompt.tolist() for prompt in prompts], "n": n, **settings})
        return [completion(self.inputs, TEXTS[i], i < n - 1) for _ in prompts for i in range(n)]


def completion(inputs: StageContext, text: str, ended: bool) -> Completion:
    letters = [int(token) for letter in text for token in inputs.tok.encode(letter)]
    ids = np.array([*letters, *([inputs.control.end_of_text] if ended else [])], dtype=np.uint32)
    reason = "end" if ended else "length"
    return Completion(0, 0, ids, np.zeros(len(ids), np.float32), ended, reason, text)


@pytest.fixture
def sampled(published: StageContext, monkeypatch: pytest.MonkeyPatch) -> tuple[StageContext, Sampler]:
    """Records of a run with 4 completions of 7 prompts and 3 held-out ones, and the engine that was asked for them."""
    run = published.run
    few = replace(run.rankings, train_prompts=7, test_prompts=3, completions=4, tie_below=3)
    inputs = replace(published, run=replace(run, rankings=few, sampling=replace(run.sampling, temperature=0.9)))
    engines: list[Sampler] = []

    def engine(self: StageContext, model: GPT) -> Sampler:
        engines.append(Sampler(self, model))
        return engines[-1]

    monkeypatch.setattr(StageContext, "engine", engine)
    records = inputs.folder.stage("rankings") / "records"
    records.mkdir()
    _write_all(_make(inputs), records)
    (only,) = engines
    return inputs, only


def _records(inputs: StageContext) -> dict[str, list[dict[str, Any]]]:
    files = sorted((inputs.folder.stage("rankings") / "records").glob("*.jsonl"))
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in files}


def test_prompts_come_from_their_split_and_as_many_as_asked_for(inputs: StageContext, corpus: Corpus) -> None:
    few = replace(inputs.run.rankings, train_prompts=11, test_prompts=5)
    train, held_out = _chosen_prompts(replace(inputs.run, rankings=few), corpus).values()
    assert (len(train), len(held_out)) == (11, 5)
    assert len({pair.text for pair in train}) == 11
    assert {pair.text for pair in train} <= {pair.prompt().text for pair in corpus.conversations["train"]}
    assert not {pair.group for pair in held_out} & {pair.group for pair in corpus.conversations["train"]}
    other = _chosen_prompts(replace(inputs.run, rankings=few, seed=inputs.run.seed + 1), corpus)["train"]
    assert [pair.text for pair in other] != [pair.text for pair in train]


def test_the_sft_model_is_sampled_as_the_run_says_and_the_splits_share_no_random_stream(
    sampled: tuple[StageContext, Sampler], corpus: Corpus
) -> None:
    inputs, engine = sampled
    expected = inputs.load_model("sft").state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in engine.model.state_dict().items())
    train, held_out = engine.calls
    for call, pairs in zip(engine.calls, _chosen_prompts(inputs.run, corpus).values(), strict=True):
        assert call["prompts"] == [chat_prompt(inputs.tok, pair).tolist() for pair in pairs]
        assert (call["n"], call["temperature"]) == (4, 0.9)
        assert call["max_tokens"] == inputs.run.sampling.max_tokens
    assert train["seed"] != held_out["seed"]


def test_records_hold_what_was_sampled(sampled: tuple[StageContext, Sampler], corpus: Corpus) -> None:
    inputs, _ = sampled
    rule = DocstringStyle.fit(corpus)
    for split, pairs in _chosen_prompts(inputs.run, corpus).items():
        records = _records(inputs)[split]
        read = Rankings.read(inputs.folder.stage("rankings") / "records" / f"{split}.jsonl")
        assert not read.rejected
        assert [record["meta"]["group"] for record in records] == [pair.group for pair in pairs]
        for record, group, pair in zip(records, read.groups, pairs, strict=True):
            assert record["prompt"] == pair.text
            made = [completion(inputs, text, i < 3) for i, text in enumerate(TEXTS)]
            assert [each["text"] for each in record["completions"]] == list(TEXTS)
            assert [each["ended"] for each in record["completions"]] == [True, True, True, False]
            points = [rule.points(pair, each.text, each.ended).total for each in made]
            assert [each["score"] for each in record["completions"]] == points
            assert [sum(each["parts"].values()) for each in record["completions"]] == points
            assert record["pairs"] == clear_pairs(points, 3) != clear_pairs(points, 1)
            used = CompletionIds(inputs.tok).of(group)
            assert [ids.tolist() for ids in used] == [each.ids.tolist() for each in made], "not the text encoded again"


def test_a_completion_that_did_not_end_is_judged_as_such(inputs: StageContext, corpus: Corpus) -> None:
    rule, pair = DocstringStyle.fit(corpus), corpus.conversations["train"][0].prompt()
    both = [completion(inputs, TEXTS[0], True), completion(inputs, TEXTS[0], False)]
    record = record_of("1", pair, both, {"": rule.scores([pair] * 2, both).values.tolist()}, 1, "tokenizer")
    assert record["completions"][0]["score"] > record["completions"][1]["score"]
    assert record["tokenizer"] == "tokenizer"


def test_the_description_counts_prompts_without_a_clear_pair(sampled: tuple[StageContext, Sampler]) -> None:
    inputs, _ = sampled
    folder = inputs.folder.stage("rankings") / "records"
    path = folder / "train.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(json.dumps(json.loads(line) | {"pairs": []}) + "\n" for line in lines[:2]))
    (held_out,) = (records for split, records in _records(inputs).items() if split != "train")
    described = dict(_describe(folder, "a_scorer").without_clear_pair)
    assert described.pop("train") == 2
    assert list(described.values()) == [sum(not record["pairs"] for record in held_out)]


def test_rankings_without_a_clear_pair_are_not_kept(inputs: StageContext, model: GPT, corpus: Corpus) -> None:
    """Published ones would lock `rankings.tie_below`, which the error says to lower."""
    write_corpus(corpus, inputs.folder.corpus, fingerprint="b3:corpus")
    publish_folder(inputs.folder.tokenizer, lambda folder: inputs.tok.save(folder / "tokenizer.json"), kind="tokenizer")
    inputs.publish("sft", "model", partial(inputs.save_model, model), "config", ())
    changes = {"rankings.tie_below": 10_000, "rankings.train_prompts": 2, "rankings.test_prompts": 2}
    inputs = replace(inputs, run=override(inputs.run, {**changes, "rankings.completions": 2}))
    published = inputs.folder.stage("rankings") / "records"
    with pytest.raises(RankingError, match=r"no clear pair in the 2 train rankings.*Lower rankings\.tie_below"):
        rankings(inputs.run, inputs.folder)
    assert not published.exists()


def test_the_scorer_that_the_run_names_ranks(
    published: StageContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shortest_is_best.py").write_text(
        "def score(prompts, completions):\n    return [-len(c.text) / 2 for c in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    few = replace(published.run.rankings, train_prompts=2, test_prompts=1, completions=4, tie_below=0)
    inputs = replace(published, run=replace(published.run, rankings=replace(few, scorer="shortest_is_best:score")))
    monkeypatch.setattr(StageContext, "engine", lambda self, model: Sampler(self, model))
    for record in _make(inputs)["train"]:
        assert [each["rank"] for each in record["completions"]] == [4, 3, 2, 1]
        assert [each["score"] for each in record["completions"]] == [-len(text) / 2 for text in TEXTS]
        assert len(record["pairs"]) == 6


def test_scores_closer_than_tie_below_are_a_tie_also_where_they_are_no_whole_numbers() -> None:
    assert clear_pairs([0.5, 0.25, 0.5], 0) == [[0, 1], [2, 1]]
    assert clear_pairs([0.5, 0.25, 3.0], 1) == [[2, 0], [2, 1]]
    assert clear_pairs([1.0, 1.0], 0) == []


def test_the_example_is_a_typical_record_and_not_the_most_extreme() -> None:
    rows = [
        {"completions": [{"score": 0.0}, {"score": spread}], "pairs": pairs}
        for spread, pairs in ((9.0, [[1, 0]]), (0.0, []), (3.0, [[1, 0]]), (2.0, [[1, 0]]))
    ]
    assert _typical(rows) is rows[2]
