"""A finished run is recognised by every byte of it, and by nothing less."""

from pathlib import Path

import pytest

from stategpt.artifacts import is_finished, publish_folder, receipt, write_receipt


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "run"
    publish_folder(
        root / "base" / "model", lambda folder: (folder / "w").write_bytes(b"weights") and None, kind="model"
    )
    (root / "base" / "metrics.jsonl").write_text('{"step": 1}\\n')
    (root / "base" / "checkpoints").mkdir()
    (root / "base" / "checkpoints" / "state").write_text("old")
    (root / "report").mkdir()
    (root / "report" / "index.html").write_text("<html>")
    write_receipt(root)
    return root


def test_an_untouched_run_is_finished_and_notes_beside_it_change_nothing(run: Path) -> None:
    assert is_finished(run)
    (run / "notes.txt").write_text("mine")
    (run / "base" / "checkpoints" / "state").write_text("new")
    (run / ".lock").write_text("1")
    assert is_finished(run)


@pytest.mark.parametrize("name", ["base/model/w", "base/metrics.jsonl", "report/index.html", "report/finished.json"])
@pytest.mark.parametrize("change", ["altered", "removed"])
def test_one_changed_or_missing_file_is_noticed(run: Path, name: str, change: str) -> None:
    path = run / name
    if change == "removed":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not is_finished(run)


def test_a_folder_published_since_is_noticed(run: Path) -> None:
    publish_folder(run / "sft" / "model", lambda folder: (folder / "w").write_bytes(b"more") and None, kind="model")
    assert not is_finished(run)


def test_other_code_looks_for_itself(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt, "code_hash", lambda: "another")
    assert not is_finished(run)


def test_no_run_and_no_folder_are_not_finished(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    assert not is_finished(tmp_path / "none")
