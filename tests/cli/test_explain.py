"""`stategpt explain`: the chain of a run's artifacts, and whether their files are still those."""

from pathlib import Path

import pytest

from stategpt.cli import main

pytest.importorskip("stategpt._native", reason="the extension is not built")

from stategpt.artifacts import publish_folder
from stategpt.config import GatesConfig


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text("", encoding="utf-8")
    return tmp_path


def publish(folder: Path, kind: str, parents: tuple[str, ...] = ()) -> str:
    def write(temporary: Path) -> None:
        (temporary / "data.txt").write_text(kind, encoding="utf-8")

    return publish_folder(folder, write, kind=kind, parents=parents).fingerprint


def test_artifacts_are_shown_with_what_they_were_made_from(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = publish(run / "corpus", "corpus")
    publish(run / "tokenizer", "tokenizer", (corpus,))
    assert main(["explain", str(run), "--verify"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("corpus  (corpus)") < printed.index("tokenizer  (tokenizer)")
    assert "made from  corpus" in printed
    assert "all files of 2 artifacts and 0 logs" in printed


def test_altered_file_is_found_by_verify(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(run / "corpus", "corpus")
    data = run / "corpus" / "data.txt"
    data.chmod(0o644)
    data.write_text("corpse", encoding="utf-8")
    assert main(["explain", str(run)]) == 0
    assert main(["explain", str(run), "--verify"]) == 2
    assert "data.txt" in capsys.readouterr().err


def test_run_without_artifacts_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(run)]) == 2
    assert "no published artifact yet" in capsys.readouterr().err


def test_control_characters_of_manifests_never_reach_the_terminal(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;owned\x07\u202e\u2066"

    def write(temporary: Path) -> None:
        (temporary / "data.txt").write_text("x", encoding="utf-8")

    publish_folder(run / "corpus", write, kind=f"corpus{hostile}", fingerprints={f"name{hostile}": f"value{hostile}"})
    assert main(["explain", str(run), "--verify"]) == 0
    (run / "corpus" / f"extra{hostile}").write_text("")
    assert main(["explain", str(run), "--verify"]) == 2
    printed = "".join(capsys.readouterr())
    assert "owned" in printed
    assert not set(hostile) & set(printed) - set("]0;owned")


def test_changed_measurements_logs_and_settings_are_found_by_verify(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stategpt.evaluate.gates import check_gates, write_gates
    from stategpt.evaluate.records import Evaluations

    def write(temporary: Path) -> None:
        (temporary / "timing.json").write_text('{"seconds": 1.5}', encoding="utf-8")

    publish_folder(run / "base" / "log", write, kind="log")
    publish_folder(run / "base" / "evaluation", write, kind="evaluation")
    write_gates(check_gates(Evaluations(), GatesConfig()), run)
    for path in (run / "base" / "log" / "timing.json", run / "base" / "evaluation" / "timing.json", run / "run.toml"):
        assert main(["explain", str(run), "--verify"]) == 0
        before = path.read_text()
        path.chmod(0o644)
        path.write_text(before.replace("1", "2") + "#" * (path.suffix == ".toml"))
        assert main(["explain", str(run), "--verify"]) == 2
        assert path.name in capsys.readouterr().err
        path.write_text(before)
