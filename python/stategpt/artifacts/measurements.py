"""What a run measured, under manifests: a changed digit, a lost file or another model's evaluation is found.

    <stage>/evaluation/   evaluation.json and what else a stage measures (`stategpt.evaluate.records`); a function of
                          the run, linked to what was measured (parents in the manifest)
    <stage>/log/          metrics.jsonl and timing.json; times differ from run to run, so nothing is made from them
    gates/                gates.json, linked to the evaluations, with the fingerprint of run.toml
    log/                  environment.json: machine, versions, command (`stategpt.artifacts.environment`)

While a stage works its logs grow in `<stage>/`; when it is done they are moved into these folders. `Measurements` reads
the published file, and the growing one only where nothing is published yet.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stategpt.artifacts.lines import read_lines
from stategpt.artifacts.measurement_kinds import METRICS_LINE, TIMING
from stategpt.artifacts.publish import Manifest, read_manifest, verify
from stategpt.config.stage_names import STAGES
from stategpt.errors import CorruptArtifact, ForeignArtifact, StorageError
from stategpt.json_reader import read_record
from stategpt.json_records import build, kind_of, read_versioned
from stategpt.shown_fields import documented
from stategpt.visible_text import visible_line

R = TypeVar("R")
EVALUATION, LOG, GATES = "evaluation", "log", "gates"
"""Names of the folders, and the kinds in their manifests."""
LOG_FILES = ("metrics.jsonl", "timing.json")
_OF_EARLIER_VERSIONS = (
    *(f"{stage}/evaluation.json" for stage in ("base", "sft", "rankings", "reward")),
    "comparison/manifest.json",
)
_OURS = ("curation", "corpus", "tokenizer", "start", *(stage.folder for stage in STAGES), GATES, LOG, "report")
_DEPTH = 4
"""Folders below the run's own, as in rl/beta_0.04/checkpoints/step-000010."""


def is_published(folder: Path) -> bool:
    """Whether `folder` has a manifest; False where there is nothing yet.

    Raises:
        CorruptArtifact: it is there without one, so nothing can be said of its files, or it is no folder.
        StorageError: it is a link to elsewhere.
    """
    shown = visible_line(str(folder))
    if folder.is_symlink():
        raise _linked(folder)
    if (folder / "manifest.json").exists():
        return True
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise CorruptArtifact(
            f"{shown} exists and has no manifest.json, so its files cannot be checked. Restore the manifest from a "
            "copy, or delete the folder to make it again."
        )
    return False


def refuse_links(root: Path) -> None:
    """Refuses a run folder that leads outside: a stage's folder, at any depth, that is a link.

    The run folder itself may be one: the user who named it chose where it leads.

    Raises:
        StorageError: names the link.
    """
    for name in _OURS:
        if (root / name).is_symlink():
            raise _linked(root / name)
        for above, folders, _ in os.walk(root / name):
            for inner in folders:
                if Path(above, inner).is_symlink():
                    raise _linked(Path(above, inner))
            if len(Path(above).relative_to(root).parts) >= _DEPTH:
                folders.clear()


def verify_logs(root: Path) -> list[Manifest]:
    """Reads every file of every published log again; they are not in the lineage, since nothing is made from them.

    Raises:
        CorruptArtifact: a log is damaged.
    """
    folders = [root / LOG, *(root / stage / LOG for stage in stage_folders(root))]
    return [verify(folder, kind=LOG) for folder in folders if is_published(folder)]


def stage_folders(root: Path) -> list[str]:
    """Folders of the stages that are there, in the order of the work; `rl` is followed by those of further policies,
    `reward` by that of the judge.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("sft", "rl/seed_10/log", "rl/seed_2/log", "rl/beta_0.04/log", "rl/model"):
    ...     (root / name).mkdir(parents=True)
    >>> stage_folders(root)
    ['sft', 'rl', 'rl/seed_2', 'rl/seed_10', 'rl/beta_0.04']
    """
    found = []
    for stage in STAGES:
        if (root / stage.folder).is_dir():
            found.append(stage.folder)
            inside = [path for path in (root / stage.folder).iterdir() if _VARIANT.fullmatch(path.name)]
            found += [f"{stage.folder}/{path.name}" for path in sorted(inside, key=_variant_order)]
    return found


_VARIANT = re.compile(r"(seed|beta)_([0-9.e+-]{1,30})|judge")


