"""Takes the model that a run starts from into the run folder: base/model and tokenizer, as if they were trained there.
Where the run has sources, pretraining continues from it, and it is kept as start/model.

A copy, so that the run folder holds all that its later stages were made from, and nothing changes under it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from stategpt.artifacts import fingerprint, publish_folder, read_manifest, verify
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.receipt import file_hash
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import start_part
from stategpt.config.start import model_folder
from stategpt.errors import ConfigError, ForeignArtifact
from stategpt.progress import console
from stategpt.stages.fingerprints import part_fingerprint
from stategpt.tokenizer import AnyTokenizer, Tokenizer
from stategpt.visible_text import visible_line

_MANIFEST = "manifest.json"
_START = "start"


def take_start_model(run: RunConfig, folder: RunFolder) -> AnyTokenizer:
    """Publishes the start model and its tokenizer; returns the tokenizer. Does nothing where both are.

    Raises:
        ConfigError: the model's shape is not that of the run.
        ForeignArtifact: the folder was begun from another model.
        CorruptArtifact: the model's folder is damaged.
    """
    source = _source(run, folder)
    if source is not None:
        content = _content(source)
        _refuse_another(run, folder, content)
        if not folder.published(folder.tokenizer, "tokenizer", part_fingerprint(run, "tokenizer")):
            _publish_tokenizer(run, folder, source, content)
        if not folder.published(folder.root / start_part(run), "model", part_fingerprint(run, start_part(run))):
            console.print(f"start: copying the model {source}", markup=False)
            _publish_model(run, folder, source, content)
    return Tokenizer.load(folder.tokenizer_json)


def _source(run: RunConfig, folder: RunFolder) -> Path | None:
    """The start model's folder; None where the run has taken it already and it is no longer there."""
    try:
        return model_folder(run.start.model)
    except ConfigError:
        if is_published(folder.root / start_part(run)) and is_published(folder.tokenizer):
            return None
        raise


def _content(source: Path) -> str:
    """Fingerprint of the files of a model's folder; a published folder is verified."""
    if (source / _MANIFEST).exists():
        verify(source)
    return fingerprint({path.name: file_hash(path) for path in _files(source)})


def _files(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_file() and path.name != _MANIFEST)


def _refuse_another(run: RunConfig, folder: RunFolder, content: str) -> None:
    for part in (folder.tokenizer, folder.root / start_part(run)):
        if is_published(part) and read_manifest(part).fingerprints.get(_START) != content:
            raise ForeignArtifact(
                f"{visible_line(str(part))} was not taken from start.model = {visible_line(run.start.model)!r} as it "
                "is now: the model was changed, or the run began otherwise. Use another --out folder."
            )


def _publish_tokenizer(run: RunConfig, folder: RunFolder, source: Path, content: str) -> None:
    tok = Tokenizer.load(source / "tokenizer.json")
    statistics: dict[str, Any] = {
        "vocab_size": tok.vocab_size,
        "vocab_size_asked": tok.vocab_size,
        "bytes_per_token": {},
    }
    publish_folder(
        folder.tokenizer,
        lambda temporary: tok.save(temporary / "tokenizer.json"),
        kind="tokenizer",
        fingerprints={
            "config": part_fingerprint(run, "tokenizer"),
            "tokenizer": tok.fingerprint,
            _START: content,
        },
        extra={"statistics": statistics},
    )


def _publish_model(run: RunConfig, folder: RunFolder, source: Path, content: str) -> None:
    from stategpt.model.hf import read_config

    shape = read_config(source).config
    if shape != run.model:
        raise ConfigError(f"start.model has the shape {shape}, and [model] is {run.model}; leave [model] out")

    def write(temporary: Path) -> None:
        """Copies the model's files."""
        for path in _files(source):
            shutil.copyfile(path, temporary / path.name)

    tok = Tokenizer.load(folder.tokenizer_json)
    publish_folder(
        folder.root / start_part(run),
        write,
        kind="model",
        fingerprints={
            "config": part_fingerprint(run, start_part(run)),
            "tokenizer": tok.fingerprint,
            _START: content,
        },
        parents=(read_manifest(folder.tokenizer).fingerprint,),
    )
