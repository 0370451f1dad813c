"""Relative links of Markdown pages lead somewhere, headings too; the tree in docs/architecture.md is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".venv", "target", "runs", "dist", ".git", ".make", "node_modules"}
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    found = []
    for folder in [ROOT, *(path for path in ROOT.iterdir() if path.is_dir() and not _left_out(path))]:
        pattern = "*.md" if folder == ROOT else "**/*.md"
        found += [path for path in folder.glob(pattern) if not set(path.parts) & NOT_OURS]
    return sorted(found)


def _left_out(folder: Path) -> bool:
    return folder.name in NOT_OURS or folder.name.startswith(".")


def broken_links(page: Path) -> Iterator[str]:
    for match in LINK.finditer(FENCE.sub("", page.read_text())):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue  # an address on the web: not checked here
        path, _, heading = target.partition("#")
        where = (page.parent / path).resolve() if path else page
        if not where.exists():
            yield f"{page}: {target} does not exist"
        elif heading and heading not in _headings(where):
            yield f"{page}: {target}: no such heading"


def _headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_relative_link_leads_somewhere() -> None:
    assert not [problem for page in pages() for problem in broken_links(page)]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One thing\n[a](absent.md) [b](#one-thing) [c](#two) [d](https://example.org)\n")
    assert [problem.split(": ", 1)[1] for problem in broken_links(page)] == [
        "absent.md does not exist",
        "#two: no such heading",
    ]


def test_the_architecture_page_names_every_package_and_crate() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.name for path in (ROOT / "python" / "stategpt").glob("*/__init__.py")]
    crates = [path.parent.name for path in (ROOT / "rust").glob("*/Cargo.toml")]
    tops = ["rust", "python/stategpt", "triton_kernels", "tests", "benches", "docs"]
    missing = [name for name in [*packages, *crates, *tops] if f"{name}/" not in tree and name != "kernels"]
    assert not missing
