"""A new user: from a folder of files to an RLHF model and a report, without a line of Python; and parts of it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.cli import main
from stategpt.report.run_files import RunFiles
from stategpt.report.views.inputs import inputs
from user_files import Writer

pytestmark = pytest.mark.xdist_group("user_run")

SMALL = [
    *("--pretrain.tokens", "4096", "--model.depth", "1", "--model.width", "64", "--tokenizer.vocab_size", "400"),
    *("--sft.epochs", "1", "--rl.steps", "2", "--rl.prompts_per_step", "4", "--evaluate.bootstrap_resamples", "50"),
    *("--evaluate.test_tokens", "1024", "--sampling.max_tokens", "8", "--evaluate.comparison_prompts", "6"),
    *("--evaluate.sft_samples", "6", "--evaluate.frontier_prompts", "4", "--evaluate.best_of", "2"),
]
"""Settings that make every stage take seconds."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user") / "project"
    Writer(folder / "files").everything(40)
    return folder


@pytest.fixture(scope="module")
def toml(project: Path) -> Path:
    assert main(["init", str(project / "files"), "--out", str(project / "mine.toml")]) == 0
    return project / "mine.toml"


@pytest.fixture(scope="module")
def finished(toml: Path, project: Path) -> Path:
    assert main(["run", str(toml), "--out", str(project / "run"), *SMALL]) == 0
    return project / "run"


def test_init_writes_a_run_of_what_lies_in_the_folder(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = toml.read_text()
    assert re.findall(r"^\[([\w.]+)\]", text, re.MULTILINE) == [
        *("corpus", "sources.notes", "sources.docs", "tokenizer", "model", "pretrain"),
        *("sft", "sampling", "rankings", "reward", "rl", "evaluate"),
    ]
    assert 'paths = ["files/docs/**/*.md"]' in text
    assert 'text = "body"' in text
    assert '"files/alpaca.json",  # alpaca' in text
    settings = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    assert all(" # " in line or line.endswith("[") for line in settings), settings
    assert main(["init", str(toml.parent / "files"), "--out", str(toml)]) == 2
    assert "is there already; give --force" in capsys.readouterr().err


def test_plan_counts_the_files(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(toml)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"sources\.docs +40 files, .* 40 documents", out)
    assert re.search(r"sources\.notes +1 file, .* 40 documents", out)
    assert re.search(r"sft\.data +2 files, .* 80 conversations", out)
    assert re.search(r"rankings\.data +1 file, .* 40 rankings", out)
    assert "missing" not in out


def test_inspect_shows_formats_counts_and_tokens(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(toml), "--out", str(toml.parent / "none")]) == 0
    out = capsys.readouterr().out
    assert "80 records: 80 kept, 0 duplicate" in out
    assert "<|assistant|>" in out
    assert "rank 1: " in out
    assert not (toml.parent / "none").exists(), "nothing is written"


def test_a_run_ends_with_an_rlhf_model_and_a_report(finished: Path) -> None:
    for stage in ("base", "sft", "reward", "rl"):
        assert (finished / stage / "model" / "model.safetensors").exists(), stage
    page = (finished / "report" / "index.html").read_text()
    assert "docstring" not in page
    nodes = {node["path"]: node for node in json.loads((finished / "lineage.json").read_text())["nodes"]}
    assert nodes["rankings/records"]["parents"] == [nodes["corpus/rankings"]["id"]], "people's rankings need no model"


