"""The source files of a Rust crate use each other in one direction only: no file is part of a cycle."""

from __future__ import annotations

from pathlib import Path

import pytest

from architecture.rust_modules import cycles, import_graph

ROOT = Path(__file__).resolve().parents[2]
CRATES = sorted(path.parent.name for path in (ROOT / "rust").glob("*/src"))


@pytest.mark.parametrize("crate", CRATES)
def test_no_file_is_part_of_a_cycle(crate: str) -> None:
    assert cycles(import_graph(ROOT / "rust" / crate / "src")) == []


def test_a_cycle_is_found_through_a_re_export(tmp_path: Path) -> None:
    files = {
        "lib.rs": "mod first;\npub mod second;\npub use first::First;",
        "first.rs": "use crate::second::inner::{Inner, other as another};\npub struct First;",
        "second/mod.rs": "mod unrelated;\npub mod inner;",
        "second/inner.rs": "pub fn inner() { super::super::First; }",
        "second/unrelated.rs": '// use crate::First;\nconst TEXT: &str = "crate::First";',
    }
    assert cycles(_graph(tmp_path, files)) == [["first.rs", "second/inner.rs"]]


def test_what_only_tests_use_is_no_part_of_a_cycle(tmp_path: Path) -> None:
    files = {
        "lib.rs": "mod first;\nmod second;",
        "first.rs": "use crate::second::Second;\npub struct First { #[cfg(test)] pub count: u64, held: Second }",
        "second.rs": "pub struct Second;\n#[cfg(test)]\nuse crate::first::First;\n"
        "#[cfg(test)]\nmod tests { use crate::first::First; }\n"
        "#[cfg(test)]\nfn made() -> crate::first::First { todo() }",
    }
    assert _graph(tmp_path, files)["first.rs"] == {"second.rs"}
    assert cycles(_graph(tmp_path, files)) == []


def test_a_child_that_uses_its_parent_is_part_of_a_cycle_if_the_parent_uses_it(tmp_path: Path) -> None:
    files = {"lib.rs": "mod parent;", "parent/mod.rs": "mod child;\npub const N: u32 = child::M;"}
    files["parent/child.rs"] = "pub const M: u32 = super::N;"
    assert cycles(_graph(tmp_path, files)) == [["parent/child.rs", "parent/mod.rs"]]


def _graph(folder: Path, files: dict[str, str]) -> dict[str, set[str]]:
    for name, code in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    return import_graph(folder)
