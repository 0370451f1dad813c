"""All stages of a run, in the talk's order: the only place that knows it.

A run is a folder. Every stage publishes its result there with a fingerprint of what it was made from, so `run` on the
same folder continues where it stopped. Settings of what is still to be made may change; those that decided what is
there are refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stategpt.arguments import instance
from stategpt.artifacts import RunLock, is_finished, publish_file, write_lineage, write_receipt
from stategpt.artifacts.measurements import is_published, refuse_earlier_layout, refuse_links
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig, plan
from stategpt.config.parts import CHECKPOINTS, PARTS, decides
from stategpt.config.planner import RL_PLANS, Assumptions
from stategpt.config.schema import flatten
from stategpt.config.stages import RL_FOLDERS
from stategpt.config.toml import dump, load
from stategpt.errors import ForeignArtifact, StorageError
from stategpt.evaluate import GateResult, check_gates, failed, read_evaluations, read_gates, write_gates
from stategpt.extras import require
from stategpt.files import read_bytes
from stategpt.progress import console, overall
from stategpt.quantities import duration
from stategpt.report import render, summary
from stategpt.report.run_files import RunFiles
from stategpt.train.interruption import Termination


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        title: what it is called on the terminal.
        stage: its module in `stategpt.stages`, which holds a function of that name. It returns at once when its result
            is already in the folder.
        timings: stages whose seconds it takes, as `RunFiles.seconds` names them.
        planned: stages of a plan that it does.
    """

    title: str
    stage: str
    timings: tuple[str, ...]
    planned: tuple[str, ...]

    def __call__(self, config: RunConfig, folder: RunFolder) -> None:
        """Does it."""
        work: Callable[[RunConfig, RunFolder], None] = getattr(
            importlib.import_module(f"stategpt.stages.{self.stage}"), self.stage
        )
        work(config, folder)


