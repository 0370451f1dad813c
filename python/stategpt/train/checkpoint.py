"""Checkpoints of a stage: one published folder a step, everything a bit-identical resume needs, no pickle.

checkpoints/step-000200/
    model.safetensors       float32 weights
    optimizer.safetensors   AdamW's moments and step counts by parameter name
    state.json              {"step", "tokens", "skipped", ...}
    manifest.json           sizes, hashes and the fingerprint of the stage's configuration, written last
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stategpt.artifacts import publish_folder, read_manifest, verify
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.shown_fields import documented
from stategpt.train.optim import optimizer_tensors, restore_optimizer
from stategpt.train.progress import console

KIND = "checkpoint"
KEPT = 2
"""Checkpoints kept: the newest, and the one before in case the newest is found damaged."""


@documented
@dataclass
class LoopState:
    """Every scalar of a loop. Data order and random numbers are functions of `step`, so this is all there is."""

    step: int = 0
    """Finished steps."""
    tokens: int = 0
    """Tokens read so far, pads included."""
    skipped: int = 0
    """Updates left out because loss or gradient was not finite."""
    skipped_in_a_row: int = 0
    """Those since the last good update."""


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.AdamW, state: LoopState, fingerprint: str
) -> Path:
    """Publishes `folder/step-NNNNNN` and removes all but the newest two."""

    def write(temporary: Path) -> None:
        save_file(_own_tensors(model), temporary / "model.safetensors")
        save_file(optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
        (temporary / "state.json").write_text(json.dumps(asdict(state)))

    final = folder / f"step-{state.step:06d}"
    publish_folder(final, write, kind=KIND, fingerprints={"config": fingerprint})
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def load_latest_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.AdamW, fingerprint: str
) -> LoopState | None:
    """Restores the newest valid checkpoint of `folder`; None when there has never been one.

    A damaged one is passed over with a warning for the one before it. When all are damaged this raises
    `CorruptArtifact`: a loop never starts afresh in silence. Another configuration's checkpoint is `ForeignArtifact`.
    """
    damaged: list[str] = []
    for path in reversed(_steps(folder)):
        try:
            verify(path, kind=KIND)
            found = read_manifest(path).fingerprints["config"]
            if found != fingerprint:
                raise ForeignArtifact(
                    f"{path} was made with configuration {found}, this run has {fingerprint}. "
                    "Use another --out folder, or delete this stage's folder to train it again."
                )
            return _restore(path, model, optimizer)
        except CorruptArtifact as error:
            damaged.append(str(error))
            console.print(f"warning: checkpoint passed over: {error}", markup=False)
    if damaged:
        raise CorruptArtifact(
            f"no valid checkpoint is left in {folder}: {'; '.join(damaged)}. "
            "Delete the folder to start this stage again."
        )
    return None


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.AdamW) -> LoopState:
    own = _own_tensors(model)
    saved = load_file(path / "model.safetensors")
    if saved.keys() != own.keys():
        raise ForeignArtifact(
            f"{path} holds other tensors than this model: {sorted(saved.keys() ^ own.keys())[:4]} ..."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])
    restore_optimizer(model, optimizer, load_file(path / "optimizer.safetensors"))
    return LoopState(**json.loads((path / "state.json").read_text()))


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters by name; a tied weight appears once, since safetensors refuses shared storage."""
    return {name: parameter.data for name, parameter in model.named_parameters()}


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-??????")) if folder.is_dir() else []
