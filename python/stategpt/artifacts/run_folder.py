"""Where everything of a run lies, and how a stage knows that it is done.

run.toml  lineage.json
corpus/  tokenizer/  data/<source>/{train,validation}/
base/ sft/ rankings/ reward/ rl/     metrics.jsonl checkpoints/ model/ evaluation.json timing.json
comparison/  report/
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stategpt.artifacts.publish import publish_file, verify
from stategpt.errors import ForeignArtifact
from stategpt.shown_fields import documented

STAGES = ("base", "sft", "rankings", "reward", "rl")
"""Stage folders in the order of the talk."""


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
    def comparison(self) -> Path:
        """All systems side by side."""
        return self.root / "comparison"

    @property
    def report(self) -> Path:
        """index.html, figures and gates.json."""
        return self.root / "report"

    def shards(self, source: str, split: str) -> Path:
        """Token shards of one source; `split` is "train" or "validation"."""
        return self.root / "data" / source / split

    def stage(self, name: str) -> Path:
        """Folder of a stage, made if absent."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def model(self, stage: str) -> Path:
        """The stage's published model."""
        return self.root / stage / "model"

    def published(self, folder: Path, kind: str, fingerprint: str) -> bool:
        """Whether `folder` is published, intact and made with this configuration fingerprint.

        A folder made otherwise raises `ForeignArtifact`: nothing is silently reused or overwritten.
        """
        if not (folder / "manifest.json").exists():
            return False
        found = verify(folder, kind=kind).fingerprints.get("config")
        if found != fingerprint:
            raise ForeignArtifact(
                f"{folder} was made with other settings or inputs (fingerprint {found}, now {fingerprint}). "
                "Use another --out folder, or delete this folder to make it again."
            )
        return True

    def write_json(self, path: Path, value: Any) -> None:
        """Publishes `value` as indented JSON."""
        publish_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the seconds inside to the stage's timing.json, so that an interrupted stage counts whole."""
        path = self.stage(stage) / "timing.json"
        before_s = json.loads(path.read_text())["seconds"] if path.exists() else 0.0
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.write_json(path, {"seconds": round(before_s + time.perf_counter() - began_s, 2)})
