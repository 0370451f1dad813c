"""All stages of a run, in the talk's order: the only place that knows it.

A run is a folder. Every stage publishes its result there with a fingerprint of what it was made from, so `run` on the
same folder continues where it stopped, and on a folder made otherwise refuses.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from stategpt.artifacts import RunLock, publish_file, write_lineage
from stategpt.artifacts.measurements import is_published, refuse_earlier_layout, refuse_links
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import Run
from stategpt.config.schema import flatten
from stategpt.config.toml import dump, load
from stategpt.errors import ForeignArtifact
from stategpt.evaluate import Gate, check_gates, failed, read_evaluations, write_gates
from stategpt.report import render, summary
from stategpt.stages.compare import compare
from stategpt.stages.prepare import prepare
from stategpt.stages.pretrain import pretrain
from stategpt.stages.rankings import rankings
from stategpt.stages.reward import reward
from stategpt.stages.rl import rl
from stategpt.stages.sft import sft
from stategpt.train.interruption import Termination
from stategpt.train.progress import console

STEPS: tuple[tuple[str, Callable[[Run, RunFolder], None]], ...] = (
    ("corpus, tokenizer, shards", prepare),
    ("1 pretraining", pretrain),
    ("2 supervised fine-tuning", sft),
    ("3 rankings", rankings),
    ("3 reward model", reward),
    ("4 reinforcement learning", rl),
    ("comparison", compare),
)
"""Each step returns at once when its result is already in the folder."""


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves."""

    folder: Path
    gates: list[Gate]
    report: Path
    seconds: float
    """Of this call; stages that were already done took none of it."""

    @property
    def failed_gates(self) -> list[Gate]:
        """Required gates that did not hold."""
        return failed(self.gates)


def run(config: Run, out: str | Path) -> RunResult:
    """Runs every stage of `config` in the folder `out`, continuing what is already there.

    Raises `ForeignArtifact` when `out` holds another run, `StorageError` when another process works in it, and each
    stage's own errors. Interrupted by SIGINT (`KeyboardInterrupt`) or SIGTERM (`SystemExit(75)`), in whatever phase, it
    leaves what the next call goes on from: published folders, and a checkpoint where it trained.
    """
    began_s = time.perf_counter()
    folder = RunFolder(Path(out))
    with Termination() as termination, RunLock(folder.root):
        refuse_links(folder.root)
        refuse_earlier_layout(folder.root)
        is_published(folder.gates)  # refused now if it cannot be replaced at the end
        _own(config, folder)
        for title, step in STEPS:
            step_began_s = time.perf_counter()
            console.rule(title, align="left")
            step(config, folder)
            console.print(f"{title}: {time.perf_counter() - step_began_s:.1f} s", markup=False)
            termination.check()
        gates = check_gates(read_evaluations(folder.root), config.gates)
        write_gates(gates, folder.root)
        write_lineage(folder.root)
        report = render(folder.root)
        termination.check()
    console.print(summary(folder.root), markup=False)
    return RunResult(folder.root, gates, report, time.perf_counter() - began_s)


def _own(config: Run, folder: RunFolder) -> None:
    """Writes run.toml; refuses a folder made with other settings, naming them. Gates may change: they train nothing."""
    if folder.config.exists():
        before, now = flatten(load(folder.config)), flatten(config)
        keys = [key for key in now if before[key] != now[key] and not key.startswith("gates.")]
        changed = [f"{key} was {before[key]!r}, now {now[key]!r}" for key in keys]
        if changed:
            raise ForeignArtifact(
                f"{folder.root} holds a run with other settings: {'; '.join(changed)}. "
                "Use another --out folder, or give the same settings to continue."
            )
    publish_file(folder.config, dump(config).encode())


class _CallableModule(ModuleType):
    """Importing this module sets `stategpt.run` to the module; `sg.run(...)` must then still run."""

    def __call__(self, config: Run, out: str | Path) -> RunResult:
        return run(config, out)


sys.modules[__name__].__class__ = _CallableModule
