"""`stategpt import` and `stategpt export`: what they write, and what the check in another tool notices."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
pytest.importorskip("transformers", reason="the check needs the hf extra (transformers)")
pytest.importorskip("jinja2", reason="templates need the train extra (jinja2)")
from safetensors.torch import load_file  # noqa: E402

from family_models import CASES  # noqa: E402
from foreign_tokenizers import VOCABULARY, foreign  # noqa: E402
from stategpt.artifacts import verify  # noqa: E402
from stategpt.cli import export_check, export_probes, main  # noqa: E402
from stategpt.cli.export_check import check_export  # noqa: E402
from stategpt.cli.model_source import load_source, model_place  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.data import ChatTemplate  # noqa: E402
from stategpt.errors import ConfigError, ExportMismatch, MissingExtra  # noqa: E402
from stategpt.gguf_file import read_metadata  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.tokenizer.gguf_vocabulary import gguf_metadata  # noqa: E402


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as transformers writes it, in float32, with three ids that end a text."""
    folder = tmp_path_factory.mktemp("origin")
    made = foreign("smollm")
    ends = {"bos_token_id": made.id("bos_token"), "eos_token_id": made.id("eos_token"), "pad_token_id": None}
    model = CASES["llama"].model(vocab_size=VOCABULARY, **ends)
    model.generation_config.eos_token_id = [made.id("eos_token"), 7, 9]
    model.save_pretrained(folder)
    made.write(folder)
    return folder