def words(page: str) -> str:
    """What a reader sees of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)).split())


def measured(finished: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished / stage / "evaluation" / "evaluation.json").read_text())
    return found


def test_the_report_has_the_figures_that_were_measured(finished: Path) -> None:
    page = words((finished / "report" / "index.html").read_text())
    base, reward = measured(finished, "base")["mixed"], measured(finished, "reward")
    assert f"bits per byte {base['bits_per_byte']:.3f} " in page
    assert f"pair accuracy {reward['pair_accuracy']['mean']:.3f} by length alone" in page
    assert f"answers end {100 * measured(finished, 'sft')['ended_share']['mean']:.1f} %" in page
    rlhf = measured(finished, "comparison")["systems"]["rlhf"]["win_rate_vs_sft"]["mean"]
    assert f"wins against SFT {100 * rlhf:.1f} %" in page
    for counted in (
        "sft.data 80 80 0 0",
        "rankings.data 40 40 0 0",
        "sources.notes 40 40 0 0",
        "sources.docs 40 40 0 0",
    ):
        assert counted in page, "records, kept, duplicate, rejected"


def test_what_is_measured_is_held_out(finished: Path) -> None:
    asked = {
        side: {
            next(m["content"] for m in json.loads(line)["messages"] if m["role"] == "user")
            for line in (finished / "corpus" / "conversations" / f"{side}.jsonl").read_text().splitlines()
        }
        for side in ("train", "validation", "test")
    }
    for stage in ("sft", "comparison"):
        examples = measured(finished, stage)["examples"]
        assert examples
        assert not {example["prompt"] for example in examples} & (asked["train"] | asked["validation"]), stage
    held_out = (finished / "corpus" / "documents").glob("*/test.jsonl")
    count = sum(len(path.read_text().splitlines()) for path in held_out)
    assert measured(finished, "base")["mixed"]["documents"] == count
    judged = (finished / "rankings" / "records" / "test.jsonl").read_text().splitlines()
    assert measured(finished, "reward")["prompts"] == len(judged)


def test_what_was_ranked_is_what_people_ranked(finished: Path, project: Path) -> None:
    given = [json.loads(line)["chosen"] for line in (project / "files" / "hh.jsonl").read_text().splitlines()]
    best = {text.rpartition("Assistant:")[2].strip() for text in given}
    for side in ("train", "test"):
        for line in (finished / "rankings" / "records" / f"{side}.jsonl").read_text().splitlines():
            record = json.loads(line)
            assert {c["text"] for c in record["completions"] if c["rank"] == 1} <= best


def test_no_prompt_is_in_training_and_validation(finished: Path) -> None:
    sides: dict[str, set[str]] = {}
    for kind in ("conversations", "rankings"):
        for side in ("train", "validation", "test"):
            for line in (finished / "corpus" / kind / f"{side}.jsonl").read_text().splitlines():
                record = json.loads(line)
                messages = record.get("messages") or [{"role": "user", "content": str(record["prompt"])}]
                asked = next(m["content"] for m in messages if m["role"] == "user")
                sides.setdefault(asked, set()).add(side)
    assert {len(found) for found in sides.values()} == {1}


def test_a_finished_run_is_not_made_again(finished: Path, toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamp = (finished / "rl" / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(["run", str(toml), "--out", str(finished), *SMALL]) == 0
    assert (finished / "rl" / "model" / "model.safetensors").stat().st_mtime_ns == stamp
    assert main(["data", "verify", str(toml), "--out", str(finished), *SMALL]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert main(["data", "stats", str(finished)]) == 0
    assert "sources.docs" in capsys.readouterr().out


def test_the_samples_of_pretraining_continue_held_out_documents(finished: Path) -> None:
    lines = (finished / "base" / "evaluation" / "samples.jsonl").read_text().splitlines()
    prompts = {json.loads(line)["prompt"] for line in lines}
    held_out = [
        json.loads(line)["text"]
        for side in ("validation", "test")
        for path in (finished / "corpus" / "documents").glob(f"*/{side}.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert prompts
    assert all(any(text.startswith(prompt) for text in held_out) for prompt in prompts)


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_changed_input_is_named_and_refused_or_made_again(
    finished: Path, project: Path, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project / "files", tmp_path / "files")
    shutil.copy(project / "mine.toml", tmp_path / "mine.toml")
    small = [*SMALL, "--out", str(tmp_path / "run")]
    assert main(["run", str(tmp_path / "mine.toml"), *small, "--until", "prepare"]) == 0
    page = tmp_path / "files" / "docs" / "page0.md"
    if change == "edited":
        page.write_text(page.read_text() + "\nOne more line.\n")
    elif change == "added":
        page = page.with_name("page_new.md")
        page.write_text("# New\n\nA page that was not there.\n")
    else:
        page.unlink()
    before = (tmp_path / "run" / "corpus" / "manifest.json").read_bytes()
    capsys.readouterr()
    assert main(["run", str(tmp_path / "mine.toml"), *small, "--until", "prepare"]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"{change}: \S*{page.name}", err), err
    assert "corpus.on_change" in err
    assert (tmp_path / "run" / "corpus" / "manifest.json").read_bytes() == before
    assert main(["data", "verify", str(tmp_path / "mine.toml"), *small]) == 2
    rebuild = [*small, "--corpus.on_change", "rebuild", "--until", "prepare"]
    assert main(["run", str(tmp_path / "mine.toml"), *rebuild]) == 0
    assert (tmp_path / "run" / "corpus" / "manifest.json").read_bytes() != before
    assert main(["data", "verify", str(tmp_path / "mine.toml"), *small]) == 0


def test_too_little_data_is_said_by_plan_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Writer(tmp_path / "files").markdown(5)
    (tmp_path / "mine.toml").write_text('[sources.docs]\npaths = ["files/docs"]\nshare = 1.0\n')
    assert main(["plan", str(tmp_path / "mine.toml")]) == 0
    assert re.search(r"missing: sources\.docs has 5 documents; .* takes 25: 20 are missing", capsys.readouterr().out)
    assert main(["run", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run"), *SMALL]) == 2
    assert "too little to split" in " ".join(capsys.readouterr().err.split())


def test_rejected_records_stop_the_run_and_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(tmp_path / "files")
    writer.notes(40)
    path = tmp_path / "files" / "notes.jsonl"
    path.write_text(path.read_text() + '{"id": 99}\n' * 3)
    (tmp_path / "mine.toml").write_text('[sources.n]\npaths = ["files/notes.jsonl"]\ntext = "body"\nshare = 1.0\n')
    command = ["data", "build", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "3 of 43" in err
    assert re.search(r"notes\.jsonl:41 \(byte \d+\): missing_field", err)
    assert main([*command, "--corpus.max_rejected_share", "0.1"]) == 0
    assert "3 missing_field" in capsys.readouterr().out


def test_curation_removes_with_receipts_before_the_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(tmp_path / "files")
    writer.notes(40)
    path = tmp_path / "files" / "notes.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *lines[:5], '{"id": 50, "body": "Short."}']) + "\n")
    (tmp_path / "mine.toml").write_text(
        '[sources.n]\npaths = ["files/notes.jsonl"]\ntext = "body"\nshare = 1.0\n'
        "[curate]\nmin_characters = 20\nexact_duplicates = true  # five of the notes come twice\n"
    )
    command = [str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run")]
    assert main(["data", "build", *command]) == 0
    out = capsys.readouterr().out
    assert re.search(r"sources\.n +46 +40 +0 +6", out), out
    statistics = json.loads((tmp_path / "run" / "corpus" / "statistics.json").read_text())
    assert sum(statistics["curation"]["n"]["removed"].values()) == 6
    [shown] = inputs(RunFiles(tmp_path / "run"))["curation"]
    assert (shown["name"], shown["total"]) == ("n", "46")
    assert [(bar["rule"], bar["count"]) for bar in shown["bars"]] == [
        ("kept", "40"),
        ("exact_duplicate", "5"),
        ("length_characters_min", "1"),
    ]
    assert statistics["inputs"]["sources.n"]["total"] == 46
    assert sum(side["documents"] for side in statistics["sources"]["n"].values()) == 40
    folders = ("curation", "corpus/documents")
    manifests = [json.loads((tmp_path / "run" / f / "manifest.json").read_text()) for f in folders]
    assert manifests[1]["parents"] == [manifests[0]["fingerprint"]]
    assert main(["data", "build", *command]) == 0, "what is there is checked, not made again"
    assert main(["data", "build", *command, "--curate.min_characters", "1"]) == 2
    assert "curate.min_characters was 20, now 1" in " ".join(capsys.readouterr().err.split())
