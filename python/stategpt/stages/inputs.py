"""What every stage starts from and ends with: fingerprints, the parent's model, and publishing its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import torch

from stategpt.artifacts import Manifest, fingerprint, publish_folder, read_manifest
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import Run, to_dict
from stategpt.data import AnyTokenizer, ControlTokens, Tokenizer
from stategpt.errors import DataError
from stategpt.generate import Engine
from stategpt.model import GPT

MODEL_KIND = "model"


def section_fingerprint(*sections: Any, parents: Sequence[str] = ()) -> str:
    """Fingerprint of configuration sections (dataclasses or plain values) and of the artifacts they work on."""
    return fingerprint(
        {
            "sections": [to_dict(section) if is_dataclass(section) else section for section in sections],
            "parents": list(parents),
        }
    )


def pick_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Inputs:
    """What a stage works with."""

    run: Run
    folder: RunFolder
    tok: AnyTokenizer
    control: ControlTokens
    device: torch.device

    @classmethod
    def of(cls, run: Run, folder: RunFolder) -> Inputs:
        """Loads the run's tokenizer."""
        if not folder.tokenizer_json.exists():
            raise DataError(f"{folder.tokenizer_json} does not exist; run the stages in order, or `stategpt run`")
        tok = Tokenizer.load(folder.tokenizer_json)
        return cls(run, folder, tok, ControlTokens.of(tok), pick_device())

    def parent(self, folder: Path) -> Manifest:
        """Manifest of an artifact this stage builds on; a clear error where it is missing."""
        if not (folder / "manifest.json").exists():
            raise DataError(f"{folder} has not been made yet; run the earlier stages first, or `stategpt run`")
        return read_manifest(folder)

    def load_model(self, stage: str) -> GPT:
        """The published model of `stage` on this run's device, in training mode off."""
        self.parent(self.folder.model(stage))
        return GPT.from_pretrained(self.folder.model(stage), torch.float32).to(self.device).eval()

    def engine(self, model: GPT) -> Engine:
        """A sampler over `model` with this run's tokenizer."""
        return Engine(model, self.tok, precision=self.run.evaluate.precision)

    def publish_model(
        self, stage: str, save: Callable[[Path], None], config_fingerprint: str, parents: Sequence[str]
    ) -> Manifest:
        """Publishes the stage's model folder: weights, Hugging Face config, tokenizer, lineage."""

        def write(temporary: Path) -> None:
            save(temporary)
            self.tok.save(temporary / "tokenizer.json")

        return publish_folder(
            self.folder.model(stage),
            write,
            kind=MODEL_KIND,
            fingerprints={"config": config_fingerprint, "tokenizer": self.tok.fingerprint},
            parents=tuple(parents),
        )


def write_json_into(path: Path, value: Any) -> None:
    """Writes JSON into a folder that is about to be published (which is what makes it durable)."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
