"""`stategpt score`: log-probabilities of texts, completions and answers, whatever their length and number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="scoring needs the train extra (torch)")

from hypothesis import given
from hypothesis import strategies as st

from stategpt.cli import main, scored_texts
from stategpt.cli.scored_texts import Score, ScoredText, TextReader, scores, windows_of
from stategpt.data import Conversation, Message
from stategpt.generate import Engine
from tiny_models import raw_log_probs, tiny_model, tiny_tokenizer

CONTEXT = 96
TOK = tiny_tokenizer()
END = TOK.special_tokens["<|endoftext|>"]
MODEL = tiny_model(context_tokens=CONTEXT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    MODEL.save_pretrained(folder)
    TOK.save(folder / "tokenizer.json")
    return folder


@pytest.fixture
def engine() -> Engine:
    return Engine(MODEL, TOK)


def records_in(path: Path, *records: Any) -> str:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records))
    return str(path)


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_texts_and_completions_have_the_models_own_log_probabilities(model: Path, tmp_path: Path) -> None:
    file = records_in(
        tmp_path / "r.jsonl",
        {"text": "Return the length of a list.", "id": "t"},
        {"prompt": "Return the", "completion": " dictionary grün"},
    )
    out = tmp_path / "out.jsonl"
    assert main(["score", str(model), file, "--out", str(out), "--tokens"]) == 0
    text = np.array([END, *TOK.encode("Return the length of a list.")])
    prompt = [END, *TOK.encode("Return the")]
    behind = TOK.encode(" dictionary grün").tolist()
    expected = [raw_log_probs(MODEL, text, 1), raw_log_probs(MODEL, np.array([*prompt, *behind]), len(prompt))]
    found = written(out)
    assert [each.get("id") for each in found] == ["t", None]
    assert [each["line"] for each in found] == [1, 2]
    assert [each["token_ids"] for each in found] == [text[1:].tolist(), behind]
    assert [each["bytes"] for each in found] == [28, len(" dictionary grün".encode())]
    for record, log_probs in zip(found, expected, strict=True):
        assert record["token_log_probs"] == pytest.approx(log_probs.tolist(), abs=1e-4)
        total = float(log_probs.sum())
        assert record["tokens"] == len(log_probs)
        assert record["log_prob"] == pytest.approx(total, abs=1e-3)
        assert record["log_prob_per_token"] == pytest.approx(total / len(log_probs), abs=1e-4)
        assert record["perplexity"] == pytest.approx(math.exp(-total / len(log_probs)), rel=1e-3)
        assert record["bits_per_byte"] == pytest.approx(-total / math.log(2) / record["bytes"], rel=1e-4)


def test_answers_are_scored_as_training_predicts_them(model: Path, engine: Engine, tmp_path: Path) -> None:
    turns = [("user", "Return <|user|>"), ("assistant", "True"), ("user", "if"), ("assistant", "the key")]
    messages = [{"role": role, "content": text} for role, text in turns]
    file = records_in(tmp_path / "r.jsonl", {"messages": messages}, {"prompt": "if", "completion": "the key"})
    out = tmp_path / "out.jsonl"
    assert main(["score", str(model), file, "--chat", "--out", str(out), "--tokens"]) == 0
    found = written(out)
    conversations = [Conversation(tuple(Message(*turn) for turn in turns)), Conversation.of("if", "the key")]
    for record, conversation in zip(found, conversations, strict=True):
        encoded = engine.dialogue.encode(conversation)
        expected = np.append(np.nan, raw_log_probs(MODEL, encoded.ids, 1))[encoded.loss_mask]
        assert record["token_ids"] == encoded.ids[encoded.loss_mask].tolist()
        assert record["token_log_probs"] == pytest.approx(expected.tolist(), abs=1e-4)
        assert record["token_ids"][-1] == END, "the end of an answer is predicted, too"
    assert [each["bytes"] for each in found] == [len(b"Truethe key"), len(b"the key")]


def test_a_text_longer_than_the_context_is_scored_in_windows(engine: Engine) -> None:
    text = "Return the length of a list. True " * 40
    item = TextReader(engine, chat=False)({"text": text})
    assert len(item.ids) > 4 * CONTEXT
    (found,) = scores(engine, [item])
    assert len(found) == len(item.ids) - 1
    expected, end = [raw_log_probs(MODEL, item.ids[:CONTEXT], 1)], CONTEXT
    while end < len(item.ids):
        first, end = end, min(end + CONTEXT // 2, len(item.ids))
        part = item.ids[end - CONTEXT : end]
        expected.append(raw_log_probs(MODEL, part, CONTEXT - (end - first)))
    assert found.tolist() == pytest.approx(np.concatenate(expected).tolist(), abs=1e-4)


@given(length=st.integers(2, 400), first=st.integers(1, 60), context=st.integers(2, 130))
def test_windows_score_every_token_once_behind_half_a_context(length: int, first: int, context: int) -> None:
    first = min(first, length - 1, context - 1)
    counted = np.arange(length) >= first
    found = list(windows_of(ScoredText(np.zeros(length, dtype=np.uint32), counted, 1), context))
    assert [place for _, start, end in found for place in range(start, end)] == list(range(first, length))
    for start, scored, end in found:
        assert 0 <= start < scored < end
        assert end - start <= context
    for start, scored, _ in found[1:]:
        assert scored - start >= context // 2


def test_batches_change_neither_order_nor_values_and_bound_what_is_held(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Return {at} " * length for at, length in enumerate((2, 9, 1, 7, 12, 1, 1, 1, 10, 3))]
    assert max(len(TOK.encode(text)) for text in texts) < CONTEXT
    file = records_in(tmp_path / "r.jsonl", *({"text": text} for text in texts))
    assert main(["score", str(model), file, "--out", str(tmp_path / "whole")]) == 0
    batches: list[int] = []
    score = Engine.score

    def counted(engine: Engine, prompts: Any, continuations: Any) -> Any:
        batches.append(sum(map(len, prompts)) + sum(map(len, continuations)))
        return score(engine, prompts, continuations)

    monkeypatch.setattr(Engine, "score", counted)
    monkeypatch.setattr(scored_texts, "BATCH_TOKENS", 64)
    assert main(["score", str(model), file, "--out", str(tmp_path / "parts")]) == 0
    assert len(batches) >= 3
    assert max(batches) <= 64 + max(len(TOK.encode(text)) for text in texts)
    whole, parts = written(tmp_path / "whole"), written(tmp_path / "parts")
    assert [each["line"] for each in parts] == list(range(1, 11))
    assert [each["log_prob"] for each in parts] == pytest.approx([each["log_prob"] for each in whole], abs=1e-3)


def test_the_total_is_of_all_tokens(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = records_in(tmp_path / "r.jsonl", {"text": "Return"}, {"text": "Return the length", "id": "b\x1b"})
    assert main(["score", str(model), file]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert main(["score", str(model), file, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == printed[-1:]
    found = written(tmp_path / "out")
    parts = [Score(each["log_prob"], each["tokens"], each["bytes"]) for each in found]
    assert printed == [f"{file}:1: {parts[0]}", f"{file}:2 (b\\x1b): {parts[1]}", f"2 records: {parts[0] + parts[1]}"]
    total = (parts[0] + parts[1]).to_json()
    assert total["log_prob"] == parts[0].log_prob + parts[1].log_prob
    assert total["bits_per_byte"] == pytest.approx(-total["log_prob"] / math.log(2) / 23)


def test_a_text_of_the_command_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(model), "--text", "Return\nthe", "--tokens"]) == 0
    head, *tokens = capsys.readouterr().out.splitlines()
    ids = TOK.encode("Return\nthe").tolist()
    log_probs = raw_log_probs(MODEL, np.array([END, *ids]), 1)
    assert head.startswith(f"log-probability {log_probs.sum():.2f}")
    assert f" nats, {len(ids)} tokens, " in head
    assert [int(line.split()[1]) for line in tokens] == ids
    assert [float(line.split()[0]) for line in tokens] == pytest.approx(log_probs.tolist(), abs=1e-3)
    assert any(line.endswith("\\n") for line in tokens), "a line end is shown on the line"
    assert main(["score", str(model), "--prompt", "Return", "--text", " the"]) == 0
    assert "1 tokens" in capsys.readouterr().out
    assert main(["score", str(model), "--prompt", "Return", "--text", " the", "--chat"]) == 0
    assert "2 tokens" in capsys.readouterr().out, "and the end of the answer"


def test_without_a_beginning_of_documents_the_first_token_is_not_scored(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = TextReader(engine, chat=False)
    monkeypatch.setattr(read, "_begin", None)
    item = read({"text": "Return the length"})
    first = TOK.decode(item.ids[:1])
    assert item.ids.tolist() == TOK.encode("Return the length").tolist()
    assert item.bytes == len("Return the length") - len(first)
    (found,) = scores(engine, [item])
    assert found.tolist() == pytest.approx(raw_log_probs(MODEL, item.ids, 1).tolist(), abs=1e-4)


BAD = (
    {"text": "Return"},
    {"text": ""},
    {"prompt": "Return"},
    {"prompt": "Return", "completion": ""},
    {"prompt": "Return", "completion": "word " * CONTEXT},
    {"messages": []},
    {"text": "a\ud800"},
    {"prompt": "Return", "completion": "the"},
)


def test_bad_records_are_named_before_the_start_or_left_out(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = records_in(tmp_path / "r.jsonl", *BAD), tmp_path / "out"
    assert main(["score", str(model), file, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "6 of 8 records of " in told
    for line in range(2, 8):
        assert f"r.jsonl:{line} (byte " in told
    assert not out.exists()
    assert main(["score", str(model), file, "--out", str(out), "--skip-bad"]) == 0
    assert "2 records, 6 left out: " in capsys.readouterr().out
    found = written(out)
    assert [each["line"] for each in found] == list(range(1, 9))
    codes = ["unusable", "missing_field", "unusable", "too_long", "missing_field", "invalid_json"]
    assert [each["error"]["code"] for each in found if "error" in each] == codes
    assert main(["score", str(model), file, "--skip-bad"]) == 0
    assert "r.jsonl:3: left out: there is neither text nor prompt and completion" in capsys.readouterr().out


def test_an_output_is_whole_or_absent(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = records_in(tmp_path / "r.jsonl", *({"text": "Return"} for _ in range(4)))
    monkeypatch.setattr(scored_texts, "BATCH_TOKENS", 1)
    calls, score = [0], Engine.score

    def failing(engine: Engine, prompts: Any, continuations: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return score(engine, prompts, continuations)

    monkeypatch.setattr(Engine, "score", failing)
    assert main(["score", str(model), file, "--out", str(tmp_path / "out")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give a file of records, or --text TEXT"),
        (["r.jsonl", "--text", "a"], "give a file of records, or --text TEXT"),
        (["r.jsonl", "--prompt", "a"], "--prompt is what is before --text"),
        (["--chat", "--text", "a"], "give --prompt TEXT, too"),
        (["r.txt"], "the name says no format of records"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    model: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(model), *options]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_perplexity_beyond_a_double_and_bits_of_no_bytes_are_null() -> None:
    record = Score(-1e6, 10, 0).to_json()
    assert (record["perplexity"], record["bits_per_byte"]) == (None, None)
    assert "perplexity none" in str(Score(-1e6, 10, 0))
