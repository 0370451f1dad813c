"""What every stage starts from and ends with: fingerprints, the parent's model, and publishing its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stategpt.artifacts import Manifest, fingerprint, publish_folder, read_manifest
from stategpt.artifacts.measurements import EVALUATION, is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import deciding
from stategpt.data import ControlTokens
from stategpt.errors import DataError
from stategpt.evaluate.records import evaluation_json
from stategpt.generate import Engine
from stategpt.json_reader import Kind
from stategpt.model import GPT
from stategpt.tokenizer import AnyTokenizer, Tokenizer

MODEL_KIND = "model"


def part_fingerprint(run: RunConfig, part: str, parents: Sequence[str] = ()) -> str:
    """Fingerprint of a part of the run: the settings that decide it (`config.parts`) and the artifacts it is made from.

    How often is logged and saved and into how many micro-batches a step is cut is not in it: the loop's checkpoints
    resume alike whatever these are, up to float rounding for the last.
    """
    return fingerprint({"part": part, "settings": deciding(run, part), "parents": list(parents)})


def pick_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class StageContext:
    """What a stage works with."""

    run: RunConfig
    folder: RunFolder
    tok: AnyTokenizer
    control: ControlTokens
    device: torch.device

    @classmethod
    def of(cls, run: RunConfig, folder: RunFolder) -> StageContext:
        """Loads the run's tokenizer."""
        if not folder.tokenizer_json.exists():
            raise DataError(f"{folder.tokenizer_json} does not exist; run the stages in order, or `stategpt run`")
        tok = Tokenizer.load(folder.tokenizer_json)
        return cls(run, folder, tok, ControlTokens.of(tok), pick_device())

    def parent(self, folder: Path) -> Manifest:
        """Manifest of an artifact this stage builds on; a clear error where it is missing."""
        if not is_published(folder):
            raise DataError(f"{folder} has not been made yet; run the earlier stages first, or `stategpt run`")
        return read_manifest(folder)

    def load_model(self, stage: str) -> GPT:
        """The published model of `stage` on this run's device, in training mode off."""
        self.parent(self.folder.model(stage))
        return GPT.from_pretrained(self.folder.model(stage), torch.float32).to(self.device).eval()

    def engine(self, model: GPT) -> Engine:
        """A sampler over `model` with this run's tokenizer."""
        return Engine(model, self.tok, precision=self.run.evaluate.precision)

    def model_fingerprint(self, stage: str) -> str:
        """Of the manifest of the stage's published model."""
        return self.parent(self.folder.model(stage)).fingerprint

    def is_measured(self, stage: str, fingerprint: str) -> bool:
        """Whether the evaluation of the stage's model is published and was made by this configuration."""
        return self.folder.published(
            self.folder.evaluation(stage), EVALUATION, self.evaluation_fingerprint(stage, fingerprint)
        )

    def evaluation_fingerprint(self, stage: str, fingerprint: str) -> str:
        """Configuration fingerprint of the evaluation of what has the configuration `fingerprint`."""
        return part_fingerprint(self.run, f"{stage}/evaluation", (fingerprint,))

    def publish_evaluation(
        self,
        stage: str,
        fingerprint: str,
        parents: Sequence[str],
        values: Mapping[str, Any],
        logs: Mapping[str, Kind] | None = None,
    ) -> Manifest:
        """Publishes what was measured on the artifacts `parents`; `fingerprint` is the stage's.

        Args:
            values: records of `stategpt.evaluate.records` by file name.
            logs: check of each log's lines by file name.
        """
        of_evaluation = self.evaluation_fingerprint(stage, fingerprint)
        files = {name: evaluation_json(record) for name, record in values.items()}
        return self.folder.publish_evaluation(stage, files, fingerprint=of_evaluation, parents=parents, logs=logs)

    def publish_model(
        self, stage: str, save: Callable[[Path, AnyTokenizer], None], config_fingerprint: str, parents: Sequence[str]
    ) -> Manifest:
        """Publishes the stage's model folder: weights, tokenizer, the files `transformers` reads, lineage."""
        return publish_folder(
            self.folder.model(stage),
            lambda temporary: save(temporary, self.tok),
            kind=MODEL_KIND,
            fingerprints={"config": config_fingerprint, "tokenizer": self.tok.fingerprint},
            parents=tuple(parents),
        )
