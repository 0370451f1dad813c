"""Reading a run folder that may be partial."""

from pathlib import Path

import pytest

from stategpt.errors import DataError
from stategpt.evaluate.records import Evaluations, MixtureDrawn, PackedRows
from stategpt.evaluate.statistics import Interval
from stategpt.report.run_files import RunFiles, mean, number


def test_what_is_missing_is_none_or_empty(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    assert files.mixture == MixtureDrawn()
    assert files.rows() == PackedRows()
    assert files.samples() == []
    assert files.gates == []
    assert files.lineage == []
    assert files.statistics() == {}
    assert files.evaluations == Evaluations()
    assert files.run is None
    assert files.tokens("base") is None
    assert files.seconds() == {}
    assert files.name == "run"


def test_a_finished_run_is_read_whole(run_folder: Path) -> None:
    files = RunFiles(run_folder)
    assert files.name == "tiny_cpu"
    assert files.run is not None
    assert files.run.rl.beta == 0.8
    assert files.tokens("base") == 1025 * 1024
    assert list(files.seconds()) == [
        "data",
        "base",
        "sft",
        "rankings",
        "reward",
        "rl",
        "rl/seed_1",
        "rl/seed_2",
        "rl/beta_0.04",
        "comparison",
    ]


def test_a_torn_last_line_of_a_log_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "metrics.jsonl").write_text('{"step": 1, "tokens": 10}\n{"step": 2, "tok')
    assert RunFiles(tmp_path).metrics("base") == [{"step": 1, "tokens": 10}]


def test_settings_of_another_version_leave_the_name(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('name = "older"\nno_such_setting = 1\n')
    files = RunFiles(tmp_path)
    assert files.run is None
    assert files.name == "older"
    (tmp_path / "run.toml").write_text("not toml at all [")
    assert RunFiles(tmp_path).name == tmp_path.name


def test_a_broken_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "lineage.json").write_text("{")
    with pytest.raises(DataError, match=r"lineage\.json holds no lineage"):
        _ = RunFiles(tmp_path).lineage


def test_fields_are_followed_only_where_they_lead() -> None:
    data = {"a": {"b": {"mean": 2.5, "low": 2}}, "flag": True, "text": "1"}
    assert number(data, "a", "b", "low") == 2
    assert number(data, "a", "x", "low") is None
    assert number(None, "a") is None
    assert number(data, "a", "b") is None
    assert mean(Interval(2.5, 2, 3)) == 2.5
    assert mean(None) is None
    assert number(data, "flag") is None
    assert number(data, "text") is None
