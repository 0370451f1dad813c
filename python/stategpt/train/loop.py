"""The training loop of all stages, which is given a task: batches and a loss.

What it takes care of, so that no stage can get it wrong:
- the gradient is that of the sum over all targets of the optimizer step divided by their count, whatever the
  accumulation (not the mean of micro-batch means);
- a non-finite loss or gradient never reaches the weights; three steps in a row without a finite update end the run with
  the weights of the last good step;
- a checkpoint holds everything, and a resumed run is bit-identical (same build and thread count);
- a task may end before its last step; metrics, checkpoint and a resumed run know it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from stategpt.config import OptimConfig
from stategpt.config.stages import Weights
from stategpt.errors import CorruptArtifact, TrainingDiverged
from stategpt.json_reader import Kind
from stategpt.model import GPT, Precision, autocast
from stategpt.model.lora import step_randomness
from stategpt.progress import console, note_of, progress
from stategpt.shown_fields import documented, short_repr
from stategpt.train.checkpoint import REASON_CHARS, LoopState, load_latest_checkpoint, save_checkpoint
from stategpt.train.interruption import SignalGuard, stop
from stategpt.train.master_weights import MasterWeights
from stategpt.train.metrics import ENDED_EARLY, MetricsLog, cut_back
from stategpt.train.optimizers import build_optimizer, clip_gradients
from stategpt.train.schedule import learning_rate_at

MAX_SKIPPED_IN_A_ROW = 3
BatchT = TypeVar("BatchT")


@documented
@dataclass
class Loss:
    """The loss of one micro-batch."""

    total: Tensor
    """Sum of the loss over the micro-batch's targets (or pairs, or samples), with its graph."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Sums to be divided by the step's weight, like `total`."""

    __repr__ = short_repr


class Task(Protocol[BatchT]):
    """What a stage supplies. Batches are a pure function of the step (and of the weights, when the stage samples)."""

    name: str
    steps: int
    loss_unit: str
    """Name of the logged loss with its unit, as in `loss_nats_per_token`."""

    def updates(self, step: int) -> Iterable[Sequence[BatchT]]:
        """The optimizer updates of one step, each a sequence of micro-batches. Pretraining has one update a step; a
        step that ends the training may have none.
        """
        ...

    def weight(self, batch: BatchT) -> float:
        """Targets, pairs or samples of a micro-batch: its share of the update's denominator."""
        ...

    def tokens(self, batch: BatchT) -> int:
        """Tokens the model reads for this micro-batch, pads included."""
        ...

    def loss(self, batch: BatchT) -> Loss:
        """Forward pass of one micro-batch, called under autocast."""
        ...

    def step_metrics(self) -> dict[str, float]:
        """Metrics of the step as a whole, such as a rollout's reward; empty for most stages."""
        ...

    def ended(self) -> str:
        """Why training ends with this step, called after each one; "" = it continues, as in most stages.

        The model is then the result: a task that wants earlier weights puts them into it during its last `updates`.
        """
        ...

    def kept(self) -> Mapping[str, Tensor]:
        """What a resumed run needs beyond weights and optimizer: float32 tensors by name, saved with each checkpoint
        and restored in place. Names and shapes never change; empty for most stages.
        """
        ...


@documented
@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop for one stage."""

    optim: OptimConfig
    """Learning rate, schedule, decay, clipping."""
    folder: Path
    """Stage folder: metrics.jsonl and checkpoints/ are kept here."""
    fingerprint: str
    """Of everything that decides the result; another one's checkpoints are refused."""
    precision: Precision = "auto"
    """Number format of matrix products."""
    weights: Weights = "float32"
    """Number format of the weights while they are trained; with "bfloat16" the optimizer keeps their float32 values,
    which the model has again when `fit` returns."""
    gradient_checkpointing: bool = False
    """The backward pass computes each block again in the place of keeping what the forward pass computed in it."""
    checkpoint_every_steps: int = 200
    """Steps from one checkpoint to the next."""
    log_every_steps: int = 1
    """Steps from one line of metrics.jsonl to the next."""
    logs: Mapping[str, Kind] = field(default_factory=dict)
    """Files in which the hook writes a line a measured step, and what a line is. Like metrics.jsonl they are cut back
    to the step that a resumed run starts from: what else is there is of a run that was cut off, or of other settings.
    """


Hook = Callable[[int], None]
"""Called with the number of finished steps, before step 0 and after every step: sampling and evaluation live here."""


