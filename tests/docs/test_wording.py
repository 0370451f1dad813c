"""Code and documents are in plain American English: phrases that were frequent here and unclear stay out.

The test knows phrases by pattern; the rule for the rest is in CONTRIBUTING.md. Where a pattern hits a legitimate use,
`ALLOWED` names the file and the word, with the reason.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("python/", "rust/", "triton_kernels/", "fuzz/", "docs/")
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "benches/README.md",
    "benches/records/index.md",
    "tests/README.md",
    "tests/mutants/README.md",
)
HISTORY = ("docs/log.md", "docs/decisions/")
SUFFIXES = {".py", ".rs", ".md", ".pyi", ".j2", ".css"}

PHRASES = re.compile(
    r"\b(stands? (?:in|at|for|beside|behind|there)|lies? (?:in|at|beside|behind|under)|go(?:es)? on|of its own|in all"
    r"|so many|so few|anew|whoever|likeliest|asked for|of like length|the machine lends|house|doors?)\b",
    re.IGNORECASE,
)
BRITISH = re.compile(
    r"(?:col|behavi|fav|neighb|hon)our|licence|\bcent(?:re|red|res)\b|data-centre|artefact|catalogue|\bgrey\b|judgement|\bwhilst\b"
    r"|(?:initial|util|optim|normal|serial|token|organ|recogn|summar|final|quant|minim|maxim|synchron|parallel|vector"
    r"|special|general|penal|memor|material|random|canonical)is(?:e|ed|es|er|ers|ing|ation|ations)(?![a-z])",
    re.IGNORECASE,
)
NO_LEADING_ZERO = re.compile(r"(?<![\w.\])/])\.\d\w*")
"""In documents: ".94" for "0.94"."""

ALLOWED = {
    (
        "rust/packing/src/shards/describe.rs",
        "licence",
    ): "its name in shard manifests of before 0.1.0",
    ("rust/curation/src/function_word_lists.rs", "door"): "a Dutch word",
}


def files() -> list[str]:
    """Tracked files of code and documents; not history, not tests."""
    command = ["git", "ls-files"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        name
        for name in listed.stdout.splitlines()
        if name.startswith((*FOLDERS, *PAGES))
        and not name.startswith(HISTORY)
        and "/tests/" not in name
        and (Path(name).suffix in SUFFIXES or name in PAGES)
        and (ROOT / name).is_file()
        and not (ROOT / name).is_symlink()
    ]


def hits(name: str, text: str) -> Iterator[tuple[int, str]]:
    """(line, words) of every phrase, spelling or decimal in the text that is to be written another way."""
    patterns = [PHRASES, BRITISH] + ([NO_LEADING_ZERO] if name.endswith(".md") else [])
    for number, line in enumerate(text.split("\n"), start=1):
        for pattern in patterns:
            yield from ((number, found[0]) for found in pattern.finditer(line))


def test_no_file_holds_an_unclear_phrase_or_another_spelling() -> None:
    found = [
        f"{name}:{line}: {words!r}"
        for name in files()
        for line, words in hits(name, (ROOT / name).read_text(encoding="utf-8"))
        if (name, words.lower()) not in ALLOWED
    ]
    assert not found, f"{len(found)} to write another way (CONTRIBUTING.md, English):\n" + "\n".join(found)


def test_an_exception_that_nothing_needs_is_removed() -> None:
    needed = {
        (name, words.lower())
        for name, _ in ALLOWED
        for _, words in hits(name, (ROOT / name).read_text(encoding="utf-8"))
    }
    assert set(ALLOWED) <= needed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The mask stands for blank tokens, 12 in all.", ["stands for", "in all"]),
        ("Whoever wrote it goes on anew.", ["Whoever", "goes on", "anew"]),
        ("a folder of its own", ["of its own"]),
        ("def initialise(colours): ...", ["initialise", "colour"]),
        ("the front door of the house", ["door", "house"]),
        ("a ratio of .94, not 0.94; see a.5 and 1.5", [".94"]),
        ("in all cases it optimizes and initializes; the baseline lies between both", ["in all"]),
        ("stand-in, liesel, outdoors, warehouse, precise, promise, advise, Stategpt, precision", []),
    ],
)
def test_phrases_are_found_as_whole_words(text: str, found: list[str]) -> None:
    assert sorted(words for _, words in hits("page.md", text)) == sorted(found)


def test_code_and_documents_are_read_and_history_is_not() -> None:
    read = files()
    assert {"README.md", "python/stategpt/cli/run.py", "rust/layout/src/lib.rs", "docs/architecture.md"} <= set(read)
    assert not [name for name in read if name.startswith(HISTORY) or name in ("CHANGELOG.md", "tests/conftest.py")]
