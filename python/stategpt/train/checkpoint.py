"""Checkpoints of a stage: one published folder a step, everything a bit-identical resume needs, no pickle.

checkpoints/step-000200/
    model.safetensors       the weights that are trained, in float32
    optimizer.safetensors   the optimizer's state by parameter name
    kept.safetensors        what the task keeps beyond them, where it keeps something
    state.json              {"step", "tokens", "skipped", ...}
    manifest.json           sizes, hashes and the fingerprint of the stage's configuration, written last
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stategpt.artifacts import publish_folder, verify
from stategpt.errors import CorruptArtifact, ForeignArtifact, StorageError
from stategpt.json_reader import Integer, Optional, Record, Text, read_record
from stategpt.model.parameter_groups import trained_parameters
from stategpt.progress import console
from stategpt.shown_fields import documented
from stategpt.train.optimizers import expected_tensors, optimizer_tensors, restore_optimizer, unusable_tensor
from stategpt.train.saved_tensors import read_tensors
from stategpt.visible_text import visible_line

KIND = "checkpoint"
FORMAT_VERSION = 2
"""Version of the files of a checkpoint; those of version 1 did not say theirs."""
REASON_CHARS = 1000
KEPT = 2
"""Checkpoints kept: the newest, and the one before in case the newest is found damaged."""


@documented
@dataclass
class LoopState:
    """The scalars of a loop. Data order and random numbers are functions of `step`, so nothing else is needed."""

    step: int = 0
    """Finished steps."""
    tokens: int = 0
    """Tokens read so far, pads included."""
    skipped: int = 0
    """Updates left out because loss or gradient was not finite."""
    skipped_in_a_row: int = 0
    """Steps without a good update since the last one that had one."""
    ended: str = ""
    """Why the task ended before its last step; "" where it has not."""


_COUNTS = {field.name: Integer(0) for field in fields(LoopState) if field.name != "ended"}
_STATE = Record({**_COUNTS, "ended": Optional(Text(max_chars=REASON_CHARS), "")}, closed=True)


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: LoopState,
    fingerprint: str,
    kept: Mapping[str, Tensor] = MappingProxyType({}),
) -> Path:
    """Publishes `folder/step-NNNNNN` and removes all but the newest two."""

    def write(temporary: Path) -> None:
        """Writes the files of the checkpoint."""
        save_file(_own_tensors(model), temporary / "model.safetensors")
        save_file(optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
        if kept:
            save_file(dict(kept), temporary / "kept.safetensors")
        (temporary / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")

    final = folder / f"step-{state.step:06d}"
    extra = {"format_version": FORMAT_VERSION}
    publish_folder(final, write, kind=KIND, fingerprints={"config": fingerprint}, extra=extra)
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def load_latest_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    fingerprint: str,
    kept: Mapping[str, Tensor] = MappingProxyType({}),
) -> LoopState | None:
    """Restores the newest valid checkpoint of `folder`; None when there has never been one.

    A damaged one, which does not match its manifest, is passed over with a warning for the one before it. One that does
    match and yet is no state of this model and its optimizer is refused: nobody wrote that by accident. Model,
    optimizer and `kept` are changed only when everything has been checked.

    Raises:
        CorruptArtifact: all are damaged (a loop never starts afresh in silence), or the newest whole one holds other
            tensors, shapes, dtypes or values than a checkpoint of this model; the message names the tensor or field.
        ForeignArtifact: another configuration's checkpoint, or one of another format version.
    """
    damaged: list[str] = []
    for path in reversed(_steps(folder)):
        try:
            manifest = verify(path, kind=KIND)
        except CorruptArtifact as error:
            damaged.append(str(error))
            console.print(f"warning: checkpoint passed over: {visible_line(str(error))}", markup=False)
            continue
        version = manifest.extra.get("format_version", 1)
        if version != FORMAT_VERSION:
            raise ForeignArtifact(
                f"{path} is a checkpoint of format version {visible_line(str(version))}; this version of stategpt "
                f"reads version {FORMAT_VERSION}. Delete this stage's folder to train it again, or finish the run with "
                "the version that began it."
            )
        found = manifest.fingerprints.get("config")
        if found != fingerprint:
            raise ForeignArtifact(
                f"{path} was made with configuration {found}, this run has {fingerprint}. "
                "Use another --out folder, or delete this stage's folder to train it again."
            )
        return _restore(path, model, optimizer, kept)
    if damaged:
        raise CorruptArtifact(
            f"no valid checkpoint is left in {folder}: {'; '.join(damaged)}. "
            "Delete the folder to start this stage again."
        )
    return None


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, kept: Mapping[str, Tensor]) -> LoopState:
    """Checks everything, then loads everything."""
    own = _own_tensors(model)
    state = _read_state(path)
    weights = read_tensors(path / "model.safetensors", own)
    moments = read_tensors(path / "optimizer.safetensors", expected_tensors(model, optimizer))
    others = read_tensors(path / "kept.safetensors", kept) if kept else {}
    unusable = unusable_tensor(optimizer, moments)
    if unusable is not None:
        raise CorruptArtifact(f"{path}: {unusable}. Delete this checkpoint to continue from the one before.")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
        for name, tensor in kept.items():
            tensor.copy_(others[name])
    restore_optimizer(model, optimizer, moments)
    return state


def _read_state(path: Path) -> LoopState:
    try:
        fields = read_record(path / "state.json", _STATE, error=CorruptArtifact)
    except StorageError as error:
        raise CorruptArtifact(f"{path} has no readable state.json ({error}). Delete this checkpoint.") from error
    state = LoopState(**fields)
    if state.step != _step_of(path):
        raise CorruptArtifact(f"{path}: state.json says step {state.step}. Delete this checkpoint.")
    return state


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Trained parameters by name: the frozen ones are those of the model that the stage began with, which the
    fingerprint of its configuration names. A tied weight appears once, since safetensors refuses shared storage.
    """
    return {name: parameter.data for name, parameter in trained_parameters(model)}


def _steps(folder: Path) -> list[Path]:
    """The checkpoints of `folder`, the newest last."""
    paths = folder.glob("step-*") if folder.is_dir() else ()
    return sorted((path for path in paths if _step_of(path) is not None), key=lambda path: _step_of(path) or 0)


def _step_of(path: Path) -> int | None:
    """The step in a checkpoint's name, at least six digits; None for other names."""
    found = re.fullmatch(r"step-([0-9]{6,18})", path.name)
    return int(found[1]) if found else None