def fit(task: Task[BatchT], model: nn.Module, settings: LoopSettings, hook: Hook | None = None) -> LoopState:
    """Trains `model` on `task` until its last step, or until the task ends it, from the newest checkpoint on.

    The last step leaves a checkpoint too: called again, `fit` gives the trained model at once. Raises
    `TrainingDiverged` after three steps in a row without a finite update, `CorruptArtifact` and `ForeignArtifact` as
    `load_latest_checkpoint`, and `KeyboardInterrupt` (SIGINT) or `SystemExit(75)` (SIGTERM, so that a scheduler starts
    it again) after having saved a checkpoint.
    """
    optimizer = build_optimizer(model, settings.optim, settings.weights)
    _set_recomputation(model, settings.gradient_checkpointing)
    checkpoints = settings.folder / "checkpoints"
    found = load_latest_checkpoint(checkpoints, model, optimizer, settings.fingerprint, task.kept())
    state = found or LoopState()
    if state.step > task.steps:
        raise CorruptArtifact(
            f"the checkpoint in {checkpoints} is of step {state.step}, {task.name} has {task.steps} steps. Delete it."
        )
    for name, kind in settings.logs.items():
        cut_back(settings.folder / name, kind, -1 if found is None else state.step)
    log = MetricsLog(settings.folder / "metrics.jsonl", state.step)
    if hook is not None and state.step == 0:
        hook(0)
    model.train()
    with SignalGuard() as interruption, progress(task.name, task.steps, "steps") as advance:
        advance(state.step, "")
        while state.step < task.steps and not state.ended:
            before_s, before_tokens = log.elapsed_s, state.tokens
            with step_randomness(model, state.step):
                values = _step(task, model, optimizer, settings, state)
            state.step += 1
            values["tokens"] = state.tokens
            values["tokens_per_s"] = round((state.tokens - before_tokens) / max(1e-9, log.elapsed_s - before_s), 1)
            state.ended = task.ended()[:REASON_CHARS]
            last = state.step == task.steps or bool(state.ended)
            if state.ended:
                values[ENDED_EARLY] = 1.0
                console.print(f"{task.name}: ends at step {state.step} of {task.steps}: {state.ended}", markup=False)
            if state.step % settings.log_every_steps == 0 or last:
                log.write(state.step, values)
            advance(state.step, note_of(values, task.loss_unit))
            if hook is not None:
                hook(state.step)
                model.train()
            due = state.step % settings.checkpoint_every_steps == 0 or last
            if due or interruption.requested:
                save_checkpoint(checkpoints, model, optimizer, state, settings.fingerprint, task.kept())
            if interruption.requested:
                stop(interruption.requested)
    if interruption.requested:  # it came after the last step
        stop(interruption.requested)
    if isinstance(optimizer, MasterWeights):
        optimizer.give_back(model)
    _set_recomputation(model, False)
    return state


def _set_recomputation(model: nn.Module, wanted: bool) -> None:
    for module in model.modules():
        if isinstance(module, GPT):
            module.recomputes_blocks = wanted


def _step(
    task: Task[BatchT], model: nn.Module, optimizer: torch.optim.Optimizer, settings: LoopSettings, state: LoopState
) -> dict[str, float]:
    """One step: all its updates; returns the logged values, averaged over the updates."""
    learning_rate = learning_rate_at(state.step, task.steps, settings.optim)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["scale"]
    logged: list[dict[str, float]] = []
    taken = 0
    for micro_batches in task.updates(state.step):
        sums = _accumulate(task, model, micro_batches, settings.precision)
        values = _fetched({**sums, "gradient_norm": clip_gradients(model.parameters(), settings.optim.clip_norm)})
        if math.isfinite(values["gradient_norm"]) and math.isfinite(values[task.loss_unit]):
            optimizer.step()
            taken += 1
        optimizer.zero_grad(set_to_none=True)
        state.tokens += sum(task.tokens(batch) for batch in micro_batches)
        values["clipped_updates"] = float(0 < settings.optim.clip_norm < values["gradient_norm"])
        logged.append(values)
    state.skipped += len(logged) - taken
    state.skipped_in_a_row = state.skipped_in_a_row + 1 if logged and not taken else 0
    if state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
        raise _diverged(state, logged[-1][task.loss_unit], logged[-1]["gradient_norm"])
    names = logged[0] if logged else ()
    mean = {key: sum(values[key] for values in logged) / len(logged) for key in names}
    return {**mean, "learning_rate": learning_rate, "skipped": state.skipped, **task.step_metrics()}


def _accumulate(
    task: Task[BatchT], model: nn.Module, micro_batches: Sequence[BatchT], precision: Precision
) -> dict[str, Tensor | float]:
    """Adds the gradients of one update; every sum is divided by the weight of the whole update.

    The loss is summed on its device, in float64: the next micro-batch does not wait until this one is finished.
    """
    weight = sum(task.weight(batch) for batch in micro_batches)
    device = next(model.parameters()).device
    sums: dict[str, Tensor | float] = {task.loss_unit: 0.0}
    for batch in micro_batches:
        with autocast(precision, device):
            loss = task.loss(batch)
        (loss.total / max(weight, 1e-9)).backward()  # type: ignore[no-untyped-call]
        added: dict[str, Tensor | float] = {task.loss_unit: loss.total.detach().double(), **loss.metrics}
        for key, value in added.items():
            sums[key] = sums.get(key, 0.0) + value
    return {key: value / max(weight, 1e-9) for key, value in sums.items()}


def _fetched(values: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Returns the values as Python numbers, with one transfer for all that are on the device."""
    scalars = [value.double() for value in values.values() if isinstance(value, Tensor)]
    numbers = iter(torch.stack(scalars).tolist())
    return {key: next(numbers) if isinstance(value, Tensor) else value for key, value in values.items()}


def _diverged(state: LoopState, loss: float, norm: float) -> TrainingDiverged:
    return TrainingDiverged(
        f"step {state.step}: loss {loss}, gradient norm {norm}; {MAX_SKIPPED_IN_A_ROW} steps in a row were not "
        "finite. The last checkpoint is intact: lower the learning rate or look at the data of these steps."
    )
