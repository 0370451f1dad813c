"""`run_stage` makes an artifact once, measures it once, and closes its folder; what is there is verified and kept."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import shutil  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

from stategpt.artifacts import publish_folder, read_manifest  # noqa: E402
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.fingerprints import part_fingerprint  # noqa: E402
from stategpt.stages.stage import Stage, run_stage  # noqa: E402


@pytest.fixture
def parent(inputs: StageContext) -> Path:
    """A published folder that the stage is made from."""
    folder = inputs.folder.model("base")
    publish_folder(folder, lambda temporary: (temporary / "weights").write_text("base"), kind="model")
    return folder


@pytest.fixture
def calls() -> list[str]:
    """What the stage did, in order."""
    return []


def _stage(inputs: StageContext, parent: Path, calls: list[str]) -> Stage[str]:
    def make(so_far: str) -> str:
        calls.append("make")
        assert so_far == part_fingerprint(inputs.run, "sft/checkpoints", (read_manifest(parent).fingerprint,))
        return "tuned"

    def save(made: str, target: Path) -> None:
        calls.append("save")
        (target / "weights").write_text(made)

    def measure(made: str | None) -> dict[str, object]:
        calls.append(f"measure {made}")
        return {"evaluation.json": {"read": (inputs.folder.model("sft") / "weights").read_text()}}

    return Stage("sft", (parent,), artifact="model", make=make, save=save, measure=measure)


def test_it_makes_publishes_and_measures_once(inputs: StageContext, parent: Path, calls: list[str]) -> None:
    stage = _stage(inputs, parent, calls)
    run_stage(inputs, stage)
    assert calls == ["make", "save", "measure tuned"]
    base, model = read_manifest(parent), read_manifest(inputs.folder.model("sft"))
    evaluation = read_manifest(inputs.folder.evaluation("sft"))
    assert list(model.parents) == [base.fingerprint]
    assert list(evaluation.parents) == [model.fingerprint, base.fingerprint]
    assert '"read": "tuned"' in (inputs.folder.evaluation("sft") / "evaluation.json").read_text()
    run_stage(inputs, stage)
    assert len(calls) == 3, "nothing is done again"


def test_a_lost_evaluation_is_measured_again_on_what_is_published(
    inputs: StageContext, parent: Path, calls: list[str]
) -> None:
    stage = _stage(inputs, parent, calls)
    run_stage(inputs, stage)
    shutil.rmtree(inputs.folder.evaluation("sft"))
    run_stage(inputs, stage)
    assert calls[3:] == ["measure None"]


def test_what_was_made_otherwise_is_refused(inputs: StageContext, parent: Path, calls: list[str]) -> None:
    run_stage(inputs, _stage(inputs, parent, calls))
    other = replace(inputs, run=replace(inputs.run, sft=replace(inputs.run.sft, epochs=2.0)))
    with pytest.raises(ForeignArtifact, match=r"sft/model was made with other settings or inputs"):
        run_stage(other, _stage(other, parent, calls))
    shutil.rmtree(parent)
    publish_folder(parent, lambda temporary: (temporary / "weights").write_text("another base"), kind="model")
    with pytest.raises(ForeignArtifact, match=r"sft/model was made with other settings or inputs"):
        run_stage(inputs, _stage(inputs, parent, calls))
    assert len(calls) == 3


def test_a_damaged_artifact_is_refused(inputs: StageContext, parent: Path, calls: list[str]) -> None:
    run_stage(inputs, _stage(inputs, parent, calls))
    (inputs.folder.model("sft") / "weights").write_text("TUNED")
    with pytest.raises(CorruptArtifact, match="weights"):
        run_stage(inputs, _stage(inputs, parent, calls))


def test_a_missing_parent_is_named(inputs: StageContext, calls: list[str]) -> None:
    with pytest.raises(DataError, match=r"base/model has not been made yet"):
        run_stage(inputs, _stage(inputs, inputs.folder.model("base"), calls))
    assert not calls


def test_checkpoints_are_removed_and_the_log_is_published(inputs: StageContext, parent: Path, calls: list[str]) -> None:
    checkpoint = inputs.folder.stage("sft") / "checkpoints" / "step-000010"
    checkpoint.mkdir(parents=True)
    run_stage(inputs, _stage(inputs, parent, calls))
    assert not checkpoint.parent.exists()
    assert (inputs.folder.root / "sft" / "log" / "timing.json").is_file()
    assert not (inputs.folder.root / "sft" / "timing.json").exists()
