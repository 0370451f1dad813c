"""Paths in a run folder, and whether a stage's artifacts are published and current.

run.toml  lineage.json
corpus/  tokenizer/  start/  data/<source>/{train,validation,test}/
base/ classify/ sft/ rankings/ reward/ rl/ comparison/     checkpoints/ model/ evaluation/ log/, and growing logs
gates/  report/
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stategpt.artifacts.fingerprint import json_text
from stategpt.artifacts.lines import LOG_LIMIT_BYTES, read_lines
from stategpt.artifacts.measurement_kinds import METRICS_LINE, TIMING
from stategpt.artifacts.measurements import EVALUATION, GATES, LOG, LOG_FILES, is_published
from stategpt.artifacts.publish import Manifest, publish_file, publish_folder, verify
from stategpt.errors import ForeignArtifact, StorageError
from stategpt.files import read_bytes
from stategpt.json_reader import Kind, read_record
from stategpt.shown_fields import documented
from stategpt.visible_text import visible_line


@documented
@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    root: Path
    """The folder itself."""

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "run.toml"

    @property
    def corpus(self) -> Path:
        """The published corpus: documents, pairs, statistics."""
        return self.root / "corpus"

    @property
    def tokenizer(self) -> Path:
        """The published tokenizer folder."""
        return self.root / "tokenizer"

    @property
    def tokenizer_json(self) -> Path:
        """The tokenizer in Hugging Face format."""
        return self.tokenizer / "tokenizer.json"

    @property
    def gates(self) -> Path:
        """The published verdict: gates.json."""
        return self.root / GATES

    @property
    def report(self) -> Path:
        """index.html and figures."""
        return self.root / "report"

    def shards(self, source: str, split: str) -> Path:
        """Token shards of one source; `split` is "train", "validation" or "test"."""
        return self.root / "data" / source / split

    def stage(self, name: str) -> Path:
        """Folder of a stage, made if absent.

        Raises:
            StorageError: it cannot be made, or is a link to elsewhere.
        """
        folder = self.root
        for part in name.split("/"):
            folder = folder / part
            if folder.is_symlink():
                raise StorageError(f"{visible_line(str(folder))} is a link; a run writes inside its own folder only")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {visible_line(str(folder))} ({error}); check the path") from error
        return folder

    def model(self, stage: str) -> Path:
        """The stage's published model."""
        return self.root / stage / "model"

    def evaluation(self, stage: str) -> Path:
        """What was measured on the stage's model, published."""
        return self.root / stage / EVALUATION

    def published(self, folder: Path, kind: str, fingerprint: str) -> bool:
        """Whether `folder` is published, intact and made with this configuration fingerprint.

        Raises:
            ForeignArtifact: it was made otherwise: nothing is silently reused or overwritten.
            CorruptArtifact: it is damaged, or there without a manifest.
        """
        if not is_published(folder):
            return False
        found = verify(folder, kind=kind).fingerprints.get("config")
        if found != fingerprint:
            raise ForeignArtifact(
                f"{folder} was made with other settings or inputs (fingerprint {visible_line(str(found))}, now "
                f"{fingerprint}). Use another --out folder, or delete this folder to make it again."
            )
        return True

    def publish_evaluation(
        self,
        stage: str,
        values: Mapping[str, Any],
        *,
        fingerprint: str,
        parents: Sequence[str],
        logs: Mapping[str, Kind] | None = None,
    ) -> Manifest:
        """Publishes `<stage>/evaluation/`: `values` as JSON files by name, and the whole lines of the stage's `logs`.

        Raises:
            DataError: a line of a log is not of its kind.
        """

        def write(temporary: Path) -> None:
            """Writes the files of the folder to be published."""
            for name, value in values.items():
                write_json(temporary / name, value)
            for name, kind in (logs or {}).items():
                if (self.root / stage / name).exists():  # a log without a line was never begun
                    _copy_lines(self.root / stage / name, temporary / name, kind)

        return publish_folder(
            self.evaluation(stage), write, kind=EVALUATION, fingerprints={"config": fingerprint}, parents=tuple(parents)
        )

    def close(self, stage: str, fingerprint: str, parents: Sequence[str] = (), logs: Iterable[str] = ()) -> None:
        """Ends a stage: publishes `<stage>/log/`, then removes what it needed while it worked: checkpoints, and the
        working copies of the log and of the evaluation's `logs`.

        Called again it does what a kill left undone.
        """
        stage_folder, target = self.stage(stage), self.root / stage / LOG
        present = [name for name in LOG_FILES if (stage_folder / name).exists()]
        if not self.published(target, LOG, fingerprint) and present:

            def write(temporary: Path) -> None:
                """Writes the files of the folder to be published."""
                if "metrics.jsonl" in present:
                    _copy_lines(stage_folder / "metrics.jsonl", temporary / "metrics.jsonl", METRICS_LINE)
                if "timing.json" in present:
                    write_json(temporary / "timing.json", read_record(stage_folder / "timing.json", TIMING))

            publish_folder(target, write, kind=LOG, fingerprints={"config": fingerprint}, parents=tuple(parents))
        for name in (*LOG_FILES, *logs):
            (stage_folder / name).unlink(missing_ok=True)
        if (stage_folder / "checkpoints").is_dir():
            shutil.rmtree(stage_folder / "checkpoints")

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the seconds inside to the stage's timing.json, so that an interrupted stage counts whole.

        Raises:
            DataError: the timing.json of an earlier call is not one.
        """
        path = self.stage(stage) / "timing.json"
        before_s = read_record(path, TIMING)["seconds"] if path.exists() else 0.0
        began_s = time.perf_counter()
        try:
            yield
        finally:
            seconds = round(before_s + time.perf_counter() - began_s, 2)
            publish_file(path, json_text(TIMING.check({"seconds": seconds}, "$")).encode())


def write_json(path: Path, value: Any) -> None:
    """Writes JSON into a folder that is about to be published (which is what makes it durable).

    A number that is not finite is written as null, since JSON has none.
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _copy_lines(source: Path, target: Path, kind: Kind) -> None:
    """The whole lines of a log, checked, in another file; a torn last one is left out."""
    read_lines(source, kind)
    whole, newline, _torn = read_bytes(source, LOG_LIMIT_BYTES).rpartition(b"\n")
    target.write_bytes(whole + newline)
