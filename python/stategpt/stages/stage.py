"""The contract of a stage that publishes an artifact, and the one function that runs it.

A stage's artifact (a model, or ranking records) is published with the fingerprint of what it was made from, then what
was measured on it, then its log. Whatever is there already is verified and not made again; what a kill left undone is
done by the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from stategpt.artifacts.measurements import EVALUATION
from stategpt.evaluate.records import evaluation_json
from stategpt.json_reader import Kind
from stategpt.stages.context import StageContext
from stategpt.stages.fingerprints import part_fingerprint

Made = TypeVar("Made")


@dataclass(frozen=True)
class Stage(Generic[Made]):
    """What a stage does in one folder of a run.

    Attributes:
        folder: the folder, "sft" or "rl/seed_1".
        artifact: what it publishes there, "model" or "records"; "" for measurements only.
        parents: published folders that it is made from; their fingerprints are part of its fingerprint.
        make: makes the artifact. It is given the fingerprint for checkpoints, and returns what `save` writes.
        save: writes what `make` returned into a folder that is about to be published.
        measure: measures the published artifact: records of `stategpt.evaluate.records` by file name. It is given what
            `make` returned, or None where the artifact was there already.
        measured_from: published folders that only `measure` reads.
        logs: logs written while it trains that belong to its measurements, by file name, with what a line holds.
    """

    folder: str
    parents: tuple[Path, ...]
    measure: Callable[[Made | None], Mapping[str, Any]]
    artifact: str = ""
    make: Callable[[str], Made] | None = None
    save: Callable[[Made, Path], None] | None = None
    measured_from: tuple[Path, ...] = ()
    logs: Mapping[str, Kind] = field(default_factory=dict)


def run_stage(context: StageContext, stage: Stage[Made]) -> None:
    """Makes, publishes, measures and closes a stage's folder; returns at once where all of it is there.

    Raises:
        DataError: a parent has not been made.
        ForeignArtifact: what is there was made with other settings or inputs.
        CorruptArtifact: what is there is damaged.
    """
    folder, run = context.folder, context.run
    parents = tuple(context.parent(parent).fingerprint for parent in stage.parents)
    target = folder.root / stage.folder / (stage.artifact or EVALUATION)
    fingerprint = part_fingerprint(run, f"{stage.folder}/{target.name}", parents)
    made = not stage.artifact or folder.published(target, stage.artifact, fingerprint)
    read = tuple(context.parent(parent).fingerprint for parent in stage.measured_from)
    of_evaluation = part_fingerprint(run, f"{stage.folder}/{EVALUATION}", (fingerprint, *read))
    measured = folder.published(folder.evaluation(stage.folder), EVALUATION, of_evaluation)
    if not (made and measured):
        with folder.timed(stage.folder):
            product = None if made else _make(context, stage, fingerprint, parents)
            if not measured:
                made_from = (*parents, *(each for each in read if each not in parents))
                measured_on = (context.parent(target).fingerprint, *made_from) if stage.artifact else made_from
                folder.publish_evaluation(
                    stage.folder,
                    {name: evaluation_json(record) for name, record in stage.measure(product).items()},
                    fingerprint=of_evaluation,
                    parents=measured_on,
                    logs=stage.logs,
                )
    folder.close(stage.folder, fingerprint, (context.parent(target).fingerprint,), stage.logs)


def _make(context: StageContext, stage: Stage[Made], fingerprint: str, parents: tuple[str, ...]) -> Made:
    """Makes and publishes the artifact."""
    if stage.make is None or stage.save is None:
        raise TypeError(f"stage {stage.folder} publishes {stage.artifact}, so it needs `make` and `save`")
    so_far = part_fingerprint(context.run, f"{stage.folder}/checkpoints", parents) if stage.artifact == "model" else ""
    product = stage.make(so_far)
    save = stage.save
    context.publish(stage.folder, stage.artifact, lambda temporary: save(product, temporary), fingerprint, parents)
    return product