STEPS = (
    Step("corpus, tokenizer, shards", "prepare", ("data",), ("corpus",)),
    Step("pretraining", "pretrain", ("base",), ("pretrain",)),
    Step("supervised fine-tuning", "sft", ("sft",), ("sft",)),
    Step("rankings", "rankings", ("rankings",), ("rankings",)),
    Step("reward modeling", "reward", ("reward",), ("reward",)),
    Step("reinforcement learning", "rl", RL_FOLDERS, tuple(RL_PLANS.values())),
    Step("comparison", "compare", ("comparison",), ("evaluation",)),
)
"""In the talk's order."""


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a finished run leaves.

    Attributes:
        folder: the run folder.
        gates: what the recipe promises, and whether it was kept.
        report: the report's page.
        seconds: that all stages took, those of earlier calls included.
    """

    folder: Path
    gates: list[GateResult]
    report: Path
    seconds: float

    @property
    def failed_gates(self) -> list[GateResult]:
        """Required gates that did not hold."""
        return failed(self.gates)

    def __repr__(self) -> str:
        kept = f"{len(self.gates) - len(self.failed_gates)} of {len(self.gates)} gates kept"
        return f"RunResult({str(self.folder)!r}, {kept}, {duration(self.seconds)})"


def run(config: RunConfig, out: str | Path) -> RunResult:
    """Runs every stage of `config` in the folder `out`, continuing what is already there.

    A finished run is checked (every file is read and compared with its hash) and returned as it is.

    Raises `InvalidArgument` when `config` is no `RunConfig`, `ForeignArtifact` when `out` holds another run,
    `StorageError` when `out` cannot be made or another process works in it, `MissingExtra` without torch, and each
    stage's own errors.
    Interrupted by SIGINT (`KeyboardInterrupt`) or SIGTERM (`SystemExit(75)`), in whatever phase, it leaves what the
    next call goes on from: published folders, and a checkpoint where it trained.
    """
    instance("config", config, RunConfig, "Take a recipe, as in sg.recipes.tiny_cpu(), or sg.config.load(path).")
    folder = RunFolder(_made(Path(out)))
    with Termination() as termination, RunLock(folder.root):
        refuse_links(folder.root)
        refuse_earlier_layout(folder.root)
        is_published(folder.gates)  # refused now if it cannot be replaced at the end
        unchanged = _own(config, folder)
        if unchanged and is_finished(folder.root):
            console.print(f"{folder.root} holds this run, finished; every file was read and is unchanged", markup=False)
        else:
            for module in ("torch", "jinja2", "matplotlib"):  # now, not after the training
                require(module, "stategpt.run")
            _all_steps(config, folder, termination)
            write_gates(check_gates(read_evaluations(folder.root), config.gates), folder.root)
            write_lineage(folder.root)
            render(folder.root)
            write_receipt(folder.root)
        termination.check()
    console.print(summary(folder.root, console.width), markup=False, soft_wrap=True)
    seconds = sum(RunFiles(folder.root).seconds().values())
    return RunResult(folder.root, read_gates(folder.root), folder.report / "index.html", seconds)


def _all_steps(config: RunConfig, folder: RunFolder, termination: Termination) -> None:
    """Every step under a line that says how far the run is; on a finished part a step returns at once."""
    try:
        for index, step in enumerate(STEPS):
            overall.begin(index, _planned_seconds(config, folder))
            console.rule(f"{step.title} ({overall.line()})", align="left")
            step(config, folder)
            termination.check()
            spent = RunFiles(folder.root).seconds()
            seconds = sum(spent.get(stage, 0.0) for stage in step.timings)
            overall.finish(seconds)
            console.print(f"{step.title}: {duration(seconds)}", markup=False)
    finally:
        overall.end()


def _planned_seconds(config: RunConfig, folder: RunFolder) -> list[float]:
    """What the plan gives each step; only the shares count once a step was measured."""
    pairs = RunFiles(folder.root).training_pairs()
    planned = {stage.name: stage.seconds for stage in plan(config, Assumptions(sft_pairs=pairs or 0)).stages}
    return [sum(planned.get(name, 0.0) for name in step.planned) for step in STEPS]


def _made(root: Path) -> Path:
    """The run folder, made if absent."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except ValueError as error:  # a NUL byte in the name
        raise StorageError(f"cannot make the run folder {str(root)!a}: {error}. Choose another folder.") from error
    except OSError as error:
        where = error.filename or root
        raise StorageError(
            f"cannot make the run folder {root}: {where}: {error.strerror}. Choose another folder."
        ) from error
    return root


def _own(config: RunConfig, folder: RunFolder) -> bool:
    """Writes run.toml; refuses settings that decide what the folder already holds, naming them. Any other may change.

    Returns whether the folder held this very run before.
    """
    text = dump(config).encode()
    if folder.config.exists():
        before, now = flatten(load(folder.config)), flatten(config)
        _refuse_locked(folder, {key: (before[key], now[key]) for key in now if before[key] != now[key]})
        if read_bytes(folder.config) == text:
            return True
    publish_file(folder.config, text)
    return False


def _refuse_locked(folder: RunFolder, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuses changed settings (key -> before, now) that decide a part which is finished or partly trained."""
    present = [part for part in PARTS if _is_there(folder.root / part)] if changed else []
    held = {key: [part for part in present if decides(key, part)] for key in changed}
    locked = {key: parts for key, parts in held.items() if parts}
    if not locked:
        return
    named = "; ".join(f"{key} was {changed[key][0]!r}, now {changed[key][1]!r}" for key in locked)
    parts = [part for part in present if any(part in parts for parts in locked.values())]
    stages = dict.fromkeys(part.rpartition("/")[0] or part for part in parts)
    if "tokenizer" in stages:
        stages["data"] = None  # its shards have their tokens
    partly = [part for part in parts if part.endswith(CHECKPOINTS)]
    training = f" {partly[-1].rpartition('/')[0]} is partly trained." if partly else ""
    raise ForeignArtifact(
        f"{folder.root} holds parts made with other settings: {named}.{training} Use another --out folder, give the "
        f"same settings to continue, or delete what they decided to make it again: {', '.join(stages)}."
    )


def _is_there(part: Path) -> bool:
    """Whether a part is published; of checkpoints, whether there is one."""
    return any(part.glob("step-*")) if part.name == CHECKPOINTS else is_published(part)
