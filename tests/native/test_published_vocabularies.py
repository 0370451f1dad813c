"""Rust tests that need vocabularies which are not part of the repository: `cargo test` reports them as ignored."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("shared/data/vocab", ".cache/peers/vocabularies")
TESTS_OF = {
    ("gpt2.tiktoken", "cl100k.tiktoken", "o200k.tiktoken"): (
        "merge::tests::published::published_vocabularies",
        "merge::tests::prefix::the_first_tokens_of_a_flood_do_not_read_the_rest",
        "merge::tests::work::work_of_published_vocabularies_grows_with_the_text_and_no_faster",
    ),
    ("llama3.json",): ("merge::out_of_order::tests::published_vocabulary",),
}


def is_there(name: str) -> bool:
    """Where the Rust tests look: in the checkout and in every folder above it."""
    return any((above / folder / name).is_file() for above in (ROOT, *ROOT.parents) for folder in FOLDERS)


def test_every_ignored_test_of_the_tokenizer_is_named_here() -> None:
    sources = sorted((ROOT / "rust" / "tokenizer").rglob("*.rs"))
    ignored = sum(path.read_text(encoding="utf-8").count("#[ignore") for path in sources)
    assert ignored == sum(map(len, TESTS_OF.values()))


@pytest.mark.slow
@pytest.mark.xdist_group("cargo")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("files", TESTS_OF, ids=lambda files: files[0].partition(".")[0])
def test_merging_agrees_with_the_slow_way_on_published_vocabularies(files: tuple[str, ...]) -> None:
    if missing := [name for name in files if not is_there(name)]:
        pytest.skip(f"no {FOLDERS[0]}/{missing[0]} here or above")
    if shutil.which("cargo") is None:
        pytest.skip("cargo is needed to run the Rust tests")
    names = TESTS_OF[files]
    command = ["cargo", "test", "--locked", "-p", "stategpt-tokenizer", "--lib", "--", "--ignored", "--exact", *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} passed" in done.stdout, done.stdout
