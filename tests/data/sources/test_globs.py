"""Files that patterns name: sorted, each once; what names nothing, loops or is the run's own is refused or left out."""

import glob
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.data.sources.globs import files_of, require_distinct, root_of, shown_name
from stategpt.errors import CorpusError


def names(base: Path, *patterns: str, exclude: tuple[Path, ...] = ()) -> list[str]:
    return [path.relative_to(base).as_posix() for path in files_of(patterns, base, exclude)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.md", "b.txt", "x/a.md", "x/y/c.md", "x/.hidden.md", ".git/d.md", "z[1].md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_patterns_are_those_of_a_shell(tree: Path) -> None:
    assert names(tree, "**/*.md") == ["a.md", "x/a.md", "x/y/c.md", "z[1].md"]
    assert names(tree, "*.md", "b.txt") == ["a.md", "b.txt", "z[1].md"]
    assert names(tree, "x/*.md") == ["x/a.md"]
    assert names(tree, "x/**") == ["x/a.md", "x/y/c.md"]
    assert names(tree, "x") == ["x/a.md", "x/y/c.md"]
    assert names(tree, "x/**/y/*.m?") == ["x/y/c.md"]
    assert names(tree, "[ab].*") == ["a.md", "b.txt"]
    assert names(tree, ".git/*", "x/.*") == [".git/d.md", "x/.hidden.md"]
    assert names(tree, "z[1].md") == ["z[1].md"]
    assert names(tree, glob.escape("z[1].md")) == ["z[1].md"]
    assert names(tree / "x", str(tree / "x" / "*.md")) == ["a.md"]


@given(st.lists(st.sampled_from(["*", "**", "x", "y", "*.md", "?.md", "[ac].md", "a*"]), min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_patterns_match_what_pathlib_matches(tree: Path, parts: list[str]) -> None:
    pattern = "/".join(parts)
    wanted = sorted(
        path.relative_to(tree).parts
        for path in {Path(found) for found in glob.glob(str(tree / pattern), recursive=True)}
        if path.is_file()
    )
    try:
        found = [path.relative_to(tree).parts for path in files_of([pattern], tree)]
    except CorpusError:
        found = []
    if (tree / pattern).is_dir():
        return  # a folder is all that is in it
    assert found == wanted


def test_a_pattern_that_matches_nothing_is_named(tree: Path) -> None:
    with pytest.raises(CorpusError, match=r"sources\.notes\.paths: '\*\.rst' matches no file; paths are relative to"):
        files_of(["a.md", "*.rst"], tree, what="sources.notes.paths")
    with pytest.raises(CorpusError, match=r"absent\.md does not exist"):
        files_of(["absent.md"], tree)
    (tree / "empty").mkdir()
    with pytest.raises(CorpusError, match="'empty' matches no file"):
        files_of(["empty"], tree)


def test_links_in_a_loop_end_and_a_file_is_named_once(tree: Path) -> None:
    (tree / "x" / "up").symlink_to(tree)
    (tree / "x" / "self").symlink_to(tree / "x" / "self")
    (tree / "link.md").symlink_to(tree / "a.md")
    os.link(tree / "b.txt", tree / "x" / "hard.txt")
    assert sorted(names(tree, "**/*.md")) == ["a.md", "x/a.md", "x/y/c.md", "z[1].md"]
    assert names(tree, "**/*.txt") == ["b.txt"]


def test_a_link_to_itself_and_a_name_that_is_too_long_are_typed_errors(tree: Path) -> None:
    (tree / "loop.md").symlink_to("loop.md")
    for name in ("loop.md", "a" * 300, "a" * 300 + "/*.md"):
        with pytest.raises(CorpusError, match=r"does not exist|matches no file"):
            files_of([name], tree, exclude=(tree / "x",))


def test_a_name_that_is_not_utf_8_is_escaped_in_places(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md"))
    path.write_text("A text.")
    assert files_of(["*.md"], tmp_path) == [path]
    assert shown_name(path, tmp_path) == "caf\\udce9.md"
    assert shown_name(path, "/other").endswith("/caf\\udce9.md")


def test_deep_folders_need_no_stack(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(400):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "a.md").write_text("a")
    assert files_of(["**/*.md"], tmp_path) == [deep / "a.md"]


def test_the_run_s_own_folder_and_other_runs_are_no_input(tree: Path) -> None:
    for run in ("runs/mine", "runs/other"):
        (tree / run / "corpus").mkdir(parents=True)
        (tree / run / "corpus" / "e.md").write_text("e")
    (tree / "runs" / "other" / "run.toml").write_text("")
    mine = tree / "runs" / "mine"
    assert "runs/mine/corpus/e.md" in names(tree, "**/*.md")
    assert names(tree, "**/*.md", exclude=(mine,)) == ["a.md", "x/a.md", "x/y/c.md", "z[1].md"]
    for pattern in ("runs/mine/corpus/e.md", "runs/mine/corpus/*.md", "runs/mine", str(mine / "**")):
        with pytest.raises(CorpusError, match=r"is inside .*mine, the run's folder"):
            files_of([pattern], tree, (mine,))


def test_a_file_in_two_sources_is_named_also_through_a_link(tree: Path) -> None:
    (tree / "link.md").symlink_to(tree / "a.md")
    require_distinct({"sources.a.paths": [tree / "a.md"], "sources.b.paths": [tree / "b.txt"]})
    with pytest.raises(CorpusError, match=r"link\.md \(a link to .*a\.md\) is in sources\.a\.paths and in sources\.b"):
        require_distinct({"sources.a.paths": [tree / "a.md"], "sources.b.paths": [tree / "link.md"]})


def test_the_root_depends_on_the_patterns_alone(tmp_path: Path) -> None:
    assert root_of(["raw/a/*.md", "raw/b/c.jsonl"], tmp_path) == tmp_path / "raw"
    assert root_of(["raw/a/x.md"], tmp_path) == tmp_path / "raw" / "a"
    assert root_of([str(tmp_path / "p" / "**" / "*.md"), "q.md"], tmp_path) == tmp_path


def test_an_unreadable_folder_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match="cannot be listed"):
        files_of(["**/*.md"], tree)
