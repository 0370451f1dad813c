"""Hash-linked lineage: from the policy back to the corpus, and any break in the chain is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.artifacts import Lineage, Manifest, publish_folder, write_lineage
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact


def make(run: Path, path: str, text: str, *parents: Manifest) -> Manifest:
    return publish_folder(
        run / path,
        lambda folder: (folder / "content.txt").write_text(text) and None,
        kind=path.split("/")[-1],
        parents=[parent.fingerprint for parent in parents],
        fingerprints={"config": "b3:cc"},
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    corpus = make(tmp_path, "corpus", "text")
    tokenizer = make(tmp_path, "tokenizer", "merges", corpus)
    base = make(tmp_path, "base/model", "weights", corpus, tokenizer)
    make(tmp_path, "rl/model", "policy", base)
    make(tmp_path, "base/checkpoints/step-000001", "working state")
    (tmp_path / "base" / ".model.staged-1-1").mkdir()
    (tmp_path / "base" / ".model.staged-1-1" / "manifest.json").write_text("half")
    return tmp_path


def test_chains_lead_from_the_corpus_to_the_policy(run: Path) -> None:
    paths = [[node.path for node in chain] for chain in Lineage.of(run).chains()]
    assert paths == [
        ["corpus", "base/model", "rl/model"],
        ["corpus", "tokenizer", "base/model", "rl/model"],
    ]


def test_the_written_file_reads_back_equal_and_verifies(run: Path) -> None:
    written = write_lineage(run)
    assert Lineage.read(run) == written == Lineage.of(run)
    assert [node.path for node in written.nodes] == ["corpus", "tokenizer", "base/model", "rl/model"]
    written.verify(run)
    fields = json.loads((run / "lineage.json").read_text())["nodes"][3]
    assert set(fields) == {"id", "kind", "path", "parents", "fingerprints"}


def test_the_text_names_every_folder_after_what_it_was_made_from(run: Path) -> None:
    blocks = Lineage.of(run).text().split("\n\n")
    assert blocks[3].startswith("rl/model  (model)  b3:")
    assert "  made from  base/model" in blocks[3]
    assert "  config  b3:cc" in blocks[3]


def test_a_parent_that_was_made_again_breaks_the_chain_by_name(run: Path) -> None:
    recorded = write_lineage(run)
    make(run, "base/model", "other weights")
    with pytest.raises(CorruptArtifact, match=r"rl/model was made from b3:.*Delete rl/model"):
        Lineage.of(run)
    with pytest.raises(CorruptArtifact, match=r"base/model is b3:.*made again.*rl/model"):
        recorded.verify(run)


def test_a_removed_parent_breaks_the_chain_by_name(run: Path) -> None:
    shutil.rmtree(run / "corpus")
    with pytest.raises(CorruptArtifact, match="base/model was made from b3:"):
        Lineage.of(run)


def test_verifying_reads_the_bytes(run: Path) -> None:
    recorded = write_lineage(run)
    (run / "tokenizer" / "content.txt").write_text("mergeS")
    assert Lineage.of(run) == recorded  # the manifests alone do not show it
    with pytest.raises(CorruptArtifact, match=r"content\.txt is altered"):
        recorded.verify(run)


def test_two_folders_with_the_same_content_are_both_listed(tmp_path: Path) -> None:
    make(tmp_path, "a/model", "same")
    make(tmp_path, "b/model", "same")
    assert [node.path for node in Lineage.of(tmp_path).nodes] == ["a/model", "b/model"]


def test_an_empty_folder_has_no_lineage(tmp_path: Path) -> None:
    assert Lineage.of(tmp_path).chains() == []


@pytest.mark.parametrize("content", [None, "", "[]", '{"schema_version": 1, "nodes": [{"id": "b3:0"}]}'])
def test_a_file_without_a_lineage_says_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "lineage.json").write_text(content)
    with pytest.raises(DataError, match="holds no lineage"):
        Lineage.read(tmp_path)


def test_another_format_version_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "lineage.json").write_text('{"schema_version": 2, "nodes": []}')
    with pytest.raises(ForeignArtifact, match="format version 2"):
        Lineage.read(tmp_path)


def node(number: int, parents: list[int], path: str | None = None) -> dict[str, object]:
    ids = [f"b3:{parent}" for parent in parents]
    return {"id": f"b3:{number}", "kind": "k", "path": path or f"p{number}", "parents": ids, "fingerprints": {}}


def write_nodes(folder: Path, nodes: object) -> None:
    (folder / "lineage.json").write_text(json.dumps({"schema_version": 1, "nodes": nodes}))


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node(0, [1])], "p0 is listed before b3:1"),
        ([node(0, [1]), node(1, [0])], "p0 is listed before b3:1"),
        ([node(0, [0])], "p0 is listed before b3:0"),
        ([node(0, [], "../outside")], "not one of a folder inside the run"),
        ([node(0, [], "/etc")], "not one of a folder inside the run"),
        ([node(0, [], "a\0b")], "not one of a folder inside the run"),
        ([node(0, []) | {"fingerprints": []}], "expected an object"),
        ([node(0, []) | {"extra": 1}], "unknown field 'extra'"),
        ([node(0, []) | {"parents": "b3:0"}], "expected an array"),
        ({}, "expected an array"),
    ],
)
def test_a_graph_that_no_run_writes_is_refused(tmp_path: Path, nodes: object, says: str) -> None:
    write_nodes(tmp_path, nodes)
    with pytest.raises(DataError, match=f"holds no lineage.*{says}"):
        Lineage.read(tmp_path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["nodes", "id", "path", "parents"]), inner),
        max_leaves=12,
    )
)
def test_any_json_in_the_place_of_a_lineage_is_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    folder = tmp_path_factory.mktemp("lineage")
    for content in (value, {"schema_version": 1, "nodes": value}, {"schema_version": 1, "nodes": [value]}):
        (folder / "lineage.json").write_text(json.dumps(content))
        try:
            lineage = Lineage.read(folder)
        except (DataError, ForeignArtifact):
            continue
        assert lineage.text() == ""
        assert lineage.chains() == []


def test_the_number_of_chains_is_bounded_and_a_long_chain_is_walked(tmp_path: Path) -> None:
    diamonds = [node(0, [])]
    for level in range(40):
        last = 3 * level
        diamonds += [node(last + 1, [last]), node(last + 2, [last]), node(last + 3, [last + 1, last + 2])]
    write_nodes(tmp_path, diamonds)
    with pytest.raises(DataError, match="more than 1,000 ways lead to p"):
        Lineage.read(tmp_path).chains()
    write_nodes(tmp_path, [node(number, [number - 1] * bool(number)) for number in range(5000)])
    lineage = Lineage.read(tmp_path)
    assert [len(chain) for chain in lineage.chains()] == [5000]
    assert len(lineage.text().split("\n\n")) == 5000


def test_a_node_that_differs_from_its_folder_is_named(run: Path) -> None:
    recorded = write_lineage(run)
    recorded.refuse_changes(run)
    make(run, "rl/model", "another policy", recorded_manifest(run, "base/model"))
    with pytest.raises(CorruptArtifact, match=r"lineage\.json records rl/model"):
        recorded.refuse_changes(run)


def recorded_manifest(run: Path, path: str) -> Manifest:
    from stategpt.artifacts import read_manifest

    return read_manifest(run / path)


def test_logs_and_deep_folders_are_no_part_of_the_lineage(run: Path) -> None:
    before = Lineage.of(run)
    make(run, "base/log", "times")
    make(run, "a/b/c/d/e/f", "too deep")
    assert Lineage.of(run) == before
