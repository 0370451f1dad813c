"""Measurements under manifests: what is published is what is read, and nothing leads out of the run folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from stategpt.artifacts import Measurements, RunFolder, append_line, publish_folder, verify
from stategpt.artifacts.measurements import EVALUATION, is_published, refuse_earlier_layout, refuse_links
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact, StorageError
from stategpt.json_records import kind_of

CONFIG = "b3:cc"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@dataclass(frozen=True)
class Line:
    step: int
    text: str


@dataclass(frozen=True)
class Bits:
    bits_per_byte: float | None = None


def line(step: int) -> dict[str, object]:
    return {"step": step, "text": f"t{step}"}


def read(folder: RunFolder) -> Bits | None:
    return Measurements(folder.root).read("base", EVALUATION, "evaluation.json", Bits, 1)


def publish(folder: RunFolder, value: object = 1.5) -> None:
    content = {"format_version": 1, "bits_per_byte": value}
    folder.publish_evaluation("base", {"evaluation.json": content}, fingerprint=CONFIG, parents=())


def test_growing_logs_are_read_until_the_published_ones_take_their_place(folder: RunFolder) -> None:
    base = folder.stage("base")
    for step in (0, 5):
        append_line(base / "samples.jsonl", line(step))
        append_line(base / "metrics.jsonl", {"step": step, "loss_nats_per_token": None})
    with (base / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 6, "lo')
    growing = Measurements(folder.root)
    samples, metrics = growing.read_lines("base", "samples.jsonl", Line), growing.metrics("base")
    assert samples == [Line(0, "t0"), Line(5, "t5")]
    assert [found["step"] for found in metrics] == [0, 5]
    with folder.timed("base"):
        folder.publish_evaluation("base", {}, fingerprint=CONFIG, parents=(), logs={"samples.jsonl": kind_of(Line)})
    folder.close("base", CONFIG, logs=("samples.jsonl",))
    assert sorted(path.name for path in base.iterdir()) == ["evaluation", "log"]
    published = Measurements(folder.root)
    assert published.read_lines("base", "samples.jsonl", Line) == samples
    assert published.metrics("base") == metrics
    assert (base / "log" / "metrics.jsonl").read_bytes().endswith(b"}\n"), "no torn line is published"
    assert published.seconds("base") is not None
    assert verify(base / "log").fingerprints == {"config": CONFIG}


def test_closing_again_does_what_a_kill_left_undone_and_keeps_what_is_published(folder: RunFolder) -> None:
    base = folder.stage("base")
    append_line(base / "metrics.jsonl", {"step": 1})
    folder.close("base", CONFIG)
    first = verify(base / "log").fingerprint
    append_line(base / "metrics.jsonl", {"step": 2})
    (base / "checkpoints" / "step-000002").mkdir(parents=True)
    folder.close("base", CONFIG)
    assert not (base / "checkpoints").exists(), "nothing goes on from them any more"
    assert verify(base / "log").fingerprint == first
    assert not (base / "metrics.jsonl").exists()
    with pytest.raises(ForeignArtifact, match="other settings"):
        folder.close("base", "b3:other")


def test_a_changed_log_is_found(folder: RunFolder) -> None:
    append_line(folder.stage("base") / "metrics.jsonl", {"step": 1, "loss_nats_per_token": 2.5})
    folder.close("base", CONFIG)
    path = folder.root / "base" / "log" / "metrics.jsonl"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("2.5", "1.5"))
    with pytest.raises(CorruptArtifact, match=r"metrics\.jsonl is altered"):
        Measurements(folder.root).metrics("base")
    with pytest.raises(CorruptArtifact, match=r"metrics\.jsonl is altered"):
        folder.close("base", CONFIG)


def test_a_number_that_is_not_finite_is_written_as_null(folder: RunFolder) -> None:
    publish(folder, math.nan)
    assert read(folder) == Bits(None)


@pytest.mark.parametrize("content", ['{"step": 1', '{"step": -1}', '{"step": 1, "x": "y"}', "[]", '{"step": 1e400}'])
def test_a_growing_log_of_something_else_is_never_published(folder: RunFolder, content: str) -> None:
    (folder.stage("base") / "metrics.jsonl").write_text(content + "\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:1"):
        folder.close("base", CONFIG)
    assert not (folder.root / "base" / "log").exists()


def test_seconds_of_a_damaged_timing_are_a_data_error(folder: RunFolder) -> None:
    for content in ("{}", '{"seconds": -1}', '{"seconds": "x"}', "[", '{"seconds": 1e999}'):
        (folder.stage("base") / "timing.json").write_text(content)
        with pytest.raises(DataError, match=r"timing\.json"), folder.timed("base"):
            pass


@pytest.mark.parametrize("there", ["file inside", "a file", "broken link"])
def test_a_folder_without_its_manifest_is_refused_before_any_work(folder: RunFolder, there: str) -> None:
    model = folder.stage("base") / "model"
    if there == "file inside":
        model.mkdir()
        (model / "model.safetensors").write_text("weights")
    elif there == "a file":
        model.write_text("weights")
    else:
        model.symlink_to(folder.root / "nowhere")
    with pytest.raises((CorruptArtifact, StorageError), match=r"no manifest\.json|is a link"):
        folder.published(model, "model", CONFIG)


def test_an_empty_folder_and_none_are_not_published_yet(folder: RunFolder) -> None:
    (folder.stage("base") / "model").mkdir()
    assert not is_published(folder.model("base"))
    assert not is_published(folder.model("sft"))


def test_nothing_is_made_through_a_stage_that_is_a_link(folder: RunFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.root.mkdir()
    (folder.root / "rl").symlink_to(outside)
    for stage in ("rl", "rl/beta_0.04"):
        with pytest.raises(StorageError, match="rl is a link"):
            folder.stage(stage)
    with pytest.raises(StorageError, match="rl is a link"):
        refuse_links(folder.root)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("inner", ["base/checkpoints", "data/code", "rl/beta_0.04", "rl/beta_0.04/checkpoints"])
def test_links_deeper_in_are_found_and_a_linked_run_folder_is_fine(tmp_path: Path, inner: str) -> None:
    root = tmp_path / "elsewhere"
    (root / inner).parent.mkdir(parents=True)
    (tmp_path / "run").symlink_to(root)
    refuse_links(tmp_path / "run")
    (root / inner).symlink_to(tmp_path)
    with pytest.raises(StorageError, match=f"{inner} is a link"):
        refuse_links(tmp_path / "run")


@pytest.mark.parametrize("old", ["base/evaluation.json", "comparison/manifest.json"])
def test_a_folder_of_an_earlier_version_is_refused(tmp_path: Path, old: str) -> None:
    refuse_earlier_layout(tmp_path)
    (tmp_path / old).parent.mkdir()
    (tmp_path / old).write_text("{}")
    with pytest.raises(ForeignArtifact, match=f"earlier version, which no manifest covers: {old}"):
        refuse_earlier_layout(tmp_path)


def test_an_evaluation_belongs_to_the_model_beside_it(folder: RunFolder) -> None:
    publish(folder)
    assert read(folder) == Bits(1.5)
    publish_folder(folder.model("base"), lambda temporary: (temporary / "w").write_text("w") and None, kind="model")
    with pytest.raises(CorruptArtifact, match="not measured on the model next to it"):
        read(folder)