def _variant_order(path: Path) -> tuple[bool, float, str]:
    """Seeds before betas, each by its number."""
    kind, _, value = path.name.partition("_")
    try:
        return kind == "beta", float(value), path.name
    except ValueError:
        return kind == "beta", math.inf, path.name


def refuse_earlier_layout(root: Path) -> None:
    """Refuses a run of an earlier version, whose corpus, policies or evaluations had other formats.

    Raises:
        ForeignArtifact: names what is of the earlier version, and what to do.
    """
    if (root / "corpus" / "pairs").exists():
        raise ForeignArtifact(
            f"{visible_line(str(root))} is a run of an earlier version of stategpt, whose corpus has format version 1. "
            "Use another folder, where the corpus is built again, or that version."
        )
    if (root / "rl" / "low_beta").exists():
        raise ForeignArtifact(
            f"{visible_line(str(root))} is a run of an earlier version of stategpt: it holds rl/low_beta, which is now "
            "rl/beta_N for each N of rl.extra_betas. Use another folder, or delete its folders rl and comparison, "
            "replace rl.low_beta in run.toml and run again."
        )
    old = [name for name in _OF_EARLIER_VERSIONS if (root / name).exists()]
    if old:
        names = ", ".join(old)
        raise ForeignArtifact(
            f"{visible_line(str(root))} holds measurements of an earlier version, which no manifest covers: {names}. "
            "Use another folder, or delete these stages' folders (the whole folder comparison) and run again."
        )


@documented
@dataclass(frozen=True)
class Measurements:
    """Checked reading of what a run folder holds so far; what is not there is None or empty."""

    root: Path
    """The run folder."""
    _verified: dict[Path, Manifest | None] = field(default_factory=dict, repr=False)

    def read(self, stage: str, part: str, name: str, record: type[R], version: int) -> R | None:
        """The JSON file `<stage>/<part>/<name>` as a `record`; None where it is not published.

        Raises:
            CorruptArtifact: not what was published, or measured on another model than the stage's.
            ForeignArtifact: of an earlier version. DataError: fields of another type.
        """
        path = self._path(stage, part, name, growing=False)
        return None if path is None else read_versioned(path, record, version)

    def read_lines(self, stage: str, name: str, record: type[R]) -> list[R]:
        """Lines of a log of the stage's evaluation, e.g. samples.jsonl, as records. Raises as `read`."""
        path = self._path(stage, EVALUATION, name, growing=True)
        return [] if path is None else [build(record, line) for line in read_lines(path, kind_of(record))]

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """Lines of the stage's metrics.jsonl. Raises as `read`."""
        path = self._path(stage, LOG, "metrics.jsonl", growing=True)
        return [] if path is None else read_lines(path, METRICS_LINE)

    def seconds(self, stage: str) -> float | None:
        """Seconds of the stage, from its timing.json. Raises as `read`."""
        path = self._path(stage, LOG, "timing.json", growing=True)
        return None if path is None else float(read_record(path, TIMING)["seconds"])

    def manifest(self, stage: str, part: str) -> Manifest | None:
        """The verified manifest of `<stage>/<part>`; None when it is not published. Raises as `read`."""
        folder = self.root / stage / part
        if folder not in self._verified:
            refuse_earlier_layout(self.root)
            found = verify(folder, kind=part) if is_published(folder) else None
            if found is not None and part == EVALUATION:
                self._refuse_another_model(stage, found)
            self._verified[folder] = found
        return self._verified[folder]

    def _refuse_another_model(self, stage: str, evaluation: Manifest) -> None:
        model = self.root / stage / "model"
        if is_published(model) and read_manifest(model).fingerprint not in evaluation.parents:
            raise CorruptArtifact(
                f"{visible_line(str(self.root / stage / EVALUATION))} was not measured on the model next to it: the "
                "model was made again since. Delete the folder and run again to measure it again."
            )

    def _path(self, stage: str, part: str, name: str, growing: bool) -> Path | None:
        manifest = self.manifest(stage, part)
        if manifest is not None:
            return self.root / stage / part / name if name in manifest.files else None
        path = self.root / stage / name
        return path if growing and path.exists() else None


def _linked(folder: Path) -> StorageError:
    return StorageError(
        f"{visible_line(str(folder))} is a link. A run writes inside its own folder only: replace the link by a folder."
    )
