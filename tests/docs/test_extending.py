"""The examples of docs/extending.md work: each is applied to a copy of the sources, and its proof is run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from small_corpus import write_small_corpus

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| \[([\w ]+)\]\(#[\w-]+\) \| (\d+)", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+) (?:file=(\S+)|(proof))\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    """One section of the page."""

    title: str
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Kind of block and its text, by file."""
    proof: str = ""


def examples() -> Iterator[Example]:
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        example = Example(title)
        for kind, name, proof, block in BLOCK.findall(text):
            if proof:
                example.proof = block
            else:
                assert name not in example.files, f"{title}: one block a file"
                example.files[name] = (kind, block)
        yield example


EXAMPLES = {example.title.lower(): example for example in examples()}
IN_PYTHON = [title for title, example in EXAMPLES.items() if example.proof]


def apply(example: Example, root: Path) -> None:
    """Writes the files of an example into a copy of the sources, or changes them."""
    for name, (kind, block) in example.files.items():
        path = root / name
        if kind != "diff":
            assert not path.exists(), f"{name} is there already"
            path.write_text(block, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        for old, new in changes(block):
            assert text.count(old) == 1, f"{name} has {text.count(old)} times what the example changes:\n{old}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def changes(diff: str) -> Iterator[tuple[str, str]]:
    """(old, new) of each place that a diff changes; "@@" is between places, a line of context belongs to both."""
    for place in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = place.splitlines(keepends=True)
        yield (
            "".join(line[1:] for line in lines if line[0] in " -"),
            "".join(line[1:] for line in lines if line[0] in " +"),
        )


def test_the_table_counts_the_files_that_each_example_touches() -> None:
    assert {title.lower(): int(count) for title, count in ROW.findall(PAGE)} == {
        title: len(example.files) for title, example in EXAMPLES.items()
    }


@pytest.mark.parametrize("title", IN_PYTHON)
def test_an_example_works(title: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: train)")
    shutil.copytree(ROOT / "python", tmp_path / "python", ignore=shutil.ignore_patterns("__pycache__"))
    apply(EXAMPLES[title], tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    sources = str(write_small_corpus(tmp_path / "sources"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "python"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[title].proof.replace("SOURCES", repr(sources))],
        cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("cargo")
def test_the_packing_strategy_compiles(tmp_path: Path) -> None:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    for folder in ("rust", "fuzz", "benches"):  # the members of the workspace
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("target", "records", "corpus"))
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    apply(EXAMPLES["packing strategy"], tmp_path)
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target")}
    command = ["cargo", "check", "--locked", "-p", "stategpt-packing"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=800
    )
    assert done.returncode == 0, done.stderr


def test_the_packing_strategy_changes_the_table_that_all_read(tmp_path: Path) -> None:
    plans = tmp_path / "rust" / "packing" / "src" / "plan"
    plans.mkdir(parents=True)
    shutil.copyfile(ROOT / "rust" / "packing" / "src" / "plan" / "mod.rs", plans / "mod.rs")
    apply(EXAMPLES["packing strategy"], tmp_path)
    assert "concat::STRATEGY, one_per_row::STRATEGY]" in (plans / "mod.rs").read_text()
