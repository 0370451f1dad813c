"""`stategpt generate`: what is written, what a kill leaves, what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.cli import generate, main, resumable_file
from stategpt.cli.record_file import RecordFile
from stategpt.cli.resumable_file import ResumableFile
from stategpt.cli.sampling_run import Wanted, missing_runs, sampled
from stategpt.data import Message
from stategpt.errors import CorpusError, DataError, ForeignArtifact, StorageError
from stategpt.generate import Engine, Limits
from tiny_models import tiny_model, tiny_tokenizer

CONTEXT = 96


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(context_tokens=CONTEXT).save_pretrained(folder)
    tiny_tokenizer().save(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_model(context_tokens=CONTEXT), tiny_tokenizer())


def prompts_in(path: Path, *records: Any) -> str:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records))
    return str(path)


def many(path: Path, count: int = 12) -> str:
    return prompts_in(path, *({"prompt": "Return the " + "list " * (at % 5), "id": f"p{at}"} for at in range(count)))


def written(path: Path | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def words(model: Path, prompts: str, out: Path, *more: str) -> list[str]:
    return ["generate", str(model), "--prompts", prompts, "--out", str(out), "--max-tokens", "6", *more]


def test_samples_are_those_of_the_engine_in_the_order_of_the_prompts(
    model: Path, engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = many(tmp_path / "p.jsonl", 5), tmp_path / "new" / "out.jsonl"
    assert main(words(model, prompts, out, "--n", "3", "--seed", "4", "--top-k", "40", "--rows", "4", "--tokens")) == 0
    told = capsys.readouterr()
    assert "15 samples of 5 prompts" in told.out
    assert re.search(r"generate: 15/15 samples, [\d.,]+/s", told.err)
    found = iter(written(out))
    for at in range(5):
        asked = "Return the " + "list " * at
        for expected in engine.generate(
            [asked], n=3, seed=4, top_k=40, max_tokens=6, first_stream=at + 1, raw_log_probs=True
        ):
            record = next(found)
            log_probs = record.pop("token_log_probs")
            assert log_probs == pytest.approx(expected.raw_log_probs.tolist(), abs=1e-4)
            assert record.pop("log_prob") == pytest.approx(sum(log_probs))
            assert record == {
                "id": f"p{at}-{expected.sample_index}",
                "prompt_id": f"p{at}",
                "line": at + 1,
                "sample": expected.sample_index,
                "text": expected.text,
                "stop_reason": expected.reason,
                "tokens": len(expected.ids),
                "token_ids": expected.ids.tolist(),
            }
            scored = engine.score([asked], [expected.ids])[0]
            assert log_probs == pytest.approx(scored.tolist(), abs=1e-4), "as `stategpt score` counts"
    assert next(found, None) is None
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.jsonl", "out.jsonl.settings.json"]
    assert main(words(model, prompts, out, "--n", "3", "--seed", "4", "--top-k", "40", "--tokens")) == 0
    assert "is complete" in capsys.readouterr().out


KILLED = """
import os, signal, sys
from stategpt.cli import main
from stategpt.cli.resumable_file import ResumableFile

add, left = ResumableFile.add, int(sys.argv[1])

def killed(output, result):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    add(output, result)

ResumableFile.add = killed
main(sys.argv[2:])
"""


def test_a_killed_run_continues_and_ends_with_the_same_bytes(model: Path, tmp_path: Path) -> None:
    prompts = many(tmp_path / "p.jsonl", 40)
    more = ("--n", "2", "--exact", "--rows", "4", "--seed", "9")
    assert main(words(model, prompts, tmp_path / "whole.jsonl", *more)) == 0
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    command = words(model, prompts, out, *more)
    for expected in (21, 34):
        done = part.read_bytes().count(b"\n") if part.exists() else 0
        process = subprocess.run([sys.executable, "-c", KILLED, str(expected - done), *command], check=False)
        assert process.returncode == -signal.SIGKILL
        assert not out.exists()
        assert part.read_bytes().count(b"\n") == expected
        with part.open("ab") as file:  # half a line, as a kill in the middle of a write leaves it
            file.write(b'{"id": "p3-0", "line": 4, "samp')
    assert main(command) == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not part.exists()


class Interrupt:
    """Interrupts after some results, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.added = 10**9, 0
        add = ResumableFile.add

        def counted(output: ResumableFile, result: Any) -> None:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.added += 1
            add(output, result)

        monkeypatch.setattr(ResumableFile, "add", counted)


