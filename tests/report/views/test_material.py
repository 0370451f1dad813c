"""The packed row and the tokenized sample."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stategpt.report.run_files import RunFiles
from stategpt.report.views.material import DOCUMENT_COLORS, material


@pytest.fixture
def material_of(publish_part: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """The part on data of a run whose packed row has these pieces."""

    def of(root: Path, pieces: list[list[Any]]) -> dict[str, Any]:
        names = ("id", "text", "document", "is_end", "target")
        row = [dict(zip(names, (number, *piece), strict=True)) for number, piece in enumerate(pieces)]
        publish_part(root, "base/evaluation", {"rows.json": {"rows": [row]}})
        return material(RunFiles(root))

    return of


def test_a_row_shows_documents_end_tokens_and_targets(material_of: Callable[..., Any], tmp_path: Path) -> None:
    end = "<|endoftext|>"
    pieces = [
        [end, 0, True, "a"],
        ["a", 0, False, end],
        [end, 1, True, " b"],
        [" b", 1, False, "\n"],
        ["\n", 1, False, end],
    ]
    (row,) = material_of(tmp_path, pieces)["batch"]
    assert (row["tokens"], row["documents"]) == (5, 2)
    assert [(c["text"], c["tint"], c["target"]) for c in row["chips"]] == [
        ("EOS", 0, "a"),
        ("a", 0, "EOS"),
        ("EOS", 1, "·b"),
        ("·b", 1, "↵"),
        ("↵", 1, "EOS"),
    ]
    assert [chip["is_end"] for chip in row["chips"]] == [True, False, True, False, False]


def test_neighboring_documents_never_share_a_tint(material_of: Callable[..., Any], tmp_path: Path) -> None:
    (row,) = material_of(tmp_path, [[str(i), i, False, "x"] for i in range(20)])["batch"]
    tints = [chip["tint"] for chip in row["chips"]]
    assert all(a != b for a, b in itertools.pairwise(tints))
    assert set(tints) == set(range(DOCUMENT_COLORS))


def test_a_whole_document_is_shown_as_text_tokens_and_ids(material_of: Callable[..., Any], tmp_path: Path) -> None:
    pieces = [
        ["<eot>", 0, True, "é"],
        ["é", 0, False, "<eot>"],
        ["<eot>", 1, True, "ab"],
        ["ab", 1, False, " c"],
        [" c", 1, False, "<eot>"],
        ["<eot>", 2, True, "cut"],
        ["cut", 2, False, "off"],
        ["off", 2, False, "here"],
    ]
    document = material_of(tmp_path, pieces)["document"]
    assert document["raw"] == "ab c", "the last document goes on in another row"
    assert [(chip["text"], chip["id"]) for chip in document["chips"]] == [("ab", 3), ("·c", 4)]
    assert (document["bytes"], document["tokens"], document["bytes_per_token"]) == (4, 2, "2.00")


def test_one_cell_has_its_document_as_context_and_the_next_token_as_target(
    material_of: Callable[..., Any], tmp_path: Path
) -> None:
    pieces = [["x", 0, False, "<eot>"], ["<eot>", 1, True, "a"], ["a", 1, False, "b"], ["b", 1, False, "<eot>"]]
    found = material_of(tmp_path, pieces)
    assert found["cell"] == {"context": ["EOS", "a"], "cell": "b", "target": "EOS"}
    assert [(each["start"], each["end"]) for each in found["mask"]["triangles"]] == [(0, 1), (1, 4)]


def test_sources_are_in_the_order_of_the_settings_with_what_they_hold_and_gave(run_folder: Path) -> None:
    rows = material(RunFiles(run_folder))["sources"]
    assert [row["source"] for row in rows] == ["code", "docstrings", "comments"]
    assert (rows[0]["documents"], rows[0]["bytes"], rows[0]["epochs"], rows[0]["bits"]) == (
        *("353", "4.33 MB"),
        *("0.21", "1.88"),
    )


def test_tokenizer_statistics_are_read_from_its_manifest(run_folder: Path) -> None:
    found = material(RunFiles(run_folder))
    assert found["vocab_size"] == "4,096"
    assert {"source": "docstrings", "train": "3.61", "validation": "3.42", "test": "3.40"} in found["bytes_per_token"]
