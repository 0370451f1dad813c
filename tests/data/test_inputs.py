"""Fingerprints of a run's input files: whatever is edited, added or removed is named, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.artifacts import fingerprint
from stategpt.data.inputs import Changes, Inputs, changed, fingerprint_inputs
from stategpt.errors import CorpusError

FILES = st.dictionaries(
    st.sampled_from(["a.md", "b.md", "x/a.md", "x/b.jsonl", "c"]), st.binary(max_size=3), max_size=5
)


def written(folder: Path, files: dict[str, bytes]) -> Inputs:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return fingerprint_inputs([folder / name for name in files], folder)


@settings(max_examples=60, deadline=None)
@given(before=FILES, after=FILES)
def test_any_change_is_named_and_changes_the_fingerprint(
    before: dict[str, bytes], after: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, other = (written(tmp_path_factory.mktemp("inputs"), files) for files in (before, after))
    both = before.keys() & after.keys()
    expected = Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        edited=tuple(sorted(name for name in both if before[name] != after[name])),
    )
    again = Inputs.from_json(json.loads(json.dumps(one.to_json())))
    assert changed(again, other) == expected
    assert bool(expected) == (before != after)
    assert (fingerprint(one.to_json()) == fingerprint(other.to_json())) == (before == after)


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.md cannot be read"):
        fingerprint_inputs([tmp_path / "gone.md"], tmp_path)