def test_an_interrupted_run_says_how_to_continue_and_computes_what_is_missing_only(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, out = many(tmp_path / "p.jsonl"), tmp_path / "out.jsonl"
    assert main(words(model, prompts, tmp_path / "whole.jsonl", "--n", "3")) == 0
    interrupt = Interrupt(monkeypatch)
    interrupt.left = 7
    capsys.readouterr()
    assert main(words(model, prompts, out, "--n", "3", "--rows", "5")) == 130
    assert (
        "interrupted; 7 of 36 samples are in out.jsonl.part, and the same command continues" in capsys.readouterr().err
    )
    assert not out.exists()
    interrupt.left, interrupt.added = 10**9, 0
    assert main(words(model, prompts, out, "--n", "3")) == 0
    assert interrupt.added == 36 - 7
    whole, found = written(tmp_path / "whole.jsonl"), written(out)
    assert [each.pop("log_prob") for each in found] == pytest.approx([each.pop("log_prob") for each in whole], abs=1e-4)
    assert found == whole


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--n", "2"], "n = 1, and now it is 2"),
        (["--seed", "1"], "seed = 0, and now it is 1"),
        (["--temperature", "0.5"], "temperature = 1.0, and now it is 0.5"),
        (["--top-p", "0.5"], "top_p = not set, and now it is 0.5"),
        (["--max-tokens", "5"], "max_tokens = 6, and now it is 5"),
        (["--stop", "x"], 'stop = [], and now it is ["x"]'),
        (["--chat"], "chat = false, and now it is true"),
        (["--tokens"], "tokens = false, and now it is true"),
        (["--skip-bad"], "skip_bad = false, and now it is true"),
        (["--exact"], "exact = false, and now it is true"),
        (["--dtype", "f32"], 'dtype = not set, and now it is "f32"'),
    ],
)
def test_other_settings_than_the_output_was_begun_with_are_refused(
    model: Path, tmp_path: Path, more: list[str], named: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    prompts, out = many(tmp_path / "p.jsonl", 3), tmp_path / "out.jsonl"
    interrupt = Interrupt(monkeypatch)
    interrupt.left = 1
    assert main(words(model, prompts, out)) == 130
    before = (tmp_path / "out.jsonl.part").read_bytes()
    capsys.readouterr()
    assert main(words(model, prompts, out, *more)) == 2
    assert f"out.jsonl was begun with {named}" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl.part").read_bytes() == before


def test_another_file_of_prompts_and_another_model_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = many(tmp_path / "p.jsonl", 3), tmp_path / "out.jsonl"
    assert main(words(model, prompts, out)) == 0
    other = tmp_path / "other"
    tiny_model(seed=1, context_tokens=CONTEXT).save_pretrained(other)
    tiny_tokenizer().save(other / "tokenizer.json")
    assert main(words(other, prompts, out)) == 2
    assert "was begun with model = " in capsys.readouterr().err
    prompts_in(Path(prompts), *({"prompt": "Return"} for _ in range(3)))
    assert main(words(model, prompts, out)) == 2
    assert "was begun with prompts = " in capsys.readouterr().err


def test_a_file_that_something_else_wrote_is_kept(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = many(tmp_path / "p.jsonl", 3), tmp_path / "out.jsonl"
    out.write_text("mine")
    assert main(words(model, prompts, out)) == 2
    assert "is there and has no out.jsonl.settings.json" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(words(model, prompts, tmp_path / "out.jsonl.gz")) == 2
    assert "is not compressed" in capsys.readouterr().err


BAD = (
    {"prompt": "Return"},
    '{"prompt": "Return',
    {"id": "two", "text": "Return"},
    {"prompt": 3},
    {"prompt": "word " * CONTEXT, "id": 7},
    {"prompt": "Return the", "id": "last"},
    {"prompt": "x", "id": []},
    {"prompt": "x", "id": 2**64},
    {"prompt": "half \ud800"},
    {"prompt": "x", "id": True},
)
CODES = [("invalid_json", 2), ("missing_field", 3), ("wrong_type", 4), ("too_long", 5)]
CODES += [("wrong_type", 7), ("wrong_type", 8), ("invalid_json", 9), ("wrong_type", 10)]


def test_bad_records_stop_before_the_start_with_their_places(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = prompts_in(tmp_path / "p.jsonl", *BAD), tmp_path / "out.jsonl"
    assert main(words(model, prompts, out)) == 2
    told = capsys.readouterr().err
    assert "8 of 10 records of " in told
    assert "nothing was computed" in told
    for code, line in CODES:
        assert f"p.jsonl:{line} (byte " in told
        assert code in told
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


def test_bad_records_are_left_out_where_that_is_wanted_and_their_errors_are_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = prompts_in(tmp_path / "p.jsonl", *BAD), tmp_path / "out.jsonl"
    assert main(words(model, prompts, out, "--skip-bad", "--n", "2")) == 0
    assert "4 samples of 2 prompts, 8 records left out" in capsys.readouterr().out
    found = written(out)
    assert [each["line"] for each in found] == [1, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10]
    assert [(each["error"]["code"], each["line"]) for each in found if "error" in each] == CODES
    assert [each.get("id") for each in found] == ["1-0", "1-1", None, "two", None, 7, "last-0", "last-1", *[None] * 4]
    prompts_in(tmp_path / "none.jsonl", {"text": "a"})
    assert main(words(model, str(tmp_path / "none.jsonl"), tmp_path / "none", "--skip-bad")) == 2
    assert "1 of 1 records" in capsys.readouterr().err


class Failing:
    """A constraint of anything, whose copy number `at` fails at its third token."""

    reserved_tokens, thoughts, complete = 0, None, True

    def __init__(self, at: int) -> None:
        self.at, self.forks, self.tokens, self.finished = at, 0, 0, False

    def __repr__(self) -> str:
        return "Failing"

    def fork(self) -> Failing:
        self.forks += 1
        return Failing(0 if self.forks == self.at else 10**9)

    def mask(self) -> np.ndarray:
        if self.at == 0 and self.tokens == 3:
            raise ValueError("no mask")
        return np.full(-(-tiny_tokenizer().vocab_size // 32), 0xFFFFFFFF, dtype=np.uint32)

    def forced(self) -> np.ndarray:
        return np.empty(0, dtype=np.uint32)

    def advance(self, token: int) -> None:
        self.tokens += 1


def test_a_prompt_that_fails_is_named_and_the_samples_of_others_are_kept(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, out = many(tmp_path / "p.jsonl", 5), tmp_path / "out.jsonl"
    monkeypatch.setattr(generate, "constraint_of", lambda *given: Failing(4))
    assert main(words(model, prompts, out, "--rows", "1")) == 2
    assert "p.jsonl:4 (byte " in (told := capsys.readouterr().err)
    assert "no mask" in told
    assert [each["line"] for each in written(tmp_path / "out.jsonl.part")] == [1, 2, 3]
    monkeypatch.setattr(generate, "constraint_of", lambda *given: Failing(10**9))
    assert main(words(model, prompts, out)) == 0
    assert [each["line"] for each in written(out)] == [1, 2, 3, 4, 5]
    monkeypatch.setattr(generate, "constraint_of", lambda *given: Failing(4))
    assert main(words(model, prompts, tmp_path / "skipped", "--rows", "1", "--skip-bad")) == 0
    found = written(tmp_path / "skipped")
    assert [each["line"] for each in found if "error" in each] == [4]
    assert found[3]["error"]["code"] == "EngineError"
    assert found[3]["id"] == "p3-0"


def test_chats_go_through_the_template(model: Path, engine: Engine, tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Return <|assistant|>"}, {"role": "assistant", "content": "True"},
             {"role": "user", "content": "if"}]  # fmt: skip
    records = ({"prompt": "Return"}, {"messages": asked}, {"messages": [*asked, {"role": "assistant", "content": "a"}]})
    prompts = prompts_in(tmp_path / "p.jsonl", *records)
    out = tmp_path / "out.jsonl"
    assert main(words(model, prompts, out, "--chat", "--skip-bad", "--temperature", "0")) == 0
    messages = [Message(each["role"], each["content"]) for each in asked]
    chat = engine.dialogue
    expected = engine.generate([chat.prompt("Return"), chat.prompt(messages)], temperature=0, max_tokens=6)
    found = written(out)
    assert [each.get("text") for each in found[:2]] == [each.text for each in expected]
    assert "the last message of a prompt is from the assistant" in found[2]["error"]["message"]


@pytest.mark.parametrize(
    ("option", "value"), [("--schema", '{"enum": ["one", "two"]}'), ("--regex", '"(one|two)"')], ids=["schema", "regex"]
)
def test_samples_satisfy_a_constraint(
    model: Path, tmp_path: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("llguidance", reason="constraints need llguidance")
    prompts, out = many(tmp_path / "p.jsonl", 4), tmp_path / "out.jsonl"
    command = words(model, prompts, out, option, value, "--max-tokens", "20", "--n", "2")
    assert main(command) == 0
    assert {json.loads(each["text"]) for each in written(out)} == {"one", "two"}
    assert main([*command[:-4], "--max-tokens", "20", "--n", "2", "--regex", "b"]) == 2
    assert "give one of them" in (told := capsys.readouterr().err) or "constraint" in told


def test_prompts_may_be_a_table(model: Path, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('id,prompt\na,"Return, the"\n')
    assert main(words(model, str(tmp_path / "p.csv"), tmp_path / "out", "--temperature", "0")) == 0
    (record,) = written(tmp_path / "out")
    expected = engine.generate(["Return, the"], temperature=0, max_tokens=6)[0]
    assert (record["id"], record["line"], record["text"]) == ("a-0", 2, expected.text)


def test_wrong_settings_are_refused_before_the_prompts_are_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, message in ((["--n", "0"], "n is 0"), (["--temperature", "-1"], "temperature is -1"),
                          (["--max-tokens", "0"], "max_tokens is 0"), (["--rows", "0"], "batch_rows is 0"),
                          (["--schema", "{}", "--regex", "a"], "give one of them")):  # fmt: skip
        assert main(words(model, str(tmp_path / "none.jsonl"), tmp_path / "out", *more)) == 2
        assert message in capsys.readouterr().err


def test_no_sample_waits_for_a_batch() -> None:
    """One long sample and many short ones: the short ones pass it."""
    engine = Engine(tiny_model(context_tokens=CONTEXT), tiny_tokenizer(), limits=Limits(rows=2))
    lengths = [40, *[2] * 12]

    def wanted() -> Iterator[Wanted]:
        for number, length in enumerate(lengths):
            request = engine.request("Return the", max_tokens=length, stream=number, min_tokens=length)
            yield Wanted(request, 0, 1, number)

    found = [(each.label, len(each.event.ids)) for each in sampled(engine, wanted())]
    assert sorted(found) == list(enumerate(lengths))
    assert found[-1][0] == 0
    assert engine.scheduler.counters.steps <= 42


def test_samples_that_are_given_up_leave_nothing_in_the_scheduler() -> None:
    engine = Engine(tiny_model(context_tokens=CONTEXT), tiny_tokenizer())
    request = engine.request("Return the", max_tokens=8)
    samples = sampled(engine, iter([Wanted(request, first, 1, "") for first in range(4)]))
    next(samples)
    samples.close()
    assert not engine.scheduler.busy


def test_prompts_are_read_as_there_is_room() -> None:
    engine = Engine(tiny_model(context_tokens=CONTEXT), tiny_tokenizer(), limits=Limits(rows=3))
    read, request = [0], engine.request("Return the", max_tokens=2)

    def wanted() -> Iterator[Wanted]:
        for number in range(40):
            read[0] += 1
            yield Wanted(replace(request, stream=number), 0, 1, number)

    for done, _ in enumerate(sampled(engine, wanted())):
        assert read[0] <= done + 2 * 3 + 3
    assert read == [40]


def test_a_file_that_changes_after_the_check_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    file = RecordFile(prompts_in(path, {"prompt": "a"}, "{", {"prompt": "b"}), lambda record: record["prompt"])
    checked = file.check(skip_bad=True)
    assert [item.value for item in file.items(checked)] == ["a", "b"]
    one, two = {"prompt": "a"}, {"prompt": "b"}
    for changed in ((), (one,), (one, two), (one, "{", two, two)):
        prompts_in(path, *changed)
        with pytest.raises(CorpusError, match="has changed since it was checked"):
            list(file.items(checked))


def test_missing_runs() -> None:
    assert list(missing_runs([])) == list(missing_runs([True])) == []
    assert list(missing_runs([False, True, True, False, False])) == [(0, 1), (3, 2)]


def begun(out: Path, places: int = 3, **settings: Any) -> ResumableFile:
    return ResumableFile(out, settings, places, lambda result: result.get("at"))


def test_one_process_at_a_time_writes_an_output(tmp_path: Path) -> None:
    with begun(tmp_path / "out"), pytest.raises(StorageError, match="in use by another process"):
        begun(tmp_path / "out").__enter__()
    with begun(tmp_path / "out"):
        pass


def test_what_is_no_result_of_the_input_is_named(tmp_path: Path) -> None:
    with begun(tmp_path / "out") as output:
        output.add({"at": 1})
    for line, message in ((b'{"at": null}\n', r"out\.part:2 is no result"), (b"{\n", r"out\.part:2 is not valid JSON")):
        kept = (tmp_path / "out.part").read_bytes()
        (tmp_path / "out.part").write_bytes(kept + line)
        with pytest.raises(DataError, match=message):
            begun(tmp_path / "out").__enter__()
        (tmp_path / "out.part").write_bytes(kept)
    with begun(tmp_path / "out") as output:
        assert [output.has(place) for place in range(3)] == [False, True, False]


def test_settings_that_a_kill_tore_are_written_again_while_nothing_is_done(tmp_path: Path) -> None:
    receipt = tmp_path / "out.settings.json"
    receipt.write_text('{"format_ver')
    with begun(tmp_path / "out", n=1) as output:
        assert json.loads(receipt.read_text()) == {"format_version": resumable_file.FORMAT_VERSION, "n": 1}
        output.add({"at": 0})
    with pytest.raises(ForeignArtifact, match="n = 1, and now it is 2"):
        begun(tmp_path / "out", n=2).__enter__()
    receipt.write_text('{"format_ver')
    with pytest.raises(DataError, match="settings"):
        begun(tmp_path / "out", n=1).__enter__()


def test_an_output_that_was_published_as_the_kill_came_is_complete(tmp_path: Path) -> None:
    with begun(tmp_path / "out", 1) as output:
        output.add({"at": 0})
        part = output.part.read_bytes()
        output.publish(lambda line_of: iter([line_of(0)]))
    (tmp_path / "out.part").write_bytes(part)
    with begun(tmp_path / "out", 1) as output:
        assert output.is_complete
    assert sorted(os.listdir(tmp_path)) == ["out", "out.settings.json"]
