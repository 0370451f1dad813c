"""Runs all stages of a run (`config.stage_names`), in order.

A run is a folder. Every stage publishes its result there with a fingerprint of what it was made from, so `run` on the
same folder continues where it stopped. Settings of what is still to be made may change; those that decided what is
there are refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stategpt.arguments import instance
from stategpt.artifacts import RunLock, is_finished, publish_file, write_lineage, write_receipt
from stategpt.artifacts.environment import current_environment, record_environment
from stategpt.artifacts.measurements import is_published, refuse_earlier_layout, refuse_links
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig, plan
from stategpt.config.parts import CHECKPOINTS, decides, parts_of
from stategpt.config.paths import rooted
from stategpt.config.planner import Assumptions
from stategpt.config.presence import before, require_complete, through
from stategpt.config.schema import flatten
from stategpt.config.stage_names import STAGE_OF, stage_of_folder
from stategpt.config.toml import dump, load
from stategpt.data.sources import expected_corpus
from stategpt.errors import ConfigError, DataError, ForeignArtifact, StorageError
from stategpt.evaluate import GateResult, check_gates, failed, read_evaluations, read_gates, write_gates
from stategpt.extras import require
from stategpt.files import read_bytes
from stategpt.progress import console, overall
from stategpt.quantities import duration
from stategpt.report import render, summary
from stategpt.report.run_files import RunFiles
from stategpt.stages.corpus import publish_corpus
from stategpt.stages.renewal import renew_inputs
from stategpt.train.interruption import Termination


@dataclass(frozen=True, repr=False)
class RunResult:
    """The result of a finished run.

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
        """Required gates that failed."""
        return failed(self.gates)

    def __repr__(self) -> str:
        kept = f"{len(self.gates) - len(self.failed_gates)} of {len(self.gates)} gates kept"
        return f"RunResult({str(self.folder)!r}, {kept}, {duration(self.seconds)})"


def run(config: RunConfig, out: str | Path, *, until: str = "", first: str = "") -> RunResult:
    """Runs the stages of `config` in the folder `out`, continuing what is already there.

    `until` names the last stage that runs, `first` the first: what earlier stages publish must be there then. Names are
    those of `config.stage_names`. The next call without them does what is left.

    A finished run is checked (every file is read and compared with its hash) and returned as it is.

    Raises `InvalidArgument` when `config` is no `RunConfig`, `ConfigError` when a stage lacks a section that it needs,
    `DataError` when `first` needs what is not there, `ForeignArtifact` when `out` holds another run,
    `StorageError` when `out` cannot be made or another process works in it, `MissingExtra` without torch, and each
    stage's own errors.
    Interrupted by SIGINT (`KeyboardInterrupt`) or SIGTERM (`SystemExit(75)`), in any phase, it leaves what the
    next call resumes from: published folders, and a checkpoint if it was training.
    """
    instance("config", config, RunConfig, "Take a recipe, as in sg.recipes.tiny_cpu(), or sg.config.load(path).")
    config = rooted(config)
    require_complete(config)
    names = _chosen(config, until, first)
    folder = RunFolder(_made(Path(out)))
    with Termination() as termination, RunLock(folder.root):
        refuse_links(folder.root)
        refuse_earlier_layout(folder.root)
        is_published(folder.gates)  # refused now if it cannot be replaced at the end
        unchanged = _own(config, folder)
        renew_inputs(config, folder)
        _require_earlier(config, folder, first)
        if unchanged and is_finished(folder.root):
            console.print(f"{folder.root} holds this run, finished; every file was read and is unchanged", markup=False)
        else:
            for module in ("torch", "jinja2", "matplotlib"):  # now, not after the training
                require(module, "stategpt.run")
            record_environment(folder.root, current_environment(_gpu()))
            _all_stages(config, folder, termination, names)
            gates = check_gates(read_evaluations(folder.root), config.gates, _measured(config, folder, names))
            write_gates(gates, folder.root)
            write_lineage(folder.root)
            render(folder.root)
            if names[-1] == config.stages[-1]:  # else the next call has stages left to do
                write_receipt(folder.root)
        termination.check()
    console.print(summary(folder.root, console.width), markup=False, soft_wrap=True)
    seconds = sum(RunFiles(folder.root).seconds().values())
    return RunResult(folder.root, read_gates(folder.root), folder.report / "index.html", seconds)


