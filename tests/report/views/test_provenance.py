"""Cost and origin."""

from pathlib import Path

from stategpt.artifacts import read_manifest
from stategpt.report.run_files import RunFiles
from stategpt.report.views.provenance import provenance


def test_costs_list_every_stage_that_took_time(run_folder: Path) -> None:
    rows = {row["label"]: row for row in provenance(RunFiles(run_folder))["costs"]}
    assert len(rows) == 10
    assert (rows["pretraining"]["tokens"], rows["pretraining"]["seconds"]) == ("1.05 M", "3 min 04 s")
    assert (rows["comparison"]["tokens"], rows["comparison"]["seconds"]) == ("–", "1 min 01 s")


def test_the_fingerprint_of_the_settings_ignores_comments_and_changes_with_a_value(tmp_path: Path) -> None:
    found = []
    for text in ("a = 1  # one\n", "a = 1\n", "a = 2\n"):
        (tmp_path / "run.toml").write_text(text)
        found.append(provenance(RunFiles(tmp_path))["config_fingerprint"])
    assert found[0] == found[1] != found[2]
    (tmp_path / "run.toml").write_text("broken [")
    assert provenance(RunFiles(tmp_path))["config_fingerprint"] is None


def test_lineage_names_parents_by_their_paths(run_folder: Path) -> None:
    rows = {row["path"]: row for row in provenance(RunFiles(run_folder))["lineage"]}
    assert rows["rl/model"]["parents"] == "sft/model, reward/model"
    assert rows["corpus"]["parents"] == ""
    corpus = read_manifest(run_folder / "corpus").fingerprint
    assert rows["corpus"]["fingerprint"] == corpus[: len("b3:") + 12]