@pytest.fixture(scope="module")
def imported(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "model"
    assert main(["import", str(origin), str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def checked(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """An export in bfloat16, what transformers answered about it, and the table."""
    out, answers = tmp_path_factory.mktemp("exported") / "hf", []
    asked = export_check._answer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_check, "_answer", lambda *args: answers.append(asked(*args)) or answers[-1])
        assert main(["export", str(imported), "--to", "hf", "--out", str(out), "--dtype", "bf16", "--check"]) == 0
        source = load_source(imported, "native")
        table = check_export_with(answers[0], source, out)
    return out, answers[0], table


def check_export_with(answer: dict[str, Any], source: Any, out: Path) -> str:
    """The check with a given answer of the tool."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_check, "_answer", lambda *_: answer)
        return check_export(source, out, "hf", "bf16")


# --- import ---


def test_an_imported_folder_is_published_with_weights_tokenizer_and_template(origin: Path, imported: Path) -> None:
    assert verify(imported, "model").kind == "model"
    was, now = GPT.from_pretrained(origin), GPT.from_pretrained(imported)
    assert now.special_ids == was.special_ids
    for name, value in was.state_dict().items():
        assert torch.equal(now.state_dict()[name], value), name
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (imported / name).read_bytes() == (origin / name).read_bytes()
    assert json.loads((imported / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"


def test_the_number_format_is_what_dtype_says(origin: Path, tmp_path: Path) -> None:
    assert main(["import", str(origin), str(tmp_path / "m"), "--dtype", "f16"]) == 0
    assert {tensor.dtype for tensor in load_file(tmp_path / "m" / "model.safetensors").values()} == {torch.float16}


def test_nothing_is_overwritten_and_what_is_missing_is_said(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(origin), str(tmp_path)]) == 2
    assert "exists; give a folder that does not" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "no"), str(tmp_path / "m")]) == 2
    assert "does not exist; give a run folder" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_model_of_a_run_is_named_by_its_stage(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("")
    for stage in ("base", "sft", "reward"):
        (tmp_path / stage / "model").mkdir(parents=True)
        (tmp_path / stage / "model" / "config.json").write_text("{}")
    assert model_place(str(tmp_path)) == tmp_path / "sft" / "model"
    assert model_place(str(tmp_path), "reward") == tmp_path / "reward" / "model"
    with pytest.raises(ConfigError, match="has no rl model; it has reward, sft, base"):
        model_place(str(tmp_path), "rl")
    with pytest.raises(ConfigError, match="is not a run folder"):
        model_place(str(tmp_path / "sft" / "model"), "rl")


# --- export and its check ---


def test_an_export_is_compared_in_the_other_tool(checked: tuple[Path, dict[str, Any], str]) -> None:
    out, answer, table = checked
    assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert answer["tool"].startswith("transformers 5")
    assert len(answer["chats"]) == 2
    assert len(answer["runs"]) == len(export_probes.TEXTS) + 2 + 2
    assert all(len(run["greedy"]) == export_check.STEPS and len(run["top"]) == 20 for run in answer["runs"])
    assert "37 equal" in table
    assert table.endswith("equal; log-probabilities may differ by 0.001")


def other_id(answer: dict[str, Any]) -> None:
    answer["texts"][2]["ids"][3] += 1


def other_plain_id(answer: dict[str, Any]) -> None:
    answer["texts"][-1]["plain"] = answer["texts"][-1]["ids"]


def other_chat(answer: dict[str, Any]) -> None:
    answer["chats"][1].append(5)


def other_log_probability(answer: dict[str, Any]) -> None:
    answer["runs"][4]["top"][7][1] += 0.01


def no_number(answer: dict[str, Any]) -> None:
    answer["runs"][0]["top"][0][1] = float("nan")


def other_greedy_token(answer: dict[str, Any]) -> None:
    answer["runs"][-1]["greedy"][-1] = (answer["runs"][-1]["greedy"][-1] + 1) % VOCABULARY


def fewer_tokens(answer: dict[str, Any]) -> None:
    answer["runs"][1]["greedy"].pop()


def fewer_runs(answer: dict[str, Any]) -> None:
    answer["runs"].pop()


def one_end(answer: dict[str, Any]) -> None:
    answer["ends"] = answer["ends"][:1]


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (other_id, r"ids of the text 'Gr.*: token 3 is"),
        (other_plain_id, "as plain text: token 1"),
        (other_chat, r"ids of the chat .* \(60 and 59 ids\)"),
        (other_log_probability, r"has the log-probability -\d.* 0\.001 may lie between them"),
        (no_number, "has the log-probability nan"),
        (other_greedy_token, "the greedy token 7 is"),
        (fewer_tokens, "the tool gives 7 tokens, expected 8"),
        (fewer_runs, "the tool answered 10 of 11 questions"),
        (one_end, "id 7 ends a text here, and in the tool only"),
    ],
)
def test_the_check_names_the_first_difference(
    checked: tuple[Path, dict[str, Any], str], imported: Path, tamper: Callable[[dict[str, Any]], None], told: str
) -> None:
    out, answer, _ = checked
    changed = copy.deepcopy(answer)
    tamper(changed)
    with pytest.raises(ExportMismatch, match=told):
        check_export_with(changed, load_source(imported, "native"), out)


@pytest.mark.parametrize(
    ("gap", "message"), [(0.0019, None), (0.0021, "the greedy token 0 is 1 in the tool and 0 here")]
)
def test_a_greedy_token_may_differ_only_within_twice_the_tolerance(
    gap: float, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_check, "_step", lambda *_: export_check.Step([-1.0, -1.0 - gap, -9.0]))
    theirs = {"top": [[0, -1.0]], "greedy": [1] * export_check.STEPS}
    compared: list[float] = []
    if message is None:
        row = export_check._compared_run(None, [5], theirs, 1e-3, frozenset(), compared)  # type: ignore[arg-type]
        assert (row[3], compared) == ("equal up to a tie at 0", [0.0])
    else:
        with pytest.raises(ExportMismatch, match=message):
            export_check._compared_run(None, [5], theirs, 1e-3, frozenset(), compared)  # type: ignore[arg-type]


def test_what_a_tool_leaves_out_is_no_greedy_token_here_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp is told not to end: where an end is most likely here, the next one counts."""
    monkeypatch.setattr(export_check, "_step", lambda *_: export_check.Step([-0.1, -3.0, -9.0]))
    theirs = {"top": [], "greedy": [1] * export_check.STEPS}
    row = export_check._compared_run(None, [5], theirs, 1e-3, frozenset({0}), [])  # type: ignore[arg-type]
    assert row[3] == "equal"
    for never in (frozenset({1}), frozenset[int]()):
        with pytest.raises(ExportMismatch, match="the greedy token 0 is 1 in the tool and 0 here"):
            export_check._compared_run(None, [5], theirs, 1e-3, never, [])  # type: ignore[arg-type]


def test_many_differences_that_are_each_allowed_are_not_allowed_together() -> None:
    export_check._require_mean([0.19, 0.2], 0.2)
    with pytest.raises(ExportMismatch, match=r"2 log-probabilities differ by 0\.25000 on average"):
        export_check._require_mean([0.2, 0.3], 0.2)
    assert all(limit < export_check.TOLERANCES[key] for key, limit in export_check.MEANS.items())


def test_the_reference_of_a_file_of_blocks_is_the_source_and_not_the_file(imported: Path) -> None:
    source = load_source(imported, "native")
    for dtype, rounded in (("q8_0", False), ("f16", True)):
        made = export_check._as_written(source, dtype)
        same = [torch.equal(a, b) for a, b in zip(made.parameters(), source.model.parameters(), strict=True)]
        assert all(same) != rounded, dtype


def test_a_folder_that_the_tool_cannot_load_fails(imported: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportMismatch, match=r"the tool cannot use it \(exit code 1\)"):
        check_export(load_source(imported, "native"), tmp_path, "hf", None)


def test_without_the_tool_the_export_is_written_and_the_check_refused(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        export_check.importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name)
    )
    assert main(["export", str(imported), "--to", "hf", "--out", str(tmp_path / "m"), "--check"]) == 2
    assert "was written, and the check could not be done: it needs transformers" in capsys.readouterr().err
    assert GPT.from_pretrained(tmp_path / "m").config.vocab_size == VOCABULARY
    with pytest.raises(MissingExtra):
        check_export(load_source(imported, "native"), tmp_path / "m", "hf", None)


@pytest.mark.parametrize(("to", "dtype"), [("hf", "q8_0"), ("gguf", "bf16")])
def test_a_format_that_the_target_does_not_have_is_refused(
    to: str, dtype: str, imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.gguf"
    assert main(["export", str(imported), "--to", to, "--out", str(out), "--dtype", dtype]) == 2
    assert f"--dtype {dtype} is no format of --to {to}" in capsys.readouterr().err
    assert not out.exists()


def test_a_reward_model_of_ours_is_checked_in_a_padded_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tok = Tokenizer.train(["What is it? It is so."], 400, special_tokens=CONTROL_TOKENS)
    torch.manual_seed(0)
    sizes = {"depth": 2, "width": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 48}
    RewardModel(GPT(GPTConfig(vocab_size=400, context_tokens=128, **sizes))).save_pretrained(tmp_path / "m", tok)
    assert main(["export", str(tmp_path / "m"), "--to", "hf", "--out", str(tmp_path / "out"), "--check"]) == 0
    assert "So it is." in capsys.readouterr().out
    source = load_source(tmp_path / "m", "native")
    assert isinstance(source.model, RewardModel)
    talks = [{"ids": export_probes.scored_ids(source, talk), "score": 9.0} for talk in export_probes.probe_talks()]
    texts = [
        {
            name: export_probes.ids_of(source, text, special)
            for name, special in (("ids", "allow"), ("plain", "unflagged"))
        }
        for text in [*export_probes.TEXTS, *export_probes.spelled(source)]
    ]
    answer = {"tool": "a tool", "texts": texts, "chats": [], "talks": talks}
    monkeypatch.setattr(export_check, "_answer", lambda *_: answer)
    with pytest.raises(ExportMismatch, match=r"scores 9\.00000 in the tool, in a padded batch"):
        check_export(source, tmp_path / "out", "hf", None)


def test_a_saved_model_becomes_a_gguf_file_with_its_tokenizer(origin: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="writing GGUF files needs the hf extra (gguf)")
    tok = Tokenizer.load(origin)
    GPT.from_pretrained(origin).save_pretrained(tmp_path / "saved", tok, ChatTemplate.load(origin, tok))
    out = tmp_path / "saved.gguf"
    assert main(["export", str(tmp_path / "saved"), "--to", "gguf", "--out", str(out), "--dtype", "f16"]) == 0
    said = read_metadata(out)
    assert (said["tokenizer.ggml.model"], said["tokenizer.ggml.pre"]) == ("gpt2", "smollm")
    back = Tokenizer.load(out)
    assert gguf_metadata(back) == gguf_metadata(tok)
    text = "to be, 1234 or not 5"
    assert back.encode(text).tolist() == tok.encode(text).tolist()
    model = GPT.from_pretrained(out, torch.float32)
    given = GPT.from_pretrained(origin, torch.float32)
    for name, weight in given.state_dict().items():
        assert torch.allclose(model.state_dict()[name], weight, atol=2e-3), name


def test_llama_cpp_computes_an_exported_file_as_we_do(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf", reason="writing GGUF files needs the hf extra (gguf)")
    pytest.importorskip("stategpt.tokenizer.gguf_vocabulary", reason="no GGUF metadata of tokenizers here")
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the wheel `xllamacpp` (llama.cpp) is not installed")
    for dtype in ("f32", "f16", "q8_0"):
        out = tmp_path / f"{dtype}.gguf"
        words = ["export", str(imported), "--to", "gguf", "--out", str(out), "--dtype", dtype, "--check"]
        assert main(words) == 0, capsys.readouterr().err
    assert "checked with llama.cpp" in capsys.readouterr().out
    source = load_source(imported, "native")
    with torch.no_grad():  # the file is no longer of this source
        for parameter in source.model.parameters():
            parameter.mul_(4)
    with pytest.raises(ExportMismatch, match=r"has the log-probability|on average|greedy token"):
        check_export(source, out, "gguf", "q8_0")