def build_data(config: RunConfig, out: str | Path) -> RunFolder:
    """Builds the corpus of `config` in the folder `out`, or checks the one that is there; trains nothing.

    `run` on the same folder continues from it. Raises as `run`, apart from what only training needs.
    """
    instance("config", config, RunConfig, "Take a recipe, as in sg.recipes.tiny_cpu(), or sg.config.load(path).")
    config = rooted(config)
    require_complete(config)
    folder = RunFolder(_made(Path(out)))
    with RunLock(folder.root):
        refuse_links(folder.root)
        refuse_earlier_layout(folder.root)
        _own(config, folder)
        renew_inputs(config, folder)
        publish_corpus(config, folder)
    return folder


def _gpu() -> str:
    """Name of the GPU that the stages use; "" for none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _measured(config: RunConfig, folder: RunFolder, names: Sequence[str]) -> list[str]:
    """The stages that this call ran, and those that were measured before: what gates can judge."""
    published = (name for name in config.stages if is_published(folder.evaluation(STAGE_OF[name].folder)))
    return list(dict.fromkeys((*names, *published)))


def _chosen(config: RunConfig, until: str, first: str) -> tuple[str, ...]:
    """The stages that a call runs, in order."""
    left_out = before(config, first) if first else ()
    ending = through(config, until) if until else config.stages
    names = tuple(name for name in ending if name not in left_out)
    if not names:
        raise ConfigError(f"--from {first} comes after --until {until}; there is nothing to run")
    return names


def _require_earlier(config: RunConfig, folder: RunFolder, first: str) -> None:
    """Refuses to begin at `first` where an earlier stage of the run has not published what it makes."""
    if not first:
        return
    parts = ["corpus", "tokenizer"]
    for name in before(config, first):
        stage = STAGE_OF[name]
        parts += [f"{stage.folder}/{stage.artifact}"] if stage.artifact else []
    lacking = [part for part in parts if not is_published(folder.root / part)]
    if lacking and first != "prepare":
        raise DataError(
            f"--from {first}: {folder.root} does not hold {', '.join(lacking)} yet. Run the earlier stages first: "
            f"`stategpt run` without --from, or with --until {before(config, first)[-1]}."
        )


def _all_stages(config: RunConfig, folder: RunFolder, termination: Termination, names: Sequence[str]) -> None:
    """Runs these stages, with a line that shows the progress of the run; a finished stage returns at once."""
    try:
        for index, stage in enumerate(STAGE_OF[name] for name in names):
            overall.begin(index, _planned_seconds(config, folder, names))
            console.rule(f"{stage.title} ({overall.line()})", align="left")
            work: Callable[[RunConfig, RunFolder], None] = getattr(
                importlib.import_module(f"stategpt.stages.{stage.name}"), stage.name
            )
            work(config, folder)
            termination.check()
            spent = RunFiles(folder.root).seconds()
            seconds = sum(spent[at] for at in spent if stage_of_folder(at) is stage)
            overall.finish(seconds)
            console.print(f"{stage.title}: {duration(seconds)}", markup=False)
    finally:
        overall.end()


def _planned_seconds(config: RunConfig, folder: RunFolder, names: Sequence[str]) -> list[float]:
    """Planned seconds of each of these stages; once a stage was measured, only their shares matter."""
    counted = RunFiles(folder.root).training_conversations()
    assumed = Assumptions(sft_pairs=counted or 0).expecting(expected_corpus(config.corpus))
    planned = plan(config, assumed).stages
    return [sum(p.seconds for p in planned if p.name.partition("/")[0] == name) for name in names]


def _made(root: Path) -> Path:
    """Creates the run folder if it does not exist."""
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
        held = load(folder.config)
        before, now = flatten(held), flatten(config)
        _refuse_locked(held, folder, {key: (before[key], now[key]) for key in now if before[key] != now[key]})
        if read_bytes(folder.config) == text:
            return True
    publish_file(folder.config, text)
    return False


def _refuse_locked(before: RunConfig, folder: RunFolder, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuses changed settings (key -> before, now) that decide what the run `before` finished or partly trained."""
    present = [part for part in parts_of(before) if _is_there(folder.root / part)] if changed else []
    held = {key: [part for part in present if decides(before, key, part)] for key in changed}
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
    """Whether a part is published; of checkpoints, whether there is one, or a finished arm of the classifiers."""
    if part.name == CHECKPOINTS:
        return any(part.glob("step-*")) or any(part.glob("*/*/checkpoints/step-*")) or any(part.glob("*/result"))
    return is_published(part)
