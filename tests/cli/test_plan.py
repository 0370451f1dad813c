"""`stategpt plan` speaks of what it has looked at, and of this machine."""

from pathlib import Path

import pytest

from stategpt.cli import main, plan


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one.py").write_text("x = 1\n")
    (tmp_path / "src" / "two.py").write_text("y = 22\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("no Python")
    return tmp_path


def planned(own: Path, capsys: pytest.CaptureFixture[str], folder: str, *more: str) -> tuple[int, str, str]:
    code = main(["plan", "tiny_cpu", "--corpus.paths", str(own / folder), *more])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_own_files_are_counted_and_what_they_decide_is_not_known(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = planned(own, capsys, "src")
    assert code == 0
    assert f"read from     {own / 'src'}" in out
    assert "Python files  2, 13 B" in out
    assert "5,700" not in out
    assert out.splitlines()[0].endswith("not counting what is unknown: prepare, sft")
    assert [line.split()[-2:] for line in out.splitlines() if line.startswith(("  sft ", "  prepare "))] == [
        ["not", "known"]
    ] * 2
    assert "total known" in out


def test_pairs_that_somebody_counted_are_priced(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = planned(own, capsys, "src", "--sft-pairs", "320", "--corpus-s", "7")
    assert "320 pairs" in out
    assert "not known" not in out


@pytest.mark.parametrize(("folder", "message"), [("notes", "holds no .py files"), ("nowhere", "does not exist")])
def test_a_corpus_that_is_not_there_is_an_error_not_a_plan(
    own: Path, capsys: pytest.CaptureFixture[str], folder: str, message: str
) -> None:
    code, out, err = planned(own, capsys, folder)
    assert (code, out) == (2, "")
    assert message in err


def test_a_run_folder_that_has_read_its_corpus_knows_the_pairs(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "tiny_cpu", "--corpus.paths", str(own / "src"), "--toml"])
    run = own / "run"
    (run / "corpus").mkdir(parents=True)
    (run / "run.toml").write_text(capsys.readouterr().out)
    (run / "corpus" / "statistics.json").write_text('{"conversations": {"train": 640}}')
    assert main(["plan", str(run)]) == 0
    assert "640 pairs" in capsys.readouterr().out


def test_a_model_larger_than_this_machine_is_said_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "memory_bytes", lambda: 25_000_000_000)
    assert main(["plan", "tiny_cpu", "--model.depth", "200"]) == 0
    assert "does not fit: the models alone take 10.1 TB, this machine has 25 GB." in capsys.readouterr().out
    for found in (25_000_000_000, None):
        monkeypatch.setattr(plan, "memory_bytes", lambda found=found: found)
        assert main(["plan", "tiny_cpu"]) == 0
        assert "does not fit" not in capsys.readouterr().out


def test_a_run_without_a_source_is_planned_and_told_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("seed = 1\n", encoding="utf-8")
    assert main(["plan", str(tmp_path / "mine.toml")]) == 0
    out = capsys.readouterr().out
    assert "source  not set; `stategpt run` needs corpus.source, one of python_library" in out
    assert "pairs not known before the corpus is read" in out
